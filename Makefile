# Everything here sets itself up: `make demo` and `make test` work on a fresh clone with Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The one place where torch is pinned. It goes in first: a later resolver would otherwise pick a build with gigabytes
# of CUDA libraries. Any torch that satisfies pyproject.toml works; set TORCH to take another.
TORCH ?= torch==2.13.0
# What `make bench` measures `nerfound benchmark` on: a preset of the Hub, or a folder of train and test files
BENCH_DATA ?= mit-restaurant
READY := $(VENV)/.ready

.PHONY: demo test lint format bench wheel clean

demo: $(READY)
	$(BIN)/nerfound demo --output demo

test: $(READY)
	$(BIN)/python -m pytest tests

lint: $(READY)
	$(BIN)/ruff check nerfound tests
	$(BIN)/ruff format --check nerfound tests
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix nerfound tests
	$(BIN)/ruff format nerfound tests

bench: $(READY)
	$(BIN)/python -m tests.benchmarks.throughput
	$(BIN)/python -m tests.benchmarks.data_efficiency $(BENCH_DATA)
	$(BIN)/python -m tests.benchmarks.annotation

wheel: $(READY)
	$(BIN)/python -m build --wheel

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nerfound needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[train,annotate,scale,offline,plots,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build dist demo
