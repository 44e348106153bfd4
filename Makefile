# The sandbox orchestrator. `make help` says what there is; `make run` is all that a first look needs.
.DEFAULT_GOAL := help
.PHONY: help run test check lint format chaos sim bench mutants keep picture clean

VENV := .venv
PYTHON := $(VENV)/bin/python
PIP := $(PYTHON) -m pip install --quiet --disable-pip-version-check --no-input --progress-bar off --root-user-action ignore -c constraints.txt
PYTEST := $(PYTHON) -m pytest $(if $(ORDER),--order $(ORDER))
# More than there are processors in a small machine: half of what a test does is wait for another process.
WORKERS ?= 4
PARALLEL = -n $(WORKERS) --dist loadfile --no-loadscope-reorder
# Without compiled modules every process starts a second later and takes five times the memory.
unexport PYTHONDONTWRITEBYTECODE

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: $(VENV)/.installed-run  ## Install and run everything; settings come from the environment (PORT=8001 make run)
	@$(PYTHON) manage.py up

test: $(VENV)/.installed-test  ## Install and run the tests (some: TESTS=tests/unit; in any order: ORDER=random)
	@$(PYTEST) $(PARALLEL) -m "not chaos and not bench" $(TESTS)

check: $(VENV)/.installed-test lint  ## Check style, types, templates and the unit tests: within a minute
	@$(PYTEST) $(PARALLEL) tests/unit

lint: $(VENV)/.installed-test  ## Check style, types, templates, migrations, and which module may import which
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy orchestrator_site pools games runs clients/python/arcade_client
	@$(PYTHON) -m djlint --quiet --lint --check templates
	@$(VENV)/bin/lint-imports --no-logo
	@$(PYTHON) -m tests.upgrade.migration_lint

format: $(VENV)/.installed-test  ## Rewrite code and templates in the project's style
	@$(PYTHON) -m ruff check --fix --quiet .
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m djlint --quiet --reformat templates || true

chaos: $(VENV)/.installed-test  ## Long random runs against the invariants, and all tests in a random order
	@$(PYTEST) -n 0 -m chaos $(TESTS)
	@$(PYTEST) $(PARALLEL) -m "not chaos and not bench" --order random $(TESTS)

# A seed is simulated alike by the version that found something: VERSION is for people to compare.
sim: $(VENV)/.installed-test  ## Simulate the whole product with faults (HOURS=500, SEED=17, FAULTS=…, SHRINK=1)
	@$(PYTHON) -m tests.sim $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS)) $(if $(HOURS),--hours $(HOURS)) \
	  $(if $(SHRINK),--shrink) $(if $(REGRESSIONS),--regressions) $(if $(SEED)$(HOURS)$(REGRESSIONS),,--seconds 300)

bench: $(VENV)/.installed-test  ## Measure within ten minutes (SAVE=FILE, BASELINE=FILE; other benches: TESTS=tests/bench)
ifdef TESTS
	@$(PYTEST) -n 0 -m bench -s $(TESTS)
else
	@$(PYTHON) -m tests.bench.judge $(if $(SAVE),--save $(SAVE)) $(if $(BASELINE),--baseline $(BASELINE))
endif

mutants: $(VENV)/.installed-test  ## Make known mistakes one at a time: the tests must notice (some: SOME=claims)
	@$(PYTHON) -m tests.mutants $(SOME)

keep: $(VENV)/.installed-test  ## Keep this version's code, and a database that it filled, for the tests of upgrades
	@version=$$($(PYTHON) -c 'from orchestrator_site import __version__; print(__version__)'); \
	$(PYTHON) -m tests.upgrade.keep $$version && \
	git archive HEAD manage.py orchestrator_site pools games runs templates static | xz -9 > tests/upgrade/releases/$$version.tar.xz && \
	ls -l tests/upgrade/databases/$$version.sql.xz tests/upgrade/releases/$$version.tar.xz

picture: $(VENV)/.installed-test  ## Take the picture in the README anew, of the running product
	@$(PYTHON) -m tests.picture

clean:  ## Remove the virtual environment (never var/, which holds the database)
	@rm -rf $(VENV)

# A command of that name may still be another Python (pyenv leaves such shims behind), so ask each for its version.
$(PYTHON):
	@for python in $(PYTHON_COMMAND) python3.13 python3.12 python3.11 python3 python; do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "Making $(VENV) with $$("$$python" --version)"; \
	    "$$python" -m venv --clear $(VENV) && exit 0; \
	    rm -rf $(VENV); \
	    echo "$$python cannot make virtual environments; on Debian and Ubuntu, install python3-venv." >&2; exit 1; \
	  fi; \
	done; \
	echo "Found no Python 3.11 or newer (tried python3.13, python3.12, python3.11, python3). Install one, or name it: make run PYTHON_COMMAND=/path/to/python" >&2; exit 1

$(VENV)/.installed-run: pyproject.toml constraints.txt | $(PYTHON)
	@echo "Installing the dependencies"
	@$(PIP) -e .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(PYTHON)
	@echo "Installing the dependencies, and the tools for tests and lint"
	@$(PIP) -e '.[test,lint]'
	@touch $@ $(VENV)/.installed-run
