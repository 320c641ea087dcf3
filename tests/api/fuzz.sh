#!/usr/bin/env bash
# Asks a running host what its OpenAPI description says that it takes, and what it does not, at random and with the
# bounds of each parameter: no answer may be a 5xx, or one that the description does not know. HOST is the binary;
# SEED repeats a run.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/../stack/lib/venv.sh"
host=${HOST:?the path of the host to ask}

bin=$(venv "$here/requirements.txt")
work=$(mktemp -d)
pid=
# Called by the trap.
# shellcheck disable=SC2329
cleanup() {
  [ -z "$pid" ] || kill "$pid" 2>/dev/null || true
  [ -z "$pid" ] || wait "$pid" 2>/dev/null || true
  rm -rf "$work"
}
trap cleanup EXIT

# A token of an operator, so that nothing is refused before it is looked at; and a pipeline that has had records and
# whose input stays open.
"$host" token new --name fuzz --role operator >"$work/token" 2>/dev/null
tail -n 1 "$work/token" >"$work/tokens"
mkfifo "$work/input"
{ cat "$here/../fixtures/debezium-postgres/simple.ndjson" && exec sleep 600; } >"$work/input" &
writer=$!
(cd "$work" && exec env -u ROWGATE_CONFIG XDG_STATE_HOME="$work" ROWGATE_ADMIN_TOKENS_FILE="$work/tokens" "$host" \
  --name fuzzed --input "$work/input" --output - --admin-listen 127.0.0.1:0 >"$work/rows" 2>"$work/log") &
pid=$!
url=
for _ in $(seq 200); do
  url=$(sed -n 's/.*admin interface listens.*address="\?\(http:[^" ]*\).*/\1/p' "$work/log" | head -n 1)
  [ -z "$url" ] || break
  kill -0 "$pid" 2>/dev/null || break
  sleep 0.1
done
if [ -z "$url" ]; then
  cat "$work/log" >&2
  kill "$writer" 2>/dev/null || true
  echo 'the host did not say where it listens' >&2
  exit 1
fi

# As a file, since what is loaded from an address leaves that address out; and about the pipeline that is there, since about
# any other there is only one answer. Bodies are bytes: it knows no other name for them.
curl -sSf --max-time 60 "$url/openapi.json" >"$work/described"
"$bin/python" - "$work/described" "$work/openapi.json" <<'EOF'
import json, sys

document = json.loads(open(sys.argv[1]).read().replace("application/wasm", "application/octet-stream"))
there = {"tenant": "~", "name": "fuzzed"}
for operations in document["paths"].values():
    for operation in operations.values():
        for parameter in operation["parameters"]:
            if parameter["in"] == "path" and parameter["name"] in there:
                parameter["schema"] = {"enum": [there[parameter["name"]]]}
json.dump(document, open(sys.argv[2], "w"))
EOF
status=0
(cd "$work" && "$bin/schemathesis" run openapi.json --url "$url" \
  --header "Authorization: Bearer $(head -n 1 "$work/token")" \
  --phases examples,coverage,fuzzing --max-examples "${EXAMPLES:-40}" ${SEED:+--seed "$SEED"} \
  --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,ignored_auth \
  --request-timeout 30 --warnings off) || status=$?
kill "$writer" 2>/dev/null || true
if ! kill -0 "$pid" 2>/dev/null; then
  echo 'the host has ended' >&2
  status=1
fi
if grep -q panicked "$work/log"; then
  status=1
fi
[ "$status" = 0 ] || tail -n 40 "$work/log" >&2
exit "$status"
