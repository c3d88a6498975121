# Everything here sets itself up: `make demo` and `make test` work on a fresh clone with Python 3.11 or newer and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The one place where torch is pinned. It goes in first: a later resolver would otherwise pick a build with gigabytes
# of CUDA libraries. Any torch that satisfies pyproject.toml works; set TORCH to take another.
TORCH ?= torch==2.13.0
# What `make bench` measures `nerfound benchmark` on: a preset of the Hub, or a folder of train and test files
BENCH_DATA ?= mit-restaurant
MODEL ?= runs/nerfound-mini
READY := $(VENV)/.ready

.PHONY: demo test lint format bench model wheel clean

demo: $(READY)
	$(BIN)/nerfound demo --output demo

test: $(READY)
	$(BIN)/python -m pytest tests

lint: $(READY)
	$(BIN)/ruff check nerfound tests spaces
	$(BIN)/ruff format --check nerfound tests spaces
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix nerfound tests spaces
	$(BIN)/ruff format nerfound tests spaces

bench: $(READY)
	$(BIN)/python -m tests.benchmarks.throughput
	$(BIN)/python -m tests.benchmarks.data_efficiency $(BENCH_DATA)
	$(BIN)/python -m tests.benchmarks.annotation
	$(BIN)/python -m tests.benchmarks.space

# Trains the packaged foundation anew from the packaged corpus, and puts it in its place. On two CPU cores that takes
# less than half an hour (the packaged one: 21 minutes on one core, 3.0e14 floating-point operations); a GPU is used if
# there is one. A run that was stopped goes on where it was; remove $(MODEL) to start over.
model: $(READY)
	$(BIN)/nerfound pretrain --output_dir $(MODEL) --resume_from_checkpoint last
	rm -rf $(MODEL)-delta
	$(BIN)/nerfound shrink $(MODEL) -o $(MODEL)-delta --rank 96
	rm -rf nerfound/data/nerfound-mini
	mv $(MODEL)-delta nerfound/data/nerfound-mini

wheel: $(READY)
	$(BIN)/python -m build --wheel

$(READY): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nerfound needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --editable '.[train,annotate,scale,offline,plots,space,dev]'
	touch $(READY)

clean:
	rm -rf $(VENV) build dist demo
