#!/usr/bin/env bash
# Tries what `make dist` built where nothing else is: the single file in a Debian without Python or
# compiler, as a user without rights, one licensed analysis there against the sandbox; and the wheel
# in an empty environment without a compiler. Results: build/dist/dist-test.json.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ "$(id -u)" != 0 ] || ! unshare --mount --pid --fork true 2>/dev/null; then
  echo "dist-test: needs root and mount namespaces; nothing was tried" >&2
  exit 75
fi
exec .venv/bin/python scripts/dist_test.py "$@"
