#!/usr/bin/env bash
# The product's main job, end to end, on this machine: a real screenshot through the real native
# library. With a MiniCPM-V installed the words are real; without one (1.6 GB to download) a
# synthetic model stands in, which exercises the same path and writes noise.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
image=docs/samples/sign-in.png
step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

step shimmy doctor || true

if shimmy models list --json | grep -q '"state": "installed"'; then
  step shimmy vision "$image" --output pretty
  exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
echo
echo "No model is installed, so a synthetic one is made: real architecture, random weights."
step shimmy-sandbox synthetic-model "$work/model" --layout 4.6
export SHIMMY_ALLOW_SYNTHETIC=1 SHIMMY_STATE_DIR="$work/state"
step shimmy vision "$image" --model "$work/model/" --max-tokens 160 --output pretty
echo
echo "Colours, theme and contrast above are measured and true. The words are noise: for real"
echo "ones install the model (1.6 GB) and run the same command:"
echo "  .venv/bin/shimmy models pull 4.6 --yes"
echo "  .venv/bin/shimmy vision $image --output pretty"
