# `make repro` and `make test` need python3 (3.11 or newer), make and git; they set up the rest.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: setup test mutants page study torture audit bench bench-attempts bench-record bench-simulation bench-tuning lint format lock clean

include pipeline.mk

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

test: setup  ## run all tests
	@pytest -n 2 --dist worksteal

mutants: setup  ## check that the tests notice known defects; ten minutes
	@python -m benchmarks.mutants

page: setup  ## check the report page with axe-core and html-validate; needs npm and chromium
	@python -m benchmarks.page

study: check  ## train the whole catalogue as a DVC experiment; two hours; docs/study
	@$(call with_sync,python -m benchmarks.study run)

torture: setup  ## kill, fill disks and fuzz in large numbers; most of an hour; docs/reliability.md
	@python -m benchmarks.torture

audit: setup  ## check locked packages for known vulnerabilities, and the code for unsafe patterns
	@ruff check --select S
	@uv tool run pip-audit@2.10.1 --strict --disable-pip --requirement requirements.lock

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
