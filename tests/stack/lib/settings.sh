# Settings of the stack, each of which may be given in the environment; sourced, not run.
# shellcheck shell=bash disable=SC2034 # the other files use them

STACK_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CLONE=$(cd "$STACK_HOME/../.." && pwd)

# What is fetched is kept outside the clone: other clones, and the next run, find it there.
CACHE=${ROWGATE_CACHE:-$HOME/.cache/rowgate}

# PostgreSQL refuses to run as root and runs as PG_OS_USER then, who must be able to reach its data:
# not given below a home that is root's alone. Only x for everyone is asked, for the user may not exist yet.
reachable_by_others() { # reachable_by_others DIRECTORY
  local dir=$1
  until [ "$dir" = / ]; do
    (($(stat -c '0%a' "$dir" 2>/dev/null || echo 0) & 1)) || return 1
    dir=$(dirname "$dir")
  done
}

default_stack_dir() {
  if [ "$EUID" = 0 ] && ! reachable_by_others "$CLONE"; then
    echo "${TMPDIR:-/tmp}/rowgate-$EUID-$(sha256sum <<<"$CLONE" | cut -c1-12)"
  else
    echo "$CLONE/.stack"
  fi
}
STACK_DIR=$(realpath -m "${STACK_DIR:-$(default_stack_dir)}")
RUN=$STACK_DIR/run LOG=$STACK_DIR/log CONF=$STACK_DIR/conf DATA=$STACK_DIR/data

# A second stack needs another STACK_DIR and another PORT_BASE, ten ports away. The range lies below the ports
# that Linux gives to outgoing connections, which could otherwise take one between two starts.
HOST=127.0.0.1
PORT_BASE=${PORT_BASE:-19090}
CLICKHOUSE_OLD_PORT=${CLICKHOUSE_OLD_PORT:-$PORT_BASE}
MARIADB_PORT=${MARIADB_PORT:-$((PORT_BASE + 1))}
KAFKA_PORT=${KAFKA_PORT:-$((PORT_BASE + 2))}
CONTROLLER_PORT=${CONTROLLER_PORT:-$((PORT_BASE + 3))}
CONNECT_PORT=${CONNECT_PORT:-$((PORT_BASE + 4))}
POSTGRES_PORT=${POSTGRES_PORT:-$((PORT_BASE + 5))}
CLICKHOUSE_PORT=${CLICKHOUSE_PORT:-$((PORT_BASE + 6))}
FAULTS_PORT=${FAULTS_PORT:-$((PORT_BASE + 7))}
FAULTS_ADMIN_PORT=${FAULTS_ADMIN_PORT:-$((PORT_BASE + 8))}
REGISTRY_PORT=${REGISTRY_PORT:-$((PORT_BASE + 9))}

PG_DATABASE=${PG_DATABASE:-app}
PG_OS_USER=${PG_OS_USER:-postgres} # runs the server when the caller is root
PG_ARGS=${PG_ARGS:-}               # more arguments for the server, such as "-c fsync=off"

MARIADB_DATABASE=${MARIADB_DATABASE:-app}
MARIADB_OS_USER=${MARIADB_OS_USER:-nobody} # runs the server when the caller is root
MARIADB_ARGS=${MARIADB_ARGS:-}             # more arguments for the server, such as "--sql-mode="

CLICKHOUSE_USER=${CLICKHOUSE_USER:-default} # with a password, a user other than `default`
CLICKHOUSE_PASSWORD=${CLICKHOUSE_PASSWORD:-}
CLICKHOUSE_XML=${CLICKHOUSE_XML:-} # more of the server's configuration, such as "<max_concurrent_queries>3</max_concurrent_queries>"
CLICKHOUSE_USERS=${CLICKHOUSE_USERS:-} # more users, as elements of <users>

KAFKA_JAVA_ARGS=${KAFKA_JAVA_ARGS:--Xms128m -Xmx512m}
CONNECT_JAVA_ARGS=${CONNECT_JAVA_ARGS:--Xms128m -Xmx512m}
REGISTRY_JAVA_ARGS=${REGISTRY_JAVA_ARGS:--Xms64m -Xmx256m}

START_TIMEOUT=${START_TIMEOUT:-180} # seconds, for each component; a busy machine needs a multiple of an idle one

# What the system's packages, npm and Maven fetch or install is found here.
PG_BIN=${PG_BIN:-$(find /usr/lib/postgresql -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)}
MARIADBD=${MARIADBD:-$(PATH=$PATH:/usr/sbin command -v mariadbd || true)}
MARIADB=${MARIADB:-$(command -v mariadb || true)}
JAVA_LIBS=$CACHE/stack/java-$(sha256sum <"$STACK_HOME/pom.xml" | cut -c1-12)
# The oldest server that is tested: that of Debian's package, unpacked.
ENGINE_OLD=$CACHE/stack/clickhouse-old-$(dpkg --print-architecture 2>/dev/null)
# A registry of images and of transforms, the same way. Tests start it by themselves.
DOCKER_REGISTRY=$CACHE/stack/docker-registry-$(dpkg --print-architecture 2>/dev/null)/usr/bin/docker-registry
ENGINE=$CACHE/stack/clickhouse-$(sha256sum <"$STACK_HOME/clickhouse/package-lock.json" | cut -c1-12)

BROKERS=$HOST:$KAFKA_PORT
CONNECT_URL=http://$HOST:$CONNECT_PORT
CLICKHOUSE_URL=http://$HOST:$CLICKHOUSE_PORT
CLICKHOUSE_OLD_URL=http://$HOST:$CLICKHOUSE_OLD_PORT
FAULTS_URL=http://$HOST:$FAULTS_PORT
FAULTS_ADMIN_URL=http://$HOST:$FAULTS_ADMIN_PORT
REGISTRY_URL=http://$HOST:$REGISTRY_PORT/apis/ccompat/v7 # where the registry speaks Confluent's protocol
PG_URL=postgresql://postgres@$HOST:$POSTGRES_PORT/$PG_DATABASE
PSQL=$PG_BIN/psql
