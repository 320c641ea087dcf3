# Debezium connectors; sourced, not run.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # names that the other files set and use

# connect_request NAME METHOD PATH [CURL_ARGUMENT...]: to the connector NAME
connect_request() {
  local reply=$LOG/connector-$1.reply code
  code=$(curl -sS -X "$2" -o "$reply" -w '%{http_code}' "${@:4}" "$CONNECT_URL/connectors/$1$3") && [[ $code == 2?? ]] ||
    die "connector $1: $2 $3 gave status $code: $(cat "$reply")"
}

of_mariadb() { grep -q '"connector.class": ".*mariadb' "$CONF/connector-$1.json"; } # of_mariadb NAME

# The connector and its task run, and PostgreSQL sees its slot in use, or MariaDB that its user reads the binary log.
streaming() { # streaming NAME
  local status
  status=$(curl -fs "$CONNECT_URL/connectors/$1/status") || return 1
  case $status in *'"state":"FAILED"'*) die "connector $1 failed: $status" ;; esac
  [ "$(grep -o '"state":"RUNNING"' <<<"$status" | wc -l)" = 2 ] &&
    if of_mariadb "$1"; then
      [ "$(mariadb_client -e "select count(*) from information_schema.processlist where user = '$1' and command = 'Binlog Dump'")" = 1 ]
    else
      [ "$(sql -c "select active from pg_replication_slots where slot_name = '$(slot_of "$1")'")" = t ]
    fi
}

stopped() { curl -fs "$CONNECT_URL/connectors/$1/status" | grep -q '"state":"STOPPED".*"tasks":\[\]'; }

slot_of() { sed -n 's/.*"slot.name": "\(.*\)".*/\1/p' "$CONF/connector-$1.json"; }
publication_of() { sed -n 's/.*"publication.name": "\(.*\)".*/\1/p' "$CONF/connector-$1.json"; }

put_connector() { # put_connector NAME
  connect_request "$1" PUT /config -H 'Content-Type: application/json' --data-binary "@$CONF/connector-$1.json"
}

# make_connector NAME [OPTION...]: makes it, or gives it these options, and waits until it streams.
make_connector() {
  local name=$1 config=$CONF/connector-$1.json base=${CONNECTOR_BASE:-$CLONE/examples/connector.json} t0
  t0=$(now_us)
  shift
  if [ "${1:-}" = mariadb ]; then
    base=${CONNECTOR_BASE:-$STACK_HOME/conf/mariadb-connector.json}
    shift
    # A user of its own: the server's list of processes shows by it that this connector reads the log.
    mariadb_client -e "create user if not exists '$name'@'$HOST'; grant all on *.* to '$name'@'$HOST'"
  fi
  python3 "$STACK_HOME/lib/connector_config.py" "$base" "$name" "$@" >"$config.new" ||
    die "connector $name: bad options"
  # A PUT restarts the connector even when nothing changed, so it is left out then.
  if cmp -s "$config.new" "$config" && curl -fs -o /dev/null "$CONNECT_URL/connectors/$name"; then
    rm "$config.new"
  else
    mv "$config.new" "$config"
    put_connector "$name"
  fi
  await connect streaming "$name"
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

# remove_connector NAME: with its stored offsets, and its slot and publication or its user; its topics stay.
remove_connector() {
  local name=$1 config=$CONF/connector-$1.json
  [ -e "$config" ] || die "no connector '$name'"
  # Offsets outlive a connector; with the slot gone, a new connector of this name would find them and fail.
  connect_request "$name" PUT /stop
  await connect stopped "$name"
  connect_request "$name" DELETE /offsets
  connect_request "$name" DELETE ''
  if of_mariadb "$name"; then
    mariadb_client -e "drop user '$name'@'$HOST'"
  else
    sql -c "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = '$(slot_of "$name")'" \
      -c "drop publication if exists $(publication_of "$name")" >/dev/null
  fi
  rm "$config"
  say connector "$name removed"
}
