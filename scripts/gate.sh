#!/usr/bin/env bash
# Clones HEAD into an empty folder and runs every critical step there, as a stranger would.
set -euo pipefail
root=$(git rev-parse --show-toplevel)
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet "$root" "$clone/shimmy-vision"
cd "$clone/shimmy-vision"
# What makes the gate of a working tree milder is not for this one.
unset GATE_REPORT_OPTIONS GATE_BEFORE TESTS_XML REPORT_DIR
bash scripts/critical.sh
