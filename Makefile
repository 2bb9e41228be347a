# Each target checks its requirements and reports those that are missing. Downloads go to $DCP_CACHE (by default
# ~/.cache/dcp), outside of the tree.

SHELL := /bin/bash
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# A group of tests has a name and requirements here, and commands in scripts/run-tests. A test compares the two files.
# `make test` runs all groups, `make test-NAME` one.
GROUPS := unit postgres cloud schemathesis identity spark streaming connect kubernetes airflow
needs-unit := cargo cc python3 venv dpkg
needs-postgres := cargo cc postgres
needs-cloud := cargo cc python3 venv
needs-schemathesis := cargo cc python3 venv
needs-identity := cargo cc node npm
needs-spark := cargo cc python3 venv javac curl
needs-streaming := cargo cc python3 venv java maven postgres
needs-connect := cargo cc python3 venv java maven openssl
# Without root or a network of its own, the group is skipped; scripts/kubernetes/cluster tells why.
needs-kubernetes := cargo cc python3 venv java maven postgres
needs-airflow := cargo cc python3 venv java postgres

.PHONY: help demo test $(GROUPS:%=test-%) lint bench dist fuzz clean

## help       show this list
help:
	@awk '/^## / { name = $$2; sub(/^## [^ ]+ +/, ""); printf "  make %-14s %s\n", name, $$0 }' Makefile

## demo       build dcp, apply the examples, and run jobs on a local Spark
demo:
	@scripts/need $@ cargo cc java python3 venv
	cargo build --profile demo --locked --package dcp-cli
	@scripts/demo

## test       run all groups of tests; the last line is the total
test:
	@scripts/need $@ $(sort $(foreach group,$(GROUPS),$(needs-$(group))))
	@scripts/run-tests $(GROUPS)

## test-unit  test Rust code and scripts that need no service
## test-postgres  test the databases with a local PostgreSQL
## test-cloud test DAG folders and event logs in S3 with a local moto server
## test-schemathesis  test the REST API against its OpenAPI document
## test-identity  test the verification of tokens with a local OpenID provider
## test-spark test jobs of every kind, and the commands of documents, with a local Spark
## test-streaming  test streams with a local Spark, Kafka and PostgreSQL
## test-connect test the proxy for Spark Connect with real clients and servers of several versions
## test-kubernetes  test the backend for clusters with a real Kubernetes of one node
## test-airflow  test the provider and generated DAGs with a local Airflow, PostgreSQL and Spark
$(GROUPS:%=test-%): test-%:
	@scripts/need $@ $(needs-$*)
	@scripts/run-tests $*

## lint       check formatting, clippy, wording (tests/tests/conventions/wording.rs) and dependencies (deny.toml)
lint:
	@scripts/need $@ cargo cc rustfmt clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --manifest-path fuzz/Cargo.toml --target-dir "$${CARGO_TARGET_DIR:-target}" \
		--no-default-features --all-targets --locked -- -D warnings
	cargo test --workspace --locked --quiet --test conventions -- wording::
	"$$(scripts/tool cargo-deny 0.20.2)" check --hide-inclusion-graph bans licenses sources
	scripts/check-advisories "$$(scripts/tool cargo-deny 0.20.2)"

## bench      measure dcp and its peers, and print the tables of docs/performance.md
bench:
	@scripts/need $@ cargo cc python3 venv java postgres
	@test -x bench/run || { echo 'make bench: bench/run does not exist; nothing to measure' >&2; exit 1; }
	@bench/run

## dist       build packages in dist/: archive, wheels, Debian package, SBOM and checksums
dist:
	@scripts/need $@ cargo cc python3 venv dpkg
	@scripts/dist

## fuzz       run each fuzz target for FUZZ_SECONDS (by default 60)
fuzz:
	@scripts/need $@ cargo cc c++
	@FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz

## clean      remove build output; downloads stay in the cache
clean:
	@scripts/need $@ cargo
	cargo clean
	rm -rf fuzz/target fuzz/artifacts
