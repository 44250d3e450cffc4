// Package sitetest builds snapshots for the tests of packages that take one.
//
// It is never part of the daemon.
package sitetest

import (
	"net/netip"
	"testing"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
)

// Now is the time at which Snapshot resolves.
func Now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// Link is an interface that is up, with MTU 1500, a MAC 52:54:00:00:ff:NN made from its index, the link-local address of that
// MAC, and addresses such as 2001:db8:1::1/64.
func Link(t testing.TB, index int, name string, addrs ...string) site.Link {
	t.Helper()
	l := site.Link{Name: name, Index: index, MTU: 1500, Up: true, MAC: ident.MAC{0x52, 0x54, 0, 0, 0xff, byte(index)}}
	l.LinkLocal = l.MAC.EUI64(netip.MustParsePrefix("fe80::/64"))
	for _, s := range addrs {
		a, err := netip.ParsePrefix(s)
		if err != nil {
			t.Fatalf("reading address of link %s: %v", name, err)
		}
		l.Addrs = append(l.Addrs, a)
	}
	return l
}

// Facts is a machine with these links, a fixed secret and DUID, that does not forward.
func Facts(links ...site.Link) site.Facts {
	f := site.Facts{Links: links, ServerDUID: ident.NewDUIDLL(ident.MAC{0x52, 0x54, 0, 0, 0xff, 0})}
	for i := range f.Secret {
		f.Secret[i] = byte(i)
	}
	return f
}

// Inventory parses YAML text that must have no faults.
func Inventory(t testing.TB, text string) *inventory.Inventory {
	t.Helper()
	inv, faults := inventory.Parse("inventory.yaml", []byte(text))
	for _, f := range faults {
		t.Error(f)
	}
	if len(faults) > 0 {
		t.FailNow()
	}
	return inv
}

// Snapshot parses YAML text and resolves it with facts at Now; neither faults nor problems are allowed.
func Snapshot(t testing.TB, text string, f site.Facts) *site.Snapshot {
	t.Helper()
	snap, problems := site.Resolve(Inventory(t, text), f, nil, Now())
	for _, p := range problems {
		t.Errorf("problem of network %q host %q: %s", p.Network, p.Host, p.Msg)
	}
	if len(problems) > 0 {
		t.FailNow()
	}
	return snap
}

// Resolve is Snapshot for tests that expect problems.
func Resolve(t testing.TB, text string, f site.Facts) (*site.Snapshot, []site.Problem) {
	t.Helper()
	return site.Resolve(Inventory(t, text), f, nil, Now())
}

// Small is an inventory of one network rack1 on eth1 (2001:db8:1::/64) with profile debian13 and four hosts: r1n01 (MAC only),
// r1n02 (reserved ::102), r1n03 (two cards, the second with 2001:db8:1::203) and bare (protected).
func Small() string {
	return `defaults: {domain: example.net, profile: debian13}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  debian13:
    kernel: debian13/linux
    initrd: [debian13/initrd.gz]
    script: ipxe/debian.ipxe
    answers: preseed/debian13.cfg
    vars: {mirror: "http://mirror.example.net/debian"}
hosts:
  r1n01: 52:54:00:aa:01:01
  r1n02: {mac: 52:54:00:aa:01:02, address: "::102", uuid: 00112233-4455-6677-8899-aabbccddeeff}
  r1n03:
    nics:
      eth0: 52:54:00:aa:01:03
      eth1: {mac: 52:54:00:aa:01:04, address: "2001:db8:1::203"}
  bare: {mac: 52:54:00:aa:01:05, protected: true}
`
}

// SmallFacts are the links that Small wants: eth1 with index 2 and 2001:db8:1::1/64.
func SmallFacts(t testing.TB) site.Facts {
	t.Helper()
	return Facts(Link(t, 2, "eth1", "2001:db8:1::1/64"))
}
