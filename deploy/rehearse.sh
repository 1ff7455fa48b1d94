#!/usr/bin/env bash
# Builds an image's file system without a container engine: the Dockerfile's own steps in a chroot
# over this machine's system folders, then its command as its user on a read-only tree.
#
#   deploy/rehearse.sh [store]      needs root (or user namespaces), Python 3.11+ and a package index
#
# What it is not: the base image. Python and the C library are this machine's.
set -euo pipefail
cd "$(dirname "$0")/.."
name=${1:-store}
python=$(python3 -c 'import sys; print(sys._base_executable or sys.executable)')
root=$(mktemp -d "${TMPDIR:-/tmp}/shimmy-rehearsal.XXXXXX")
trap 'rm -rf "$root"' EXIT
as=(--mount --pid --fork --kill-child)
[ "$(id -u)" = 0 ] || as+=(--user --map-root-user)
if ! unshare "${as[@]}" true 2>/dev/null; then
  echo "rehearse: this machine allows no mount namespace; nothing was tried" >&2
  exit 75
fi
unshare "${as[@]}" "$python" -I deploy/rehearse.py "deploy/$name.Dockerfile" "$root"
