#!/usr/bin/env bash
# What the tests' report is called: the revision that is checked out, and whether files differ from
# it. `shimmy-ops tests-report` reads it.
cd "$(dirname "$0")/.." || exit 1
revision=$(git rev-parse --verify HEAD 2>/dev/null) || { echo "shimmy@unknown"; exit 0; }
if [ -n "$(git status --porcelain 2>/dev/null)" ]; then revision="$revision+changed"; fi
echo "shimmy@$revision"
