# make help says what there is.

BIN     := bin
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)

# The lab makes namespaces, which needs root.
ROOT := $(shell [ "$$(id -u)" = 0 ] || echo sudo --preserve-env=CI,BOOTD_BINARY,BOOTD_EVIDENCE,BOOTD_TEST_MIRROR)

# The tests of these packages run in namespaces and virtual machines. They come
# one package after another: side by side they would only slow each other down.
SLOW := ./lab/... ./test/netns/... ./test/qemu/... ./test/systemd/...
WHOLE := ^TestDebian13$$
FAST  = $(filter-out $(shell go list $(SLOW)),$(shell go list ./...))

.DEFAULT_GOAL := help
.PHONY: help build check lint test fast slow whole ipxe install demo bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

build: ## bin/bootd, static and stripped
	CGO_ENABLED=0 go build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/bootd ./cmd/bootd

check: lint ## format, vet, staticcheck and the short tests: no root, no network
	go test -short ./...

lint:
	@unformatted=$$(go tool gofumpt -l .); [ -z "$$unformatted" ] || \
		{ echo 'not formatted (go tool gofumpt -w FILE):' $$unformatted >&2; exit 1; }
	go vet ./...
	go tool staticcheck ./...

test: ## everything: installs what it needs, as root or through sudo
	scripts/deps.sh test
	@$(MAKE) --no-print-directory -k lint fast slow whole

fast:
	@echo 'go test -race: everything but $(SLOW)'
	@go test -race -shuffle=on $(FAST)

slow: build ipxe
	go build -race -o $(BIN)/bootd-race ./cmd/bootd
	BOOTD_BINARY=$(CURDIR)/$(BIN)/bootd-race go test -p 1 -count 1 -timeout 60m -skip '$(WHOLE)' $(if $(ROOT),-exec '$(ROOT)') $(SLOW)

whole: build ## one whole Debian 13 installation, a quarter of an hour on an idle machine
	scripts/deps.sh test
	BOOTD_BINARY=$(CURDIR)/$(BIN)/bootd go test -count 1 -timeout 90m -v -run '$(WHOLE)' $(if $(ROOT),-exec '$(ROOT)') ./test/qemu/...

ipxe: ## build/ipxe: boot media and boot loaders, out of the distribution's iPXE
	scripts/deps.sh media
	ipxe-build/media.sh build/ipxe

# Where `make install` puts things; DESTDIR goes before all of it.
PREFIX     ?= /usr/local
SYSCONFDIR ?= /etc
INSTALL    ?= install

install: ## bin/bootd, its systemd unit and the documents (PREFIX, DESTDIR)
	@[ -x $(BIN)/bootd ] || { echo 'make install: no $(BIN)/bootd: run make build first, as yourself' >&2; exit 1; }
	$(INSTALL) -D -m 755 $(BIN)/bootd $(DESTDIR)$(PREFIX)/bin/bootd
	$(INSTALL) -d -m 755 $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(SYSCONFDIR)/bootd
	sed 's|/usr/local|$(PREFIX)|g' packaging/systemd/bootd.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/bootd.service
	chmod 644 $(DESTDIR)$(PREFIX)/lib/systemd/system/bootd.service
	$(INSTALL) -D -m 644 packaging/systemd/bootd.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/bootd.conf
	$(INSTALL) -d -m 755 $(DESTDIR)$(PREFIX)/share/doc/bootd
	$(INSTALL) -m 644 docs/*.md $(DESTDIR)$(PREFIX)/share/doc/bootd/

demo: ## three machines, two installs begun, one local disk: under four minutes
	scripts/deps.sh demo
	@$(MAKE) --no-print-directory build
	go build -trimpath -o $(BIN)/demo ./lab/demo
	@$(ROOT) $(BIN)/demo -bootd $(BIN)/bootd

bench: ## the figures: start, memory, size, exchanges per second beside Kea
	scripts/deps.sh test
	@$(MAKE) --no-print-directory build
	go build -trimpath -o $(BIN)/bench ./lab/bench
	scripts/coredns.sh $(BIN)/coredns || echo 'CoreDNS cannot be built here: it is not measured' >&2
	@$(ROOT) $(BIN)/bench -bootd $(BIN)/bootd
	BOOTD_KILLS=100 go test -count 1 -timeout 30m ./test/netns -run TestKill9 -v

clean: ## what the other targets made
	rm -rf $(BIN) build
