package netns_test

import (
	"encoding/json"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// TestDelegateClients: Debian's clients ask for a prefix, one of them for an address with it; each gets a /60 of its own, with
// the lifetimes, times and resolvers of a Cisco 887 that did this before, and in two messages where it asks for that. bootd leads each prefix to the neighbour that has it: an address in it is
// reached from another network, and what nobody has is unreachable. Routes outlive a crash, and end with their leases.
func TestDelegateClients(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: `
serve: {unreachable: "2001:db8::/48"}
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
	files := map[string]string{"conf": "send dhcp6.rapid-commit;\nrequest dhcp6.name-servers;\n", "script": "#!/bin/sh\nexit 0\n"}
	program := func(name string) func(string) []string {
		all := clients()
		return all[slices.IndexFunc(all, func(c client) bool { return c.name == name })].command
	}
	nodes := map[string]*lab.Node{}
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
		nodes[mac] = n
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
	asCisco(t, r)
	reached(t, r, nodes, has)
	leadsTo(t, r, has)

	// After a crash what is stale goes, and all else stays.
	if err := r.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	run(t, r.Server, "ip", "-6", "route", "add", "2001:db8:0:1ff0::/60", "via", "fe80::9", "dev", "eth1", "proto", "217")
	leadsTo(t, r, has, "2001:db8:0:1ff0::/60 via fe80::9")
	r.Daemon, err = r.Server.StartDaemon(labtest.Context(t, patience), lab.DaemonConfig{
		Name: "again", Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"), State: r.Path("bootd.state"),
	})
	if err != nil {
		t.Fatal(err)
	}
	leadsTo(t, r, has)
	ended := has["52:54:00:aa:01:02"]
	if _, err := r.Daemon.Run(labtest.Context(t, patience), "leases", "--yes", "release", ended.String()); err != nil {
		t.Fatal(err)
	}
	delete(has, "52:54:00:aa:01:02")
	err = lab.WaitFor(labtest.Context(t, patience), "the route ends with the lease", func() bool {
		return run(t, r.Server, "ip", "-6", "route", "show", ended.String()) == ""
	})
	if err != nil {
		t.Error(err)
	}
	leadsTo(t, r, has)
}

// leadsTo compares bootd's routes in the kernel with the prefixes that clients have.
func leadsTo(t *testing.T, r *labtest.Rack, has map[string]netip.Prefix, more ...string) {
	t.Helper()
	want := append([]string{"unreachable 2001:db8::/48", "unreachable 2001:db8:0:100::/56"}, more...)
	for mac, p := range has {
		m, err := ident.ParseMAC(mac)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, p.String()+" via "+m.EUI64(netip.MustParsePrefix("fe80::/64")).String())
	}
	slices.Sort(want)
	var got []string
	for line := range strings.Lines(run(t, r.Server, "ip", "-6", "route", "show", "proto", "217")) {
		f := strings.Fields(line)
		if f[0] == "unreachable" {
			got = append(got, f[0]+" "+f[1])
			continue
		}
		got = append(got, strings.Join(f[:3], " "))
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("bootd's routes (-want +got):\n%s", diff)
	}
}

// reached pings an address inside each delegated prefix from another network, and one that nobody has.
func reached(t *testing.T, r *labtest.Rack, nodes map[string]*lab.Node, has map[string]netip.Prefix) {
	t.Helper()
	far, err := r.Lab.Link("far")
	if err != nil {
		t.Fatal(err)
	}
	err = r.Server.Attach(far, lab.Interface{Name: "eth2", Self: lab.NoAddress, Addr: []netip.Prefix{netip.MustParsePrefix("2001:db8:f::1/64")}})
	if err != nil {
		t.Fatal(err)
	}
	n, err := r.Node("faraway")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Attach(far, lab.Interface{Name: "eth0", Self: lab.NoAddress, Addr: []netip.Prefix{netip.MustParsePrefix("2001:db8:f::7/64")}}); err != nil {
		t.Fatal(err)
	}
	run(t, n, "ip", "-6", "route", "add", "default", "via", "2001:db8:f::1")
	for mac, p := range has {
		inside := p.Addr().Next()
		c := nodes[mac]
		run(t, c, "ip", "-6", "addr", "add", inside.String()+"/128", "dev", "lo")
		run(t, c, "ip", "link", "set", "lo", "up")
		run(t, c, "ip", "-6", "route", "replace", "2001:db8:f::/64", "via", "fe80::1", "dev", "eth0")
		run(t, n, "ping", "-6", "-n", "-c", "1", "-w", "20", inside.String())
	}
	free := slices.DeleteFunc(strings.Fields("2001:db8:0:1a0::/60 2001:db8:0:1b0::/60 2001:db8:0:1c0::/60 2001:db8:0:1d0::/60 2001:db8:0:1e0::/60"), func(text string) bool {
		return slices.Contains(slices.Collect(maps.Values(has)), netip.MustParsePrefix(text))
	})
	// Nobody has the rest of the pool, nor what is beside it.
	for _, nobodys := range []string{netip.MustParsePrefix(free[0]).Addr().Next().String(), "2001:db8:0:7700::1"} {
		out, err := n.Command(labtest.Context(t, patience), "ping", "-6", "-n", "-c", "1", "-w", "20", nobodys).CombinedOutput()
		if err == nil || !strings.Contains(string(out), "No route") && !strings.Contains(string(out), "nreachable") {
			t.Errorf("%s, which nobody has: %v\n%s", nobodys, err, out)
		}
	}
}

// asCisco looks at what each dhclient wrote down of its lease: it has asked for that with rapid commit, and got all that the
// router gave.
func asCisco(t *testing.T, r *labtest.Rack) {
	t.Helper()
	for _, name := range []string{"dhclient1", "dhclient2"} {
		text, err := os.ReadFile(r.Path(name + "/leases"))
		if err != nil {
			t.Fatal(err)
		}
		_, text2, _ := strings.Cut(string(text), "ia-pd ")
		for _, want := range []string{
			"renew 900;", "rebind 1440;", "iaprefix 2001:db8:0:1", "preferred-life 1800;", "max-life 3600;",
			"option dhcp6.name-servers 2001:db8::53,2001:db8::54;", "option dhcp6.rapid-commit;",
		} {
			if !strings.Contains(text2, want) {
				t.Errorf("%s has no %q in\n%s", name, want, text)
			}
		}
	}
}
