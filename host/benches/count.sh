#!/usr/bin/env bash
# Counts the instructions that one event takes on the hot path, and compares them with the figure on record:
# 3 % more fails. `count.sh record` writes the figure down; `count.sh profile avx2` prints which functions they are in.
#
# What is counted is the bench's twin, the host's own code without the transform's instance, as compiled with
# optimization over the dependencies of the development builds, and with SSE2, which every processor of this
# architecture has.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
record=host/benches/instructions.txt

if [ "$(uname -m)" != x86_64 ]; then
  echo "count: the figure on record is of x86_64: not compared"
  exit 0
fi

optimized=()
for package in host rowgate-transform update-only; do
  optimized+=(--config "profile.dev.package.$package.opt-level=3" --config "profile.dev.package.$package.debug-assertions=false"
    --config "profile.dev.package.$package.codegen-units=4")
done
# Of the whole workspace, so that its dependencies are those of the tests.
program=$(cargo build --quiet --workspace --bench hot_path "${optimized[@]}" --message-format json |
  sed -n 's/.*"name":"hot_path".*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)

way=sse2
[ "${1:-}" != profile ] || way=${2:-sse2}
log=$(mktemp)
functions=$(mktemp)
trap 'rm -f "$log" "$functions"' EXIT
valgrind --tool=callgrind --callgrind-out-file="$functions" --toggle-collect='*counted_blocks*' "$program" "--count=$way" >"$log" 2>&1 ||
  { cat "$log" >&2; exit 1; }
events=$(sed -n 's/^\([0-9]*\) events counted$/\1/p' "$log")
instructions=$(sed -n 's/.*Collected : \([0-9]*\)$/\1/p' "$log")
per_event=$((instructions / events))

if [ "${1:-}" = profile ]; then
  echo "$per_event instructions for one event, with $way; those of each function itself, 40 and more:"
  # A line each for what was inlined from another file.
  callgrind_annotate --auto=no --threshold=100 "$functions" 2>/dev/null | tr -d , |
    sed -nE "s/ \[[^]]*\]\$//; s/'[0-9]+\$//; s/^ *([0-9]+) \([^)]*\) +[^:]*:(.*)/\1 \2/p" |
    awk -v events="$events" '{ count = $1; sub(/^[0-9]+ /, ""); all[$0] += count }
      END { for (name in all) if (all[name] >= 40 * events) printf "%7d  %s\n", all[name] / events, name }' |
    sort -rn
  exit 0
fi
if [ "${1:-}" = record ]; then
  echo "$per_event instructions for one event" >"$record"
fi
known=$(sed -n 's/^\([0-9]*\) .*/\1/p' "$record")
echo "the hot path takes $per_event instructions for one event; on record are $known"
if ((per_event * 100 > known * 103)); then
  echo "count: more than 3 % over the figure on record; find out why, or record the new one: host/benches/count.sh record" >&2
  exit 1
fi
