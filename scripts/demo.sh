#!/usr/bin/env bash
# The whole way of a customer, end to end, on this machine: in a real browser without a window a
# plan is chosen on the pricing page and paid with a test card, the signed webhook makes the licence,
# the mail brings its key, the key is activated, and a real screenshot goes through the real native
# library. Stripe, Keygen and the mailbox are the sandbox's, which speak the real ones' protocols on
# loopback. With a MiniCPM-V installed the words are real; without one (1.6 GB to download) a
# synthetic model stands in, which exercises the same path and writes noise.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/street.sh
image=docs/samples/sign-in.png
buyer=ada@example.com
step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }
# Nothing of the demo touches an installation's own state, and a container is a machine like any.
unset SHIMMY_LICENSE_KEY SHIMMY_OFFLINE
export SHIMMY_STATE_DIR="$work/state" SHIMMY_MACHINE_ID="demo"

echo "Stripe, Keygen and a mailbox on loopback, the store between them, and the built site."
open_street auto "$(free_port)" "$(free_port)"

browser=(--browser --site "$pricing")
if ! python -c 'from shimmy_sandbox.shopper.browser import find_chromium; find_chromium()' \
  2>"$work/browser"; then
  echo "No browser, so it is bought over HTTP: $(sed -n '$s/^[^ ]*: //p' "$work/browser")"
  browser=()
fi
step shimmy-sandbox buy developer --store "$SHIMMY_STORE_URL" --email "$buyer" "${browser[@]}" \
  2>"$work/buy" || { cat "$work/buy" >&2; exit 1; }
step shimmy-sandbox mail read --url "$mailbox" --to "$buyer" --match licence --wait 30 2>/dev/null \
  | tee "$work/mail"
key=$(sed -n 's/^ *shimmy license activate *//p' "$work/mail" | head -1)
step shimmy license activate "$key" 2>/dev/null
step shimmy doctor || true

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
echo
echo "make demo-live keeps the store running, to be bought at by hand."
