package inventory

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

// TestHuge: what is far too large ends with one clear fault, or a bounded list of them.
func TestHuge(t *testing.T) {
	long := bytes.Repeat([]byte("#"), maxFile+1)
	_, faults := Parse("inventory.yaml", long)
	want := fmt.Sprintf("inventory.yaml:1:1: the file has %d octets, an inventory has at most %d", maxFile+1, maxFile)
	if len(faults) != 1 || faults[0].Error() != want {
		t.Errorf("got  %v\nwant %s", faults, want)
	}
	_, faults = Parse("inventory.yaml", []byte("networks: {rack1: {interface: eth1, prefix: ["+strings.Repeat(`"2001:db8::/64",`, maxPrefixes+1)+"]}}\n"))
	want = "inventory.yaml:1:45: networks.rack1.prefix: has 65 prefixes: a network has 64 at most"
	if len(faults) != 1 || faults[0].Error() != want {
		t.Errorf("got  %v\nwant %s", faults, want)
	}
	_, faults = Parse("inventory.yaml", []byte("hosts:\n"+strings.Repeat("  a: b\n", 3*maxFaults)))
	last := fmt.Sprintf("inventory.yaml:%d:3: more faults than %d: the rest is not shown", maxFaults+2, maxFaults)
	if len(faults) != maxFaults+1 || faults[maxFaults].Error() != last {
		t.Errorf("%d faults, the last %v\nwant %s", len(faults), faults[len(faults)-1], last)
	}
}
