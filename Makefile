# Everything a developer runs. `make help` lists it.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# Outside the clone, so that a second clone does not compile the dependencies again.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/rowgate/target
STACK := tests/stack/stack
# With the features that the tests have too, so that dependencies are compiled once for all.
BUILD := cargo build --quiet --workspace --exclude fuzz --test it
# For runs that compute for minutes: the host is compiled like its dependencies.
OPTIMIZED := --config 'profile.dev.package.host.opt-level=2'

.PHONY: help demo clean-demo test properties swaps tenants model lint fmt bench bench-all bench-servers bench-rivals bench-latency bench-memory bench-pipelines bench-host count fuzz api-fuzz hostile zoo chaos soak guests guests-runtime stack-up stack-down check

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

demo: ## the whole way with real servers: builds, starts them, changes rows, shows what arrives, stops them
	@examples/demo.sh

clean-demo: ## removes the data that demos keep
	@$(STACK) wipe

test: check ## every check and every test: unit, component, and end to end with real servers
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; status=0; \
	cargo test --workspace --exclude fuzz --no-fail-fast 2>&1 | tee "$$log" || status=$$?; \
	awk '/^failures:$$/ {failing = 1} failing {print} /^test result:/ {failing = 0}' "$$log"; \
	awk '/^test result:/ {passed += $$4; failed += $$6; skipped += $$8} \
	     END {printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped}' "$$log"; \
	exit $$status

properties: ## 100,000 values of each kind to ClickHouse and back (`make test` takes 2,000)
	PROPERTY_CASES=$${PROPERTY_CASES:-100000} cargo test --workspace --exclude fuzz --test it $(OPTIMIZED) -- properties --nocapture

swaps: ## 1,000 swaps of the transform under load, none lost or doubled (`make test` does 25)
	SWAPS=$${SWAPS:-1000} cargo test --workspace --exclude fuzz --test it -- swaps_under_load --nocapture

tenants: ## 100 pipelines of 10 tenants: what an idle one costs, and the lag of nine tenants while the tenth attacks
	TENANTS=$${TENANTS:-10} TENANT_PIPELINES=$${TENANT_PIPELINES:-100} TENANT_SECONDS=$${TENANT_SECONDS:-20} \
	TENANT_ATTACKS="$${TENANT_ATTACKS:-spin spin_prepare grow recurse log_flood huge_cell huge_fan_out huge_reason huge_error plan_many_columns \
	extreme_decimal deep_json plan_counts trap_always secret_error slow grow*10 new_columns}" \
	cargo test --workspace --exclude fuzz --test it -- tenants:: --nocapture --test-threads 1

model: ## delivery against a simulated log and server: every history of 2 faults, and 100,000 random ones (ROWGATE_SEED=1)
	ROWGATE_FAULTS=$${ROWGATE_FAULTS:-2} ROWGATE_HISTORIES=$${ROWGATE_HISTORIES:-100000} \
	cargo test --workspace --exclude fuzz --lib $(OPTIMIZED) -- --nocapture delivery::model

check: ## what `make test` does before it runs tests
	@$(STACK) install mariadb valgrind
	@$(STACK) fetch mariadb registry clickhouse-old docker-registry
	@$(MAKE) lint
	@$(MAKE) guests
	@tests/stack/check_compose.sh
	@tests/stack/check_scripts.sh
	@$(MAKE) count

lint: ## formatting and clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

fmt: ## formats the Rust code
	cargo fmt --all

bench: ## the hot path against the same work written natively
	@$(MAKE) guests >&2
	cargo bench -p host

bench-all: ## all tables of docs/performance.md, an hour and a half: nothing else should run
	@$(MAKE) guests-runtime bench
	@$(MAKE) bench-servers
	@$(MAKE) bench-servers BENCH_ARGS=--cores=1
	@$(MAKE) bench-rivals
	@$(MAKE) bench-latency
	@$(MAKE) bench-memory
	@$(MAKE) bench-pipelines
	cargo bench -p host -- --long=100000000
	host/benches/count.sh profile avx2

bench-servers: export STACK_DIR ?= $(or $(TMPDIR),/tmp)/rowgate-bench-$(shell id -u)
bench-servers: export PORT_BASE ?= 19600
bench-servers: ## the host between real servers, against what each of these does alone: BENCH_ARGS='--events=1000000 --rounds=9 --cores=1'
	@$(STACK) install
	@$(STACK) fetch
	@$(STACK) up kafka clickhouse
	@trap '$(STACK) down' EXIT; set -a; eval "$$($(STACK) env)"; cargo bench -p host -- --servers $(BENCH_ARGS)

bench-rivals bench-latency bench-memory: export STACK_DIR ?= $(or $(TMPDIR),/tmp)/rowgate-rivals-$(shell id -u)
bench-rivals bench-latency bench-memory: export PORT_BASE ?= 19700
# The host that they measure: one as it is shipped, built where no other is named.
bench-rivals bench-latency bench-memory bench-pipelines: export HOST ?= $(CARGO_TARGET_DIR)/release/host

bench-rivals: bench-host ## the host side by side with naive consumers and with faucet: RIVALS_ARGS='--events=200000 --rounds=9' HOST=...
	@cargo run --quiet --package build-guests -- --module rivals-rule --out "$(CARGO_TARGET_DIR)/rivals"
	@tests/rivals/rivals.py $(RIVALS_ARGS)

bench-latency: bench-host ## from a commit in PostgreSQL to a visible row, and what the host adds: LATENCY_ARGS='--seconds=60 --rate=20'
	@tests/rivals/latency.py $(LATENCY_ARGS)

bench-memory: bench-host ## what the host has in memory, idle and after 10,000,000 records: MEMORY_ARGS='--idle=60'
	@tests/rivals/memory.py $(MEMORY_ARGS)

bench-pipelines: bench-host ## what each further pipeline of a host takes while it is idle: TENANT_PIPELINES=100
	@TEST_HOST="$$HOST" TENANT_PIPELINES=$${TENANT_PIPELINES:-100} TENANT_SECONDS=$${TENANT_SECONDS:-20} \
	cargo test --quiet --workspace --exclude fuzz --test it -- tenants::an_idle_pipeline --nocapture

bench-host:
	@$(STACK) install
	@$(STACK) fetch
	@[ "$$HOST" != "$(CARGO_TARGET_DIR)/release/host" ] || cargo bench --quiet -p host --no-run

count: ## the instructions that the hot path takes, against the figure on record: 3 % more fails
	@host/benches/count.sh

fuzz: ## every parser against bytes that grow out of recorded ones, FUZZ_SECONDS (60) each
	@fuzz/run.py

api-fuzz: ## the admin interface of a running host against what its description says that it takes: EXAMPLES=40 SEED=1
	@$(BUILD) --bin host
	@HOST=$(CARGO_TARGET_DIR)/debug/host tests/api/fuzz.sh

hostile: ## whether components that attack the host crash it, take its memory, or hold up a neighbour: SEED=1 COUNT=1000
	@$(MAKE) guests
	@$(BUILD) --bin attacks
	@"$$CARGO_TARGET_DIR/debug/attacks" --seed $(or $(SEED),1) --count $(or $(COUNT),1000) $(HOSTILE_ARGS)

zoo: export STACK_DIR ?= $(or $(TMPDIR),/tmp)/rowgate-zoo-$(shell id -u)
zoo: export PORT_BASE ?= 19300
zoo: ## whether ClickHouse ends up with PostgreSQL's rows, for every type: CHANGES=100000 SEED=1 ZOO_MATRIX=pairwise
	@$(STACK) install
	@$(STACK) fetch registry
	@$(MAKE) guests
	@$(BUILD) --bin host $(OPTIMIZED)
	@tests/zoo/run.py --changes $(or $(CHANGES),100000) --seed $(or $(SEED),1) --matrix $(or $(ZOO_MATRIX),pairwise) $(ZOO_ARGS)

chaos: export STACK_DIR ?= $(or $(TMPDIR),/tmp)/rowgate-chaos-$(shell id -u)
chaos: export PORT_BASE ?= 19400
chaos: ## whether rows are lost or doubled under faults of every kind, an hour: SEED=1 CHAOS_MINUTES=55
	@$(STACK) install
	@$(STACK) fetch clickhouse-old
	@$(MAKE) guests
	@$(BUILD) --features host/chaos --bins $(OPTIMIZED)
	@cargo test --quiet --workspace --exclude fuzz --lib $(OPTIMIZED) --no-run
	@tests/chaos/run.py --seed $(or $(SEED),1) --minutes $(or $(CHAOS_MINUTES),55) $(CHAOS_ARGS)

soak: export STACK_DIR ?= $(or $(TMPDIR),/tmp)/rowgate-soak-$(shell id -u)
soak: export PORT_BASE ?= 19500
soak: ## whether memory, descriptors and lag stay flat for two hours with a fault each minute: SOAK_MINUTES=120 SEED=1
	@$(STACK) install
	@$(STACK) fetch
	@$(MAKE) guests
	@$(BUILD) --bin host
	@tests/chaos/soak.py --seed $(or $(SEED),1) --minutes $(or $(SOAK_MINUTES),120) $(SOAK_ARGS)

# The rules are in guests.mk, beside the transforms.
guests: ## builds the transforms into guest-transforms/dist/*.wasm
guests-runtime: ## builds those in JavaScript and Python, for `limits.profile: runtime` and the bench
-include guest-transforms/guests.mk

stack-up: ## starts PostgreSQL, Kafka, Connect and ClickHouse, and registers the example's connector
	@$(STACK) install
	@$(STACK) fetch
	@$(STACK) up
	@eval "$$($(STACK) env)" && examples/update_postgres.py --dsn "$$PG_URL" --psql "$$PSQL" --updates 0
	@$(STACK) connector app
	@$(STACK) env

stack-down: ## stops them; data stays
	@$(STACK) down
