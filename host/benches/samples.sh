#!/usr/bin/env bash
# Prints in which functions the host's time goes, from records' bytes to a block in batches of 1,000, by samples of the
# bench as it is shipped: it needs `perf`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

program=$(cargo bench --quiet -p host --no-run --message-format json |
  sed -n 's/.*"name":"hot_path".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
samples=$(mktemp)
trap 'rm -f "$samples"' EXIT
(cd host && perf record --quiet --freq 999 --event cpu-clock --output "$samples" "$program" --long=3000000) >/dev/null
report() { perf report --input "$samples" --stdio --no-children "$@" 2>/dev/null | sed -nE 's/ +(- +)*$//; /^ +[0-9]/p'; }
echo "share of the time; what the sandbox compiled is memfd:code"
report --percent-limit 0.1 --sort dso
echo "by function, from 0.4 % on"
report --percent-limit 0.4 --sort symbol
