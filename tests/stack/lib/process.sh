# Starting, watching and ending processes by their pid files; sourced, not run.
# shellcheck shell=bash disable=SC2034,SC2153,SC2154 # names that the other files set and use

say() { printf '%-12s %s\n' "$1" "$2"; }
die() { echo "stack: $*" >&2; exit 1; }
now_us() { echo "${EPOCHREALTIME/[.,]/}"; }
since_ms() { echo $((($(now_us) - $1) / 1000)); } # since_ms MICROSECONDS

# A process is known by its pid and its start time, so that a recycled pid is never taken for ours.
stat_of() { cut -d' ' -f"$2" "/proc/$1/stat" 2>/dev/null; } # stat_of PID FIELD
ended() { [[ $(stat_of "$1" 3) == [ZX] || ! -d /proc/$1 ]]; } # ended PID; a zombie has
pid_of() { # pid_of NAME: prints it, or fails where the process is gone
  local pid born
  read -r pid born 2>/dev/null <"$RUN/$1.pid" || return 1
  [ "$born" = "$(stat_of "$pid" 22)" ] && ! ended "$pid" && echo "$pid"
}

# A process and its descendants: PostgreSQL's have sessions of their own, so that no group holds them all.
tree_of() {
  local children child
  echo "$1"
  read -ra children < <(cat "/proc/$1/task/"*/children 2>/dev/null | tr '\n' ' ') || true
  for child in "${children[@]}"; do tree_of "$child"; done
}

signal_tree() { # signal_tree SIGNAL PID
  local pids
  mapfile -t pids < <(tree_of "$2")
  kill -s "$1" "${pids[@]}" 2>/dev/null || true # one that ended meanwhile is none to signal
}

# launch NAME COMMAND...: starts it detached; it writes its own pid file, then becomes COMMAND.
launch() {
  local name=$1
  shift
  rm -f "$RUN/$name.pid" "$RUN/$name.ready"
  # shellcheck disable=SC2016 # the inner shell expands it
  setsid bash -c 'echo "$$ $(cut -d" " -f22 /proc/$$/stat)" >"$0.new" && mv "$0.new" "$0" && exec "$@"' \
    "$RUN/$name.pid" "$@" >>"$LOG/$name.log" 2>&1 </dev/null 9>&- &
  until [ -e "$RUN/$name.pid" ]; do sleep 0.02; done
}

port_open() { (exec 3<>"/dev/tcp/$HOST/$1") 2>/dev/null; }

# await NAME PROBE...: waits until PROBE succeeds; fails at once when process NAME has died.
await() {
  local name=$1 end=$((SECONDS + START_TIMEOUT))
  shift
  until "$@"; do
    pid_of "$name" >/dev/null || { tail -n 20 "$LOG/$name.log" >&2; die "$name ended, see $LOG/$name.log"; }
    [ $SECONDS -lt $end ] || die "$name not ready after $START_TIMEOUT s, see $LOG/$name.log"
    sleep 0.1
  done
}

# gone WITHIN_SECONDS PID...: waits until none of them is there.
gone() {
  local tries=$(($1 * 20)) i pid left
  shift
  for ((i = 0; i < tries; i++)); do
    left=
    for pid in "$@"; do ended "$pid" || left=$pid; done
    [ "$left" ] || return 0
    sleep 0.05
  done
  return 1
}

# end_process NAME SIGNAL SECONDS: signals the process and waits for its whole tree; kills what is left after SECONDS.
# Fails, having ended it, where it had to be killed.
end_process() {
  local name=$1 signal=$2 pid pids status=0
  pid=$(pid_of "$name") || { rm -f "$RUN/$name.pid"; return 0; }
  mapfile -t pids < <(tree_of "$pid")
  if [ "$signal" = KILL ]; then
    kill -s KILL "${pids[@]}" 2>/dev/null || true
  else
    kill -s "$signal" "$pid"
    kill -s CONT "${pids[@]}" 2>/dev/null || true # a paused one hears of it only so
  fi
  if ! gone "$3" "${pids[@]}"; then
    status=1
    kill -s KILL "${pids[@]}" 2>/dev/null || true
    gone 10 "${pids[@]}" || die "$name: cannot end pid $pid"
  fi
  rm -f "$RUN/$name.pid"
  return $status
}
