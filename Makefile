# make run, make test: each sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := run
.PHONY: setup run test lint format bench

setup: $(STAMP)

$(STAMP): requirements.txt requirements-ses.txt requirements-s3.txt requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	touch $@

run: setup
	$(BIN)/python manage.py serve

# All of them, or those of ARGS: make test ARGS="core -k crews".
test: setup
	tests/all.sh $(ARGS)

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A quarter of an hour; those on PostgreSQL run when TEST_DATABASE_URL is set.
bench: setup
	$(BIN)/python -m bench
