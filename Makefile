# make setup       virtual environment in .venv with the locked packages, and system packages where possible
# make quickstart  setup, then configs/quickstart.yaml end to end on a CPU
# make test        setup, then every test, those on real models (marked `engine`) included
# make check       setup, then format, lint, types and the quick tests: before each commit
# make lock        resolve the locked packages anew
# make clean       remove .venv, caches and build output (runs/ stays)

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
TORCH := $(shell grep '^torch==' requirements/cpu.lock)
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
JOBS ?= 2
TESTS := $(BIN)/python -m pytest -q -rs
SIDE_BY_SIDE := --numprocesses $(JOBS) --dist loadfile
QUICK_TESTS := $(TESTS) -m "not engine" $(SIDE_BY_SIDE)

.PHONY: setup quickstart test check lint lock clean

setup: $(READY)

# torch is named once more with its requirements: a CPU build lacks none, a CUDA build brings its libraries.
$(READY): requirements/cpu.lock requirements/system.sh pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "rdistill needs Python 3.11 or newer, found '$(PYTHON)'; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	@PYTHON="$(PYTHON)" requirements/system.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing $$(grep -c '==' requirements/cpu.lock) locked packages into .venv (some minutes)"
	@$(PIP) --no-deps -r requirements/cpu.lock
	@$(PIP) $(TORCH)
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $(READY)
	@echo "Ready: $(BIN)/rdistill"

quickstart: setup
	$(BIN)/rdistill run configs/quickstart.yaml

# Those on real models come second: no timing of a quick test suffers from them.
test: setup
	$(QUICK_TESTS)
	$(TESTS) -m engine $(SIDE_BY_SIDE)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

check: lint
	$(QUICK_TESTS)

lock: setup
	$(BIN)/python requirements/refresh_lock.py

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
