SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := src benchmarks tools tests
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: help setup repro smoke test check bench coverage pipeline docs chaos scale audit ui lock clean

help:  ## list the targets
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1	/' | expand -t 10

setup: $(VENV)/.installed $(BIN)/phonoscope $(VENV)/.importable  ## virtual environment from the two hashed locks

$(VENV)/.installed: requirements.lock requirements-dev.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=<path> ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
	  -r requirements.lock -r requirements-dev.lock
	@touch $@

# a wrapper, not an editable install, which would run this checkout's code in `dvc exp run --temp`
$(BIN)/phonoscope: Makefile | $(VENV)/.installed
	@printf '%s\n' '#!/bin/sh' 'bin=$$(cd "$$(dirname "$$0")" && pwd)' \
	  'PYTHONPATH="$$bin/../../src" exec "$$bin/python" -m phonoscope "$$@"' > $@
	@chmod +x $@

# `import phonoscope` outside stages: PYTHONPATH=src of a stage comes first, so this is no editable install either
$(VENV)/.importable: Makefile | $(VENV)/.installed
	@$(BIN)/python -c 'import os, pathlib, sysconfig; site = sysconfig.get_path("purelib"); \
	  pathlib.Path(site, "phonoscope.pth").write_text(os.path.relpath("src", site) + "\n")'
	@touch $@

repro: setup  ## run the pipeline: what has not changed is not run again
	$(BIN)/dvc repro
	$(BIN)/phonoscope sync-mlflow
	@printf '\n'; awk '/^## / && n++ {exit} 1' metrics/compare/table.md
	@printf '\n%s\n' 'Look at:'
	@printf '  %-30s %s\n' 'plots/compare/*.png' 'phone, speaker and pitch by RVQ layer' \
	  'metrics/compare/table.md' 'claims judged; every codec, layer and task' \
	  'metrics/depth-report/table.md' 'sums of layers, latents, controls' \
	  'plots/maps/*.png' 'codes in the plane, by phone group, speaker and F0' \
	  'plots/geometry/figures' 'words in codec space: open index.html' \
	  'plots/browse/<site>' 'features of the sparse autoencoders: open index.html' \
	  'metrics/vq-report/table.md' 'why the codebook collapsed' \
	  'metrics/encoder-report/table.md' 'claims about audio encoders, judged' \
	  'dvc metrics show' 'the headline numbers' \
	  'make ui' 'the MLflow UI: every run with its parameters, metrics and figures'

smoke: setup  ## the whole pipeline at toy scale, in a temporary clone
	$(BIN)/python -m tests.pipeline.clone

chaos: setup  ## the pipeline interrupted, moved, starved and run twice at once; takes an hour or more
	PYTHONPATH=src $(BIN)/python -m tests.pipeline.chaos

scale: setup  ## 20,000 utterances through corpus, align, split and encode; takes half an hour
	PYTHONPATH=src $(BIN)/python -m tests.pipeline.scale

bench: setup  ## benchmarks into benchmarks/results; needs the results of `features`, takes ten minutes
	@for name in probes geometry sae encoders encode; do \
	  $(BIN)/python -m benchmarks $$name --json > .phonoscope/bench.json \
	    && mv .phonoscope/bench.json benchmarks/results/$$name.json || exit 1; done

coverage: setup  ## coverage of the intervals and error rates of the tests, into docs/results/coverage.csv
	$(BIN)/python -m benchmarks coverage docs/results/coverage.csv

check: setup  ## lint, format, types
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

test: check  ## lint, format, types and all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

audit:  ## known vulnerabilities of the locked packages (needs uv and PyPI)
	uvx pip-audit --strict --disable-pip --require-hashes -r requirements.lock -r requirements-dev.lock

ui: setup  ## the MLflow UI
	$(BIN)/phonoscope ui

docs: setup  ## write the result tables of README and docs from metrics/
	PYTHONPATH=src $(BIN)/python -m tools.render_docs

pipeline: setup  ## write into dvc.yaml what the code says: commands, deps on code, params
	PYTHONPATH=src $(BIN)/python -m tools.write_pipeline

COMPILE := uv pip compile --universal --python-version 3.11 --generate-hashes --override - --no-header \
  --no-emit-index-url --no-annotate --quiet

lock:  ## rewrite both locks from pyproject.toml (needs uv); what the runtime has is not repeated for development
	mkdir -p .phonoscope
	sed '/^#/!d' requirements.lock > .phonoscope/lock && sed '/^#/!d' requirements-dev.lock > .phonoscope/dev-lock
	printf 'protobuf>=5\n' | $(COMPILE) pyproject.toml -o requirements.lock
	printf 'protobuf>=5\n' | $(COMPILE) --group dev --constraints requirements.lock \
	  $$(sed -nE 's/^([A-Za-z0-9._-]+)==.*/--no-emit-package \1/p' requirements.lock | sort -u) -o requirements-dev.lock
	cat requirements.lock >> .phonoscope/lock && mv .phonoscope/lock requirements.lock
	cat requirements-dev.lock >> .phonoscope/dev-lock && mv .phonoscope/dev-lock requirements-dev.lock

clean:  ## remove the virtual environment and tool caches; results and DVC's cache stay
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +
