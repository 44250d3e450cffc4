#!/bin/sh
# coredns.sh OUT: builds CoreDNS with the two plugins that bootd is measured against, as a module of its own in a directory of its
# own, so that nothing of it is among bootd's. Debian has no package of it. It needs the go command and a way to Go's modules.
set -eu
version=v1.12.4
out=$(realpath "$1")
[ -x "$out" ] && exit 0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
cat >go.mod <<END
module coredns.example

go 1.24

require github.com/coredns/coredns $version
END
cat >main.go <<'END'
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/forward"
)

func init() { dnsserver.Directives = []string{"cache", "forward"} }

func main() { coremain.Run() }
END
GOFLAGS='' go build -mod=mod -trimpath -o "$out" .
