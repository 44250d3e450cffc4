package ingress

import (
	"net/netip"
	"testing"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site/sitetest"
)

// TestServedBehindRelay: hosts behind relays are served on the links that relays come in on, and on no other; whose address is
// of no network gets nothing there.
func TestServedBehindRelay(t *testing.T) {
	text := `serve: {transit: eth0}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
  rack2: {relay: "2001:db8:2::1", prefix: "2001:db8:2::/64"}
`
	snap := sitetest.Snapshot(t, text, sitetest.Facts(sitetest.Link(t, 10, "eth0", "2001:db8:f::1/64"), sitetest.Link(t, 11, "eth1", "2001:db8:1::1/64"),
		sitetest.Link(t, 12, "isp", "2001:db8:e::1/64")))
	for _, c := range []struct {
		name   string
		index  int
		source string
		want   string
	}{
		{"from rack2 over the transit link", 10, "2001:db8:2::77", "rack2"},
		{"from nowhere over the transit link", 10, "2001:db8:9::77", ""},
		{"from rack1's prefix over the transit link", 10, "2001:db8:1::77", ""},
		{"a neighbour on the transit link", 10, "fe80::77", ""},
		{"from rack2 over a rack's link", 11, "2001:db8:2::77", ""},
		{"from rack1 on its link", 11, "2001:db8:1::77", "rack1"},
		{"a neighbour on rack1", 11, "fe80::77", "rack1"},
		{"from rack2 over the line to the ISP", 12, "2001:db8:2::77", ""},
	} {
		at, n, why := Served(snap, c.index, netip.MustParseAddr(c.source), netip.MustParseAddr("2001:db8:f::1"))
		got := ""
		if n != nil {
			got = n.Name
			if again, ok := snap.Serves(at); !ok || again != n {
				t.Errorf("%s: the arrival names another network: %+v", c.name, at)
			}
		}
		if got != c.want || (why == reason.None) != (c.want != "") {
			t.Errorf("%s: network %q, %s", c.name, got, why)
		}
	}
}
