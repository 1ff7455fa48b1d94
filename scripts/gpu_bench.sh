#!/usr/bin/env bash
# A new screenshot to JSON on an NVIDIA GPU, 4.6 and 4.5 shapes: builds the pinned llama-cpp-python
# for CUDA into an environment of its own, then runs benchmarks/gpu.py. Takes about 15 minutes to
# build on 16 cores, 10 to make both pairs and 3 to measure. Options are benchmarks/gpu.py's.
set -euo pipefail
cd "$(dirname "$0")/.."

missing() {
  echo "$1: nothing was measured." >&2
  exit 2
}
command -v nvidia-smi >/dev/null || missing "No NVIDIA driver here (nvidia-smi)"
nvidia-smi --list-gpus 2>/dev/null | grep -q . || missing "No NVIDIA GPU here (nvidia-smi --list-gpus)"
command -v nvcc >/dev/null || PATH="/usr/local/cuda/bin:$PATH"
command -v nvcc >/dev/null || missing "No CUDA compiler here (nvcc, in the CUDA toolkit)"

place="${SHIMMY_GPU_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/shimmy-vision/gpu-venv}"
python="$place/bin/python"
wanted="$(cat requirements/native.lock requirements/runtime.lock | sha256sum | cut -c1-16) $(nvcc --version | tail -1)"
if [ ! -f "$place/complete" ] || [ "$(cat "$place/complete")" != "$wanted" ]; then
  rm -rf "$place"
  "${PYTHON:-python3}" -m venv "$place"
  "$python" -m pip install -q --require-hashes --only-binary :all: -r requirements/runtime.lock
  "$python" -m pip install -q --require-hashes --only-binary :all: -r requirements/build.lock
  # "native" is the GPU that is here; wheels of others' would bring another llama.cpp.
  CMAKE_ARGS="-DGGML_CUDA=ON -DGGML_NATIVE=ON -DCMAKE_CUDA_ARCHITECTURES=native -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF" \
    "$python" -m pip install --require-hashes --no-binary llama-cpp-python --no-build-isolation --no-deps \
    --no-cache-dir -r requirements/native.lock
  "$python" -m pip install -q --no-build-isolation --no-deps -e packages/sandbox -e packages/store -e packages/vision
  echo "$wanted" > "$place/complete"
fi

nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem --format=csv
exec "$python" benchmarks/gpu.py "$@"
