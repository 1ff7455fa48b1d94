#!/usr/bin/env bash
# The whole launch plan in the sandbox: Stripe, Keygen and a mailbox that know nothing yet, the store
# and the site as real processes, and `shimmy-ops launch` from the first task of phase 1 to the last
# of phase 4. Attestations are made by a stand-in and marked as such; criteria are computed.
#   TESTS_XML   the tests' report (default artifacts/tests.xml, of this revision)
#   REPORT_DIR  where the launch's report goes (default artifacts/launch)
set -euo pipefail
cd "$(dirname "$0")/.."
tests_xml=${TESTS_XML:-$PWD/artifacts/tests.xml}
report=${REPORT_DIR:-$PWD/artifacts/launch}
. scripts/street.sh
unset SHIMMY_LICENSE_KEY SHIMMY_OFFLINE
began=$SECONDS
# In a working tree with changes (make dev-test) the report of its tests is taken as it is.
plan=$work/plan.toml
report_of_tests='"tests-report", "{tests_xml}"'
sed "s/$report_of_tests/&${GATE_REPORT_OPTIONS:+, \"$GATE_REPORT_OPTIONS\"}/" \
  contracts/launch_plan.toml >"$plan"
# It may then be of fewer tests than a release needs, too.
least=(${GATE_REPORT_OPTIONS:+--set tests_least=1})
store_port=$(free_port) site_port=$(free_port)
ops=$work/ops
mkdir -p "$report" "$ops/site"

shimmy-sandbox town serve --state "$work/town" --plans contracts/plans.json --ports auto --unstocked \
  --store-url "http://127.0.0.1:$store_port" >"$work/town.out" 2>"$work/town.out.log" &
programs+=($!)
await town.out '^ready'
. "$work/town/operator.env"
python -u -m http.server "$site_port" --bind 127.0.0.1 --directory "$ops/site" \
  >"$work/pages" 2>"$work/pages.log" &
programs+=($!)
await pages 'Serving HTTP'
site=http://127.0.0.1:$site_port
{
  cat "$work/town/shimmy-ops.toml"
  printf '%s = "%s"\n' site_folder site site_url "$site/" \
    privacy_url "$site/privacy.html" terms_url "$site/terms.html"
} >"$ops/shimmy-ops.toml"
profile=(--profile sandbox --config "$ops/shimmy-ops.toml")

# The store needs what provisioning makes, so that comes before the plan asks whether it is there.
shimmy-ops provision "${profile[@]}" --apply --write-env "$ops/store.env" >/dev/null 2>"$work/provision.log" ||
  { cat "$work/provision.log" >&2; exit 1; }
. "$ops/store.env"
shimmy-store serve --port "$store_port" >"$work/store" 2>"$work/store.log" &
programs+=($!)
await store.log 'Application startup complete'

launch() {
  local command=$1
  shift
  shimmy-ops launch "$command" "${profile[@]}" --plan "$plan" --set "tests_xml=$tests_xml" \
    --set release_version=rehearsed "${least[@]}" "$@"
}
# What a task says is kept in the record; here one line a task is enough, unless one fails.
run() {
  launch run --rehearse --act --stand-in "$0" "$@" >"$work/launch.log" 2>&1 && return
  cat "$work/launch.log" >&2
  exit 1
}
run --through test-transaction
customer=$(grep -oh 'cus_[A-Za-z0-9]*' "$ops"/shimmy-state/sandbox/transactions/*.json | head -n 1)
run --set "test_customer=$customer"
launch status --set "test_customer=$customer"
launch criteria --set "test_customer=$customer" --require-all --allow-unknown available,no-vulnerability
launch verify --set "test_customer=$customer"
launch report --set "test_customer=$customer" --markdown "$report/launch.md" --html "$report/launch.html"
echo "the launch plan was rehearsed through phase 4 in $((SECONDS - began)) s"
