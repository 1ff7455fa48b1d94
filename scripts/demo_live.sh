#!/usr/bin/env bash
# Stripe, Keygen, a mailbox, the store and its site on loopback, until Ctrl-C: to be used by hand.
# What was bought goes with the process. SHIMMY_DEMO_PORTS=auto takes any ports that are free.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/street.sh
trap 'exit 0' INT TERM
if [ "${SHIMMY_DEMO_PORTS:-fixed}" = auto ]; then
  open_street auto "$(free_port)" "$(free_port)"
else
  open_street fixed 8400 8401
fi
cat <<TOLD
Everything runs. Nothing here is real: no money moves, no mail leaves this machine.

  pricing page    $pricing
  the store       $SHIMMY_STORE_URL/pricing
  your licence    $SHIMMY_STORE_URL/view-license   (its button leads to Stripe's portal)
  mailbox         $mailbox/_sim/messages
                  shimmy-sandbox mail read --url $mailbox
  Stripe          $SHIMMY_STORE_STRIPE_URL   (checkout and portal pages, the API)
  licence server  $SHIMMY_STORE_KEYGEN_URL

Cards, with any date to come and any three digits:
  4242 4242 4242 4242   pays
  4000 0000 0000 0002   is declined
  4000 0027 6000 3184   asks for 3D Secure
  4000 0000 0000 0341   in the portal: is taken, and fails when the month is renewed

With the key that you bought, in another terminal:
  export SHIMMY_LICENSE_URL=$SHIMMY_LICENSE_URL SHIMMY_STATE_DIR=\$(mktemp -d)
  .venv/bin/shimmy license activate KEY

Ctrl-C stops all of it.
TOLD
# Whichever of them ends takes the others along.
wait -n "${programs[@]}" || true
echo "Something stopped by itself:" >&2
tail -n 5 "$work"/*.log >&2
exit 1
