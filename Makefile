# The verbs of this checkout. They set up .venv when it is missing or older than the pins; else that costs nothing.
# ARGS is handed on: make test ARGS="-k messages"

BIN := .venv/bin
READY := .venv/ready
E2E := .venv/e2e
# Without compiled files every process that a test starts compiles its libraries anew, which takes seconds.
unexport PYTHONDONTWRITEBYTECODE
PINS := requirements.lock requirements-uv.txt pyproject.toml scripts/set-up

# .venv belongs to the directory and the interpreter it was made for; PYTHON=… asks for another one.
ifneq ($(PYTHON)$(shell test -x $(BIN)/python && cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

# What stands on the store talks to it by the same functions, so one server is enough for it; live streams hear another way behind a pooler.
STORE := tests/crud tests/database tests/migrations tests/contract tests/capture tests/live tests/api/test_live.py tests/api/test_chat.py

.DEFAULT_GOAL := help
.PHONY: help demo test test-servers e2e check docs openapi console screenshots fuzz bench format lock set-up clean

help: ## list these verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' Makefile

demo: $(READY) ## fill a database with an example and show it
	@$(BIN)/session-db demo $(ARGS)

test: $(READY) ## run the tests and measure their coverage
	@$(BIN)/pytest $(or $(ARGS),-n 2 --cov -m "not large")

test-servers: $(READY) ## run the tests of the store on PostgreSQL 15 and through PgBouncer
	@scripts/install-servers
	@$(BIN)/pytest -m "db and not large" -n 2 --server 15 $(STORE) $(ARGS)
	@$(BIN)/pytest -m "db and not large" -n 2 --server pgbouncer $(STORE) $(ARGS)

e2e: $(E2E) ## drive the real Claude Code and its SDK, a scripted model and no network around them; installs both into .venv
	@$(BIN)/python scripts/loopback_only.py $(BIN)/python -m pytest -p tests.e2e.no_skips -m e2e $(or $(ARGS),-n 2 tests/e2e tests/integrations)

check: $(READY) ## lint, formatting, types and layers
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --no-cache

docs: $(READY) ## run every example in README.md and docs/
	@$(BIN)/pytest tests/test_docs.py $(ARGS)

openapi: $(READY) ## write docs/reference/openapi.json anew
	@$(BIN)/python scripts/openapi.py

console: ## build the web console into the package; ARGS=--check says whether what is committed is what its source makes
	@scripts/console $(ARGS)

screenshots: $(READY) ## take a picture of every page of the console into build/screenshots, and the README's two
	@scripts/install-chromium
	@$(BIN)/python -m tests.console.screenshots build/screenshots
	@mkdir -p docs/images
	@cp build/screenshots/sessions-light-wide.png build/screenshots/timeline-dark-wide.png docs/images/

fuzz: $(READY) ## ask the service whatever its OpenAPI document allows and forbids; SEED=… repeats a run
	@scripts/fuzz $(ARGS)

bench: $(READY) ## print what size costs: queries and searches of a large database, writers beside a deletion, requests beside readers, hooks, the console
	@$(BIN)/python -m benchmarks.queries $(ARGS)
	@$(BIN)/python -m benchmarks.search $(ARGS)
	@$(BIN)/python -m benchmarks.deletion --events 100000 --seconds 10
	@$(BIN)/python -m benchmarks.readers
	@$(BIN)/python -m benchmarks.hooks
	@$(BIN)/python -m benchmarks.console

format: $(READY) ## repair what ruff can
	@$(BIN)/ruff check --fix-only
	@$(BIN)/ruff format

lock: $(READY) ## pin anew after a change of dependencies; ARGS=--upgrade takes the newest
	@$(BIN)/python scripts/lock.py $(ARGS)

set-up: $(READY) ## make .venv ready for all of the above
	@:

clean: ## remove .venv and every cache
	@rm -rf .venv .coverage .hypothesis .mypy_cache .pytest_cache .ruff_cache

$(READY): $(PINS)
	@PYTHON='$(PYTHON)' scripts/set-up

$(E2E): $(READY) requirements-e2e.lock
	@scripts/install-e2e
