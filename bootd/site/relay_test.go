package site_test

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

const relayed = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
  rack2: {relay: ["2001:db8:2::1", "2001:db8:2::2"], prefix: "2001:db8:2::/64"}
hosts:
  n2: {mac: 52:54:00:aa:02:01, address: "2001:db8:2::101"}
`

// TestRelayIsNoHost: a host does not get the address of the router that relays for it.
func TestRelayIsNoHost(t *testing.T) {
	text := relayed + "  bad: {mac: 52:54:00:aa:02:02, network: rack2, address: \"::2\"}\n"
	snap, problems := sitetest.Resolve(t, text, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
	if diff := cmp.Diff([]string{"6:58 rack2bad: 2001:db8:2::2 is the address of the relay of rack2: give the host another one"}, messages(problems)); diff != "" {
		t.Error(diff)
	}
	if nic, held := snap.Holder(netip.MustParseAddr("2001:db8:2::2")); held {
		t.Errorf("%s has it", nic.Holder())
	}
}

// TestRelayed: what networks behind relays are told of us.
func TestRelayed(t *testing.T) {
	eth0 := sitetest.Link(t, 1, "eth0", "2001:db8:f::1/64", "2001:db8:f::2/64")
	eth1 := sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")
	for _, c := range []struct {
		name, serve string
		links       []site.Link
		want        string
		problems    []string
	}{
		{"the address of a network", "", []site.Link{eth0, eth1}, "2001:db8:1::1", nil},
		{"that of the transit link", "serve: {transit: eth0}\n", []site.Link{eth0, eth1}, "2001:db8:f::1", nil},
		{"the one that is written", "serve: {transit: eth0, address: \"2001:db8:f::2\"}\n", []site.Link{eth0, eth1}, "2001:db8:f::2", nil},
		{"one that is not ours is told, and said", "serve: {address: \"2001:db8:f::9\"}\n", []site.Link{eth0, eth1}, "2001:db8:f::9", []string{
			"2001:db8:f::9 is no address of this machine: hosts behind relays would be told one that nobody answers on; `ip -6 address` lists those there are",
		}},
		{"no transit link yet", "serve: {transit: eth7}\n", []site.Link{eth1}, "2001:db8:1::1", []string{
			"there is no interface eth7: relays are answered when it comes; `ip link` lists those there are",
		}},
		{"no address at all", "", []site.Link{sitetest.Link(t, 2, "eth1")}, "", []string{
			"eth1 has no address inside 2001:db8:1::/64, so boot URLs have nowhere to point: `ip address add 2001:db8:1::1/64 dev eth1`",
			"we have no address that hosts behind its relay could reach: give a transit interface one, or write serve: {address: \"2001:db8:1::1\"}",
		}},
	} {
		snap, problems := sitetest.Resolve(t, c.serve+relayed, sitetest.Facts(c.links...))
		n, _ := snap.Network("rack2")
		got := ""
		if n.Own.IsValid() {
			got = n.Own.String()
		}
		var texts []string
		for _, p := range problems {
			texts = append(texts, p.Msg)
		}
		if diff := cmp.Diff(c.problems, texts); diff != "" || got != c.want || n.RouterSelf || n.Served() != (c.want != "") {
			t.Errorf("%s: told %q, want %q %s", c.name, got, c.want, diff)
		}
		if c.want != "" && (len(n.Nameservers) != 1 || n.Nameservers[0] != n.Own) {
			t.Errorf("%s: resolvers %v", c.name, n.Nameservers)
		}
	}
}

// TestRelayedSteady: our address stays the one that hosts were told while we have it.
func TestRelayedSteady(t *testing.T) {
	text := "serve: {transit: eth0}\n" + relayed
	eth1 := sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")
	first := sitetest.Snapshot(t, text, sitetest.Facts(sitetest.Link(t, 1, "eth0", "2001:db8:f::1/64"), eth1))
	next, _ := site.Resolve(first.Inventory, sitetest.Facts(sitetest.Link(t, 1, "eth0", "2001:db8:f::7/64", "2001:db8:f::1/64"), eth1), first, sitetest.Now())
	if n, _ := next.Network("rack2"); n.Own != netip.MustParseAddr("2001:db8:f::1") {
		t.Errorf("hosts are told %s now", n.Own)
	}
}

// TestRelaysFrom: where relays send from, and what to write for another.
func TestRelaysFrom(t *testing.T) {
	text := strings.Replace(relayed, `prefix: "2001:db8:2::/64"`, `prefix: "2001:db8:2::/64", relay_from: ["2001:db8:f::12", "2001:db8:e::/64"]`, 1)
	snap := sitetest.Snapshot(t, text, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
	n, _ := snap.Network("rack2")
	for a, want := range map[string]bool{"2001:db8:f::12": true, "2001:db8:f::13": false, "2001:db8:e::77": true, "fe80::12": false} {
		if got := n.RelaysFrom(netip.MustParseAddr(a)); got != want {
			t.Errorf("from %s: %t", a, got)
		}
	}
	a := netip.MustParseAddr("fe80::12")
	got := []string{n.RelayFromLine(a, 89), n.RelayFromLine(a, 88)}
	want := []string{`write below networks.rack2: relay_from: ["2001:db8:f::12", "2001:db8:e::/64", "fe80::12"]`, `add to relay_from below networks.rack2: "fe80::12"`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if n, _ := snap.Network("rack1"); !n.RelaysFrom(a) {
		t.Error("without relay_from a relay may be anywhere")
	}
}

// TestServesRelay finds networks by relay, and the links that relays come in on.
func TestServesRelay(t *testing.T) {
	links := sitetest.Facts(sitetest.Link(t, 1, "eth0", "2001:db8:f::1/64"), sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"))
	open, closed := sitetest.Snapshot(t, relayed, links), sitetest.Snapshot(t, "serve: {transit: eth0}\n"+relayed, links)
	n, ok := open.Serves(site.Arrival{Link: "eth1", Relay: netip.MustParseAddr("2001:db8:2::2")})
	_, unknown := open.Serves(site.Arrival{Link: "eth1", Relay: netip.MustParseAddr("2001:db8:2::3")})
	if !ok || n.Name != "rack2" || unknown || n.Where() != "relay 2001:db8:2::1, relay 2001:db8:2::2" {
		t.Errorf("%+v %t, %t", n, ok, unknown)
	}
	var got []bool
	for _, s := range []*site.Snapshot{open, closed} {
		for i := range 3 {
			_, carries := s.Carries(i)
			got = append(got, carries)
		}
	}
	if diff := cmp.Diff([]bool{false, false, true, false, true, false}, got); diff != "" {
		t.Error(diff)
	}
	for a, want := range map[string]bool{"2001:db8:2::77": true, "2001:db8:1::77": false, "2001:db8:9::77": false} {
		if _, ok := open.Behind(netip.MustParseAddr(a)); ok != want {
			t.Errorf("%s is behind a relay: %t", a, ok)
		}
	}
}
