# make          build bin/restante
# make run      build, start a service on loopback below ./data, say what to try next
# make test     all that must hold before a change goes in, with the real peers that the tests need
# make short    the quick part of the tests, under a minute: no real peers, fault tables sampled
# make cross    build for every platform that we ship to
# make docs     write the generated text again: docs/man, docs/commands.md, docs/properties.md, ids of properties, HACKING.md
# make bench    figures, in turns with Postfix where it is installed (minutes); BENCHFLAGS=-h lists the
#               flags, such as -against OLDBINARY
# make fuzz     each fuzz target for FUZZTIME (default 60s); what it finds is kept in testdata/fuzz, to be mended and committed
# make attack   hostile input against bin/restante for ATTACKTIME (default 10m); ATTACKFLAGS=-h lists the flags
# make soak     the long ones: 200 kills, the models at full length, a fault at every step (an hour)
.PHONY: build run test tests short fmt vet cross docs bench fuzz attack soak peers

export CGO_ENABLED ?= 0
# What is compiled names no folder of this machine, and serves every clone of the same text.
export GOFLAGS := $(GOFLAGS) -trimpath
FUZZTIME ?= 60s
ATTACKTIME ?= 10m
ATTACKFLAGS ?=
BENCHFLAGS ?=
# Leaves out what urfave/cli makes man pages with, which every start would set up.
TAGS = urfave_cli_no_docs
# These take longest; first, none of them is left to run alone at the end.
LONG = ./cmd/restante ./internal/testpeer ./internal/kv/... ./engine/spool ./adsi-compat/luahost
STATICCHECK = go tool -modfile=tools.mod staticcheck
GOVULNCHECK = go tool -modfile=tools.mod govulncheck

# What restante version shows, from git; empty without git.
VERSION = $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT = $(shell git rev-parse HEAD 2>/dev/null)
DATE = $(shell git log -1 --format=%cI 2>/dev/null)

build:
	go build -tags $(TAGS) -o bin/ \
		-ldflags '-X main.linkedVersion=$(VERSION) -X main.linkedCommit=$(COMMIT) -X main.linkedDate=$(DATE)' ./cmd/...

run: build
	@.ci/try ./bin/restante ./data

test: fmt peers
	@$(MAKE) --no-print-directory -j2 vet tests

# vet has looked at the tests, too; without symbols they link faster. At the end of
# each program the race detector would wait a second for races of what still runs;
# a password of a backup would take it half a minute.
tests:
	@if .ci/cc; then export CGO_ENABLED=1; race='-race -gcflags=golang.org/x/crypto/scrypt=-race=false'; \
	else echo "not installed: gcc with libc6-dev; the race detector, which needs both, is left out"; fi; \
	GORACE="atexit_sleep_ms=0 $$GORACE" go test $$race -vet=off -ldflags='-s -w' -shuffle=on -timeout 20m $(LONG) ./...

short:
	go test -short -vet=off -ldflags='-s -w' $(LONG) ./...

fmt:
	@test -z "$$(gofmt -l .)" || { gofmt -d .; exit 1; }

vet:
	go vet ./...
	$(STATICCHECK) ./...
	go mod verify
	go mod tidy -diff
	@out=$$($(GOVULNCHECK) ./... 2>&1) && exit; case "$$out" in \
	*"govulncheck: fetching vulnerabilities"*) echo "not reached: vuln.go.dev; govulncheck, which needs it, is left out" ;; \
	*) echo "$$out"; exit 1 ;; esac

cross:
	@for os in linux windows darwin; do for arch in amd64 arm64; do \
		echo "build $$os/$$arch"; \
		CGO_ENABLED=0 GOOS=$$os GOARCH=$$arch go build -o /dev/null ./... || exit 1; \
	done; done

docs:
	RESTANTE_WRITE_DOCS=1 go test -run 'TestDocs$$' ./metabase/schema ./adsi-compat/adsutil ./adsi-compat/luahost ./cmd/restante ./internal/deptest

bench: build
	go test -run '^$$' -bench . -benchtime 1s ./metabase/... ./engine/... ./internal/kv/...
	go run ./internal/bench -restante bin/restante $(BENCHFLAGS)

fuzz:
	@bad=; for f in $$(grep -ros --include='*_test.go' '^func Fuzz[A-Za-z0-9]*' . | sed 's,/[^/]*_test.go:func ,:,'); do \
		echo "fuzz $${f##*:} in $${f%:*}"; \
		go test -run '^$$' -fuzz "^$${f##*:}\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 2s "$${f%:*}" || bad="$$bad $$f"; \
	done; [ -z "$$bad" ] || { echo "found, and kept in testdata/fuzz beside the test:$$bad"; exit 1; }

attack: build
	go run ./internal/attack -restante bin/restante -time $(ATTACKTIME) $(ATTACKFLAGS)

soak: build
	RESTANTE_SOAK=1 go test -timeout 3h -v ./metabase/ ./engine/... ./internal/testpeer/ ./internal/kv/... ./admin/ ./cmd/restante/

peers:
	@.ci/peers
