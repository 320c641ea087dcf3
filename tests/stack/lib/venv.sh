# Virtual environments of checkers, in the cache; sourced, not run.
# shellcheck shell=bash

venv() { # venv [REQUIREMENTS]: makes the one that has these where it is not there, and prints its directory of programs
  local wanted dir
  wanted=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/requirements.txt}
  dir=${ROWGATE_CACHE:-$HOME/.cache/rowgate}/venv-$( (cat "$wanted"; python3 -V) | sha256sum | cut -c1-12)
  if [ ! -e "$dir/made" ]; then
    python3 -m venv --clear "$dir" >&2
    "$dir/bin/pip" install --quiet --disable-pip-version-check -r "$wanted" >&2
    touch "$dir/made"
  fi
  echo "$dir/bin"
}
