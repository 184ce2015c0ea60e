# One command per chore; CI calls the same ones. `make` alone lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOCK := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --quiet
PRODUCTION := --extra asyncio --extra flower --extra postgresql --group rooms
BUILD := --group build
DEVELOPMENT := $(PRODUCTION) $(BUILD) --extra embedded --group test --group check
# In CI a test that fails runs again, so that chance costs nobody an hour; the summary shows each such try and why.
RERUNS := $(if $(CI),--reruns 2 --max-suite-reruns 10 --rerun-show-tracebacks)

.DEFAULT_GOAL := help
.PHONY: help up demo duel operations duel-picture test promises check fresh faults contexts mutants bench format lock clean

help:  ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): requirements/development.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
		"Penstock needs Python 3.11 to 3.13, and this is %d.%d; set PYTHON=python3.13" % v)'
	@echo "setting up $(VENV) with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/development.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

up: $(STAMP)  ## The whole system in the foreground; Ctrl-C drains it
	@$(BIN)/python -m penstock.embedded

demo: $(STAMP)  ## The whole system, a few hundred jobs, and a reconciliation of all of them
	@$(BIN)/python -m demo

duel: $(STAMP)  ## Stock Celery and Penstock side by side: the same jobs, the same faults, one minute
	@$(BIN)/python -m demo.duel $(ARGS)

operations: $(STAMP)  ## A shop on a bad day: six questions of an operator, answered by Flower's pages; writes their pictures
	@$(BIN)/python -m demo.operations --pictures docs/pictures/operations $(ARGS)

duel-picture: $(STAMP)
	@$(BIN)/python -m demo.duel --picture docs/pictures/duel.svg $(ARGS)

# More processes than cores: most tests wait for other processes. One module stays in one process, as its servers do.
PARALLEL := --numprocesses 4 --dist loadscope

test: $(STAMP)  ## All tests, on SQLite and PostgreSQL
	@$(BIN)/python -m pytest $(PARALLEL) $(RERUNS) $(ARGS)

promises: $(STAMP)  ## Celery's promises, all of them on stock Celery as well; CI asks it for a part at a time
	@CI= $(BIN)/python -m pytest $(PARALLEL) tests/celery_promises $(ARGS)

check: $(STAMP)  ## Style, types, import contract, locks in step, the docs' code
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory locks-in-step
	@$(BIN)/python -m pytest -q $(PARALLEL) $(RERUNS) tests/docs

fresh: $(STAMP)  ## README's own commands in an empty clone with an empty environment, with pictures
	@$(BIN)/python .ci/fresh.py

faults: $(STAMP)  ## Break stock Celery and Penstock in the same ways, and write docs/faults.md
	@$(BIN)/python -m tests.faults $(ARGS)

contexts: $(STAMP)  ## A hundred thousand jobs among others, by coroutines and by threads: none finds anything of another
	@$(BIN)/python -m tests.engine.contexts $(ARGS)

mutants: $(STAMP)  ## Remove each guard in turn and see its test turn red
	@$(BIN)/python -m tests.mutants $(ARGS)

bench: $(STAMP)  ## Measure beside stock Celery and its peers, and write docs/comparison.md, benchmarks.md, scale.md; QUICK=1 for the heart of it
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(ARGS)

format: $(STAMP)  ## Format the code
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(STAMP)  ## Write the lock files anew from pyproject.toml
	@$(LOCK) $(PRODUCTION) --upgrade -o requirements/production.txt
	@$(LOCK) $(BUILD) --upgrade -o requirements/build.txt
	@$(LOCK) $(DEVELOPMENT) --upgrade -c requirements/production.txt -o requirements/development.txt

.PHONY: locks-in-step
# Resolved again from what the locks say: they change only when pyproject.toml asks for something else.
locks-in-step:
	@set -e; folder=$$(mktemp -d); cp requirements/*.txt $$folder; \
	$(LOCK) $(PRODUCTION) -o $$folder/production.txt; \
	$(LOCK) $(BUILD) -o $$folder/build.txt; \
	$(LOCK) $(DEVELOPMENT) -c $$folder/production.txt -o $$folder/development.txt; \
	for name in production build development; do \
		grep -v '^ *#' requirements/$$name.txt > $$folder/have; grep -v '^ *#' $$folder/$$name.txt > $$folder/want; \
		cmp -s $$folder/have $$folder/want || { echo "requirements/$$name.txt is not in step; run make lock"; exit 1; }; \
	done; rm -r $$folder; echo "locks are in step"

clean:  ## Remove the environment and everything under ./var
	rm -rf $(VENV) var
