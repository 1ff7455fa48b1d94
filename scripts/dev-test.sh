#!/usr/bin/env bash
# Every critical step in this working tree, with what is not committed; make gate clones HEAD.
set -euo pipefail
cd "$(dirname "$0")/.."
GATE_REPORT_OPTIONS=--allow-changed
GATE_BEFORE=$(git status --porcelain)
export GATE_REPORT_OPTIONS GATE_BEFORE
bash scripts/critical.sh
