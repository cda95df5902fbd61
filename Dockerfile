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

# pip and hatchling stay in a virtual environment of the build; /opt/undegrade has no pip
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

FROM tools AS api-packages
ARG PIP_EXTRA_INDEX_URL
COPY --from=requirements /build/api.txt /build/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    /opt/build/bin/python -m pip --python /opt/undegrade/bin/python install --no-cache-dir \
        -c /build/constraints.txt -r /build/api.txt

FROM tools AS worker-packages
ARG PIP_EXTRA_INDEX_URL
COPY --from=requirements /build/worker.txt /build/
RUN --mount=type=secret,id=pipconf,target=/etc/pip.conf \
    /opt/build/bin/python -m pip --python /opt/undegrade/bin/python install --no-cache-dir \
        -c /build/constraints.txt -r /build/worker.txt \
    || { echo "If pip finds no torch: PIP_EXTRA_INDEX_URL must name an index with this build (docs/docker.md)" >&2; \
         exit 1; }

# The code, without the weights, and the command `undegrade`
FROM tools AS code
# .dockerignore lists what this is; the weights get a layer of their own
COPY . /source
RUN rm -r /source/models/bundles \
    && /opt/build/bin/python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index -w /wheels /source \
    && /opt/build/bin/python -m pip --python /opt/undegrade/bin/python install --no-cache-dir --no-deps --no-index \
        --target /code /wheels/*.whl

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
USER 10001:0
ENTRYPOINT ["undegrade"]
EXPOSE 9100

FROM runtime AS api
COPY --from=api-packages /opt/undegrade /opt/undegrade
COPY --from=code /code /opt/code
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

FROM runtime AS worker
COPY --from=worker-packages /opt/undegrade /opt/undegrade
COPY models/bundles /opt/code/models/bundles
COPY --from=code /code /opt/code
CMD ["worker"]
HEALTHCHECK --interval=30s --timeout=20s --start-period=600s --retries=3 CMD ["undegrade", "health", "worker"]
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.title="undegrade worker" \
      org.opencontainers.image.description="Worker of undegrade: restores the photos of the queue on a GPU or a CPU" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
