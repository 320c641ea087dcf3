#!/usr/bin/env bash
# The whole way on this machine, with real servers: PostgreSQL -> Debezium -> Kafka -> host -> ClickHouse.
# Builds what is not built, starts what does not run, changes rows for a while, shows what arrived, and stops what it
# started. Data stays: a second run adds rows. Settings: tests/stack/lib/settings.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

SECONDS_TO_RUN=${SECONDS_TO_RUN:-20}
RATE=${RATE:-20} # updates per second
CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-$HOME/.cache/rowgate/target}")
export CARGO_TARGET_DIR
stack=tests/stack/stack
transforms=$PWD/guest-transforms/dist

began=$EPOCHREALTIME
tenths() { local us=$((${EPOCHREALTIME/[.,]/} - ${1/[.,]/})); echo "$((us / 1000000)).$((us / 100000 % 10))"; }
phase() { # phase NAME COMMAND...: runs it between two lines that say what it does and how long it took
  local name=$1 t0=$EPOCHREALTIME
  shift
  echo "== $name"
  "$@"
  echo "== $name: $(tenths "$t0") s"
}

# Ends what this run started, and only that.
updater=
started=()
clean_up() {
  local status=$?
  trap - EXIT INT TERM
  [ -z "$updater" ] || { kill "$updater" && wait "$updater"; } 2>/dev/null || true
  if [ ${#started[@]} != 0 ]; then phase 'stopping the servers' $stack stop "${started[@]}" || status=1; fi
  [ "$status" = 0 ] || echo "the demo failed with status $status" >&2
  exit "$status"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start_servers() {
  local name
  for name in clickhouse connect kafka postgres; do # in the order of stopping
    # shellcheck disable=SC2016 # for awk
    if [ "$($stack status | awk -v name=$name '$1 == name {print $2}')" = down ]; then started+=("$name"); fi
  done
  $stack up
}

register_connector() {
  examples/update_postgres.py --updates 0 # the connector needs the table
  $stack connector app
}

run_host() {
  # Two seconds less than the host, so that the last changes are through before it ends.
  examples/update_postgres.py --rate "$RATE" --for $((SECONDS_TO_RUN - 2)) &
  updater=$!
  (cd "$transforms" && "$CARGO_TARGET_DIR/debug/host" --transform update_only.wasm --for "${SECONDS_TO_RUN}s" --print --show-last 10)
  wait "$updater"
  updater=
}

# Every row comes from another record: none is there twice.
check() {
  local rows records
  read -r rows records < <($stack query "SELECT count(), uniqExact(_topic, _partition, _offset) FROM $ROWGATE_TABLE")
  echo "$ROWGATE_TABLE has $rows rows from $records records"
  if [ "$rows" = 0 ] || [ "$rows" != "$records" ]; then
    echo 'there should be some, and one from each record' >&2
    return 1
  fi
}

phase 'installing what is missing' $stack install
phase 'fetching Kafka, Debezium and ClickHouse' $stack fetch
phase 'building the host' cargo build --quiet -p host
phase 'building the transforms' make --no-print-directory guests
phase 'starting the servers' start_servers

settings=$($stack env)
eval "$settings"
export PG_URL PSQL ROWGATE_BROKERS=$BROKERS ROWGATE_TOPIC=app.public.my_table ROWGATE_CLICKHOUSE_URL=$CLICKHOUSE_URL ROWGATE_TABLE=changes

phase 'registering the connector' register_connector
phase 'running host --transform update_only.wasm' run_host
phase 'checking' check
echo "== the demo is done: $(tenths "$began") s, then the servers stop"
