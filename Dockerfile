# Two images: `api` (HTTP, no torch) and `worker` (takes jobs, owns the device).  docs/docker.md explains the arguments.
#
# Layers from rare to frequent changes: base, packages, weights, code.  A change of the code rebuilds only the last one.
# pip's configuration enters as a secret and PIP_EXTRA_INDEX_URL as an argument of the build, so neither gets into an
# image.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/undegrade/bin:${PATH} \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# pip and hatchling, which build the code, stay in a virtual environment of the build
FROM base AS tools
ARG PIP_EXTRA_INDEX_URL
COPY constraints.txt /build/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    python3 -m venv /opt/build \
    && /opt/build/bin/python -m pip install --no-cache-dir -c /build/constraints.txt hatchling \
    && python3 -m venv --without-pip /opt/undegrade

# Files of their own: only a change of a requirement, and none of another line of pyproject.toml, installs again
FROM base AS requirements
ARG TORCH=cpu
COPY deploy/image/requirements.py constraints.txt pyproject.toml /build/
RUN python3 /build/requirements.py api,tracing > /build/api.txt \
    && python3 /build/requirements.py worker,tracing "${TORCH}" > /build/worker.txt

# What both images are: a user with a number, /data to write to, /bundles for a volume, no shell in any command
FROM base AS runtime
RUN mkdir /data /bundles && chown 10001:0 /data /bundles && chmod 0775 /bundles && chmod 0770 /data
ENV PATH=/opt/code/bin:${PATH} \
    PYTHONPATH=/opt/code \
    TMPDIR=/tmp \
    UNDEGRADE_AUTH=on \
    UNDEGRADE_BUNDLES=/bundles \
    UNDEGRADE_HOST=0.0.0.0 \
    UNDEGRADE_METRICS_PORT=9100
ENTRYPOINT ["undegrade"]
EXPOSE 9100

# Packages are installed where they stay: a copy of 1.4 GB costs 20 s in each build, even of a layer that is kept.
# No step mounts another stage: buildah 1.28 loses such a mount when it keeps that stage's layers.
FROM runtime AS api-packages
ARG PIP_EXTRA_INDEX_URL
COPY constraints.txt /opt/undegrade/
COPY --from=requirements /build/api.txt /opt/undegrade/requirements.txt
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    python3 -m venv /tmp/build \
    && python3 -m venv --without-pip /opt/undegrade \
    && /tmp/build/bin/python -m pip --python /opt/undegrade/bin/python install --no-cache-dir \
        -c /opt/undegrade/constraints.txt -r /opt/undegrade/requirements.txt \
    && rm -r /tmp/build

FROM runtime AS worker-packages
ARG PIP_EXTRA_INDEX_URL
COPY constraints.txt /opt/undegrade/
COPY --from=requirements /build/worker.txt /opt/undegrade/requirements.txt
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    python3 -m venv /tmp/build \
    && python3 -m venv --without-pip /opt/undegrade \
    && if ! /tmp/build/bin/python -m pip --python /opt/undegrade/bin/python install --no-cache-dir \
        -c /opt/undegrade/constraints.txt -r /opt/undegrade/requirements.txt; then \
        echo "If pip finds no torch: PIP_EXTRA_INDEX_URL must name an index with this build (docs/docker.md)" >&2; \
        exit 1; \
    fi \
    && rm -r /tmp/build

# The code, without the weights, and the command `undegrade`
FROM tools AS code
# .dockerignore lists what this is; the weights get a layer of their own
COPY . /source
RUN rm -r /source/models/bundles \
    && /opt/build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index -w /wheels /source \
    && /opt/build/bin/python -m pip --python /opt/undegrade/bin/python install --no-cache-dir --no-deps --no-index \
        --target /code /wheels/*.whl

FROM api-packages AS api
COPY --from=code /code /opt/code
USER 10001:0
CMD ["api"]
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=20s --start-period=60s --retries=3 CMD ["undegrade", "health", "api"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="undegrade api" \
      org.opencontainers.image.description="HTTP API of undegrade: queues photos for restoration" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

FROM worker-packages AS worker
COPY models/bundles /opt/code/models/bundles
COPY --from=code /code /opt/code
USER 10001:0
CMD ["worker"]
HEALTHCHECK --interval=30s --timeout=20s --start-period=600s --retries=3 CMD ["undegrade", "health", "worker"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="undegrade worker" \
      org.opencontainers.image.description="Worker of undegrade: restores the photos of the queue on a GPU or a CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
