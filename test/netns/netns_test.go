// Package netns_test runs the real binary, built with the race detector,
// against the client programs that Debian has, each in a network namespace of
// its own. The daemon's event stream and what the clients did to their
// interfaces are the oracles; nothing here looks into the daemon.
package netns_test

import (
	"net/netip"
	"testing"
	"time"

	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

func TestMain(m *testing.M) { labtest.MainWithBootd(m) }

const (
	listedMAC   = "52:54:00:aa:01:01" // r1n01
	unlistedMAC = "52:54:00:ff:ff:01"

	// patience is how long a client gets for what takes it a few seconds: DAD,
	// an exchange, a retransmission or two.
	patience = 30 * time.Second
)

var listedAddr = netip.MustParseAddr("2001:db8:1::101")

const inventory = `
defaults: {domain: rack.example.net}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
  r1n02: {mac: 52:54:00:aa:01:02, address: "::102"}
`

func newRack(t *testing.T) *labtest.Rack {
	t.Helper()
	return labtest.NewRack(t, labtest.RackConfig{
		Inventory: inventory,
		Files:     map[string][]byte{"hello.txt": []byte("hello over IPv6\n"), "big.bin": big()},
	})
}

// big is content whose every block differs, 300,000 octets long.
func big() []byte {
	b := make([]byte, 300_000)
	for i := range b {
		b[i] = byte(i ^ i>>8 ^ i>>16)
	}
	return b
}

// linkLocal brings the client's interface up and waits until its link-local
// address is usable.
func linkLocal(t *testing.T, n *lab.Node) {
	t.Helper()
	if err := n.SetUp("eth0"); err != nil {
		t.Fatal(err)
	}
	waitAddr(t, n, netip.Addr.IsLinkLocalUnicast)
}

// waitAddr waits until the client has an address that ok accepts, past DAD.
func waitAddr(t *testing.T, n *lab.Node, ok func(netip.Addr) bool) netip.Prefix {
	t.Helper()
	var found netip.Prefix
	err := lab.WaitFor(labtest.Context(t, patience), n.Name+" has the address", func() bool {
		addrs, err := n.Addresses("eth0")
		if err != nil {
			t.Fatal(err)
		}
		for _, a := range addrs {
			if ok(a.Addr()) {
				found = a
				return true
			}
		}
		return false
	})
	if err != nil {
		addrs, _ := n.Addresses("eth0")
		t.Fatalf("%v; it has %v", err, addrs)
	}
	return found
}

// run runs a program in the client to its end and returns what it printed.
func run(t *testing.T, n *lab.Node, name string, args ...string) string {
	t.Helper()
	out, err := n.Command(labtest.Context(t, patience), name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func prefixOf(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, 64) }
