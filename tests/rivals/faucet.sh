#!/usr/bin/env bash
# Prints where faucet is. Where it is not in the cache yet, builds it first, which takes half an hour on two cores; installs
# the libraries for that as root on Debian, and names them for others.
set -euo pipefail
version=1.8.0
dir=${ROWGATE_CACHE:-$HOME/.cache/rowgate}/faucet-$version

if [ ! -x "$dir/bin/faucet" ]; then
  packages=(cmake libcurl4-openssl-dev libsasl2-dev)
  if ! command -v cmake >/dev/null || ! pkg-config --exists libcurl libsasl2; then
    if [ "$EUID" != 0 ] || ! command -v apt-get >/dev/null; then
      echo "faucet: missing: ${packages[*]} (Debian's names)" >&2
      exit 3
    fi
    { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${packages[@]}"; } >&2
  fi
  echo "faucet: building $version ..." >&2
  began=$SECONDS
  # With what is used of it only. Its manifest asks for a newer compiler than it needs.
  CARGO_TARGET_DIR=$dir/target cargo install --quiet --locked --ignore-rust-version --root "$dir" faucet-cli --version "$version" \
    --no-default-features --features source-kafka,sink-clickhouse,transform-wasm,observability >&2
  rm -rf "$dir/target"
  echo "faucet: built in $((SECONDS - began)) s" >&2
fi
echo "$dir/bin/faucet"
