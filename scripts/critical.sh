#!/usr/bin/env bash
# critical.sh [STEPS]: run every step of the file in this folder and say how each ended. One that
# fails does not hide the others. The sentence at the end stands there only if all of them passed.
set -uo pipefail
sentence="ALL CRITICAL TESTS PASSED"
# What would let a step pass that did not: `make -i gate` goes down to every make that is run here,
# and so does an order to pytest to run less.
unset MAKEFLAGS MFLAGS GNUMAKEFLAGS MAKEOVERRIDES MAKELEVEL PYTEST_ADDOPTS PYTEST_PLUGINS BASH_ENV
steps=${1:-scripts/critical_steps.txt}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
trap 'echo "stopped: nothing is known of what did not run" >&2; exit 130' INT TERM
declare -A ended=()
names=() outcomes=() seconds=() notes=()
wanted=0 passed=0

trimmed() { sed 's/^[[:space:]]*//; s/[[:space:]]*$//' <<<"$1"; }

# The last line with something on it, without colours, as short as a table needs.
last_line() { sed 's/\x1b\[[0-9;]*m//g; s/[[:space:]]*$//' "$1" | grep . | tail -n 1 | cut -c 1-80; }

record() {
  names+=("$1") outcomes+=("$2") seconds+=("$3") notes+=("$4")
  ended[$1]=$2
  if [ "$2" = passed ]; then passed=$((passed + 1)); fi
}

run_step() {
  local name=$1 needs=$2 command=$3 began=$SECONDS code
  if [ -z "$needs" ] || [ -z "$command" ]; then
    record "$name" "not run" 0 "its line is no NAME | NEEDS | COMMAND"
    return
  fi
  if [ "$needs" != - ] && [ "${ended[$needs]:-none}" != passed ]; then
    record "$name" "not run" 0 "needs $needs"
    return
  fi
  printf '\n\033[1m== %s: %s\033[0m\n' "$name" "$command"
  # Nobody but the last line says the sentence, whatever a test of this script shows of its own.
  bash -c "$command" </dev/null 2>&1 | sed -u "s/$sentence/(a step says: all critical tests passed)/" |
    tee "$logs/log"
  code=${PIPESTATUS[0]}
  if [ "$code" = 0 ]; then
    record "$name" passed $((SECONDS - began)) "$(last_line "$logs/log")"
  else
    record "$name" "failed ($code)" $((SECONDS - began)) "$(last_line "$logs/log")"
  fi
}

[ -r "$steps" ] || { echo "critical: there is no $steps" >&2; exit 1; }
while IFS='|' read -r -u 3 name needs command || [ -n "$name" ]; do
  name=$(trimmed "$name")
  case $name in '' | '#'*) continue ;; esac
  wanted=$((wanted + 1))
  run_step "$name" "$(trimmed "$needs")" "$(trimmed "$command")"
done 3<"$steps"

printf '\n%-10s %-12s %7s  %s\n' step outcome seconds ''
for at in "${!names[@]}"; do
  printf '%-10s %-12s %7d  %s\n' "${names[at]}" "${outcomes[at]}" "${seconds[at]}" "${notes[at]}"
done
echo
if [ "$wanted" -gt 0 ] && [ "$passed" = "$wanted" ]; then
  echo "$sentence"
  exit 0
fi
failed=()
for at in "${!names[@]}"; do
  [ "${outcomes[at]}" = passed ] || failed+=("${names[at]}")
done
echo "$((wanted - passed)) of $wanted did not pass: ${failed[*]:-there was no step}" >&2
exit 1
