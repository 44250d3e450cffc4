package sitetest

import (
	"net/netip"
	"testing"
)

func TestSmall(t *testing.T) {
	snap := Snapshot(t, Small(), SmallFacts(t))
	want := netip.MustParseAddr("2001:db8:1::102")
	h, ok := snap.Host("r1n02")
	if !ok || h.NICs[0].Addresses("rack1")[0] != want {
		t.Fatalf("r1n02 got %v, want %v", h.NICs[0].Addresses("rack1"), want)
	}
	for _, h := range snap.Hosts {
		for _, n := range h.NICs {
			t.Log(n.Holder(), n.Addresses("rack1"))
		}
	}
}
