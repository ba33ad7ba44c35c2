# The image of swarm:
#   docker build --tag swarm .
#   docker run --rm swarm list
# PyTorch comes for processors; for an NVIDIA GPU:
#   docker build --tag swarm:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY scenarios ./scenarios
COPY swarm ./swarm
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="swarm" \
      org.opencontainers.image.description="A simulator of learning electricity-market agents on Ray" \
      org.opencontainers.image.licenses="MIT"
# The index asked besides pip's own: its builds of torch carry a local version and so come first.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=wheel /wheels /wheels
RUN python -m pip install --no-cache-dir --extra-index-url "${TORCH_INDEX}" /wheels/*.whl
RUN useradd --uid 10001 --create-home swarm \
    && install --directory --owner=swarm --group=swarm /swarm /swarm/runs
USER 10001
WORKDIR /swarm
ENV PYTHONUNBUFFERED=1 RAY_USAGE_STATS_ENABLED=0
EXPOSE 9464
# Healthy while a run serves its metrics: swarm run --metrics-host 0.0.0.0 --metrics-port 9464
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9464/metrics', timeout=2)"]
ENTRYPOINT ["swarm"]
CMD ["--help"]
