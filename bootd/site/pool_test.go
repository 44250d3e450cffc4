package site_test

import (
	"net/netip"
	"testing"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

// TestPools: how many addresses a pool has, and that a client finds each of a small one and none that is not in it.
func TestPools(t *testing.T) {
	const head = `networks: {rack1: {interface: eth1, ra: {autonomous: false}, unknown: pool, `
	for _, c := range []struct {
		name, text string
		sizes      []int
		in         string // every address lies here
	}{
		{"default", `prefix: "2001:db8:1::/64"}}`, []int{65536}, "2001:db8:1::d:0/112"},
		{"default of a long prefix", `prefix: "2001:db8:1::/120"}}`, []int{128}, "2001:db8:1::80/121"},
		{"default of a short prefix", `prefix: "2001:db8:100::/56"}}`, []int{65536}, "2001:db8:100::d:0/112"},
		{"a range", `prefix: "2001:db8:1::/64", pool: "::10-::1f"}}`, []int{16}, "2001:db8:1::10/124"},
		{"our own and the anycast address inside", `prefix: "2001:db8:1::/64", pool: "::/124"}}`, []int{14}, "2001:db8:1::/124"},
		{"a suffix in each prefix", `prefix: ["2001:db8:1::/64", "2001:db8:2::/64"], pool: "::10-::1f"}}`, []int{16, 16}, "2001:db8::/46"},
		{"in one of two prefixes", `prefix: ["2001:db8:1::/64", "2001:db8:2::/64"], pool: "2001:db8:2::/124"}}`, []int{15}, "2001:db8:2::/124"},
		{"a whole /64", `prefix: "2001:db8:1::/64", pool: "::/64"}}`, []int{65536}, "2001:db8:1::/64"},
		{"a whole /64 and more", `prefix: "2001:db8:100::/56", pool: ["2001:db8:100:1::/64", "2001:db8:100:2::10-2001:db8:100:2::1f"]}}`, []int{65536}, "2001:db8:100::/62"},
		{"relays inside", `relay: ["2001:db8:1::11", "2001:db8:1::1"], prefix: "2001:db8:1::/64", pool: "::/123"}}`, []int{29}, "2001:db8:1::/123"},
		{"reserved anycast identifiers inside", `prefix: "2001:db8:1::/64", pool: "::fdff:ffff:ffff:ff78-::fdff:ffff:ffff:ff87"}}`, []int{8}, "2001:db8:1:0:fdff:ffff:ffff:ff78/125"},
		{"IANA's identifiers inside", `prefix: "2001:db8:1::/64", pool: "::200:5eff:fdff:fff0-::200:5eff:fe00:7"}}`, []int{16}, "2001:db8:1:0:200:5eff:fdff:fff0/124"},
		{"IANA's identifiers alone", `prefix: "2001:db8:1::/64", pool: "::200:5eff:fe00:0-::200:5eff:feff:ffff"}}`, []int{0}, "2001:db8:1::/64"},
		{"the same bits are free in a longer prefix", `prefix: "2001:db8:1:0:fdff:ffff:ffff:ff00/120", pool: "::80-::8f"}}`, []int{16}, "2001:db8:1:0:fdff:ffff:ffff:ff80/124"},
		{"exclusions", `prefix: "2001:db8:1::/64", pool: {ranges: ["::10-::1f", "::40/124"], exclude: ["::18-::47", "::4f"]}}}`, []int{15}, "2001:db8:1::/121"},
		{"a host inside", `prefix: "2001:db8:1::/64", pool: "::10-::1f"}}
hosts: {a: {mac: "52:54:00:aa:01:01", address: ["::12", "::100"]}}`, []int{15}, "2001:db8:1::10/124"},
	} {
		snap, _ := sitetest.Resolve(t, head+c.text+"\n", sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
		n, _ := snap.Network("rack1")
		if len(n.Pools) != len(c.sizes) {
			t.Errorf("%s: %d pools", c.name, len(n.Pools))
			continue
		}
		for i, o := range n.Pools {
			if got := o.Size; got < c.sizes[i]-1 || got > c.sizes[i] { // a spread pool may meet an address that is ours
				t.Errorf("%s: %d addresses, want %d", c.name, got, c.sizes[i])
			}
			seen := map[netip.Addr]bool{}
			for a := range snap.PoolPath(n, o, ident.MAC{}, []byte("client")) {
				if seen[a] || snap.PoolOf(n, a) != o || !netip.MustParsePrefix(c.in).Contains(a) {
					t.Errorf("%s: a path leads to %s, twice or outside", c.name, a)
				}
				seen[a] = true
			}
			if want := min(c.sizes[i], site.PoolTries); len(seen) != want {
				t.Errorf("%s: a path of %d addresses, want %d", c.name, len(seen), want)
			}
		}
	}
}
