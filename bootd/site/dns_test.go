package site_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

// TestNames: aliases that would hide a host, or stand beside other records, are left out and named.
func TestNames(t *testing.T) {
	inv, faults := inventory.Parse("inventory.yaml", []byte(`dns:
  records:
    www.example.net: {txt: a text}
    r1n02.example.net: {cname: www.example.org}
defaults: {domain: example.net}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, dns: {aliases: [www, r1n02, git], records: {"@": {txt: x}, _x: {srv: 1 2 3}}}}
  r1n02: {mac: 52:54:00:aa:01:02}
`))
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	snap, problems := site.Resolve(inv, sitetest.SmallFacts(t), nil, sitetest.Now())
	var got []string
	for _, p := range problems {
		got = append(got, p.Host+": "+p.Msg)
	}
	want := []string{
		": r1n02.example.net is the name of r1n02 already: the alias is left out",
		"r1n01: www.example.net is there twice, and one is an alias: this one is left out",
		"r1n01: r1n02.example.net is the name of r1n02 already: the alias is left out",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	names := map[string]*site.Name{
		"www.example.net":      {TXT: []string{"a text"}},
		"git.example.net":      {Host: "r1n01", CNAME: "r1n01.example.net"},
		"r1n01.example.net":    {Host: "r1n01", TXT: []string{"x"}},
		"_x.r1n01.example.net": {Host: "r1n01", SRV: []inventory.SRV{{Priority: 1, Weight: 2, Port: 3, Target: "r1n01.example.net"}}},
	}
	if diff := cmp.Diff(names, snap.DNS.Names); diff != "" {
		t.Error(diff)
	}
}

// TestNetworkDNS64: what the advertisement says of a NAT64 holds for names, unless the inventory says otherwise.
func TestNetworkDNS64(t *testing.T) {
	for text, want := range map[string]string{
		"":                               "invalid Prefix",
		`, ra: {pref64: "64:ff9b::/96"}`: "64:ff9b::/96",
		`, ra: {pref64: "64:ff9b::/96"}, dns64: off`: "invalid Prefix",
		`, dns64: "2001:db8:64::/96"`:                "2001:db8:64::/96",
	} {
		inv, faults := inventory.Parse("inventory.yaml", []byte(`networks: {rack1: {interface: eth1, prefix: "2001:db8:1::/64"`+text+`}}`))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		snap, problems := site.Resolve(inv, sitetest.SmallFacts(t), nil, sitetest.Now())
		if len(problems) > 0 {
			t.Error(problems)
		}
		got := netip.Prefix{}
		if d := snap.Networks[0].DNS64; d != nil {
			got = d.Prefix
		}
		if got.String() != want {
			t.Errorf("%s: %v, want %s", text, got, want)
		}
	}
}

// TestWellKnownPrefixSkips: 64:ff9b::/96 never stands for what is not global (RFC 6052 section 3.1); a prefix of the network's own does.
func TestWellKnownPrefixSkips(t *testing.T) {
	for prefix, want := range map[string]string{
		"64:ff9b::/96":     "10.1.1.1 192.0.2.1 198.18.0.1 198.51.100.2 203.0.113.3 192.168.1.1 100.64.0.1 240.0.0.1",
		"2001:db8:64::/96": "",
	} {
		inv, faults := inventory.Parse("inventory.yaml", []byte(`networks: {rack1: {interface: eth1, prefix: "2001:db8:1::/64", dns64: "`+prefix+`"}}`))
		if len(faults) > 0 {
			t.Fatal(faults)
		}
		snap, _ := site.Resolve(inv, sitetest.SmallFacts(t), nil, sitetest.Now())
		var got []string
		for _, s := range strings.Fields("10.1.1.1 192.0.2.1 198.18.0.1 198.51.100.2 203.0.113.3 192.168.1.1 100.64.0.1 240.0.0.1 8.8.8.8 192.1.0.1") {
			if slices.ContainsFunc(snap.Networks[0].DNS64.Skip, func(p netip.Prefix) bool { return p.Contains(netip.MustParseAddr(s)) }) {
				got = append(got, s)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s skips %v, want %s", prefix, got, want)
		}
	}
}
