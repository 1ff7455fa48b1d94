#!/usr/bin/env bash
# Prepares the store as a Cloudflare Worker in build/worker and tries its deploy without an account.
#   --bundle FOLDER   only the bundle, there: no syntax check, no sizes, no deploy
#   --test-wheels     what tests need on Pyodide besides; prints where it lies
set -euo pipefail
cd "$(dirname "$0")/.."
python=$PWD/.venv/bin/python
out=$PWD/build/worker
if [ "${1:-}" = --bundle ]; then
  out=$2
fi
modules=$out/python_modules
cache=${SHIMMY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shimmy-vision}
most_kib=2662 # 2.6 MiB of gzip; the free plan takes 3 MB.

unpack() { # LOCK's wheels, without what a Worker has no use for, once a lock
  local key place
  key=$(cat "requirements/$1.lock" scripts/worker.sh | sha256sum | cut -c1-16)
  wheels=$cache/worker-wheels/$key
  [ -f "$wheels/done" ] && return
  place=$(mktemp -d)
  "$python" -m pip --disable-pip-version-check install --quiet --quiet --no-deps --no-compile \
    --only-binary :all: --require-hashes --target "$place/all" -r "requirements/$1.lock"
  (
    cd "$place/all"
    # Type hints of requests and events, which nothing imports: two thirds of Stripe's client.
    rm -rf stripe/params stripe/events
    # Compiled for this machine; each has a half in Python that is used instead.
    find . -name '*.so' -delete
    find . \( -name tests -o -name __pycache__ \) -type d -prune -exec rm -rf {} +
    find . \( -name '*.pyi' -o -name py.typed \) -delete
    rm -rf bin ./*.dist-info
  )
  touch "$place/all/done"
  mkdir -p "$cache/worker-wheels"
  # Whoever was first has made the same.
  mv -T "$place/all" "$wheels" 2>/dev/null || [ -f "$wheels/done" ]
  rm -rf "$place"
}

bundle() {
  unpack worker
  rm -rf "$out"
  mkdir -p "$modules"
  cp -r "$wheels"/. "$modules"
  rm "$modules/done"
  cp packages/store/cloudflare/wrangler.jsonc "$out"
  cp -r packages/store/cloudflare/src "$out"
  if [ -d packages/store/cloudflare/migrations ]; then
    cp -r packages/store/cloudflare/migrations "$out"
  fi
  cp -r packages/store/src/shimmy_store "$modules"
  (
    cd "$modules/shimmy_store"
    # Commands, the static site, files, sockets: a Worker has none of them.
    rm -rf cli domain/site wiring/files.py ports/site.py use_cases/{build_site,check_site}.py
    rm -f adapters/{postgres_database,sqlite_database,smtp_mailer,html_reader,jinja_site}.py
    rm -f adapters/{site_folder,operator_file,dump_file,otel_tracer}.py
    find . -name __pycache__ -prune -exec rm -rf {} +
    mkdir contracts
  )
  cp contracts/{plans,webhook_events}.json "$modules/shimmy_store/contracts"
}

check_syntax() { # a dry run does not look at it
  local compiled
  compiled=$(mktemp -d)
  PYTHONPYCACHEPREFIX=$compiled "$python" -m compileall -q "$out"
  echo "worker: every file compiles ($(find "$out" -name '*.py' | wc -l))"
  rm -rf "$compiled"
}

try_deploy() {
  local npm status=0 name dry
  npm=$(bash scripts/worker_npm.sh) || status=$?
  if [ $status = 3 ]; then
    echo "worker: the deploy was not tried: wrangler needs node and npm, which are not here" >&2
    return
  fi
  [ $status = 0 ] || exit $status
  for name in test production; do
    dry=$out-dry-$name
    rm -rf "$dry"
    mkdir -p "$dry"
    (
      cd "$out"
      # Its own notes go with the rest; it asks for no account.
      export WRANGLER_SEND_METRICS=false XDG_CONFIG_HOME=$dry/config CI=1 NO_COLOR=1
      "$npm/node_modules/.bin/wrangler" deploy --dry-run --outdir "$dry/out" --env "$name" \
        >"$dry/log" 2>&1 || { cat "$dry/log" >&2; exit 1; }
    )
    echo "worker: dry run of the deploy for $name: $(grep '^Total Upload' "$dry/log")"
  done
}

if [ "${1:-}" = --test-wheels ]; then
  unpack worker_tests
  echo "$wheels"
  exit
fi
bundle
if [ "${1:-}" = --bundle ]; then
  exit
fi
check_syntax
"$python" scripts/worker_size.py "$out" --most-kib "$most_kib"
try_deploy
