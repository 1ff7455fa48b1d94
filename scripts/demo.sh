#!/usr/bin/env bash
# The whole way of a customer, end to end, on this machine: a plan is bought and paid with a test
# card, the signed webhook makes the licence, the mail brings its key, the key is activated, and a
# real screenshot goes through the real native library. Stripe, Keygen and the mailbox are the
# sandbox's, which speak the real ones' protocols on loopback. With a MiniCPM-V installed the words
# are real; without one (1.6 GB to download) a synthetic model stands in, which exercises the same
# path and writes noise.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/.venv/bin:$PATH"
image=docs/samples/sign-in.png
buyer=ada@example.com
step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

work=$(mktemp -d)
programs=()
trap 'for one in "${programs[@]}"; do kill "$one" 2>/dev/null || true; done; wait; rm -rf "$work"' EXIT
# Nothing of the demo touches an installation's own state, and a container is a machine like any.
unset SHIMMY_LICENSE_KEY SHIMMY_OFFLINE
export SHIMMY_STATE_DIR="$work/state" SHIMMY_MACHINE_ID="demo"

# await FILE WORD: until the word stands in the file, or say what went wrong.
await() {
  for _ in $(seq 300); do
    ! grep -q "$2" "$work/$1" 2>/dev/null || return 0
    sleep 0.1
  done
  cat "$work/$1" "$work/$1.log" >&2
  exit 1
}

step shimmy doctor || true

echo
echo "Stripe, Keygen and a mailbox on loopback, and the store between them."
port=$(python -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
shimmy-sandbox town serve --state "$work/town" --plans contracts/plans.json --ports auto \
  --store-url "http://127.0.0.1:$port" >"$work/town.out" 2>"$work/town.out.log" &
programs+=($!)
await town.out '^ready'
. "$work/town/store.env"
mailbox=$(sed -n 's/^mail //p' "$work/town.out")
shimmy-store serve --port "$port" >"$work/store" 2>"$work/store.log" &
programs+=($!)
await store.log 'Application startup complete'

step shimmy-sandbox buy developer --store "$SHIMMY_STORE_URL" --email "$buyer" 2>/dev/null
step shimmy-sandbox mail read --url "$mailbox" --to "$buyer" --match licence --wait 30 2>/dev/null \
  | tee "$work/mail"
key=$(sed -n 's/^ *shimmy license activate *//p' "$work/mail" | head -1)
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
