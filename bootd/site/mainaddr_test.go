package site_test

import (
	"testing"

	"bootd.internal/bootd/site/sitetest"
)

// TestMainAddress: a host is known by the address that the inventory gives it, in whatever network, not by one that was computed.
func TestMainAddress(t *testing.T) {
	snap := sitetest.Snapshot(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
  rack2: {interface: eth2, prefix: "2001:db8:2::/64"}
hosts:
  a: {mac: "52:54:00:00:00:01", address: "2001:db8:2::5"}
  b: "52:54:00:00:00:02"
`, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64")))
	a, _ := snap.Host("a")
	b, _ := snap.Host("b")
	if got := a.NICs[0].Main(snap.Networks); got.String() != "2001:db8:2::5" {
		t.Errorf("a: %s", got)
	}
	if got := b.NICs[0].Main(snap.Networks); got != b.NICs[0].Addresses("rack1")[0] {
		t.Errorf("b: %s", got)
	}
}
