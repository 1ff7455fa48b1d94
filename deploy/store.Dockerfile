# The store: `docker build -f deploy/store.Dockerfile -t shimmy-store .` from the checkout's root.
# The base is named by its whole version. To name it by digest too, which no mirror can change:
# --build-arg PYTHON=python@sha256:… (docker buildx imagetools inspect says which).
ARG PYTHON=python:3.11.14-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements/store_image.lock requirements/image_build.lock requirements/
# Wheels only: a source archive would run its own code here to install itself.
RUN python3 -m venv /opt/builder \
 && /opt/builder/bin/pip install --require-hashes --only-binary :all: -r requirements/image_build.lock
RUN python3 -m venv --copies /opt/store \
 && /opt/store/bin/pip install --require-hashes --only-binary :all: -r requirements/store_image.lock
COPY contracts contracts
COPY site site
COPY LICENSE LICENSE
COPY packages/store/pyproject.toml packages/store/README.md packages/store/
COPY packages/store/src packages/store/src
RUN /opt/builder/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir wheels packages/store \
 && /opt/store/bin/pip install --no-index --no-deps wheels/shimmy_store-*.whl \
 && /opt/store/bin/pip uninstall --yes pip setuptools \
 && python3 -m compileall -q /opt/store/lib

FROM ${PYTHON}
LABEL org.opencontainers.image.title="Shimmy store" \
      org.opencontainers.image.description="Checkout, licences delivered exactly once, customer portal." \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/store /opt/store
ENV PATH=/opt/store/bin:/usr/local/bin:/usr/bin:/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# Nobody on any host. All that it writes is in /tmp, and a ledger of SQLite's where there is one.
USER 10001:10001
WORKDIR /tmp
EXPOSE 8400
STOPSIGNAL SIGTERM
# Whether the process answers, not whether Stripe does: /ready and /health tell more.
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s --retries=4 \
  CMD ["python3", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8400/alive', timeout=4)"]
ENTRYPOINT ["shimmy-store"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8400", "--workers", "2"]
