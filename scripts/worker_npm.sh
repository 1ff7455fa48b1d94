#!/usr/bin/env bash
# Installs wrangler and Pyodide for Node into the cache, keyed by their lock; prints the folder with
# node_modules. Ends with 3 and a sentence where there is no npm.
set -euo pipefail
cd "$(dirname "$0")/.."
source=packages/store/cloudflare
for tool in node npm; do
  if ! command -v "$tool" >/dev/null; then
    echo "$tool is not installed: nothing is tried on Pyodide or with wrangler here" >&2
    exit 3
  fi
done
cache=${SHIMMY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/shimmy-vision}
key=$(cat "$source/package.json" "$source/package-lock.json" | sha256sum | cut -c1-16)
place=$cache/worker-npm/$key
if [ ! -f "$place/done" ]; then
  mkdir -p "$cache/worker-npm"
  exec 9>"$cache/worker-npm/lock"
  flock 9
  if [ ! -f "$place/done" ]; then
    rm -rf "$place"
    mkdir -p "$place"
    cp "$source"/{package.json,package-lock.json,.npmrc} "$place"
    (cd "$place" && npm ci --no-progress >&2)
    touch "$place/done"
  fi
fi
echo "$place"
