# make run, make test: each sets up what it needs.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
# Whatever the developer's own .env and data say, tests do not see it.
TESTS = ENV=development ENV_FILE= DATA_DIR=test-results/data $(BIN)/python -m pytest $(ARGS)
# Beside those on SQLite, and so with a Redis database of their own.
ON_POSTGRESQL = DATABASE_URL="$(TEST_DATABASE_URL)" TEST_REDIS_URL="$(TEST_REDIS_URL:/0=/1)" \
	$(TESTS:/data=/postgresql) -m engine

.DEFAULT_GOAL := run
.PHONY: setup run test lint format bench

setup: $(STAMP)

$(STAMP): requirements.txt requirements-ses.txt requirements-s3.txt requirements-dev.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -q -r requirements-dev.txt
	touch $@

run: setup
	$(BIN)/python manage.py serve

# On SQLite always; what touches SQL, locks and events again on PostgreSQL when TEST_DATABASE_URL is set.
test: setup
ifeq ($(TEST_DATABASE_URL),)
	$(TESTS)
else
	@mkdir -p test-results
	@$(ON_POSTGRESQL) > test-results/postgresql.log 2>&1 & \
	$(TESTS); sqlite=$$?; wait $$!; postgresql=$$?; \
	echo "On PostgreSQL:"; cat test-results/postgresql.log; \
	exit $$((sqlite || postgresql))
endif

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
