#!/usr/bin/env bash
# Pins every requirement with its hashes. Needs `uv`; run it after editing a *.in file.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
for name in runtime dev build native worker worker_tests store_image vision_image image_build dist ray bench; do
  only=()
  # llama-cpp-python is always built from its source, so only that archive's hash is pinned.
  [ "$name" = native ] && only=(--no-binary llama-cpp-python --no-deps)
  # What a Worker is given is named one by one.
  [[ "$name" = worker* ]] && only=(--no-deps)
  uv pip compile --universal --python-version 3.11 --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
    "${only[@]}" --output-file "$name.lock" "$name.in"
done
