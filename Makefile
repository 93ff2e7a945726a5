# The two commands of README.md, and what they are made of.
PYTHON ?= python3
BIN := .venv/bin
OUTPUTS ?= $(or $(SEG_OUTPUTS),outputs)
ARGS ?=

.PHONY: help install run test lint ui bench

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

install: .venv/ready  ## create .venv with the pinned versions

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	touch $@

run: install  ## run the main job on the phantom: make run ARGS='model=attention'
	$(BIN)/python -m seg.run $(ARGS)

test: install  ## run the tests: make test ARGS='tests/losses'
	$(BIN)/python -m pytest $(ARGS)

lint: install  ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ui: install  ## open the MLflow UI of OUTPUTS on http://127.0.0.1:5000
	@echo 'all runs: http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&compareRunsMode=CHART&orderByKey=metrics.%60val%2Fdice%60&orderByAsc=false'
	$(BIN)/mlflow ui --backend-store-uri sqlite:///$(abspath $(OUTPUTS))/mlflow.db --host 127.0.0.1 --port 5000

bench: install  ## measure start-up, training, the threshold baseline and preparation
	$(BIN)/python scripts/bench.py
	$(BIN)/python scripts/bench_prepare.py
