#!/usr/bin/env bash
# Looks for keys and passwords in what git tracks, in all that refs lead to, and in built wheels.
set -euo pipefail
cd "$(dirname "$0")/.."
wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
.venv/bin/shimmy-ops secrets-scan --history --strict
.venv/bin/python -m pip --quiet --disable-pip-version-check wheel --no-index --no-deps \
  --no-build-isolation --wheel-dir "$wheels" ./packages/*/
.venv/bin/shimmy-ops secrets-scan --allow-list secrets-allow.toml "$wheels"/*.whl
if [ -d dist ]; then .venv/bin/shimmy-ops secrets-scan dist; fi
