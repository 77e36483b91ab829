# The index of what can be done here; `make` alone prints it.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
BROKER := $(BIN)/python docker/kafka/broker.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## print this list
	@sed -nE 's/^([.a-z-]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target sentence; \
	do printf '  make %-10s %s\n' "$$target" "$$sentence"; done

.PHONY: .venv
.venv: $(READY) ## make the environment in .venv (every other target does so when it must)

# The stamp is the last thing made and the first thing gone: what was interrupted is begun anew.
$(READY): pyproject.toml requirements.lock requirements-uv.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	|| { echo "Turnstile needs Python 3.11 or newer; \`$(PYTHON)\` is not. Name one: make PYTHON=python3.12"; exit 1; }
	@echo "Making the environment in .venv"
	@rm -rf .venv
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-uv.lock
	@$(BIN)/uv pip sync --python $(BIN)/python --quiet --require-hashes requirements.lock
	@$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: demo
demo: $(READY) ## show the whole of it at work, on this machine (LOG=kafka: with Apache Kafka)
	@$(if $(filter kafka,$(LOG)),$(if $(TURNSTILE_KAFKA),,$(BROKER) --) )$(BIN)/turnstile demo

.PHONY: broker
broker: $(READY) ## run Apache Kafka on this machine until Ctrl-C, for `turnstile engine` and others
	@$(BROKER)

# Three processes, as most tests wait for something most of the time; each has servers of its own.
SIDE_BY_SIDE := --numprocesses 3 --dist worksteal

.PHONY: test
test: $(READY) ## run every test, those on real servers too
	@docker/sandbox/fetch
	@$(BIN)/pytest $(SIDE_BY_SIDE)

.PHONY: test-fast
test-fast: $(READY) ## run the tests that need no server and no patience
	@$(BIN)/pytest -m 'not service and not chaos and not slow'

.PHONY: chaos
chaos: $(READY) ## break things for ten minutes (CHAOS_SECONDS=600) and check what is promised
	@CHAOS_SECONDS=$${CHAOS_SECONDS:-600} CHAOS_TICKETS=$${CHAOS_TICKETS:-2000} \
		CHAOS_FAULTS=$${CHAOS_FAULTS:-20} $(BIN)/pytest --timeout 0 tests/chaos

.PHONY: bench
bench: $(READY) ## measure; LOG, MODE and BENCH_JSON choose the log, the load and the file for the figures
	@$(BIN)/python -m tests.benchmarks

.PHONY: lint
lint: $(READY) ## check style, format, types, and which way the imports point
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo

.PHONY: format
format: $(READY) ## put the code into its format and mend what can be mended by itself
	@$(BIN)/ruff check --fix-only --quiet
	@$(BIN)/ruff format --quiet

.PHONY: wheel
wheel: $(READY) ## build the wheels in dist/: the server's and the client's
	@$(BIN)/hatchling build --target wheel
	@cd adapters/client && $(CURDIR)/$(BIN)/hatchling build --target wheel --directory $(CURDIR)/dist

.PHONY: lock
COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade)
lock: $(READY) ## pin what pyproject.toml asks for (UPGRADE=1: at the newest versions)
	@$(COMPILE) pyproject.toml --group dev --output-file requirements.lock
	@echo uv | $(COMPILE) - --no-annotate --output-file requirements-uv.lock

.PHONY: clean
clean: ## remove the environment and everything that was built
	@rm -rf .venv dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
