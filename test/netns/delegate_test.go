package netns_test

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab/labtest"
)

// TestDelegateClients: Debian's clients ask for a prefix, one of them for an address with it; each gets a /60 of its own, with
// the lifetimes of a Cisco 887 that did this before, and bootd tells over which neighbour each is reached.
func TestDelegateClients(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: `
defaults: {preferred: 30m, valid: 1h, nameservers: ["2001:db8::53", "2001:db8::54"]}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, delegate: {pool: "2001:db8:0:100::/56", length: 60}}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, delegate: "2001:db8:0:120::/60"}
`})
	dhclient := func(args ...string) func(string) []string {
		return func(dir string) []string {
			return append(append([]string{"dhclient", "-6"}, args...), "-d", "-v", "-cf", dir+"/conf", "-lf", dir+"/leases", "-pf", dir+"/pid", "-sf", dir+"/script", "eth0")
		}
	}
	files := map[string]string{"conf": "send dhcp6.rapid-commit;\n", "script": "#!/bin/sh\nexit 0\n"}
	program := func(name string) func(string) []string {
		all := clients()
		return all[slices.IndexFunc(all, func(c client) bool { return c.name == name })].command
	}
	for i, c := range []client{
		{name: "dhclient1", files: files, command: dhclient("-P")},
		{name: "dhclient2", files: files, command: dhclient("-P", "-N")},
		{name: "dhcp6c", files: map[string]string{
			"conf": "interface eth0 { send ia-pd 0; };\nid-assoc pd 0 { };\n",
		}, command: program("dhcp6c")},
		{name: "networkd", files: map[string]string{
			"eth0.network": "[Match]\nName=eth0\n[Network]\nDHCP=ipv6\nIPv6AcceptRA=yes\nLinkLocalAddressing=ipv6\n[DHCPv6]\nUseDelegatedPrefix=yes\n",
		}, command: program("networkd")},
	} {
		mac := "52:54:00:aa:01:0" + string(rune('1'+i)) // the first is listed
		n := r.Client(t, c.name, mac)
		linkLocal(t, n)
		c.start(t, r, n)
	}
	has := map[string]netip.Prefix{}
	_, err := r.Daemon.Wait(labtest.Context(t, patience), "a prefix for each of four", func(e timeline.Event) bool {
		if e.Kind == timeline.DHCPPrefix {
			has[e.MAC.String()] = netip.MustParsePrefix(e.Addr)
		}
		return len(has) == 4
	})
	if err != nil {
		t.Fatalf("%v: %v", err, has)
	}
	seen := map[netip.Prefix]bool{}
	for mac, p := range has {
		if seen[p] || p.Bits() != 60 || !netip.MustParsePrefix("2001:db8:0:100::/56").Contains(p.Addr()) {
			t.Errorf("%s has %s of %v", mac, p, has)
		}
		seen[p] = true
	}
	if got := has["52:54:00:aa:01:01"]; got.String() != "2001:db8:0:120::/60" {
		t.Errorf("the listed host has %s", got)
	}
	out, err := r.Daemon.Run(labtest.Context(t, patience), "leases", "--prefixes", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var leases []api.Lease
	if err := json.Unmarshal(out, &leases); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, l := range leases {
		if p := has[l.MAC.String()]; p.String() != l.Prefix || l.Via != l.MAC.EUI64(netip.MustParsePrefix("fe80::/64")).String() || l.Link != "eth1" {
			t.Errorf("%+v, and the event told of %s", l, p)
		}
	}
	if len(leases) != 4 {
		t.Errorf("%d prefixes are leased:\n%s", len(leases), out)
	}
	out, err = r.Daemon.Run(labtest.Context(t, patience), "leases", "--prefixes")
	if err != nil || !strings.HasPrefix(string(out), "PREFIX") || strings.Count(string(out), "\n") != 5 {
		t.Errorf("%v\n%s", err, out)
	}
}
