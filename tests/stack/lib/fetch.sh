# Fetching the programs that no system package brings into the cache; sourced, not run.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # names that the other files set and use

dependency_plugin=org.apache.maven.plugins:maven-dependency-plugin:3.8.1

# fetch_jars DIRECTORY MAVEN_ARGUMENT...: fills it below $JAVA_LIBS, at once or not at all.
fetch_jars() {
  local dir=$JAVA_LIBS/$1 new=$JAVA_LIBS/.new log=$CACHE/stack/fetch.log t0
  [ ! -d "$dir" ] || return 0
  t0=$(now_us)
  say fetch "$1 ..."
  shift
  rm -rf "$new"
  mkdir -p "$new" "$(dirname "$dir")"
  cp "$STACK_HOME/pom.xml" "$new/pom.xml" # Maven makes a target directory beside it
  # overWriteReleases: without it, what was unpacked once is not unpacked again, even when it is gone.
  mvn -B -f "$new/pom.xml" -Dmdep.overWriteReleases=true -DoutputDirectory="$new/out" "$@" >"$log" 2>&1 ||
    { grep ERROR "$log" | head -n 5 >&2; die "fetching failed, see $log"; }
  mv "$new/out" "$dir"
  rm -rf "$new"
  say fetch "${dir##*/}: $(find "$dir" -name '*.jar' | wc -l) jars, $(du -sm "$dir" | cut -f1) MB, in $(since_ms "$t0") ms"
}

fetch_registry() {
  local plugin=$JAVA_LIBS/plugins/apicurio-avro services version
  if [ ! -d "$plugin" ]; then
    fetch_jars avro-plugin -P apicurio-avro $dependency_plugin:copy-dependencies -DincludeScope=runtime
    # The converter names no service file, without which a worker with plugin.discovery=service_load does not see it.
    services=$JAVA_LIBS/avro-plugin/services
    mkdir -p "$services/META-INF/services"
    echo io.apicurio.registry.utils.converter.AvroConverter >"$services/META-INF/services/org.apache.kafka.connect.storage.Converter"
    (cd "$services" && python3 -m zipfile -c ../services.jar META-INF)
    rm -r "$services"
    mv "$JAVA_LIBS/avro-plugin" "$plugin"
  fi
  version=$(sed -n 's|.*<apicurio.version>\(.*\)</apicurio.version>.*|\1|p' "$STACK_HOME/pom.xml")
  fetch_jars registry $dependency_plugin:unpack -Dartifact="io.apicurio:apicurio-registry-app:$version:tar.gz:all"
}

fetch_engine() {
  local new=$ENGINE.new t0
  ! clickhouse_binary >/dev/null || return 0
  [ ! -d "$ENGINE" ] || return 0
  [ "$(uname -sm)" = 'Linux x86_64' ] || die "no ClickHouse for $(uname -sm) among the packages; install 'clickhouse' or set CLICKHOUSE_BIN"
  t0=$(now_us)
  say fetch 'ClickHouse engine ...'
  rm -rf "$new"
  mkdir -p "$new"
  cp "$STACK_HOME"/clickhouse/package*.json "$new"
  (cd "$new" && npm ci --no-audit --no-fund) >"$CACHE/stack/fetch.log" 2>&1 || die "npm ci failed, see $CACHE/stack/fetch.log"
  mv "$new" "$ENGINE"
  say fetch "ClickHouse engine: $(du -sm "$ENGINE" | cut -f1) MB, in $(since_ms "$t0") ms"
}

# An old server, from Debian's packages: it and the libraries that it names, unpacked and not installed.
fetch_clickhouse_old() {
  local new=$ENGINE_OLD.new log=$CACHE/stack/fetch.log packages package t0
  [ ! -d "$ENGINE_OLD" ] || return 0
  t0=$(now_us)
  say fetch 'old ClickHouse ...'
  # The C library is the system's own: another one would not go with its loader.
  mapfile -t packages < <(apt-cache depends --recurse --no-recommends --no-suggests --no-conflicts --no-breaks \
    --no-replaces --no-enhances clickhouse-server 2>/dev/null | grep -E '^(clickhouse-|lib)' |
    grep -vE '^(libc6|libgcc-s1|libcrypt1|libc-bin|clickhouse-client)$' | sort -u)
  [ ${#packages[@]} != 0 ] || die "no package clickhouse-server; run 'apt-get update' on Debian"
  rm -rf "$new"
  mkdir -p "$new/debs"
  (cd "$new/debs" && apt-get download "${packages[@]}") >"$log" 2>&1 || die "fetching failed, see $log"
  for package in "$new"/debs/*.deb; do dpkg -x "$package" "$new"; done
  (cd "$new" && rm -r debs usr/share)
  mv "$new" "$ENGINE_OLD"
  say fetch "old ClickHouse: $(du -sm "$ENGINE_OLD" | cut -f1) MB, in $(since_ms "$t0") ms"
}

# A registry of images and of transforms, from Debian's package, which would run it as a service if it were installed.
fetch_docker_registry() {
  local dir=${DOCKER_REGISTRY%/usr/bin/*} log=$CACHE/stack/fetch.log new t0
  [ ! -d "$dir" ] || return 0
  t0=$(now_us) new=$dir.new
  say fetch 'docker-registry ...'
  rm -rf "$new"
  mkdir -p "$new/debs"
  (cd "$new/debs" && apt-get download docker-registry) >"$log" 2>&1 || die "fetching failed, see $log; run 'apt-get update' on Debian"
  dpkg -x "$new"/debs/*.deb "$new"
  (cd "$new" && rm -r debs usr/share)
  mv "$new" "$dir"
  say fetch "docker-registry: $(du -sm "$dir" | cut -f1) MB, in $(since_ms "$t0") ms"
}

# fetch [registry | mariadb | clickhouse-old | docker-registry]...: does nothing for what is there. One run at a time for all clones.
fetch() {
  mkdir -p "$CACHE/stack"
  exec 8>"$CACHE/stack/lock"
  flock 8
  fetch_jars kafka -P kafka $dependency_plugin:copy-dependencies -DincludeScope=runtime
  fetch_jars plugins/debezium-postgres -P debezium-postgres $dependency_plugin:copy-dependencies -DincludeScope=runtime
  fetch_engine
  local more
  for more in "$@"; do
    case $more in
      registry) fetch_registry ;;
      clickhouse-old) fetch_clickhouse_old ;;
      docker-registry) fetch_docker_registry ;;
      mariadb) fetch_jars plugins/debezium-mariadb -P debezium-mariadb $dependency_plugin:copy-dependencies -DincludeScope=runtime ;;
      *) die "nothing is fetched for '$more'" ;;
    esac
  done
  exec 8>&-
}
