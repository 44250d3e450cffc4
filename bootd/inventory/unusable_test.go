package inventory

import (
	"net/netip"
	"testing"
)

// TestUnusable: the first and the last of each reserved range (RFC 4291 section 2.6.1, RFC 5453), and their neighbours.
func TestUnusable(t *testing.T) {
	const anycast, reserved, router = "a reserved anycast address (RFC 2526)", "a reserved interface identifier (RFC 5453)", "the subnet-router anycast address"
	for _, c := range []struct{ prefix, addr, want string }{
		{"2001:db8:1::/64", "2001:db8:1::", router},
		{"2001:db8:1::/64", "2001:db8:1::1", ""},
		{"2001:db8:1::/64", "2001:db8:1::200:5eff:fdff:ffff", ""},
		{"2001:db8:1::/64", "2001:db8:1::200:5eff:fe00:0", reserved},
		{"2001:db8:1::/64", "2001:db8:1::200:5eff:fe00:5212", reserved},
		{"2001:db8:1::/64", "2001:db8:1::200:5eff:fe00:5213", reserved},
		{"2001:db8:1::/64", "2001:db8:1::200:5eff:feff:ffff", reserved},
		{"2001:db8:1::/64", "2001:db8:1::200:5eff:ff00:0", ""},
		{"2001:db8:1::/64", "2001:db8:1:0:fdff:ffff:ffff:ff7f", ""},
		{"2001:db8:1::/64", "2001:db8:1:0:fdff:ffff:ffff:ff80", anycast},
		{"2001:db8:1::/64", "2001:db8:1:0:fdff:ffff:ffff:ffff", anycast},
		{"2001:db8:1::/64", "2001:db8:1:0:fe00::", ""},
		{"2001:db8:100::/56", "2001:db8:100:7:fdff:ffff:ffff:ff80", anycast},
		{"2001:db8:100::/56", "2001:db8:100:7:200:5eff:fe00:0", reserved},
		{"2001:db8:1:0:fdff:ffff:ffff:ff00/120", "2001:db8:1:0:fdff:ffff:ffff:ff80", ""},
		{"2001:db8:1::8000/113", "2001:db8:1::8000", router},
	} {
		if got := Unusable(netip.MustParsePrefix(c.prefix), netip.MustParseAddr(c.addr)); got != c.want {
			t.Errorf("%s in %s is %q, want %q", c.addr, c.prefix, got, c.want)
		}
	}
}
