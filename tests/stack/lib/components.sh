# What each component is: its port, how it starts, when it is ready, which signal stops it; sourced, not run.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # names that the other files set and use

# In the order of starting; they are stopped in the other.
ALL=(postgres mariadb kafka registry connect clickhouse clickhouse-old faults)
USUAL=(postgres kafka connect clickhouse)

known() { [[ " ${ALL[*]} " == *" $1 "* ]] || die "no component '$1'; there are: ${ALL[*]}"; }

port_of() {
  case $1 in
    postgres) echo "$POSTGRES_PORT" ;;
    mariadb) echo "$MARIADB_PORT" ;;
    kafka) echo "$KAFKA_PORT" ;;
    registry) echo "$REGISTRY_PORT" ;;
    connect) echo "$CONNECT_PORT" ;;
    clickhouse) echo "$CLICKHOUSE_PORT" ;;
    clickhouse-old) echo "$CLICKHOUSE_OLD_PORT" ;;
    faults) echo "$FAULTS_PORT" ;;
  esac
}

# render FILE TARGET NAME=VALUE...: writes conf/FILE to TARGET with each @NAME@ replaced.
render() {
  local text target=$2 pair
  text=$(<"$STACK_HOME/conf/$1")
  shift 2
  for pair in "$@"; do text=${text//"@${pair%%=*}@"/"${pair#*=}"}; done
  printf '%s\n' "$text" >"$target"
}

# --- PostgreSQL

as_user() { # as_user USER COMMAND...: prints the command that runs it as that user, where the caller is root
  [ "$EUID" != 0 ] || printf '%s\n' setpriv --reuid "$1" --regid "$(id -g "$1")" --init-groups
  printf '%s\n' "${@:2}"
}
as_postgres() { as_user "$PG_OS_USER" "$@"; }

sql() { # sql PSQL_ARGUMENT...: psql as the superuser, plain output
  PGOPTIONS='-c client_min_messages=warning' "$PSQL" -XqAt -v ON_ERROR_STOP=1 "$PG_URL" "$@"
}

start_postgres() {
  local dir=$DATA/postgres command
  [ -x "$PG_BIN/postgres" ] || die "no PostgreSQL server found; run '$0 install', or set PG_BIN"
  if [ "$EUID" = 0 ]; then
    install -d -m 700 -o "$PG_OS_USER" "$dir"
    mapfile -t command < <(as_postgres test -w "$dir")
    "${command[@]}" || die "user $PG_OS_USER cannot reach $dir; set STACK_DIR to a place that it can"
  fi
  if [ ! -e "$dir/PG_VERSION" ]; then
    mapfile -t command < <(as_postgres "$PG_BIN/initdb" -D "$dir" -U postgres --auth=trust -E UTF8 --locale=C --no-sync)
    (cd / && "${command[@]}") >"$LOG/initdb.log" 2>&1 || die "initdb failed, see $LOG/initdb.log"
  fi
  # A killed server leaves its lock, which holds the next one off while the dead process waits for its parent.
  ended "$(head -n 1 "$dir/postmaster.pid" 2>/dev/null)" && rm -f "$dir/postmaster.pid"
  mapfile -t command < <(as_postgres "$PG_BIN/postgres" -D "$dir" \
    -c listen_addresses="$HOST" -c port="$POSTGRES_PORT" -c unix_socket_directories= \
    -c wal_level=logical -c max_wal_senders=20 -c max_replication_slots=20)
  # shellcheck disable=SC2086 # PG_ARGS is several words
  (cd / && launch postgres "${command[@]}" $PG_ARGS)
}

postgres_accepts() { "$PSQL" -XqAt "${PG_URL%/*}/postgres" -c 'select 1'; } >/dev/null 2>&1
ready_postgres() {
  postgres_accepts || return 1
  [ "$("$PSQL" -XqAt "${PG_URL%/*}/postgres" -c "select 1 from pg_database where datname = '$PG_DATABASE'")" ] ||
    "$PSQL" -Xq "${PG_URL%/*}/postgres" -c "create database $PG_DATABASE"
}

# --- MariaDB

mariadb_client() { # mariadb_client MARIADB_ARGUMENT...: the client as the superuser, plain output
  "$MARIADB" --no-defaults --protocol=tcp -h "$HOST" -P "$MARIADB_PORT" -u root --default-character-set=utf8mb4 -NB "$@"
}

start_mariadb() {
  local dir=$DATA/mariadb command
  [ -x "$MARIADBD" ] && [ -x "$MARIADB" ] || die "no MariaDB server found; run '$0 install mariadb', or set MARIADBD and MARIADB"
  if [ "$EUID" = 0 ]; then
    install -d -m 700 -o "$MARIADB_OS_USER" "$dir"
    mapfile -t command < <(as_user "$MARIADB_OS_USER" test -w "$dir")
    "${command[@]}" || die "user $MARIADB_OS_USER cannot reach $dir; set STACK_DIR to a place that it can"
  fi
  mkdir -p "$dir"
  if [ ! -d "$dir/mysql" ]; then
    # The superuser has no password, as with the other servers; without a socket nobody else's is taken for root.
    mapfile -t command < <(as_user "$MARIADB_OS_USER" "${MARIADBD%/*bin/mariadbd}/bin/mariadb-install-db" --no-defaults \
      --datadir="$dir" --auth-root-authentication-method=normal --skip-test-db --skip-name-resolve)
    (cd / && "${command[@]}") >"$LOG/mariadb-install.log" 2>&1 || die "mariadb-install-db failed, see $LOG/mariadb-install.log"
  fi
  # A connector reads whole rows from the binary log.
  mapfile -t command < <(as_user "$MARIADB_OS_USER" "$MARIADBD" --no-defaults --datadir="$dir" --bind-address="$HOST" \
    --port="$MARIADB_PORT" --socket= --pid-file="$dir/pid" --skip-name-resolve --default-time-zone=+00:00 \
    --character-set-server=utf8mb4 --server-id=1 --log-bin=binlog --binlog-format=ROW --binlog-row-image=FULL \
    --innodb-buffer-pool-size=32M --innodb-log-file-size=32M)
  # shellcheck disable=SC2086 # MARIADB_ARGS is several words
  (cd / && launch mariadb "${command[@]}" $MARIADB_ARGS)
}

ready_mariadb() { mariadb_client -e "create database if not exists $MARIADB_DATABASE"; } >/dev/null 2>&1

# --- the programs in Java

# Where the archives of classes are: they are good for one Java and one set of jars.
archives() { echo "$JAVA_LIBS/cds-$(stat -L -c '%Y-%s' "$(command -v java)")"; }

# java_args NAME: what makes a Java program start fast. Its classes are archived when it first stops in order
# (see keep_archive), and mapped from then on; the first compiler alone saves half of the start's CPU.
java_args() {
  local jsa
  jsa=$(archives)/$1.jsa
  if [ -e "$jsa" ]; then jsa=-XX:SharedArchiveFile=$jsa; else jsa=-XX:ArchiveClassesAtExit=$RUN/$1.jsa; fi
  printf '%s\n' "$jsa" -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xlog:disable -Xlog:all=error:stderr
}

keep_archive() { # keep_archive NAME: after it stopped in order
  local made=$RUN/$1.jsa dir
  [ -e "$made" ] || return 0
  dir=$(archives)
  mkdir -p "$dir"
  # Through a name of its own, so that another stack never maps half an archive.
  mv "$made" "$dir/$1.$$" && mv "$dir/$1.$$" "$dir/$1.jsa"
}

KAFKA_JAVA=(java "-Dlog4j2.configurationFile=$STACK_HOME/conf/log4j2.properties" -cp "$JAVA_LIBS/kafka/*")

start_kafka() {
  local conf=$CONF/server.properties java
  render server.properties "$conf" HOST="$HOST" KAFKA_PORT="$KAFKA_PORT" CONTROLLER_PORT="$CONTROLLER_PORT" DATA="$DATA"
  if [ ! -e "$DATA/kafka/meta.properties" ]; then # the cluster id is any 16 bytes in base64url, without padding
    mapfile -t java < <(java_args kafka-format)
    "${KAFKA_JAVA[@]}" "${java[@]}" kafka.tools.StorageTool format --cluster-id rowgate-stack-00000001 \
      --config "$conf" >"$LOG/kafka-format.log" 2>&1 || die "formatting Kafka's log failed, see $LOG/kafka-format.log"
    keep_archive kafka-format
  fi
  mapfile -t java < <(java_args kafka)
  # shellcheck disable=SC2086 # several words
  launch kafka "${KAFKA_JAVA[@]}" "${java[@]}" $KAFKA_JAVA_ARGS kafka.Kafka "$conf"
}

# The broker answers a Metadata request (version 1, for no topic) and lists a live broker: itself.
ready_kafka() (
  exec 3<>"/dev/tcp/$HOST/$KAFKA_PORT"
  printf '\0\0\0\016\0\003\0\001\0\0\0\001\377\377\0\0\0\0' >&3
  # size (4 bytes), correlation id (4), number of brokers (4)
  [ "$(timeout 2 head -c 12 <&3 | od -An -tu1 -j11)" -ge 1 ]
) 2>/dev/null

start_connect() {
  local conf=$CONF/worker.properties java
  render worker.properties "$conf" BROKERS="$BROKERS" HOST="$HOST" CONNECT_PORT="$CONNECT_PORT" DATA="$DATA" LIBS="$JAVA_LIBS"
  mapfile -t java < <(java_args connect)
  # The connector's configuration names these variables, here and under Compose alike.
  # shellcheck disable=SC2086 # several words
  launch connect env POSTGRES_HOST="$HOST" POSTGRES_PORT="$POSTGRES_PORT" POSTGRES_USER=postgres POSTGRES_PASSWORD=unused \
    POSTGRES_DB="$PG_DATABASE" MARIADB_HOST="$HOST" MARIADB_PORT="$MARIADB_PORT" KAFKA_BROKERS="$BROKERS" REGISTRY_NATIVE_URL="${REGISTRY_URL%/ccompat*}/registry/v2" \
    "${KAFKA_JAVA[@]}" "${java[@]}" $CONNECT_JAVA_ARGS org.apache.kafka.connect.cli.ConnectStandalone "$conf"
}
ready_connect() { curl -fs -o /dev/null "$CONNECT_URL/connectors"; }

start_registry() {
  [ -e "$JAVA_LIBS/registry" ] || die "no schema registry; run '$0 fetch registry'"
  # shellcheck disable=SC2086 # several words
  launch registry java -XX:TieredStopAtLevel=1 -XX:+UseSerialGC $REGISTRY_JAVA_ARGS \
    -Dquarkus.http.host="$HOST" -Dquarkus.http.port="$REGISTRY_PORT" \
    -Dquarkus.datasource.jdbc.url="jdbc:h2:file:$DATA/registry/schemas;WRITE_DELAY=0" -jar "$JAVA_LIBS"/registry/apicurio-registry-app-*-runner.jar
}
ready_registry() { curl -fs -o /dev/null "$REGISTRY_URL/subjects"; }

# --- ClickHouse

# The server of an installed `clickhouse`, where it is new enough for the tokens and types that the host uses.
clickhouse_binary() {
  local binary=${CLICKHOUSE_BIN:-$(command -v clickhouse)} major
  [ "$binary" ] || return 1
  major=$("$binary" local --version 2>/dev/null | grep -oE '[0-9]+\.[0-9]+' | head -n 1)
  [ "${CLICKHOUSE_BIN:-}" ] || [ "${major%%.*}" -ge 24 ] 2>/dev/null || return 1
  echo "$binary"
}

start_clickhouse() {
  local binary
  if binary=$(clickhouse_binary); then
    render clickhouse.xml "$CONF/clickhouse.xml" HOST="$HOST" PORT="$CLICKHOUSE_PORT" DATA="$DATA/clickhouse" \
      USER="$CLICKHOUSE_USER" PASSWORD_SHA256="$(printf %s "$CLICKHOUSE_PASSWORD" | sha256sum | cut -d' ' -f1)" MORE="$CLICKHOUSE_XML" \
      USERS="$CLICKHOUSE_USERS"
    mkdir -p "$DATA/clickhouse"
    # The watchdog would be a parent that a SIGKILL of ours misses.
    (cd "$DATA/clickhouse" && launch clickhouse env CLICKHOUSE_WATCHDOG_ENABLE=0 TZ=UTC "$binary" server --config-file="$CONF/clickhouse.xml")
  else
    [ -e "$ENGINE/node_modules" ] || die "no ClickHouse engine; run '$0 fetch'"
    CLICKHOUSE_PASSWORD=$CLICKHOUSE_PASSWORD launch clickhouse python3 "$STACK_HOME/clickhouse/server.py" \
      --engine "$ENGINE/node_modules/@chdb/lib-linux-x64-gnu/libchdb.so" --path "$DATA/clickhouse" \
      --host "$HOST" --http-port "$CLICKHOUSE_PORT" --user "$CLICKHOUSE_USER" --config "$CLICKHOUSE_XML" --users "$CLICKHOUSE_USERS"
  fi
}
ready_clickhouse() { [ "$(query 'SELECT 1' 2>/dev/null)" = 1 ]; }

query() { # query SQL: its answer, as ClickHouse gives it
  # The headers come on standard input, for other users see the arguments.
  curl -sS --fail-with-body -H @- --data-binary "$1" "$CLICKHOUSE_URL/" <<<"X-ClickHouse-User: $CLICKHOUSE_USER
X-ClickHouse-Key: $CLICKHOUSE_PASSWORD"
}

start_clickhouse-old() {
  local conf=$CONF/clickhouse-old.xml libs
  [ -d "$ENGINE_OLD" ] || die "no old ClickHouse; run '$0 fetch clickhouse-old'"
  render clickhouse-old.xml "$conf" HOST="$HOST" PORT="$CLICKHOUSE_OLD_PORT" DATA="$DATA/clickhouse-old" CONF="$conf"
  mkdir -p "$DATA/clickhouse-old"
  libs=$(find "$ENGINE_OLD" -name '*.so*' -printf '%h\n' | sort -u | paste -sd:)
  (cd "$DATA/clickhouse-old" && launch clickhouse-old env TZ=UTC LD_LIBRARY_PATH="$libs" \
    "$ENGINE_OLD/usr/sbin/clickhouse-server" --config-file="$conf")
}
ready_clickhouse-old() { [ "$(curl -fs --data-binary 'SELECT 1' "$CLICKHOUSE_OLD_URL/")" = 1 ]; }

start_faults() {
  launch faults python3 "$STACK_HOME/clickhouse/faults.py" --host "$HOST" --port "$FAULTS_PORT" \
    --admin-port "$FAULTS_ADMIN_PORT" --upstream-port "$CLICKHOUSE_PORT"
}
ready_faults() { curl -fs -o /dev/null "http://$HOST:$FAULTS_ADMIN_PORT/_stats"; }

# --- all of them alike

# begin NAME: starts it unless it runs.
begin() {
  ! pid_of "$1" >/dev/null || return 0
  ! port_open "$(port_of "$1")" || die "$1: port $(port_of "$1") is in use by another process; set PORT_BASE"
  "start_$1"
}

# start NAME...: starts what is down, all at once, and waits until each is ready.
start() {
  local name t0
  t0=$(now_us)
  for name in "$@"; do begin "$name"; done
  for name in "$@"; do
    await "$name" "ready_$name"
    touch "$RUN/$name.ready"
    say "$name" "ready, pid $(pid_of "$name"), port $(port_of "$name"), after $(since_ms "$t0") ms"
    # Standalone Connect forgets its connectors when it ends.
    [ "$name" != connect ] || restore_connectors
  done
}

# stop NAME...: stops each in order, and kills what does not stop within half a minute.
stop() {
  local name signal t0 how pid
  for name in "$@"; do
    pid=$(pid_of "$name") || { rm -f "$RUN/$name.pid"; continue; }
    case $name in postgres) signal=INT ;; *) signal=TERM ;; esac # INT: without waiting for clients to leave
    t0=$(now_us)
    if end_process "$name" $signal 30; then how=stopped; else how=killed; fi
    # One that was not up yet, or was killed, has a poor archive or half of one.
    if [ $how = stopped ] && [ -e "$RUN/$name.ready" ]; then keep_archive "$name"; else rm -f "$RUN/$name.jsa"; fi
    say "$name" "$how, pid $pid, after $(since_ms "$t0") ms"
  done
}

# kill_hard NAME...: SIGKILL, as a crash would end it.
kill_hard() {
  local name pid
  for name in "$@"; do
    pid=$(pid_of "$name") || die "$name is not running"
    end_process "$name" KILL 10 || true
    say "$name" "killed, pid $pid"
  done
}

suspend() { # suspend STOP|CONT NAME...: freezes them, or lets them go on
  local signal=$1 name pid
  shift
  for name in "$@"; do
    pid=$(pid_of "$name") || die "$name is not running"
    signal_tree "$signal" "$pid"
    say "$name" "$([ "$signal" = STOP ] && echo paused || echo continued), pid $pid"
  done
}
