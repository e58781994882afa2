# Everything a newcomer needs: `make demo`, `make test`. Variables go behind: `make demo SERVE=no`.

VENV        ?= .venv
PYTHON      ?= python3
PORT        ?= 8000
SERVE       ?= yes
# A package index for torch alone, such as https://download.pytorch.org/whl/cpu, which keeps CUDA's
# gigabytes away from a machine without a GPU. Empty: the usual index.
TORCH_INDEX ?=
# Further arguments of pytest, such as ARGS="tests/data -k csv".
ARGS        ?=

BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip install --disable-pip-version-check $(if $(CI),--quiet) -c constraints.txt
BROWSER := chromium chromium-browser google-chrome google-chrome-stable

# Waiting threads of OpenMP spin by default, and take the cores from the other test processes.
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help demo install dev test lint format check-readme bench browser services clean

help:  ## list what can be made
	@echo "make TARGET [NAME=value …]"; echo
	@sed -nE 's/^([a-z-]+):.*## (.*)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16
	@echo
	@echo "Variables: PORT=$(PORT) SERVE=$(SERVE) (no: stop before serving) VENV=$(VENV)"
	@echo "           PYTHON=$(PYTHON) TORCH_INDEX=$(TORCH_INDEX) ARGS=$(ARGS)"

demo: install  ## fetch MovieLens-100K, train, evaluate, publish, and serve on http://127.0.0.1:8000
	$(BIN)/tastemap quickstart --port $(PORT) $(if $(filter no,$(SERVE)),--no-serve)

install: $(VENV)/.installed  ## the package in .venv, with what it needs to run

dev: $(VENV)/.installed-dev  ## the package in .venv, with what tests and linters need

test: dev browser services  ## run the whole test suite (ARGS="tests/cli -x" for a part)
	$(BIN)/python -m pytest $(ARGS)

lint: dev  ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: dev  ## put the code into the project's format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

check-readme: dev  ## check that each command of the READMEs exists
	$(BIN)/python scripts/check_readme.py

bench: dev  ## measure us beside rivals, each in an environment of its own (long)
	$(BIN)/python -m benchmarks.run $(ARGS)

browser:
	@command -v $(BROWSER) >/dev/null && exit 0; \
	if ! command -v apt-get >/dev/null; then \
		echo "No Chromium here: the tests of the page are skipped. Install one to run them."; exit 0; \
	fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; \
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo="sudo -n"; \
	else echo "No Chromium here: the tests of the page are skipped. To run them: sudo apt-get install chromium"; exit 0; \
	fi; \
	echo "Installing Debian's chromium for the tests of the page …"; \
	{ $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends chromium; } >/dev/null \
	|| echo "Chromium could not be installed: the tests of the page are skipped."

# Debian 13 and newer have pgvector; elsewhere on Linux a wheel brings PostgreSQL with it.
services:
	@missing=; \
	command -v redis-server >/dev/null || missing="redis-server"; \
	if command -v apt-cache >/dev/null && ! ls /usr/share/postgresql/*/extension/vector.control >/dev/null 2>&1; then \
		missing="$$missing $$(apt-cache pkgnames postgresql- | grep -E '^postgresql-[0-9]+-pgvector$$' | sort -V | tail -1)"; \
	fi; \
	[ -n "$$(echo $$missing)" ] || exit 0; \
	if ! command -v apt-get >/dev/null; then \
		echo "Not here: $$missing. Their tests are skipped. Install them to run these."; exit 0; \
	fi; \
	if [ "$$(id -u)" = 0 ]; then sudo=; \
	elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then sudo="sudo -n"; \
	else echo "Not here: $$missing. Their tests are skipped. To run them: sudo apt-get install $$missing"; exit 0; \
	fi; \
	echo "Installing Debian's $$missing for the tests of state and indices …"; \
	{ $$sudo apt-get update -qq && DEBIAN_FRONTEND=noninteractive $$sudo apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null \
	|| echo "$$missing could not be installed: their tests are skipped."

clean:  ## remove the environment, the demo and what tools left behind
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis src/*.egg-info
	find src tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "Tastemap needs Python 3.11 or newer, and $(PYTHON) is not: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
	|| { echo "Python's venv is missing. On Debian and Ubuntu: sudo apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(torch)
	@echo "Installing tastemap into $(VENV) (some minutes the first time) …"
	$(PIP) -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(torch)
	@echo "Installing tastemap and what its tests need into $(VENV) (some minutes the first time) …"
	$(PIP) -e ".[dev]"
	@touch $@ $(VENV)/.installed

# Without its dependencies, which come from the usual index afterwards, in the pinned versions.
define torch
$(if $(TORCH_INDEX),$(PIP) --no-deps --index-url $(TORCH_INDEX) torch)
endef
