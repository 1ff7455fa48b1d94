#!/usr/bin/env bash
# Two releases of the site are recorded and put in place, then a rollback is rehearsed and done.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/shimmy-ops.toml" <<'TOML'
[sandbox]
store_url = "http://127.0.0.1:8400"
stripe_url = "http://127.0.0.1:7420"
keygen_url = "http://127.0.0.1:7410"
keygen_account = "shimmy-sandbox"
mail_from = "Shimmy Vision <licences@example.com>"
site_current = "current"
smoke_paths = []
TOML
profile=(--profile sandbox --config "$work/shimmy-ops.toml")
for version in 1.0 1.1; do
  # Two sites that anybody can tell apart: the pages lead to another store.
  "$bin/shimmy-store" site build --mode test --store-url "http://127.0.0.1:84${version#1.}0" \
    --out "$work/site" >"$work/said"
  "$bin/shimmy-ops" release record "${profile[@]}" --version "$version" --site "$work/site" --activate
done
leads_to() { grep -o 'http://127.0.0.1:84[0-9]*' "$work/current/pricing.html" | head -n 1; }
[ "$(leads_to)" = http://127.0.0.1:8410 ]
"$bin/shimmy-ops" rollback "${profile[@]}"
[ "$(leads_to)" = http://127.0.0.1:8400 ] || { echo "the old site is not back" >&2; exit 1; }
"$bin/shimmy-ops" release verify "${profile[@]}"
"$bin/shimmy-ops" rollback "${profile[@]}" --rehearse
