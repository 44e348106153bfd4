# The orchestrator as an image: `web`, `worker` (qcluster) or all of it (`up`), by the command. docs/installing.md

FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE MANIFEST.in ./
COPY orchestrator_site orchestrator_site
COPY runs runs
COPY games games
COPY pools pools
COPY templates templates
COPY static static
COPY docs/runbook.md docs/runbook.md
RUN python -m venv /opt/orchestrator
RUN /opt/orchestrator/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.12-slim
# Sources of games are made into git repositories for the sandboxes to clone.
RUN apt-get update && apt-get install --yes --no-install-recommends git && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /var/lib/orchestrator orchestrator
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/orchestrator
COPY --from=build /opt/orchestrator /opt/orchestrator
ENV PATH=/opt/orchestrator/bin:/usr/local/bin:/usr/bin:/bin \
    ORCHESTRATOR_VAR=/var/lib/orchestrator \
    BIND=0.0.0.0 \
    PYTHONUNBUFFERED=1
ARG VERSION=1.0.0
LABEL org.opencontainers.image.title="Sandbox orchestrator" \
      org.opencontainers.image.version="${VERSION}"
USER 10001:10001
WORKDIR /var/lib/orchestrator
VOLUME /var/lib/orchestrator
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=6s --start-period=60s --retries=3 CMD ["sandbox-orchestrator", "healthcheck"]
CMD ["sandbox-orchestrator", "up"]
