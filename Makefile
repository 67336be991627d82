# Everything a newcomer needs. The first run installs what is missing, or says exactly what that is.
CARGO ?= cargo
SKIPPED := $(CURDIR)/target/skipped.txt

.PHONY: help demo test bench check
help:
	@echo "make demo    build, then run the whole service with a simulated fleet at http://127.0.0.1:8080"
	@echo "make test    every test, against real servers"
	@echo "make bench   the figures of README.md"
	@echo "make check   format, lints, documentation"

# More arguments: make demo ARGS="--rate 500 --seconds 60"
demo:
	@.ci/setup demo
	$(CARGO) build --release --locked
	@target/release/dieselwatch demo $(ARGS)

# One test: make test ARGS="name_of_the_test"
test:
	@.ci/setup test
	@mkdir -p target && rm -f $(SKIPPED)
	DIESELWATCH_SKIPPED=$(SKIPPED) $(CARGO) test --locked $(ARGS)
	@if [ -s $(SKIPPED) ]; then echo "Skipped:" && sort $(SKIPPED) | uniq -c; else echo "Nothing was skipped."; fi

bench:
	@.ci/setup test
	$(CARGO) bench --locked $(ARGS)

check:
	@.ci/setup build
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
