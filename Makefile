# Everything a developer or CI does. `make` alone lists it.

PYTHON ?= python3
VENV := .venv
NEXTEST_VERSION := 0.9.143

export INSTA_UPDATE ?= no
export CARGO_TERM_COLOR ?= auto

.DEFAULT_GOAL := help
.PHONY: help demo test lint ci clean nextest sdk bench-check

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## the whole story on one terminal: runs in, a rule, a notification out
	cargo build --release --locked --bin runhook
	./target/release/runhook demo

test: nextest sdk ## every test, on real parts; installs what it needs (SKIP_PG=1: without PostgreSQL)
	tests/with-postgres cargo nextest run --locked
	cargo test --locked --doc

lint: ## format and clippy, warnings denied
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings

ci: lint ## what .ci/run runs
	cargo test --locked --test it -- architecture
	$(MAKE) test

bench-check: ## instructions of the pure parts, against those recorded in benches/counts.txt
	benches/check

nextest:
	@cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest --version $(NEXTEST_VERSION)

# The official Python SDK, pinned, in a virtual environment of its own.
sdk: $(VENV)/.installed

$(VENV)/.installed: examples/traced-app/requirements.txt
	$(PYTHON) -m venv $(VENV) || { apt-get update && apt-get install -y python3-venv && $(PYTHON) -m venv $(VENV); }
	$(VENV)/bin/python -m pip install --quiet --requirement $<
	@touch $@

clean: ## remove what building and testing left
	cargo clean
	rm -rf $(VENV)
