#!/usr/bin/env bash
# The static site is built as for a test and looked at.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/shimmy-store site build --mode test --store-url http://127.0.0.1:8400 --out "$work/site"
.venv/bin/shimmy-store site check "$work/site" --mode test
