# Everything a developer or CI does. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
NEXTEST_VERSION := 0.9.143

export INSTA_UPDATE ?= no
export CARGO_TERM_COLOR ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test lint ci bench bench-check bench-compare bench-replicas bench-searches bench-isolation bench-curves soak clean nextest sdk systemd

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the whole story on one terminal: runs in, a rule, a notification out
	cargo build --release --locked --bin runhook
	./target/release/runhook demo

test: nextest sdk systemd ## every test, on real parts, those of the surfaces on either database (SKIP_PG=1: without PostgreSQL)
	tests/with-postgres cargo nextest run --locked --workspace
	$(if $(SKIP_PG),,TEST_STORE=postgres tests/with-postgres cargo nextest run --locked --workspace --profile postgres)
	cargo test --locked --doc

lint: ## format and clippy, warnings denied
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings

ci: lint ## what .ci/run runs
	cargo test --locked --test it -- architecture
	$(MAKE) test

bench-check: ## instructions of the pure parts, against those recorded in benches/counts.txt
	benches/check

BUILD_BENCH := cargo build --locked --release --package runhook --package runhook-bench
BENCH := target/release/bench

bench: ## measure the fixed set beside its targets (ARGS="--only batches --repeats 3")
	$(BUILD_BENCH)
	$(BENCH) run --json target/bench.json $(ARGS)

bench-compare: ## measure two revisions alternately and print ratios: BASE=main (ARGS=…)
	@test -n "$(BASE)" || { echo "say which revision to compare with: make bench-compare BASE=main"; exit 2; }
	base=$$(bench/build-revision $(BASE)) && $(BUILD_BENCH) && $(BENCH) compare --base $$base $(ARGS)

bench-replicas: ## measure 1, 2 and 4 replicas on a PostgreSQL that waits for its disk
	$(BUILD_BENCH)
	PG_DURABLE=1 tests/with-postgres $(BENCH) replicas --json target/bench-replicas.json $(ARGS)

bench-searches: ## measure pages of runs of one large project, on a file and on PostgreSQL (ARGS="--runs 50000")
	$(BUILD_BENCH)
	tests/with-postgres $(BENCH) searches $(ARGS)

bench-isolation: ## measure what a slow and a dead endpoint cost eight others, and 200 failing ones the memory
	$(BUILD_BENCH)
	$(BENCH) isolation $(ARGS)

bench-curves: ## measure growth with rules, stored runs and endpoints, and draw docs/performance/*.svg
	$(BUILD_BENCH)
	$(BENCH) curves $(ARGS)

# PROFILE=dev is built sooner.
PROFILE ?= release

soak: ## replicas on PostgreSQL under load, killed at random, then judged (MINUTES=3 SEED=1 PG_DURABLE=1)
	cargo build --locked --profile $(PROFILE) --package runhook --package runhook-bench
	tests/with-postgres target/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/bench soak \
		--minutes $(or $(MINUTES),3) --seed $(or $(SEED),1) $(ARGS)

nextest:
	@cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest --version $(NEXTEST_VERSION)

# The official SDKs and what checks deploy/, pinned: the newest Python SDK in a virtual environment of its own, and below
# that older ones, one with OpenTelemetry's exporter, and those for Node.
sdk: $(VENV)/.installed $(VENV)/sdks/python-0.3.45/.installed $(VENV)/sdks/python-0.1.147/.installed \
	$(VENV)/sdks/python-otel/.installed $(VENV)/sdks/node/.installed $(VENV)/sdks/swh/.installed

define install
	$(PYTHON) -m venv $(@D) || { apt-get update && apt-get install -y python3-venv && $(PYTHON) -m venv $(@D); }
	$(@D)/bin/python -m pip install --quiet $(addprefix --requirement ,$^)
	@touch $@
endef

$(VENV)/.installed: examples/traced-app/requirements.txt tests/requirements.txt
	$(install)

$(VENV)/sdks/python-%/.installed: tests/sdks/python-%.txt | $(VENV)/.installed
	$(install)

# What comes with a Svix client of its own.
$(VENV)/sdks/swh/.installed: tests/sdks/swh.txt | $(VENV)/.installed
	$(install)

$(VENV)/sdks/node/.installed: tests/sdks/node/package.json | $(VENV)/.installed
	@command -v npm >/dev/null || { apt-get update && apt-get install -y --no-install-recommends nodejs npm; }
	@mkdir -p $(@D) && cp $< $(@D)
	npm install --prefix $(@D) --no-package-lock --no-fund --no-audit --silent
	@touch $@

# Reads the unit in deploy/; nothing is started.
systemd:
	@command -v systemd-analyze >/dev/null || { apt-get update && apt-get install -y --no-install-recommends systemd; }

clean: ## remove what building and testing left
	cargo clean
	rm -rf $(VENV)
