# `make repro` and `make test` need python3 (3.11 or newer), make and git; they set up the rest.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/installed
SHELL := /bin/bash
# On another machine the results differ, at least in times. DVC restores only what a commit's dvc.lock names.
NEW_RESULTS := new results: to keep them, git add params.yaml dvc.lock reports && git commit
# Run a command, then sync: DVC restores outputs from its cache without running the stage that sends them to MLflow.
# The exit status is that of the command. Without the trap, bash would sync after Ctrl-C.
define with_sync
trap 'exit 130' INT; $(1); status=$$?; lenetlab sync; \
  test -z "$$(git status --porcelain -- dvc.lock reports 2>/dev/null)" || echo "$(NEW_RESULTS)"; exit $$status
endef
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup repro settle test mutants ui experiments plots page report sensitivity sync check study torture audit bench bench-attempts bench-record bench-simulation bench-tuning lint format lock clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# An environment holds its own path: one that was copied or moved here would run the code of the other folder.
FOREIGN := $(shell test -e $(STAMP) && ! grep -qxF -- "$(CURDIR)/$(VENV)" $(STAMP) && echo remove-foreign)

setup: $(STAMP)  ## create .venv and install the locked packages

$(STAMP): requirements.lock pyproject.toml $(FOREIGN)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "lenetlab needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "setting up $(VENV) (about 6 GB, once)"
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check uv
	@# Compiled once here, since Python does not keep what it compiles where PYTHONDONTWRITEBYTECODE is set.
	@$(VENV)/bin/python -m uv pip sync --quiet --compile-bytecode --python $(VENV)/bin/python --require-hashes requirements.lock
	@$(VENV)/bin/python -m uv pip install --quiet --python $(VENV)/bin/python --no-deps --editable .
	@echo "$(CURDIR)/$(VENV)" > $@

.PHONY: remove-foreign
remove-foreign:
	@echo "$(VENV) was made for another folder: making it anew"
	@rm -rf $(VENV)

check: setup  ## check params.yaml and the statements, and list every error
	@lenetlab check

repro: check  ## run the pipeline, or what of it is out of date
	@$(call with_sync,dvc repro)

settle: check  ## add seeds until every comparison has a verdict
	@$(call with_sync,lenetlab settle)

test: setup  ## run all tests
	@pytest -n 2 --dist worksteal

mutants: setup  ## check that the tests notice known defects; ten minutes
	@python -m benchmarks.mutants

ui: setup  ## open the runs in MLflow, on this machine only
	@lenetlab ui

experiments: setup  ## list the DVC experiments, with the columns that differ
	@dvc exp show --only-changed --drop ".*(runs|journals|evaluations|src/|stages/|data/|docs/|networks|costs)"

plots: setup  ## draw curves and confusion matrices of HEAD and of this folder; the page loads Vega from the network
	@dvc plots diff

report: setup  ## render the report again from the files on disk, in seconds
	@lenetlab report

page: setup  ## check the report page with axe-core and html-validate; needs npm and chromium
	@python -m benchmarks.page

sensitivity: check  ## train with one setting changed at a time; a quarter of an hour
	@dvc repro prepare
	@lenetlab sensitivity
	@$(call with_sync,dvc repro)

study: check  ## train the whole catalogue as a DVC experiment; an hour; docs/study
	@$(call with_sync,python -m benchmarks.study run)

torture: setup  ## kill, fill disks and fuzz in large numbers; most of an hour; docs/reliability.md
	@python -m benchmarks.torture

audit: setup  ## check locked packages for known vulnerabilities, and the code for unsafe patterns
	@ruff check --select S
	@uv tool run pip-audit@2.10.1 --strict --disable-pip --requirement requirements.lock

sync: setup  ## send to MLflow what it lacks of the files on disk
	@lenetlab sync

bench: setup  ## measure speed beside other ways of training; an hour on an idle machine; docs/performance.md
	@python -m benchmarks.run

bench-tuning: setup  ## try settings for lenet5-tuned on validation images; half an hour
	@python -m benchmarks.tuning

bench-simulation: setup  ## simulate studies and count wrong verdicts; docs/statistics.md
	@python -m benchmarks.simulation

bench-attempts: setup  ## measure what was tried to make training faster; two minutes on an idle machine
	@python -m benchmarks.attempts

bench-record: setup  ## measure the seconds to 99 % test accuracy; five minutes on an idle machine
	@python -m benchmarks.record measure

lint: setup  ## check format, style and types
	@ruff format --check
	@ruff check
	@mypy

format: setup  ## format the code
	@ruff format
	@ruff check --fix

lock: setup  ## update requirements.lock from pyproject.toml
	@uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-header --extra dev \
	  pyproject.toml --output-file requirements.lock

clean:  ## delete caches and saved progress; never data, outputs or runs
	@rm -rf .lenetlab .pytest_cache .ruff_cache .mypy_cache .hypothesis build src/*.egg-info
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
