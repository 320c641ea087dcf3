#!/usr/bin/env bash
# runtime.sh DIR: builds the default transform in JavaScript and in Python into components in DIR. The tools are those
# that package-lock.json and requirements.txt pin, and stay in the cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../tests/stack/lib/venv.sh"
out=$1 js=$here/update-only-js py=$here/update-only-py wit=$here/../wit
mkdir -p "$out"

node_modules() { # where the packages of package-lock.json are, installed where they are not
  local dir
  dir=${ROWGATE_CACHE:-$HOME/.cache/rowgate}/componentize-js-$(sha256sum "$js/package-lock.json" | cut -c1-12)
  if [ ! -e "$dir" ]; then
    rm -rf "$dir.new"
    mkdir -p "$dir.new"
    cp "$js"/package*.json "$dir.new"
    (cd "$dir.new" && npm ci --ignore-scripts --no-audit --no-fund >&2)
    mv "$dir.new" "$dir"
  fi
  echo "$dir/node_modules"
}

(cd "$js" && node --test >&2)
modules=$(node_modules)
"$modules/.bin/componentize-js" --wit "$wit" --world-name transform --disable stdio random clocks http fetch-event \
  --out "$out/update_only_js.wasm" -- "$js/update_only.js"

bin=$(venv "$py/requirements.txt")
bindings=$(mktemp -d)
trap 'rm -r "$bindings"' EXIT
"$bin/componentize-py" --wit-path "$wit" --world transform bindings "$bindings"
(cd "$py" && PYTHONPATH=$bindings python3 -B -m unittest -q tests)
"$bin/componentize-py" --wit-path "$wit" --world transform componentize --stub-wasi --python-path "$py" \
  --output "$out/update_only_py.wasm" update_only

for component in update_only_js update_only_py; do
  echo "$component.wasm $(wc -c <"$out/$component.wasm") bytes"
done
