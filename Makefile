# `make help` lists what there is to make.

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unversioned)
BUILD    := $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)'
RESULTS  := results
TALLY    := bin/tally
FUZZTIME ?= 10s
EXAMPLE  ?= single-nic
TIMEOUT  ?= 12m

# What the tests and demonstrations run beside the Go toolchain, and the Debian
# package it is in.
TOOLS := arping=arping busybox=busybox-static cpio=cpio gcc=gcc gcc=libc6-dev ip=iproute2 modprobe=kmod \
  nft=nftables ping=iputils-ping qemu-system-x86_64=qemu-system-x86

export CGO_ENABLED = 0

# Tests that run the daemon take it from here: in the virtual machine, compiling
# takes too long.
export NQ_BIN = $(CURDIR)/bin

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## the static binaries, in bin
	@mkdir -p bin
	$(BUILD) -o bin/ ./cmd/...

.PHONY: fmt
fmt: ## format the source
	gofmt -w .

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "not formatted (make fmt does it):"; echo "$$unformatted"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

.PHONY: test
test: tools build $(TALLY) ## everything; the last line sums it up
	@rm -rf $(RESULTS) && mkdir -p $(RESULTS)
	@$(TALLY) -record $(RESULTS)/lint.json -name lint -- $(MAKE) --no-print-directory lint
	@CGO_ENABLED=1 $(TALLY) -record $(RESULTS)/host.json -name 'go test' -- $(GO) test -race -json -timeout $(TIMEOUT) ./...
	@$(TALLY) -record $(RESULTS)/walk.json -name 'the whole walk' -- $(GO) test -json -timeout $(TIMEOUT) -run '^TestWalk$$' ./netapply
	@$(TALLY) -record $(RESULTS)/kernel.json -name 'kernel tests' -- $(GO) run ./test/vm/kerneltests -if-needed -after $(RESULTS)/host.json
	@$(TALLY) -report $(RESULTS)/*.json

.PHONY: race
race: tools build ## the tests that run on this kernel, with the race detector
	CGO_ENABLED=1 $(GO) test -race -timeout $(TIMEOUT) ./...

.PHONY: test-kernel
test-kernel: tools build $(TALLY) ## the kernel tests, in a virtual machine with Debian's kernel
	@mkdir -p $(RESULTS)
	@$(TALLY) -record $(RESULTS)/kernel.json -name 'kernel tests' -- $(GO) run ./test/vm/kerneltests
	@$(TALLY) -report $(RESULTS)/kernel.json

.PHONY: fuzz
fuzz: ## each fuzz test for FUZZTIME
# Go's fuzzer sometimes fails with "context deadline exceeded" when the time is up
# while a worker is busy. What it really finds it keeps, and so fails again.
	@grep -rlE '^func Fuzz' --include='*_test.go' . | xargs -n1 dirname | sort -u | while read -r dir; do \
	  grep -hoE '^func Fuzz[A-Za-z0-9_]*' "$$dir"/*_test.go | awk '{ print $$2 }' | while read -r name; do \
	    echo "$$dir $$name"; \
	    fuzz() { $(GO) test "$$dir" -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 5x </dev/null; }; \
	    fuzz || fuzz || exit 1; \
	  done || exit 1; \
	done

.PHONY: bench
bench: build ## the figures, as a table
	$(GO) run ./test/bench

.PHONY: demo
demo: tools build ## three filers, a client, a failover; EXAMPLE=two-filers for the big one, CHECK=1 to leave nothing
	@bin/netquorum-lab demo --example '$(EXAMPLE)' $(if $(CHECK),--check)

.PHONY: clean
clean: ## remove what make made
	rm -rf bin $(RESULTS)

$(TALLY): $(wildcard test/tally/*.go)
	@mkdir -p bin
	@$(GO) build -o $@ ./test/tally

# The tools that tests and demonstrations need are installed where that is
# possible, and named where it is not.
.PHONY: tools
tools:
	@command -v $(GO) >/dev/null || { echo "Go is missing: go.mod names the version" >&2; exit 1; }
	@missing=$$(PATH=$$PATH:/usr/sbin:/sbin; for tool in $(TOOLS); do \
	    command -v "$${tool%=*}" >/dev/null || echo "$${tool#*=}"; done); \
	test -n "$$missing" || exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing" $$missing; \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $$missing; \
	else \
	  echo "These Debian packages are missing:" $$missing >&2; exit 1; \
	fi >&2
