# Debezium connectors; sourced, not run.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # names that the other files set and use

# connect_request NAME METHOD PATH [CURL_ARGUMENT...]: to the connector NAME
connect_request() {
  local reply=$LOG/connector-$1.reply code
  code=$(curl -sS -X "$2" -o "$reply" -w '%{http_code}' "${@:4}" "$CONNECT_URL/connectors/$1$3") && [[ $code == 2?? ]] ||
    die "connector $1: $2 $3 gave status $code: $(cat "$reply")"
}

# The connector and its task run, and PostgreSQL sees its slot in use.
streaming() { # streaming NAME SLOT
  local status
  status=$(curl -fs "$CONNECT_URL/connectors/$1/status") || return 1
  case $status in *'"state":"FAILED"'*) die "connector $1 failed: $status" ;; esac
  [ "$(grep -o '"state":"RUNNING"' <<<"$status" | wc -l)" = 2 ] &&
    [ "$(sql -c "select active from pg_replication_slots where slot_name = '$2'")" = t ]
}

stopped() { curl -fs "$CONNECT_URL/connectors/$1/status" | grep -q '"state":"STOPPED".*"tasks":\[\]'; }

slot_of() { sed -n 's/.*"slot.name": "\(.*\)".*/\1/p' "$CONF/connector-$1.json"; }
publication_of() { sed -n 's/.*"publication.name": "\(.*\)".*/\1/p' "$CONF/connector-$1.json"; }

put_connector() { # put_connector NAME
  connect_request "$1" PUT /config -H 'Content-Type: application/json' --data-binary "@$CONF/connector-$1.json"
}

# make_connector NAME [OPTION...]: makes it, or gives it these options, and waits until it streams.
make_connector() {
  local name=$1 config=$CONF/connector-$1.json t0
  t0=$(now_us)
  python3 "$STACK_HOME/lib/connector_config.py" "${CONNECTOR_BASE:-$CLONE/examples/connector.json}" "$@" >"$config.new" ||
    die "connector $name: bad options"
  # A PUT restarts the connector even when nothing changed, so it is left out then.
  if cmp -s "$config.new" "$config" && curl -fs -o /dev/null "$CONNECT_URL/connectors/$name"; then
    rm "$config.new"
  else
    mv "$config.new" "$config"
    put_connector "$name"
  fi
  await connect streaming "$name" "$(slot_of "$name")"
  say connector "$name streams, after $(since_ms "$t0") ms"
}

restore_connectors() {
  local config name
  for config in "$CONF"/connector-*.json; do
    [ -e "$config" ] || continue
    name=${config##*/connector-} name=${name%.json}
    curl -fs -o /dev/null "$CONNECT_URL/connectors/$name" || put_connector "$name"
    say connector "$name registered"
  done
}

# remove_connector NAME: with its stored offsets, slot and publication; its topics stay.
remove_connector() {
  local name=$1 config=$CONF/connector-$1.json
  [ -e "$config" ] || die "no connector '$name'"
  # Offsets outlive a connector; with the slot gone, a new connector of this name would find them and fail.
  connect_request "$name" PUT /stop
  await connect stopped "$name"
  connect_request "$name" DELETE /offsets
  connect_request "$name" DELETE ''
  sql -c "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '$(slot_of "$name")'" \
    -c "drop publication if exists $(publication_of "$name")" >/dev/null
  rm "$config"
  say connector "$name removed"
}
