#!/usr/bin/env bash
# Builds the single file with its bill of materials, licences and digests into build/dist. With
# --twice it is built a second time elsewhere, and what differs is said (build/dist/twice.txt).
set -euo pipefail
cd "$(dirname "$0")/.."
twice=
if [ "${1:-}" = --twice ]; then twice=1; shift; fi
.venv/bin/python scripts/build_single_file.py "$@"
[ -n "$twice" ] || exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/python scripts/build_single_file.py --work "$work/work" --out "$work/dist" "$@"
: >build/dist/twice.txt
for file in shimmy shimmy.cdx.json THIRD-PARTY-LICENSES shimmy_vision-*.whl; do
  one=$(cd build/dist && sha256sum $file | cut -d' ' -f1)
  other=$(cd "$work/dist" && sha256sum $file | cut -d' ' -f1)
  if [ "$one" = "$other" ]; then word=same; else word=differs; fi
  echo "$word $one $other $file" | tee -a build/dist/twice.txt
done
if grep -q '^differs.*\.whl$' build/dist/twice.txt; then
  echo "dist: the wheels differ too: were the sources changed between the two builds?" >&2
fi
! grep -q ^differs build/dist/twice.txt
