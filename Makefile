# `make help` says what there is. Every target does its own set-up first (tests/setup.sh: Debian packages and the test CA).

.DEFAULT_GOAL := help
.PHONY: help setup test soak demo measure

help: ## show this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile

setup: ## bring the programs that tests and demo need
	@tests/setup.sh

test: setup ## formatting, lints, unit tests and tests against real peers
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	RUST_TEST_THREADS=3 cargo test

soak: setup ## SIGKILL and loss of power at every step, a thousand rotations under load, a hundred nodes, a hundred issuances, a name server that lags (two hours)
	cargo test -q --test kill_everywhere --test node_program --test dialogue_kills --test rotations --test hundred --test nonces --test dns --test ssh_silent --test ssh_many -- --ignored --nocapture

demo: setup ## three nodes on this machine, from an old certificate to a renewed one; KEEP=1 leaves them up
	cargo build -q
	@KEEP=$(KEEP) cargo run -q --example demo

measure: setup ## what one issuance costs: wall time, CPU, memory, requests; beside lego where that is installed
	cargo build -q --release --bin certd --example measure
	@cargo run -q --release --example measure
