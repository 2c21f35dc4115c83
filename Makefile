# Every command of the project. `make help` lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
NEWER  := .venv-django
PLOTS  := $(VENV)/.plots

.DEFAULT_GOAL := help
.PHONY: help setup demo test django servers chaos sabotage lint types bench clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP) ## create .venv with everything in it, at the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

$(PLOTS): $(STAMP)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[plots]'
	@touch $@

demo: $(STAMP) ## run the whole loop on embedded parts: Redis, SMTP server, worker, Flower
	@$(BIN)/mailer demo $(ARGS)

test: $(STAMP) ## run the whole test suite, on all cores (ARGS='-k retry -x' narrows it; -n0: on one)
	@$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

django: $(NEWER)/.installed ## run the tests of Django with the newest one, on Python >= 3.12 (DJANGO_PYTHON=…)
	@$(NEWER)/bin/python -m pytest tests/*/test_django*.py $(ARGS)

# Django 6 wants a newer Python than we do; a shim of pyenv may be there and start nothing
DJANGO_PYTHON ?= $(shell for python in python3.14 python3.13 python3.12 $(HOME)/.pyenv/versions/3.1[2-9]*/bin/python; do \
  $$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null && echo $$python && break; done)

$(NEWER)/.installed: pyproject.toml constraints.txt
	@test -n '$(DJANGO_PYTHON)' || { echo "Python 3.12 or newer is needed; name one with: make DJANGO_PYTHON=python3.12 django"; exit 1; }
	@$(DJANGO_PYTHON) -m venv $(NEWER)
	@grep -viE '^(asgiref|django|sqlparse)' constraints.txt > $(NEWER)/constraints.txt
	@$(NEWER)/bin/python -m pip install --quiet --disable-pip-version-check -c $(NEWER)/constraints.txt --upgrade -e '.[dev]' 'django>=6.1'
	@touch $@

servers: $(STAMP) ## run the tests with Postfix and Dovecot, where they are installed (as root)
	@MAILER_TEST_REAL_SERVERS=1 $(BIN)/python -m pytest -rs tests/acceptance/test_real_servers.py $(ARGS)

chaos: $(STAMP) $(PLOTS) ## kill, freeze and starve real parts, and count what is lost (ARGS=--help)
	@PYTHONPATH=tests $(BIN)/python -m chaos $(ARGS)

sabotage: $(STAMP) ## take out each step that protects emails, and see a test fail (ARGS='begin token')
	@PYTHONPATH=tests $(BIN)/python -m sabotage $(ARGS)

lint: $(STAMP) ## check style and formatting
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(STAMP) ## check types, strictly
	@$(BIN)/mypy

bench: $(STAMP) $(PLOTS) ## measure this mailer beside what users pick instead: half an hour (ARGS=--help)
	@$(BIN)/python benchmarks $(ARGS)

clean: ## remove .venv and caches
	@rm -rf $(VENV) $(NEWER) .pytest_cache .mypy_cache .ruff_cache .hypothesis
