package site_test

import (
	"net/netip"
	"os"
	"testing"

	"bootd.internal/bootd/site/sitetest"
)

// TestExample resolves the inventory that the README shows on the machine that it is written for.
func TestExample(t *testing.T) {
	data, err := os.ReadFile("../../inventory.yaml")
	if err != nil {
		t.Fatal(err)
	}
	s := sitetest.Snapshot(t, string(data), sitetest.Facts(
		sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64", "fd00:db8:2::1/64")))
	equal(t, "servers", addrs("2001:db8:2::1", "fd00:db8:2::1"), network(t, s, "rack2").Servers)
	n, ok := s.Holder(netip.MustParseAddr("fd00:db8:2::202"))
	if !ok || n.Holder() != "r2n02/eno1" || n.Host.FQDN != "r2n02.rack2.example.net" {
		t.Errorf("fd00:db8:2::202 finds %v", n)
	}
	for _, h := range s.Hosts {
		if h.Profile == nil || !h.HasDisk || h.Vars["mirror"] == nil {
			t.Errorf("%s: profile %v, disk %t, vars %v", h.Name, h.Profile, h.HasDisk, h.Vars)
		}
	}
}
