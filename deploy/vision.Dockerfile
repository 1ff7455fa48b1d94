# Vision's server: `docker build -f deploy/vision.Dockerfile -t shimmy-vision .` from the root.
# The base is named by its whole version; by digest: --build-arg PYTHON=python@sha256:…
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS native
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# For any x86-64 CPU with AVX2, not for the one that builds: the image travels.
ENV CMAKE_ARGS="-DGGML_NATIVE=OFF -DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF"
RUN apt-get update && apt-get install -y --no-install-recommends g++ \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY requirements/build.lock requirements/native.lock requirements/
RUN python3 -m venv /opt/builder \
 && /opt/builder/bin/pip install --require-hashes --only-binary :all: -r requirements/build.lock
RUN PATH=/opt/builder/bin:$PATH /opt/builder/bin/pip wheel --require-hashes --no-binary llama-cpp-python \
  --no-build-isolation --no-deps --wheel-dir wheels -r requirements/native.lock

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/vision_image.lock requirements/image_build.lock requirements/
RUN python3 -m venv /opt/builder \
 && /opt/builder/bin/pip install --require-hashes --only-binary :all: -r requirements/image_build.lock
RUN python3 -m venv --copies /opt/vision \
 && /opt/vision/bin/pip install --require-hashes --only-binary :all: -r requirements/vision_image.lock
COPY --from=native /build/wheels wheels
# Which licensor this build believes; without one it is a sandbox build. The file names no secret.
ARG SHIMMY_LICENSOR=""
COPY contracts contracts
COPY LICENSE LICENSE
COPY packages/vision/pyproject.toml packages/vision/README.md packages/vision/hatch_build.py packages/vision/
COPY packages/vision/src packages/vision/src
# This image's library is compiled above: SHIMMY_UNSEALED lets a live build do without a packed one.
RUN SHIMMY_UNSEALED=1 /opt/builder/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir wheels packages/vision \
 && /opt/vision/bin/pip install --no-index --no-deps wheels/*.whl \
 && /opt/vision/bin/pip uninstall --yes pip setuptools \
 && python3 -m compileall -q /opt/vision/lib

FROM ${PYTHON}
LABEL org.opencontainers.image.title="Shimmy Vision" \
      org.opencontainers.image.description="Images and pages in, strict JSON out, on your own machine." \
      org.opencontainers.image.licenses="Apache-2.0"
# The native library's own threads.
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/vision /opt/vision
# Models, the licence and what is kept between runs: a volume.
ENV PATH=/opt/vision/bin:/usr/local/bin:/usr/bin:/bin HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
RUN mkdir /data && chown 10001:10001 /data
VOLUME /data
USER 10001:10001
WORKDIR /data
EXPOSE 8750
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=4 \
  CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8750/health', timeout=4)"]
ENTRYPOINT ["shimmy"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8750", "--no-socket"]
