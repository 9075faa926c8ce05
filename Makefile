# Each goal does its own set-up: make demo, make test, make test-all, make check, make bench-quality,
# make bench-compare, make bench-decisions, make bench-coverage, make bench-unusual, make bench-faithfulness,
# make bench-robustness, make bench-acquisition, make bench-compression, make bench-distillation, make bench-speed,
# make bench-serving, make bench-bundle, make clean.
# All of them install the extras dev, pretrained, video and word2vec, which train; serving needs none (docs/bundles.md).
# PYTHON: which Python (3.11 or newer) the environment is made with.
# TORCH_INDEX: where torch comes from. The default is its small CPU build; for a GPU: make TORCH_INDEX= demo
PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
TORCH := $(shell sed -n 's/^torch==/torch==/p' constraints.txt)

.PHONY: bytecode demo test test-all check bench-quality bench-compare bench-decisions bench-coverage bench-unusual \
	bench-faithfulness bench-robustness bench-acquisition bench-compression bench-distillation bench-speed \
	bench-serving bench-bundle clean
.DEFAULT_GOAL := test

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "polymodal needs Python 3.11 or newer: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV) (once)."
	@$(BIN)/python -c 'import torch' 2>/dev/null \
	  || { test -n "$(TORCH_INDEX)" && $(PIP) --no-deps --retries 0 --timeout 20 --index-url $(TORCH_INDEX) $(TORCH) 2>/dev/null; } \
	  || $(PIP) $(TORCH)
	@$(PIP) -e '.[dev,pretrained,video,word2vec]'
	@touch $@

# What pip does for installed packages: without it, every start compiles the package anew where Python is told to write no
# bytecode (PYTHONDONTWRITEBYTECODE), half a second on a slow core.
bytecode: $(INSTALLED)
	@$(BIN)/python -m compileall -q src

demo: bytecode
	@$(BIN)/python -m polymodal.demo --output demo

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/pydoclint --quiet src

# One process a core, each with a thread of its own; the tests of a file stay together.
PYTEST := OMP_WAIT_POLICY=PASSIVE OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

# Every part in every check, and every pair of parts in one of them.
test: bytecode
	@$(PYTEST) -m "not exhaustive"

# All combinations of parts too.
test-all: bytecode
	@$(PYTEST)

bench-quality: bytecode
	@$(BIN)/python benchmarks/quality.py

bench-compare: bytecode
	@$(BIN)/python benchmarks/comparisons.py

bench-decisions: bytecode
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/decisions.py

bench-coverage: bytecode
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/coverage.py

bench-unusual: bytecode
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/unusual_rows.py

bench-faithfulness: bytecode
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/faithfulness.py

bench-compression: bytecode
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/compression.py

bench-distillation: bytecode
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/distillation.py

bench-robustness: bytecode
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/robustness.py
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/imbalance.py

bench-acquisition: bytecode
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/acquisition.py

bench-serving: bytecode
	@OMP_NUM_THREADS=1 $(BIN)/python benchmarks/serving.py

bench-speed: bytecode
	@$(BIN)/python benchmarks/speed.py
	@$(BIN)/python benchmarks/speed_predict.py
	@$(BIN)/python benchmarks/speed_decoding.py

bench-bundle: bytecode
	@$(BIN)/python benchmarks/speed_bundle.py

clean:
	rm -rf $(VENV) demo build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find src tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
