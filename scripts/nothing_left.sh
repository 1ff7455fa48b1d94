#!/usr/bin/env bash
# The steps before left no file that git does not ignore. GATE_BEFORE is what differed before them.
set -euo pipefail
cd "$(dirname "$0")/.."
now=$(git status --porcelain)
if [ "$now" != "${GATE_BEFORE:-}" ]; then
  echo "the steps left files that git does not ignore, or changed some:" >&2
  diff <(echo "${GATE_BEFORE:-}") <(echo "$now") >&2 || true
  exit 1
fi
echo "nothing is left behind"
