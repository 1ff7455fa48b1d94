#!/usr/bin/env bash
# upgrade_rehearsal.sh REVISION: the store and the client of an earlier revision, for real.
#   - its store sells on a new ledger, and keeps selling until this revision's store takes over;
#   - its vision client, on the licence it bought there, is activated, analyses and is deactivated
#     against this revision's sandbox and store; this revision's client opens the state it left.
# Both run in this checkout's virtual environment: only the code is the earlier revision's. Needs a
# clone with that revision in it, and takes about a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
revision=$(git rev-parse --verify "${1:?upgrade_rehearsal.sh REVISION}^{commit}")
. scripts/street.sh
unset SHIMMY_LICENSE_KEY SHIMMY_OFFLINE
began=$SECONDS
old=$work/old
mkdir "$old"
git archive "$revision" packages contracts | tar x -C "$old"
export SHIMMY_STATE_DIR="$work/state" SHIMMY_MACHINE_ID=rehearsal SHIMMY_ALLOW_SYNTHETIC=1
store_port=$(free_port)
url=http://127.0.0.1:$store_port

# As a program of the revision: its own modules go before the ones that are installed.
old_shimmy() { PYTHONPATH="$old/packages/vision/src" python -c "$as_shimmy" "$@"; }
as_store='import sys; from shimmy_store.cli.main import main; sys.exit(main())'
as_shimmy='import sys; from shimmy_vision.cli.main import main; sys.exit(main())'
# So that nothing is rehearsed on the new code by mistake.
for one in store vision; do
  PYTHONPATH="$old/packages/$one/src" python -c "import shimmy_$one; print(shimmy_$one.__file__)" |
    grep -q "^$old/" || { echo "the earlier $one is not what would run" >&2; exit 1; }
done

shimmy-sandbox town serve --state "$work/town" --plans contracts/plans.json --ports auto \
  --store-url "$url" >"$work/town.out" 2>"$work/town.out.log" &
programs+=($!)
await town.out '^ready'
. "$work/town/store.env"
mailbox=$(sed -n 's/^mail //p' "$work/town.out")

PYTHONPATH="$old/packages/store/src" python -c "$as_store" serve --port "$store_port" >"$work/before" 2>"$work/before.log" &
before=$!
await before.log 'Application startup complete'
buy() { shimmy-sandbox buy "$1" --store "$url" --email "$2" >"$work/buy" || { cat "$work/buy" >&2; exit 1; }; }
key_of() {
  shimmy-sandbox mail read --url "$mailbox" --to "$1" --match licence --wait 30 2>/dev/null |
    sed -n 's/^ *shimmy license activate *//p' | head -n 1
}
buy developer ada@example.com
key=$(key_of ada@example.com)
[ -n "$key" ]
echo "the store of ${revision:0:7} sold a licence"

# Somebody pays at Stripe in the moment in which nobody listens: Stripe tells it again.
curl -sf -o "$work/said" "$(sed -n 's/^stripe //p' "$work/town.out")/_sim/deliveries" \
  -H 'Content-Type: application/json' -d '{"retry_seconds": [0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]}'
page=$(curl -s -o "$work/said" -w '%{redirect_url}' -H 'Accept: text/html' "$url/buy?plan=startup")
kill "$before"
wait "$before" || true
shimmy-sandbox stripe pay "$page" --email between@example.com >"$work/said"
shimmy-store serve --port "$store_port" >"$work/store" 2>"$work/store.log" &
programs+=($!)
await store.log 'Application startup complete'
[ -n "$(key_of between@example.com)" ]
buy startup bob@example.com
[ -n "$(key_of bob@example.com)" ]
shimmy-store reconcile --all
shimmy-store alarms
for one in ada between bob; do
  count=$(shimmy-sandbox mail list --url "$mailbox" --to "$one@example.com" | wc -l)
  [ "$count" = 1 ] || { echo "$one has $count mails" >&2; exit 1; }
done
echo "this store went on with its ledger: three customers, a licence and a mail each"

shimmy-sandbox synthetic-model "$work/model" --layout 4.6 >"$work/said"
analyse() { "$1" vision docs/samples/sign-in.png --model "$work/model/" --max-tokens 8 --output json; }
quietly() { "$@" >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }; }
for turn in 1 2; do
  quietly old_shimmy license activate "$key"
  quietly analyse old_shimmy
  quietly old_shimmy license status
  [ "$turn" = 2 ] || quietly old_shimmy license deactivate
done
echo "the client of ${revision:0:7} is activated, analyses, and leaves"
# This client takes over the state that the earlier one left. Back again is refused in so many words
# where the state has changed its form since, and goes on where it has not.
quietly analyse shimmy
shimmy license usage 2>"$work/usage.log" | tee "$work/usage"
grep -q '^pages used  *3$' "$work/usage"
analyse old_shimmy >"$work/said" 2>&1 || grep -q 'licence-state-newer' "$work/said" ||
  { cat "$work/said" >&2; exit 1; }
quietly shimmy license deactivate
echo "upgraded from ${revision:0:7} in $((SECONDS - began)) s"
