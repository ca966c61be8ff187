# Two commands matter: `make demo` shows the product, `make test` proves it.

UV := $(shell command -v uv || echo .tools/bin/uv)
# A Python that is already here, never one from the network.
export UV_PYTHON_PREFERENCE := only-system
# Trust whom the system trusts, as pip does, where it says whom: a company's network may have its own authority.
export UV_SYSTEM_CERTS := $(if $(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt),true,false)
export PYTHONDONTWRITEBYTECODE := 1
JOBS ?= 1000000
MINUTES ?= 20

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all costs torture mutants bench dev docs check lock clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | column -t -s '|' 2>/dev/null || sed -n 's/^\([a-z-]*\):.*## /  \1: /p' Makefile

install: .venv/.installed ## Make .venv with the locked packages and the execmetrics command

demo: install ## Generate a month of work, aggregate it through Dagster, verify every figure
	.venv/bin/execmetrics demo

test: install ## Run every test, and of what takes long a sample
	.venv/bin/python -m pytest

test-all: install ## Run everything: both PostgreSQL versions, long histories, every fault point
	TESTS=all .venv/bin/python -m pytest

costs: install ## Run the tests and print where their time goes
	.venv/bin/python -m pytest -p tests.support.costs

torture: install ## Random histories with kills against the oracle (MINUTES=20)
	.venv/bin/python -m tests.torture.torture --minutes $(MINUTES)

mutants: install ## Make each known mistake in a copy and see a test fail for it
	.venv/bin/python -m tests.mutants.kill_mutants

bench: install ## Measure speed and memory beside PostgreSQL alone (JOBS=1000000)
	.venv/bin/python tests/bench/bench.py --jobs $(JOBS)

dev: install ## Start the Dagster UI and the dashboard
	.venv/bin/execmetrics dev

docs: install ## Write the tables of columns in docs/ as the subjects declare them
	.venv/bin/python -m tests.project.test_documented_columns

check: install ## Lint, types, layers
	.venv/bin/ruff check . && .venv/bin/ruff format --check . && .venv/bin/mypy && .venv/bin/lint-imports

lock: $(UV) ## Resolve the versions anew
	"$(UV)" pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" --no-emit-package pyarrow --upgrade --extra api pyproject.toml -o requirements.lock
	"$(UV)" pip compile -q --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" --no-emit-package pyarrow --upgrade --extra api pyproject.toml --group dev -o requirements-dev.lock

clean: ## Remove what install made
	rm -rf .venv .tools && find pipelines assets -name __pycache__ -exec rm -rf {} +

.venv/.installed: requirements-dev.lock pyproject.toml | $(UV)
	"$(UV)" venv -q --clear --python python3 .venv
	"$(UV)" pip sync -q --compile-bytecode --python .venv/bin/python --require-hashes requirements-dev.lock
	"$(UV)" pip install -q --python .venv/bin/python --no-deps --no-build-isolation -e .
	.venv/bin/python -m compileall -q pipelines assets
	@touch .venv/.installed

.tools/bin/uv: requirements-bootstrap.lock
	PIP_USER=0 PIP_REQUIRE_VIRTUALENV=0 PIP_PREFIX= PIP_ROOT= python3 -m pip install -q --disable-pip-version-check --no-warn-script-location --root-user-action=ignore --upgrade --target .tools --require-hashes -r requirements-bootstrap.lock
	@touch .tools/bin/uv
