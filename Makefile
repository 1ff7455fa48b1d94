# Two commands matter: `make demo` and `make test`. Everything they need is installed locked.
PYTHON ?= python3
BIN := .venv/bin
SOURCES := packages/vision/src packages/store/src packages/ops/src packages/sandbox/src

.DEFAULT_GOAL := help
.PHONY: help demo demo-live test check secrets bench scale chaos soak gate dev-test clean runtime dev payload worker dist dist-test fuzz

help: ## what each target does
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

demo: runtime ## install everything locked, buy a licence in a browser, analyse a real image
	@bash scripts/demo.sh

demo-live: runtime ## the store, its site, Stripe, Keygen and mail on loopback until Ctrl-C
	@bash scripts/demo_live.sh

test: dev check ## install what tests need, check, run every test
	@bash scripts/worker_npm.sh >/dev/null || [ $$? = 3 ]
	@mkdir -p artifacts && rm -f artifacts/tests.xml
	@# A run that was broken off leaves a report that looks whole: only one that ended keeps the name.
	@# Three workers on two cores: a fifth of the tests' time is waiting for processes to start or end.
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 3 --dist loadscope --no-loadscope-reorder \
	  --junitxml=artifacts/tests-running.xml -o junit_suite_name="$$(bash scripts/revision.sh)"; \
	  code=$$?; [ $$code -gt 1 ] || mv artifacts/tests-running.xml artifacts/tests.xml; exit $$code

check: dev ## style, types, architecture and lock files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES) packages/store/cloudflare/src scripts benchmarks tests packages/*/tests conftest.py
	$(BIN)/lint-imports
	$(BIN)/shimmy-ops locks requirements

worker: dev ## prepare the Cloudflare Worker's bundle, measure it, try its deploy without an account
	bash scripts/worker.sh

payload: dev ## the packed native library, compiled once (20 minutes), into build/payload
	$(BIN)/python scripts/build_payload.py

dist: dev ## the single file with SBOM, licences and digests, into build/dist
	bash scripts/dist.sh

dist-test: dev ## the single file on a Debian without Python, the wheel without a compiler
	bash scripts/dist_test.sh

secrets: dev ## no key or password in the tree, in the whole history or in built wheels
	bash scripts/secrets.sh

bench: dev ## measure (35 minutes): tokens, gate, server, store, peers with full-shape weights; plots
	$(BIN)/python benchmarks/forced_tokens.py
	$(BIN)/python benchmarks/gate.py
	$(BIN)/python benchmarks/server_speed.py --write
	$(BIN)/python benchmarks/store_latency.py
	$(BIN)/python benchmarks/worker_cpu.py --write
	$(BIN)/python benchmarks/slices.py
	$(BIN)/python benchmarks/kv_and_pages.py --write
	@# Beside peers, on a full-shape pair: 17 minutes on two quiet cores.
	$(BIN)/python benchmarks/peers.py
	$(BIN)/python benchmarks/peer_table.py --write
	$(BIN)/python benchmarks/plot_results.py

scale: dev ## measure growth (an hour): concurrency, sizes, 6,000 images, the store's, a Ray cluster
	$(BIN)/python benchmarks/scale.py --write
	$(BIN)/python benchmarks/store_scale.py --ledger both --write
	$(BIN)/python benchmarks/ray_cluster.py --write

chaos: dev ## 500 customers while everything fails (8 minutes); CHAOS="--seed 7 --ledger postgresql"
	$(BIN)/python benchmarks/chaos.py $(CHAOS)

soak: dev ## half an hour of the store and of shimmy serve at once: nothing may grow; SOAK="--minutes 5"
	$(BIN)/python benchmarks/soak.py $(SOAK)

fuzz: dev ## ten minutes of hostile input to every reader; what fails is kept
	$(BIN)/python scripts/fuzz.py --seconds 600

gate: ## what must hold before a release, all of it, in a fresh clone of HEAD
	bash scripts/gate.sh

dev-test: ## the same here, with what is not committed
	bash scripts/dev-test.sh

clean: ## remove what was built here (not the cached native library)
	rm -rf .venv artifacts build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find packages tests benchmarks scripts -name __pycache__ -prune -exec rm -rf {} +

runtime:
	@$(PYTHON) scripts/bootstrap.py

dev:
	@$(PYTHON) scripts/bootstrap.py --dev
