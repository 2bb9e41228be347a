# Each target does all of its own set-up: it says what the machine lacks, and fetches the rest. What is fetched
# is kept outside the tree, in $DCP_CACHE (by default ~/.cache/dcp), so that the next run finds it.

SHELL := /bin/bash
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# A group of tests is a name here, with what it needs, and a row in scripts/run-tests that says what it runs.
# A test holds the two together. `make test` runs them all, `make test-NAME` one.
GROUPS := unit postgres cloud schemathesis spark streaming airflow
needs-unit := cargo cc python3 venv dpkg
needs-postgres := cargo cc postgres
needs-cloud := cargo cc python3 venv
needs-schemathesis := cargo cc python3 venv
needs-spark := cargo cc python3 venv javac curl
needs-streaming := cargo cc python3 venv java maven postgres
needs-airflow := cargo cc python3 venv java postgres

.PHONY: help demo test $(GROUPS:%=test-%) lint bench dist fuzz clean

## help       this list
help:
	@awk '/^## / { name = $$2; sub(/^## [^ ]+ +/, ""); printf "  make %-14s %s\n", name, $$0 }' Makefile

## demo       build dcp, compile and apply the examples, and run jobs on a real Spark on this machine
demo:
	@scripts/need $@ cargo cc java python3 venv
	cargo build --profile demo --locked --package dcp-cli
	@scripts/demo

## test       every group of tests; the last line is the total
test:
	@scripts/need $@ $(sort $(foreach group,$(GROUPS),$(needs-$(group))))
	@scripts/run-tests $(GROUPS)

## test-unit  the Rust tests, and those of the scripts: no service, no cluster, no Spark
## test-postgres  the registry in a PostgreSQL that the tests start for themselves
## test-cloud the DAG folder in S3, by moto's server on this machine: no cloud account
## test-schemathesis  the REST face, called in all the ways that its document has
## test-spark jobs of every kind, and the commands of documents, on a real Spark on this machine, installed from PyPI
## test-streaming  changed streams on a real Spark, with a real Kafka and a real PostgreSQL, all on this machine
## test-airflow  the provider and generated DAGs in a real Airflow on PostgreSQL, with a real Spark, all on this machine
$(GROUPS:%=test-%): test-%:
	@scripts/need $@ $(needs-$*)
	@scripts/run-tests $*

## lint       format and clippy, of the fuzz targets too, and what the dependencies may be (deny.toml)
lint:
	@scripts/need $@ cargo cc rustfmt clippy
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo fmt --manifest-path fuzz/Cargo.toml --check
	cargo clippy --manifest-path fuzz/Cargo.toml --target-dir "$${CARGO_TARGET_DIR:-target}" \
		--no-default-features --all-targets --locked -- -D warnings
	"$$(scripts/tool cargo-deny 0.20.2)" check --hide-inclusion-graph bans licenses sources
	scripts/check-advisories "$$(scripts/tool cargo-deny 0.20.2)"

## bench      measure, and print the table of docs/performance.md
bench:
	@scripts/need $@ cargo cc python3 venv postgres
	@test -x bench/run || { echo 'make bench: there is no bench/run, so there is nothing to measure yet' >&2; exit 1; }
	@bench/run

## dist       packages of dcp in dist/: an archive, wheels, a Debian package, an SBOM and checksums
dist:
	@scripts/need $@ cargo cc python3 venv dpkg
	@scripts/dist

## fuzz       every fuzz target for FUZZ_SECONDS (by default 60) each
fuzz:
	@scripts/need $@ cargo cc c++
	@scripts/fuzz

## clean      remove what was built; what was fetched stays in the cache
clean:
	@scripts/need $@ cargo
	cargo clean
	rm -rf fuzz/target fuzz/artifacts
