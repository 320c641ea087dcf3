#!/usr/bin/env bash
# Checks docker-compose.yml: against the Compose schema, and what the schema does not say (see check_compose.py).
# With a Docker engine, Compose itself reads it too. Nothing is started.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/lib/venv.sh"
cd "$here/../.."

bin=$(venv)
"$bin/check-jsonschema" --builtin-schema vendor.compose-spec docker-compose.yml
"$bin/python" "$here/check_compose.py" docker-compose.yml .env.example
if docker compose version >/dev/null 2>&1; then
  docker compose --env-file .env.example config --quiet
  echo 'docker-compose.yml: read by Docker Compose; not started'
else
  echo 'docker-compose.yml: not started, for no Docker Compose is here'
fi
