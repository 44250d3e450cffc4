package main

import (
	"context"
	"net/netip"
	"strings"

	"bootd.internal/bootd/ident"
	"bootd.internal/lab/load"
)

// prefix lets the clients ask for prefixes alone. bootd keeps a route to each, which Kea does not.
func (b *bench) prefix(ctx context.Context) error {
	const subnet = `"subnet": "2001:db8:1::/64", "interface": "eth1", "rapid-commit": true,
    "pd-pools": [{"prefix": "2001:db8:100::", "prefix-len": 44, "delegated-len": 60}]`
	ours := strings.Replace(poolInventory, "unknown: pool", `unknown: pool, delegate: {pool: "2001:db8:100::/44", length: 60}`, 1)
	return b.beside(ctx, "prefixes", load.Config{Prefix: true}, b.kea(subnet), b.bootd(ours))
}

// relay lets a relay that is the server's neighbour ask for clients of another link.
func (b *bench) relay(ctx context.Context) error {
	const subnet = `"subnet": "2001:db8:2::/64", "relay": {"ip-addresses": ["2001:db8:2::1"]}, "pools": [{"pool": "2001:db8:2::1000-2001:db8:2::ffff"}]`
	play := load.Config{Relay: load.Relay{
		MAC:  ident.MAC{0x52, 0x54, 0x00, 0xfe, 0x00, 0x01},
		Addr: netip.MustParseAddr("2001:db8:1::fe"), Link: netip.MustParseAddr("2001:db8:2::1"),
		Server: serverPrefix().Addr(), ServerMAC: serverMAC(),
	}}
	ours := "serve: {transit: eth1}\n" + strings.Replace(inventory(clients),
		`interface: eth1, prefix: "2001:db8:1::/64"`, `relay: "2001:db8:2::1", prefix: "2001:db8:2::/64"`, 1)
	return b.beside(ctx, "behind a relay", play, b.kea(subnet), b.bootd(ours))
}

func serverMAC() ident.MAC { return ident.MAC{0x52, 0x54, 0x00, 0xff, 0x00, 0x01} }
