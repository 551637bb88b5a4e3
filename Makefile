# The words people type. `make help` lists them.
# On a fresh Debian machine, as root, `make test` installs what it needs; elsewhere it says what is missing.

.DEFAULT_GOAL := build
MINUTES ?= 20
SEEDS ?= 1000
FROM ?= 0
.PHONY: help build test test-compose test-faults sim sim-mutants soak kill-cost backpressure cities join rate bench bench-api bench-upload check format lint docs deny data clean
.PHONY: up down status logs scale run-analysis client-logs password images-offline

help: ## list these words
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

build: ## build every program, optimised, into target/release
	cargo build --release --workspace --locked

test: ## run every test, against a private RabbitMQ node of its own
	scripts/test

test-compose: ## start the cluster in containers, check what it writes and what it may do, leave nothing behind
	scripts/test-compose

test-faults: build ## the whole fault suite: containers first, then 20 seeds of the fast part; hours
	target/release/e2e compose
	AUTOCONNECT_TEST_SEEDS=20 AUTOCONNECT_TEST_FIGURES=1 AUTOCONNECT_TEST_REQUIRE_BROKER=1 scripts/rabbitmq-node with \
		cargo test --locked -p autoconnect-testkit --test faults --test rabbitmq

sim: ## SEEDS=n whole clusters in one thread each, under seeded worlds: docs/simulation.md; REPLAY=seed: one, with its trace
	cargo run -q --locked -p autoconnect-sim -- $(if $(REPLAY),--replay $(REPLAY),--seeds $(SEEDS) --from $(FROM))

sim-mutants: ## plant every bug of sim/mutants, one after the other, and see it found
	scripts/sim-mutants

soak: build ## jobs back to back for MINUTES=n while workers, reducer and broker are killed at random
	target/release/e2e soak --minutes $(MINUTES)

kill-cost: build ## what a kill of each program costs a job of 10 million rows
	target/release/e2e kill-cost

backpressure: build ## the producer's memory with a file of 2 GB and one slow worker
	target/release/e2e backpressure

cities: build ## the reducer's memory for a report on 5,000 cities, or CITIES=n ROWS=n MOST=mib
	target/release/e2e cities $(if $(CITIES),--cities $(CITIES)) $(if $(ROWS),--rows $(ROWS)) $(if $(MOST),--most $(MOST))

join: ## the memory of a job that matches two inputs of 5 million rows by key, or ROWS=n MOST=mib
	cargo run -q --release --locked -p autoconnect-e2e -- join $(if $(ROWS),--rows $(ROWS)) $(if $(MOST),--most $(MOST))

rate: build ## how many jobs of 100 rows a cluster ends each second
	target/release/e2e rate
	target/release/e2e rate --embedded

up: ## start the cluster in containers: six workers, or WORKERS=2
	@scripts/cluster up $(WORKERS)

down: ## stop it; unfinished jobs go on at the next start
	@scripts/cluster down

status: ## its containers and queues
	@scripts/cluster status

logs: ## what its programs print, as they print it; of one of them: SERVICE=worker
	@scripts/cluster logs $(SERVICE)

scale: ## another number of workers, while it works: N=12
	@scripts/cluster scale $(N)

run-analysis: ## have the cluster report on a file: FILE=export.csv
	@scripts/cluster run-analysis "$(FILE)"

client-logs: ## what the last run-analysis printed
	@scripts/cluster client-logs

password: ## where the dashboard and RabbitMQ's pages are, and how to log in
	@scripts/cluster password

images-offline: ## build the public images from Debian's packages, where no registry answers
	@scripts/images-offline

check: format lint docs deny ## everything of the gate but the tests

format: ## refuse code that rustfmt would change
	cargo fmt --all --check

lint: ## refuse warnings
	cargo clippy --workspace --all-targets --locked -- -D warnings

docs: ## refuse broken or missing documentation
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked

deny: ## check licences, duplicates and, where they can be fetched, advisories
	scripts/deny

bench: ## compare with Polars, DuckDB and Dask on 10 million rows, all answers checked equal
	scripts/bench

bench-upload: build ## the memory of an API that takes a file of 1 GB
	python3 bench/api/upload.py target/release/autoconnect

bench-api: ## compare reads over 2,000 connections with Flask and Redis, in one run
	scripts/bench-api

data: build ## make the shipped data again
	target/release/autoconnect generate --rows 10000 --cities 3 --seed 42 data/transactions_autoconnect.csv

clean: ## remove what was built, and the results
	cargo clean
	find results -mindepth 1 ! -name .gitkeep -delete
