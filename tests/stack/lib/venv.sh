# The virtual environment of the checkers, in the cache; sourced, not run.
# shellcheck shell=bash

venv() { # venv: makes it where it is not there, and prints its directory of programs
  local here dir
  here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  dir=${ROWGATE_CACHE:-$HOME/.cache/rowgate}/venv-$( (cat "$here/requirements.txt"; python3 -V) | sha256sum | cut -c1-12)
  if [ ! -e "$dir/made" ]; then
    python3 -m venv --clear "$dir" >&2
    "$dir/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt" >&2
    touch "$dir/made"
  fi
  echo "$dir/bin"
}
