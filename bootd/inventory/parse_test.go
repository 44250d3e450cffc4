package inventory

import "testing"

func TestSmallest(t *testing.T) {
	inv, faults := Parse("inventory.yaml", []byte("networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}\nhosts:\n  r1n01: 52:54:00:aa:01:01\n  r1n02: {mac: 52:54:00:aa:01:02, address: \"::102\"}\n"))
	for _, f := range faults {
		t.Error(f)
	}
	if inv == nil || len(inv.Hosts) != 2 {
		t.Fatal(inv)
	}
}
