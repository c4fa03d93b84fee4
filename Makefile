# All tasks of a checkout. They need only python3 and make. `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers

.PHONY: help demo test hunt generate check format image soak bench clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

# The virtual environment: created once, and again when its requirements change. pip's own
# configuration sets the package index; constraints.txt sets the versions.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "kato-consul needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
		{ echo "This Python cannot create virtual environments (on Debian and Ubuntu: apt install python3-venv)."; exit 1; }
	@echo "preparing $(VENV) (once, about a minute)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## the main job, end to end: an agent, three instances, a crash, a report
	@$(BIN)/kato-consul demo

# Four workers also on two cores: tests mostly wait for processes and timeouts. A worker runs whole
# modules, in the order of tests/conftest.py.
test: $(READY) ## all tests, on real Consul agents and real processes: 15 to 30 minutes on two cores
	@$(BIN)/python -m pytest -n 4 --dist loadscope --no-loadscope-reorder

hunt: $(READY) ## long tests with new seeds, for about so long: make hunt SECONDS=600 [SEED=7]
	@$(BIN)/python -m tests.hunt --seconds $(or $(SECONDS),600) $(if $(SEED),--seed $(SEED))

generate: $(READY) ## generate the sync facades from the async ones, and docs/settings.md
	@$(BIN)/python scripts/generate_sync.py
	@$(BIN)/python scripts/generate_settings_page.py

check: $(READY) ## ruff, mypy --strict, import-linter, and that the generated code is current
	@$(BIN)/python scripts/generate_sync.py --check
	@$(BIN)/python scripts/generate_settings_page.py --check
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(READY) ## format the code with ruff
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

image: ## build the Docker image of the stand-in and the registrar
	docker build -f docker/Dockerfile -t kato-consul .

soak: $(READY) ## mixed faults and kills for a while: make soak SECONDS=600
	@$(BIN)/python -m tests.faults.soak --seconds $(or $(SECONDS),60)

# The clients that the benchmarks compare with; nothing else needs them.
$(PEERS): $(READY)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@touch $@

bench: $(PEERS) ## what calls cost, compared with other clients: about nine minutes; ARGS="--help"
	@$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
