PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test test-all test-versions lint format docs clean

demo: $(INSTALLED)  ## train, refine and inspect the coins
	bash examples/coins/demo.sh

WORKERS ?= 2

test: lint  ## format, lint, types, layers, tests
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-all: lint  ## the same with the slow tests
	$(BIN)/python -m pytest -m "" -n $(WORKERS) --dist loadfile

test-versions:  ## the quick tests and a tiny job with the lowest and with the newest versions that are allowed
	$(PYTHON) tests/try_versions.py lowest newest

lint: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(INSTALLED)  ## write the help texts into docs/commands.md
	$(BIN)/python docs/write_commands.py

clean:
	rm -rf $(VENV) .venv-* examples/coins/demo

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "refinery needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,examples]'
	touch $@
