# One command each for the two things a fresh machine is asked to do: `make demo` and `make test`.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READER := .venvs/duckdb-reader
WORKERS ?= 2
# pip's own lines, cut down to one short line a step: a wait without a word looks like a hang.
SAY := sed -nu -e 's/^Collecting \([A-Za-z0-9_.-]*\).*/  \1/p' \
	-e 's/^ *Installing build dependencies.*/  what the page is built with …/p' \
	-e 's/^ *Preparing editable metadata.*/  building the page …/p' \
	-e 's/^Installing collected packages.*/  unpacking (half a minute) …/p'
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help
help: ## List every target with one line each
	@grep -hE '^[a-zA-Z_-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.made: pyproject.toml hatch_build.py constraints/dev.txt
	@echo "Making the environment in $(VENV) (a minute or two on a fresh machine) …"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade pip
	@$(BIN)/python -m pip install --constraint constraints/dev.txt --editable ".[all,dev]" | $(SAY)
	@touch $@

.PHONY: setup
setup: $(VENV)/.made ## Make the environment with all extras and tools

$(READER)/.made: constraints/duckdb-reader.txt
	@echo "Making an environment with other people's DuckDB in $(READER) …"
	@test -x $(READER)/bin/python || $(PYTHON) -m venv $(READER)
	@$(READER)/bin/python -m pip install --requirement constraints/duckdb-reader.txt | $(SAY)
	@touch $@

.PHONY: browser
browser: ## Install Debian's Chromium if no Chromium is there (browser tests, screenshots)
	@scripts/chromium

.PHONY: services
services: setup ## Install the brokers, stores and emulators that tests start (docs/services.md)
	@scripts/services

.PHONY: demo
demo: $(VENV)/.made $(if $(STREAM),services) ## The whole chain on the bundled real sample; Ctrl-C ends it; STREAM=kafka: over a real broker
ifdef STREAM
	@rm -rf tickerlake-demo-$(STREAM)  # the broker is a fresh one: so is what was delivered from it
	@$(BIN)/python -m tickerlake.testing.services $(STREAM) -- \
		$(BIN)/tickerlake demo --stream {url} --workspace tickerlake-demo-$(STREAM) $(ARGS)
else
	@$(BIN)/tickerlake demo $(ARGS)
endif

.PHONY: test
test: setup $(READER)/.made browser services ## Set up a fresh machine, then the whole of `make check`
	@$(MAKE) --no-print-directory check

.PHONY: check
check: lint types layers page-check tests ## Format, lint, types, layers, the page, all tests

.PHONY: lint
lint: $(VENV)/.made ## Format and lint, changing nothing
	@echo "ruff …"
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .

.PHONY: format
format: $(VENV)/.made ## Format and mend what can be mended
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

.PHONY: types
types: $(VENV)/.made ## mypy, strict
	@echo "mypy …"
	@$(BIN)/mypy --no-error-summary

.PHONY: layers
layers: $(VENV)/.made ## import-linter: rooms and their walls
	@echo "import-linter …"
	@$(BIN)/lint-imports --no-timestamp 2>/dev/null || $(BIN)/lint-imports

.PHONY: page-check
page-check: $(VENV)/.made ## Types, lint and unit tests of the page
	@echo "page …"
	@scripts/page check

.PHONY: tests
tests: $(VENV)/.made ## All tests
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

.PHONY: quick
quick: $(VENV)/.made ## The inner loop, under a minute
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet .
	@$(BIN)/python -m pytest -n $(WORKERS) -q -m "not slow" tests/unit tests/contract tests/test_tidy.py

.PHONY: bench
bench: $(VENV)/.made services ## Run every benchmark with its peer and print the table (about 45 minutes)
	@$(BIN)/python -m pip install --quiet --constraint constraints/dev.txt --editable ".[bench]"
	@$(BIN)/python benchmarks/all.py $(ARGS)

RUNS ?= 1000
RUNS_OF_THREE ?= 36
LANES ?= 2
EVIDENCE ?= docs/proof-evidence.jsonl
ACCIDENTS ?= 5000
STORIES ?= 500
.PHONY: prove
prove: $(VENV)/.made services prove-parsers prove-cache ## The long proof over a real Kafka that it starts: RUNS=1000, LANES=2, goes on where it stopped
	@$(BIN)/tickerlake prove --start kafka3 --runs $(RUNS_OF_THREE) --evidence $(EVIDENCE) \
		--faults broker-nodes-killed,broker-leaders-change,broker-min-isr
	@$(BIN)/tickerlake prove --start kafka --runs $(RUNS) --lanes $(LANES) --evidence $(EVIDENCE) $(ARGS)

.PHONY: prove-parsers
prove-parsers: $(VENV)/.made ## The long form of the parsers' fuzzing: ACCIDENTS=5000 for each provider's answers and talk
	@TICKERLAKE_TEST_FUZZ_EXAMPLES=$(ACCIDENTS) $(BIN)/python -m pytest -n $(WORKERS) tests/unit/test_fuzzing.py

.PHONY: prove-cache
prove-cache: $(VENV)/.made ## The long form of the cache's model: STORIES=500 stories of a simulated exchange, and as many plans
	@TICKERLAKE_TEST_EXAMPLES=$(STORIES) $(BIN)/python -m pytest -n $(WORKERS) --timeout 7200 tests/unit/test_cache_model.py \
		tests/unit/test_cache_minimum.py

.PHONY: prove-report
prove-report: $(VENV)/.made ## Make the tables of docs/proof.md from the evidence
	@$(BIN)/python scripts/proof_report.py

.PHONY: screenshots
screenshots: $(VENV)/.made browser ## Make the page's pictures in docs/images/
	@$(BIN)/python scripts/screenshots.py

.PHONY: wheel
wheel: $(VENV)/.made ## Build the wheel with the real page inside
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

.PHONY: clean
clean: ## Remove what was built; keeps workspaces
	@rm -rf $(VENV) .venvs .services dist build src/tickerlake/web/static .mypy_cache .ruff_cache .pytest_cache
