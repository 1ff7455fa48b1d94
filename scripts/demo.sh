#!/usr/bin/env bash
# The product's main job, end to end, on this machine: a licence is sold and activated, then a real
# screenshot goes through the real native library. Licences come from the sandbox's licence server,
# which speaks the real one's protocol on loopback. With a MiniCPM-V installed the words are real;
# without one (1.6 GB to download) a synthetic model stands in, which exercises the same path and
# writes noise.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
image=docs/samples/sign-in.png
step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
# Nothing of the demo touches an installation's own state, and a container is a machine like any.
unset SHIMMY_LICENSE_KEY SHIMMY_OFFLINE
export SHIMMY_STATE_DIR="$work/state" SHIMMY_MACHINE_ID="demo"

step shimmy doctor || true

echo
echo "A licence server on loopback sells a Developer licence."
shimmy-sandbox licences serve --state "$work/licences.sqlite" --plans contracts/plans.json \
  --port 0 >"$work/url" 2>"$work/server.log" &
server=$!
for _ in $(seq 100); do
  [ ! -s "$work/url" ] || break
  sleep 0.1
done
SHIMMY_LICENSE_URL=$(cat "$work/url")
[ -n "$SHIMMY_LICENSE_URL" ] || { cat "$work/server.log" >&2; exit 1; }
export SHIMMY_LICENSE_URL
key=$(shimmy-sandbox licences sell developer --url "$SHIMMY_LICENSE_URL" 2>/dev/null)
step shimmy license activate "$key" 2>/dev/null

real=$(shimmy models list --json | grep -c '"state": "installed"' || true)
if [ "$real" != 0 ]; then
  step shimmy vision "$image" --output pretty
else
  echo
  echo "No model is installed, so a synthetic one is made: real architecture, random weights."
  step shimmy-sandbox synthetic-model "$work/model" --layout 4.6
  export SHIMMY_ALLOW_SYNTHETIC=1
  step shimmy vision "$image" --model "$work/model/" --max-tokens 160 --output pretty
fi
step shimmy license usage 2>/dev/null
if [ "$real" = 0 ]; then
  echo
  echo "Colours, theme and contrast above are measured and true. The words are noise: for real"
  echo "ones install the model (1.6 GB):"
  echo "  .venv/bin/shimmy models pull 4.6 --yes"
fi
