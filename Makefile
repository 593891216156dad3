# Frontrow needs Python 3.11 or later and make. Everything else goes into .venv and .frontrow, here in this folder.

.DEFAULT_GOAL := help
.PHONY: help run test check prove format typescript lint-api lint-js docs release install install-dev clean
MAKEFLAGS += --no-print-directory

export UV_PROJECT_ENVIRONMENT := .venv
export PYTHONDONTWRITEBYTECODE :=# a process that compiles everything anew starts seconds later
export UV_COMPILE_BYTECODE := $(if $(wildcard .venv/bin/python),0,1)# every process starts twice as fast

SERVICES ?= # `make test SERVICES=embedded` uses embedded services whatever the machine has
LINTERS ?= redocly spectral# `make lint-api LINTERS=redocly`, as CI does: spectral takes three times as long
ARGS ?= # `make test ARGS="tests/reservations -x"`
WORKERS ?= $(if $(strip $(ARGS)),0,3)# tests at once: most wait, for processes, sockets and pages; a part starts quicker alone
PYTHON_HERE := .venv/bin/python
ANNOUNCE = $(if $(wildcard $(PYTHON_HERE)),,@echo "Installing what uv.lock names into .venv …")

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: install ## the whole demo at http://127.0.0.1:8000 (PORT=8001 for another port)
	@exec $(PYTHON_HERE) manage.py up --with-parent

test: install-dev ## every test this machine can run (SERVICES=embedded: without its own PostgreSQL, Redis, RabbitMQ)
	@FRONTROW_TEST_SERVICES="$(SERVICES)" $(PYTHON_HERE) -m pytest --numprocesses $(WORKERS) $(ARGS)

prove: install-dev ## the races, 200 rounds each (1,000 interleavings of paying with the end of the hold), and the long fault tests
	@FRONTROW_RACE_ROUNDS=200 FRONTROW_TEST_SERVICES="$(SERVICES)" $(PYTHON_HERE) -m pytest -m "race or chaos" $(ARGS)

check: install-dev ## format, lint, types, imports, migrations, OpenAPI schema, translations, compose file
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy .
	.venv/bin/lint-imports --no-cache
	$(PYTHON_HERE) manage.py makemigrations --check --dry-run --settings tests.offline
	$(PYTHON_HERE) manage.py spectacular --validate --fail-on-warn --file .frontrow/openapi.yaml
	@tools/check-translations
	@.venv/bin/mkdocs build --strict --quiet
	@tools/check-compose
	@$(PYTHON_HERE) tools/measure-style

typescript: ## what the test of the TypeScript client needs: node, npm and its registry
	@mkdir -p .frontrow/typescript
	@cp tests/clients/typescript/package.json tests/clients/typescript/package-lock.json .frontrow/typescript/
	@npm ci --prefix .frontrow/typescript --no-audit --no-fund --silent

lint-js: ## the pages' scripts by TypeScript and ESLint (node, npm and its registry)
	@tools/lint-js

docs: install-dev ## the documentation as a site, in .frontrow/site
	@.venv/bin/mkdocs build --strict --quiet

release: install-dev ## cut a version, VERSION=0.3.0: CHANGELOG, pyproject.toml, a commit and a tag
	@tools/release "$(VERSION)"

lint-api: install-dev ## the OpenAPI document by the recommended rules of LINTERS, redocly and spectral (node, npm and its registry)
	@tools/lint-api $(LINTERS)

format: install-dev ## format, and repair what the linter can
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

install: # --inexact leaves the tools of `make test` where they are
	$(ANNOUNCE)
	@tools/uv sync --frozen --no-dev --inexact --quiet

install-dev:
	$(ANNOUNCE)
	@tools/uv sync --frozen --quiet

clean: ## forget the demo's data, logs and caches, and the installed packages
	rm -rf .frontrow .venv
