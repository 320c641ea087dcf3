# What the machine needs before anything can be built or started; sourced, not run.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # names that the other files set and use

has() { command -v "$1" >/dev/null; }

# Kafka 4 and Debezium 3 need Java 17.
java_is_new_enough() {
  local version
  version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p')
  [ "${version:-0}" -ge 17 ]
}

# A way to compile Rust to WebAssembly: a standard library for it in the toolchain at hand, or Debian's compiler, which
# comes with the source of one.
compiles_to_wasm() {
  local sysroot
  sysroot=$(cd "$CLONE" && rustc --print sysroot 2>/dev/null) && [ -d "$sysroot/lib/rustlib/wasm32-unknown-unknown/lib" ]
}

# missing_packages [mariadb | valgrind]...: the Debian packages that bring what is missing, one a line.
missing_packages() {
  has cc && has make || echo build-essential
  has pkg-config || echo pkg-config
  pkg-config --exists openssl 2>/dev/null || echo libssl-dev
  has curl || echo curl
  java_is_new_enough || echo openjdk-17-jre-headless
  has mvn || echo maven
  has python3 || echo python3
  python3 -c 'import venv, ensurepip' 2>/dev/null || echo python3-venv
  clickhouse_binary >/dev/null || { has node && has npm; } || echo npm
  has setpriv && has flock || echo util-linux
  [ -x "$PG_BIN/postgres" ] && [ -x "$PG_BIN/psql" ] || echo postgresql
  # The server without the package that would run it as a service of the system.
  [[ " $* " != *" mariadb "* ]] || { [ -x "$MARIADBD" ] && [ -x "$MARIADB" ]; } || printf '%s\n' mariadb-server-core mariadb-client-core
  [[ " $* " != *" valgrind "* ]] || has valgrind || echo valgrind
  if ! compiles_to_wasm; then
    [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -d /usr/lib/rustlib/src/rust/library/std ] || printf '%s\n' rustc-web cargo-web rust-web-src
  fi
}

# install_packages [mariadb | valgrind]...: as root installs what is missing, otherwise names it and fails with status 3.
install_packages() {
  local missing what
  for what in "$@"; do
    case $what in mariadb | valgrind) ;; *) echo "stack: nothing is installed for '$what'" >&2; exit 2 ;; esac
  done
  if ! has cargo || ! has rustc; then
    echo 'stack: no Rust toolchain; install one with rustup (rust-toolchain.toml names the version)' >&2
    exit 3
  fi
  mapfile -t missing < <(missing_packages "$@")
  if [ ${#missing[@]} = 0 ]; then
    say install 'nothing is missing'
    return
  fi
  if [ "$EUID" != 0 ] || ! has apt-get; then
    echo "stack: missing: ${missing[*]} (Debian's names). Run: sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 3
  fi
  say install "${missing[*]} ..."
  { apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends "${missing[@]}"; } >&2 ||
    { echo "stack: apt-get could not install: ${missing[*]}" >&2; exit 3; }
  PG_BIN=$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
  MARIADBD=$(PATH=$PATH:/usr/sbin command -v mariadbd || true) MARIADB=$(command -v mariadb || true)
  mapfile -t missing < <(missing_packages "$@")
  [ ${#missing[@]} = 0 ] || { echo "stack: still missing after the installation: ${missing[*]}" >&2; exit 3; }
}
