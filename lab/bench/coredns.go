package main

import (
	"context"
	"os"
)

const coreDNSConfig = `. {
	cache
	forward . [2001:db8:1::53]:5353
}
`

// startCoreDNS runs what scripts/coredns.sh has built.
func (b *bench) startCoreDNS(ctx context.Context, name string) (*server, error) {
	l, srv, cli, err := b.dnsNetwork(name)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(l.Path("Corefile"), []byte(coreDNSConfig), 0o644); err != nil {
		return nil, err
	}
	return launch(srv.Command(ctx, b.coredns, "-conf", l.Path("Corefile")), l, srv, cli, "CoreDNS-")
}
