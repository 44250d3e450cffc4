package site_test

import (
	"net/netip"
	"testing"

	"bootd.internal/bootd/site/sitetest"
)

// TestDelegation divides a pool: the path of every client passes each part once, in an order of its own.
func TestDelegation(t *testing.T) {
	snap := sitetest.Snapshot(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", delegate: [{pool: "2001:db8:0:100::/56", length: 60, exclude: ["2001:db8:0:110::/60", "2001:db8:0:123::/64"]}, {pool: "fd00:7::/48", length: 64}]}
hosts:
  a: {mac: "52:54:00:aa:01:01", delegate: ["2001:db8:0:140::/60", "2001:db8:9::/48"]}
`, sitetest.SmallFacts(t))
	n, _ := snap.Network("rack1")
	small, big := n.Delegate[0], n.Delegate[1]
	first := map[netip.Prefix]bool{}
	for client := range byte(20) {
		seen := map[netip.Prefix]bool{}
		for p := range snap.DelegatePath(small, []byte{client}) {
			if len(seen) == 0 {
				first[p] = true
			}
			if seen[p] || !small.Has(p) {
				t.Fatalf("client %d meets %s after %d", client, p, len(seen))
			}
			seen[p] = true
		}
		if len(seen) != 16 {
			t.Errorf("client %d meets %d parts", client, len(seen))
		}
		looks := 0
		for p := range snap.DelegatePath(big, []byte{client}) {
			if looks++; !big.Has(p) {
				t.Fatalf("%s is no part of %s", p, big.Pool)
			}
		}
		if looks != 4096 {
			t.Errorf("client %d looks at %d parts", client, looks)
		}
	}
	if len(first) < 5 {
		t.Errorf("20 clients begin with %v", first)
	}
	for p, want := range map[string]string{"2001:db8:0:100::/60": "invalid Prefix false", "2001:db8:0:110::/60": "invalid Prefix true", "2001:db8:0:120::/60": "2001:db8:0:123::/64 false"} {
		if out, never := small.Excluded(netip.MustParsePrefix(p)); out.String()+map[bool]string{true: " true", false: " false"}[never] != want {
			t.Errorf("%s: %s %t, want %s", p, out, never, want)
		}
	}
	for p, want := range map[string]bool{"2001:db8:0:140::/60": true, "2001:db8:0:14f::/64": true, "2001:db8:0:100::/56": true, "2001:db8:0:150::/60": false, "2001:db8:9:77::/64": true, "2001:db8:a::/48": false} {
		if k, ok := snap.KeptWithin(netip.MustParsePrefix(p)); ok != want || ok && k.Host.Name != "a" {
			t.Errorf("%s is kept: %t %+v", p, ok, k)
		}
	}
}
