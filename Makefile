# Two commands are all a newcomer needs: `make demo` and `make test`. Both work from a bare clone.
# PYTHON chooses the interpreter (3.11 or newer); every interpreter gets an environment of its own.
PYTHON ?= python3
VERSION := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV ?= .venv-$(VERSION)
# Files or folders of tests; all of them by default.
TESTS ?=
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test test-all lint types doctest docs check clean

help:
	@echo "make demo      set up, then analyse real photographs into demo/"
	@echo "make test      set up, then run the fast tests"
	@echo "make test-all  the slow and training tests too"
	@echo "make docs      the documentation site, in build/docs; runs the examples of its pages"
	@echo "make check     lint, types, doctests, documentation and fast tests: what CI runs"
	@echo "PYTHON=python3.13 chooses the interpreter (now $(PYTHON), $(VERSION))"

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || \
	  { echo "$(PYTHON): no such Python; name one that is installed: make PYTHON=python3.12 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "$(PYTHON) is $(VERSION); blurjax needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON) (once; about a minute)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

demo: $(READY)
	$(BIN)/python examples/demo.py --out demo
	@echo "The command line is there after: . $(BIN)/activate"

# Compiling is most of the work of the fast tests: without optimisation it takes half the time.
test: $(READY)
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" $(TESTS)

test-all: $(READY)
	$(BIN)/python -m pytest -n auto --dist loadfile

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

doctest: $(READY)
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 $(BIN)/python -m pytest -n auto --dist loadfile --doctest-modules blurjax

# A warning is an error: a link that leads nowhere, a public name that the reference lacks.
docs: $(READY)
	$(BIN)/python -m sphinx -q -W --keep-going -b html -d build/doctrees docs build/docs
	JAX_DISABLE_MOST_OPTIMIZATIONS=1 \
	  $(BIN)/python -m sphinx -q -W --keep-going -b doctest -d build/doctrees docs build/doctest
	@echo "The site is build/docs/index.html"

check: lint types doctest docs test

clean:
	rm -rf .venv-* build dist demo .pytest_cache .mypy_cache .ruff_cache
