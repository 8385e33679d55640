# make demo: the whole mixture on digits in a minute. make test: linters, types, tests. make faults: the long versions of
# the tests that inject faults, recorded in experiments/faults.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: demo test faults lint clean

demo: $(INSTALLED)
	$(BIN)/python -m moe.train experiment=demo

test: lint
	$(BIN)/python -m pytest

faults: $(INSTALLED)
	$(BIN)/python -m pytest tests -m fault --long --faults=experiments/faults/results.jsonl; \
	code=$$?; $(BIN)/python experiments/faults/table.py --write && exit $$code

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "moe needs Python 3.11 or newer: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	@echo 'packages of 6 GB go into $(VENV): that takes minutes'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV)
