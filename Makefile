# Everything is set up by itself: a target first makes .venv where it is absent or out of date.
# Torch stands outside the hashed locks, so that whatever build pip finds (CPU or CUDA) will do:
#   make demo TORCH='torch==2.13.0 --index-url URL-OF-CPU-BUILDS'

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH ?= torch==2.13.0
ARGS ?=

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

BIN := .venv/bin
# What is imported is compiled on its first use: compiling all of it takes longer than fetching it.
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input install --quiet --no-compile
# Stamps: touched last, so that an interrupted set-up is done again.
LOCKED := .venv/locked
RUNS := .venv/runs
CHECKS := .venv/checks
RUNTIMES := .venv/runtimes
PEERS := $(patsubst benchmarks/peers/%.txt,.peers/%/ready,$(wildcard benchmarks/peers/*.txt))

.PHONY: help demo test lint slow bench peers gpu runtimes lock setup clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

demo: $(RUNS) ## the main job on built-in real data, to a verdict and report.html
	@code=0; $(BIN)/shipworthy demo $(ARGS) || code=$$?; \
	case $$code in 0|3|4) ;; *) exit $$code ;; esac
# 3 is hold and 4 is undecided: results, not errors.

test: $(CHECKS) ## the tests that take minutes, not hours
	$(BIN)/python -m pytest -m "not slow and not gpu" $(ARGS)

slow: $(CHECKS) runtimes ## the tests with full replicate counts
	$(BIN)/python -m pytest -m slow $(ARGS)

gpu: $(CHECKS) ## the tests that need a GPU
	@if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then \
		code=0; $(BIN)/python -m pytest -m gpu $(ARGS) || code=$$?; \
		if [ $$code -eq 5 ]; then echo "no test needs a GPU in this version"; else exit $$code; fi; \
	else \
		echo "skipped: torch sees no GPU on this machine"; \
	fi

lint: $(CHECKS) ## style, types, rooms, spelling
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/lint-imports --no-logo
	$(BIN)/codespell

bench: $(CHECKS) ## every benchmark, with the flags of this machine
	@$(BIN)/python -c 'from shipworthy.core.device import device_class; print(device_class())'
	@set -e; for file in benchmarks/*.py; do \
		echo "== $$file"; $(BIN)/python "$$file" $(ARGS); \
	done

peers: $(PEERS) ## environments of other tools, for tests and benchmarks

lock: $(CHECKS) ## resolve pyproject.toml again into all locks
	sh scripts/lock.sh

runtimes: $(RUNTIMES) ## llama.cpp, which is compiled, and bitsandbytes; without them their tests are skipped

setup: $(CHECKS) ## only set up

clean: ## remove caches and build outputs; runs and environments stay
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find src tests benchmarks scripts -type d -name __pycache__ -prune -exec rm -rf {} +

distclean: clean ## also remove .venv and .peers
	rm -rf .venv .peers

.venv/bin/python:
	@test -n "$(PYTHON)" || { echo "no python3 on the PATH; 3.11 or newer is needed" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than 3.11; say make PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear .venv

$(LOCKED): requirements.lock | .venv/bin/python
	$(PIP) --no-deps --require-hashes -r requirements.lock
	$(PIP) $(TORCH)
	@touch $@

# setuptools is in the lock, so that the build needs no environment of its own.
$(RUNS): pyproject.toml $(LOCKED)
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

$(CHECKS): requirements-dev.lock $(RUNS)
	$(PIP) --no-deps --require-hashes -r requirements-dev.lock
# Warnings of other people's sources come when they are compiled, and in tests warnings are errors.
	@$(BIN)/python -W ignore -m compileall -q -j 0 .venv/lib > /dev/null 2>&1 || true
	@touch $@

# Compiling takes minutes, so the fast tests do without.
$(RUNTIMES): requirements-runtimes.lock $(CHECKS)
	@if command -v c++ > /dev/null || command -v g++ > /dev/null; then \
		$(PIP) --no-deps --require-hashes -r requirements-runtimes.lock && touch $@; \
	else \
		echo "skipped: llama.cpp takes a C++ compiler, and there is none"; \
	fi

.peers/%/ready: benchmarks/peers/%.txt
	@test -n "$(PYTHON)" || { echo "no python3 on the PATH; 3.11 or newer is needed" >&2; exit 1; }
	"$(PYTHON)" -m venv --clear ".peers/$*"
# A hashed file leaves torch out, as the locks do, and says where it is needed.
	@if grep -q '^#.* With torch' "$<"; then \
		".peers/$*/bin/python" -m pip --disable-pip-version-check --no-input install --quiet $(TORCH); \
	fi
	".peers/$*/bin/python" -m pip --disable-pip-version-check --no-input install --quiet -r "$<"
	@touch $@
