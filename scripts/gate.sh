#!/usr/bin/env bash
# Clones HEAD into an empty folder and runs the commands there, as a stranger would.
set -euo pipefail
root=$(git rev-parse --show-toplevel)
clone=$(mktemp -d)
trap 'rm -rf "$clone"' EXIT
git clone --quiet "$root" "$clone/shimmy-vision"
cd "$clone/shimmy-vision"
make demo
make test
make secrets
if [ -n "$(git status --porcelain)" ]; then
  echo "gate: the commands left files that git does not ignore:" >&2
  git status --short >&2
  exit 1
fi
echo "gate: passed"
