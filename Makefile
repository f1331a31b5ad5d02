# `make` lists what there is.
.DEFAULT_GOAL := help
.PHONY: help run test check format bench migrate install install-dev lock translations
SHELL := /bin/sh
BIN := .venv/bin

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: install ## run the product here: database, gateway sandbox, web, worker, monitor
	@exec $(BIN)/python scripts/ops.py serve

test: install-dev ## run the whole suite (installs what tests need, a browser too)
	@sh scripts/setup.sh browser
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

check: install-dev ## lint, format check and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: install-dev ## format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install-dev ## measure; prints medians, spread and ratios
	$(BIN)/python -m benchmarks

migrate: install ## bring the database up to this version
	@$(BIN)/python scripts/ops.py db upgrade

install: ## make .venv with the pinned requirements
	@sh scripts/setup.sh run

install-dev:
	@sh scripts/setup.sh dev

lock: install-dev ## resolve pyproject.toml into the hashed requirements files
	$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-header -q pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --universal --generate-hashes --no-emit-index-url --no-header -q --group dev -c requirements.txt pyproject.toml -o requirements-dev.txt

translations: install-dev ## collect the pages' texts and compile the English catalogue
	$(BIN)/pybabel -q extract -F dashboard/translations/babel.cfg -o dashboard/translations/messages.pot --no-location dashboard
	$(BIN)/pybabel -q update -i dashboard/translations/messages.pot -d dashboard/translations -l en --no-fuzzy-matching --ignore-obsolete --omit-header -w 120
	$(BIN)/pybabel -q compile -f -d dashboard/translations
	@rm dashboard/translations/messages.pot
