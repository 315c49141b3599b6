# shellcheck shell=bash
# common.sh: the repository's root, messages and timed steps for the scripts in ci/. Sourced, never run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
script=ci/$(basename "$0")

# say LINE...: one line for the person who runs the script.
say() { printf '%s\n' "$*"; }

# die LINE...: what is wrong and what would be right; ends the script.
die() {
  printf '%s: %s\n' "$script" "$*" >&2
  exit 1
}

# have COMMAND: is there such a command?
have() { command -v "$1" >/dev/null 2>&1; }

# now: microseconds, to measure with.
now() { printf '%s\n' "${EPOCHREALTIME/[^0-9]/}"; }

# seconds MICROSECONDS: with one decimal.
seconds() { printf '%d.%d' $(($1 / 1000000)) $(($1 / 100000 % 10)); }

# skip REASON...: ends a step that cannot run here. The reason is printed: a check that was not made must be seen.
skip() {
  printf '%s\n' "$*"
  exit 77
}

steps_begun=$(now)
logs=$root/build/log

# step NAME COMMAND...: runs the command in a subshell with errexit, keeps its output in a log, prints one line with
# the time. The first command that fails ends the script with the end of the log. Call it as a plain command: in a
# condition bash switches errexit off, for the subshell too.
step() {
  local name=$1 log begun rc took
  shift
  mkdir -p "$logs"
  log=$logs/$(tr -c 'A-Za-z0-9\n' '-' <<<"$name").log
  begun=$(now)
  if [[ -t 1 ]]; then printf '...   %s' "$name"; fi
  set +e
  (
    set -e
    cd "$root" && "$@"
  ) >"$log" 2>&1
  rc=$?
  set -e
  took=$(seconds $(($(now) - begun)))
  if [[ -t 1 ]]; then printf '\r'; fi
  case $rc in
    0) printf 'ok    %-62s %7s s\n' "$name" "$took" ;;
    77) printf 'skip  %s: %s\n' "$name" "$(tail -n 1 "$log")" ;;
    *)
      printf 'FAIL  %-62s %7s s\n' "$name" "$took"
      tail -n 60 "$log"
      printf '\n%s: step "%s" failed with exit status %d; all its output: %s\n' "$script" "$name" "$rc" "${log#"$root"/}"
      exit 1
      ;;
  esac
}

# total: the time since the script began.
total() { seconds $(($(now) - steps_begun)); }
