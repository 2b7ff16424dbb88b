# Everything a newcomer needs: `make run`, `make test`. Both install what is missing.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
DATA ?= breccia-data
SECONDS ?= 1800
NODES ?= 3
ENV := . tools/env.sh;

.PHONY: help setup build run cluster test format lint prove bench bench-cluster redis-suite clean

help: ## Show what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

setup: ## Install what a build lacks, and compile RocksDB once into a cache
	@tools/setup.sh

build: setup ## Build the release binary
	@$(ENV) cargo build --release --locked -p breccia

run: build ## Start three nodes in one process with the flights sample, until Ctrl-C
	@$(ENV) exec cargo run --release --locked --quiet -p breccia -- \
	  dev --nodes 3 --data $(DATA) --sample data/flights.csv.zst

cluster: build ## Start three nodes as three processes, until Ctrl-C
	@$(ENV) exec tools/cluster.sh $(DATA)-cluster

format: ## Check the formatting
	@cargo fmt --all --check

lint: setup ## Run clippy and rustdoc; warnings are errors
	@$(ENV) cargo clippy --workspace --all-targets --locked -- -D warnings
	@$(ENV) RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked --quiet

test: setup format lint ## Run every test: unit, property, conformance, wire, process
	@tools/setup.sh redis-tools:redis-cli python3-redis clang:clang lld:wasm-ld \
	  rustc:/usr/bin/rustc libstd-rust-dev-wasm32
	@$(ENV) cargo test --workspace --locked

prove: build ## Faults on real nodes under load for SECONDS (1800); NODES, SEED, FAULTS
	@$(ENV) cargo build --release --locked -p breccia-prove
	@$${CARGO_TARGET_DIR:-target}/release/breccia-prove \
	  --binary $${CARGO_TARGET_DIR:-target}/release/breccia --nodes $(NODES) --seconds $(SECONDS) \
	  $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--faults $(FAULTS))

bench: build ## Compare the store with raw RocksDB, and the node with redis-server
	@tools/setup.sh redis-server:redis-server redis-tools:redis-benchmark
	@$(ENV) tools/bench.sh

bench-cluster: build ## Compare three nodes with three of etcd, and Redis with replicas
	@tools/setup.sh etcd-server:etcd redis-server:redis-server redis-tools:redis-cli
	@$(ENV) tools/bench-cluster.sh

redis-suite: build ## Run the units of Redis's own test suite that apply
	@tools/redis-suite.sh

clean: ## Remove what was built here; the cache stays
	@rm -rf target
