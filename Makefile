# `make help` says what there is. Every target does its own set-up first (tests/setup.sh: Debian packages and the test CA).

.DEFAULT_GOAL := help
.PHONY: help setup first-build test soak faults demo measure

help: ## show this list
	@sed -n 's/^\([a-z]*\):[^#]*## /  make \1\t/p' Makefile

setup: ## bring the programs that tests and demo need
	@tests/setup.sh

first-build:
	@[ -e "$${CARGO_TARGET_DIR:-target}/debug/certd" ] || echo 'The first build compiles some 260 crates, OpenSSL and AWS-LC: five to ten minutes on two cores. cargo shows how far it is.'

test: setup first-build ## formatting, lints, unit tests and tests against real peers
	cargo fmt --check
	cargo clippy --all-targets -- -D warnings
	cargo clippy --test soak -- -D warnings
	RUST_TEST_THREADS=3 cargo test

# The kills beside one another, since most of each is waiting; what measures time, load or memory alone.
soak: setup ## SIGKILL and loss of power at every step, a thousand rotations under load, a hundred nodes, a hundred issuances, a name server that lags, servers and userlands of other releases, the thirty servers of docs/consumers.md, servers that begin in plain text, and all tests in thirteen months (three hours)
	cargo test -q --test soak kill -- --nocapture
	cargo test -q --test soak -- --nocapture --skip kill --test-threads 1
	ALL_SHELLS=1 cargo test -q --test lab node_program
	ALL_SHELLS=1 cargo test -q --test lab -- takeover:: clean::
	cargo test -q --no-run
	tests/moved_clock.sh 400 env RUST_TEST_THREADS=3 cargo test -q --no-fail-fast

faults: ## what goes wrong outside of certd, what certd does about it, and the tests that make it go wrong
	@cargo test -q --test it faults:: -- --nocapture

demo: setup first-build ## three nodes on this machine, from an old certificate to a renewed one; KEEP=1 leaves them up
	cargo build --bin certd --example demo
	@KEEP=$(KEEP) cargo run -q --example demo

measure: setup ## what one issuance costs, beside lego where that is installed, and one switch on a node, beside a plain script
	cargo build --release --bin certd --example measure
	@cargo run -q --release --example measure
