# Everything that is done with this repository. Needs Go and make; `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# A workspace file above the project would replace the pinned versions.
export GOWORK := off

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOBUILD := CGO_ENABLED=0 go build -trimpath -ldflags '-s -w -buildid= -X main.version=$(VERSION)'
LINT := go tool -modfile=$(CURDIR)/e2e/tools/lint/go.mod golangci-lint
# The race detector needs a C compiler; without one, go env says so.
RACE := $(if $(filter 1,$(shell go env CGO_ENABLED)),-race)

# The binaries and the image.
IMAGE ?= mtls-injector:$(VERSION)
# docker, podman or buildah; empty takes the first that works.
CONTAINER_TOOL ?=
# Several, such as linux/amd64,linux/arm64, make one image of all.
PLATFORMS ?= linux/$(shell go env GOARCH)
# PUSH=1 pushes the image.
PUSH ?=
# Other base images, such as those of a mirror.
BUILD_IMAGE ?=
BASE_IMAGE ?=

CHART := charts/mtls-injector

# FUZZTIME is for each target; FUZZ selects targets by a regular expression.
FUZZTIME ?= 10m
FUZZ ?= .
BENCHTIME ?= 2s
BENCHCOUNT ?= 3
BENCHROUNDS ?= 9
# SCALE has flags of e2e/bench/scale, such as --workloads 50.
SCALE ?=
# HA has flags of e2e/bench/ha, such as --duration 30s.
HA ?=
# KEEP=1 leaves the demo, or the node, running.
KEEP ?=
# RUN selects the node's tests by a regular expression; LONG=1 runs them at full length.
RUN ?=
LONG ?=

##@ See it
.PHONY: demo
demo: ## Show annotated pods coming out injected, on a real API server; KEEP=1 leaves it running
	@echo "Building the demo: a minute or two the first time."
	@cd e2e && go run ./cmd/demo $(if $(KEEP),--keep)

##@ Check it
.PHONY: test
test: test-unit test-e2e ## Run all tests

.PHONY: test-unit
test-unit: ## Run the unit tests, with the race detector where there is a C compiler
	@echo "== unit tests $(or $(RACE),(no C compiler: without the race detector))"
	@go test $(RACE) -timeout 20m ./...

# -p 1 streams what the tests print, and gives each package all cores. Building first
# lets the compiler have them all, too.
.PHONY: test-e2e
test-e2e: ## Run the tests on a real control plane; the first run builds it
	@echo "== end-to-end tests: building"
	@cd e2e && go test -vet=off -exec true ./... >/dev/null
	@cd e2e && go test -vet=off -v -p 1 -timeout 60m ./...
	@cd e2e/tools/image && go test -v -timeout 20m ./...

# What the node runs is built before it, as there is no network inside.
.PHONY: test-node
test-node: ## Run the tests on a real node, with containers; needs root, Linux, apt-get; RUN=TestX selects, KEEP=1, LONG=1
	@[ "$$(id -u)" = 0 ] || { echo "a real node needs root: it makes namespaces, cgroups and containers. Run it as root (sudo -E make test-node); make test needs none." >&2; exit 1; }
	@echo "== tests on a real node: building"
	@cd e2e && LONG=$(LONG) KEEP=$(KEEP) go test -vet=off -tags node -v -timeout 90m -p 1 -parallel 8 $(if $(RUN),-run '$(RUN)') ./csiplugin ./realnode ./debimage ./nodetest

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME (10m); FUZZ=Name selects
	@for package in $$(go list ./...); do \
		found=$$(go test -list '^Fuzz' $$package); \
		for target in $$(grep '^Fuzz' <<<"$$found" | grep -E '$(FUZZ)' || true); do \
			echo "== $$package $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$package; \
		done; \
	done

.PHONY: lint
lint: ## Check format, house rules and import direction in all modules
	@echo "== lint"
	@$(LINT) run ./...
	@cd e2e && $(LINT) run ./...
	@cd e2e/tools/image && $(LINT) run ./...

.PHONY: verify
verify: ## Fail if anything generated, or a go.mod, is stale
	@echo "== verify"
	@fresh=$$(mktemp -d); trap 'rm -rf "$$fresh"' EXIT; go run ./cmd/internal/docgen -out "$$fresh/reference" -chart-out "$$fresh/chart"; \
		{ diff -ru docs/reference "$$fresh/reference" && diff -u $(CHART)/README.md "$$fresh/chart/README.md" && \
		diff -u $(CHART)/values.schema.json "$$fresh/chart/values.schema.json"; } || \
		{ echo "what is generated is stale: run make generate" >&2; exit 1; }
	@for module in . e2e e2e/tools/*; do (cd $$module && go mod tidy -diff) || \
		{ echo "$$module/go.mod is stale: run go mod tidy there" >&2; exit 1; }; done

##@ Measure it
# Each ends with a line for every target: name, figure, target, ok or short.
BENCH := go test -run '^$$' -benchmem -benchtime $(BENCHTIME) -count $(BENCHCOUNT)

.PHONY: bench
bench: ## Measure patch and handler beside the usual way, against the targets
	@$(BENCH) -bench 'Resolve|Patch|Decode|Handler' ./intent ./injector ./webhook | go run ./cmd/internal/benchreport handler

.PHONY: bench-https
bench-https: ## Measure requests per second over HTTPS beside an empty handler
	@for round in {1..$(BENCHROUNDS)}; do \
		go test -run '^$$' -benchmem -benchtime 1s -bench HTTPS ./webhook; done | go run ./cmd/internal/benchreport https

.PHONY: bench-apiserver
bench-apiserver: ## Measure what creating a pod takes on a real API server, each way
	@cd e2e && go run ./bench/apiserver

.PHONY: scale
scale: ## Measure the controller with 10,000 pods; SCALE="--workloads 50" for fewer
	@cd e2e && go run ./bench/scale $(SCALE)

.PHONY: ha
ha: ## Measure failed admissions while replicas stop, crash and roll, and all else changes; HA=--self-managed
	@cd e2e && go run ./bench/ha $(HA)

##@ Make it
.PHONY: generate
generate: ## Write docs/reference and the chart's README and schema
	@go run ./cmd/internal/docgen

.PHONY: build
build: ## Build the programs into bin/
	@$(GOBUILD) -o bin/ ./cmd/mtls-injector ./cmd/mtls-agent ./cmd/kubectl-mtls
	@ln -sf kubectl-mtls bin/kubectl_complete-mtls

# A release is packed with the time and name of its commit, so that it can be reproduced.
REVISION ?= $(shell git rev-parse HEAD 2>/dev/null || echo unknown)
SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)
PACK = echo "Building what packs it: a minute or two the first time." && cd e2e/tools/image && go run . --root $(CURDIR) --version $(VERSION) --image $(IMAGE) \
	--revision $(REVISION) --source-date-epoch $(SOURCE_DATE_EPOCH)

.PHONY: image
image: ## Build the image with docker, podman or buildah, for PLATFORMS; PUSH=1 pushes it
	@$(PACK) build --platforms $(PLATFORMS) --tool "$(CONTAINER_TOOL)" $(if $(PUSH),--push) \
		--build-image "$(BUILD_IMAGE)" --base-image "$(BASE_IMAGE)"

.PHONY: image-archive
image-archive: ## Assemble the images into dist/image, without an engine or network
	@$(PACK) archive

.PHONY: sbom
sbom: ## Write the SBOMs of the images' programs into dist/sbom
	@$(PACK) sbom

.PHONY: dist
dist: ## Pack a release into dist/: chart, programs, plugin, images, SBOMs, checksums
	@rm -rf dist
	@$(PACK) dist

.PHONY: clean
clean: ## Remove what was built here; the caches of Go and of the tests stay
	@rm -rf bin dist

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
