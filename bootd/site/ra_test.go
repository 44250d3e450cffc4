package site_test

import (
	"net/netip"
	"testing"
	"time"

	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

// TestRALists: what the lists of `ra:` leave out follows the network and its max_interval.
func TestRALists(t *testing.T) {
	text := `
networks:
  rack1:
    interface: eth1
    prefix: ["2001:db8:1::/64", "fd00:1::/64"]
    preferred: 1h
    valid: 2h
    ra:
      max_interval: 100s
      on_link: false
      reachable_time: 30s
      retrans_timer: 1500ms
      rdnss_lifetime: 0s
      captive_portal: "https://portal.example.net/api"
      prefixes:
        - {prefix: "fd00:1::/64", autonomous: false, valid: 90m}
      routes:
        - "2001:db8:100::/48"
        - {prefix: "::/0", preference: low, lifetime: 100s}
      pref64: ["64:ff9b::/96", {prefix: "2001:db8:64::/56", lifetime: 18h}]
`
	f := sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"))
	f.Forwarding = true
	n := network(t, sitetest.Snapshot(t, text, f), "rack1")
	want := site.RA{
		Managed: true, Other: true, Autonomous: true, MinInterval: 100 * time.Second / 3, MaxInterval: 100 * time.Second, HopLimit: 64,
		ReachableTime: 30 * time.Second, RetransTimer: 1500 * time.Millisecond, Preference: "medium",
		DNSSLLifetime: 5 * time.Minute, CaptivePortal: "https://portal.example.net/api",
		Prefixes: []site.PrefixRA{{Prefix: prefix("fd00:1::/64"), Preferred: time.Hour, Valid: 90 * time.Minute}},
		Routes: []site.Route{
			{Prefix: prefix("2001:db8:100::/48"), Lifetime: 5 * time.Minute, Preference: "medium"},
			{Prefix: prefix("::/0"), Lifetime: 100 * time.Second, Preference: "low"},
		},
		Pref64: []site.Pref64{
			{Prefix: prefix("64:ff9b::/96"), Lifetime: 5 * time.Minute}, {Prefix: prefix("2001:db8:64::/56"), Lifetime: 18 * time.Hour},
		},
	}
	equal(t, "RA", want, n.RA)
	equal(t, "its own kind", want.Prefixes[0], n.Advertised(prefix("fd00:1::/64")))
	equal(t, "the rest", site.PrefixRA{Prefix: prefix("2001:db8:1::/64"), Autonomous: true, Preferred: time.Hour, Valid: 2 * time.Hour},
		n.Advertised(prefix("2001:db8:1::/64")))

	f.Forwarding = false
	s, problems := sitetest.Resolve(t, text, f)
	if len(problems) != 1 || network(t, s, "rack1").RA.Routes[0].Lifetime != 0 {
		t.Errorf("routes to a machine that does not forward: %v, problems %v", network(t, s, "rack1").RA.Routes, problems)
	}
}

// TestAuto: the prefixes are those of the interface's addresses, as they are now; hosts have addresses in them.
func TestAuto(t *testing.T) {
	const text = `
networks:
  office: {interface: eth1, prefix: [auto, "fd00:1::/64"]}
  lab: {interface: eth2, prefix: "2001:db8:2::/64"}
  guests: {interface: eth3, prefix: auto}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101", network: office}
`
	all := func(addrs ...string) site.Facts {
		return sitetest.Facts(sitetest.Link(t, 2, "eth1", addrs...), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64"),
			sitetest.Link(t, 4, "eth3", "2001:db8:2::9/64", "2001:db8:7::1/64"))
	}
	s := sitetest.Snapshot(t, text, all("2001:db8:1::1/64", "2001:db8:1::2/64", "fd00:1::1/64", "2001:db8:5::1/128", "2001:db8:6::1/64"))
	n := network(t, s, "office")
	equal(t, "prefixes", []site.Prefix{
		{Prefix: prefix("fd00:1::/64")}, {Prefix: prefix("2001:db8:1::/64")}, {Prefix: prefix("2001:db8:6::/64")},
	}, n.Prefixes)
	equal(t, "guests: one prefix is another network's", []site.Prefix{{Prefix: prefix("2001:db8:7::/64")}}, network(t, s, "guests").Prefixes)
	equal(t, "own", netip.MustParseAddr("2001:db8:1::1"), n.Own)
	nic, _ := s.NIC(s.Hosts[0].NICs[0].MAC)
	equal(t, "addresses", []netip.Addr{
		netip.MustParseAddr("fd00:1::101"), netip.MustParseAddr("2001:db8:1::101"), netip.MustParseAddr("2001:db8:6::101"),
	}, nic.Addresses("office"))

	s, problems := sitetest.Resolve(t, text, sitetest.Facts(sitetest.Link(t, 4, "eth3")))
	if got := network(t, s, "guests").Prefixes; len(got) != 0 {
		t.Errorf("an interface without address has %v", got)
	}
	found := false
	for _, p := range problems {
		found = found || p.Network == "guests" && p.Msg == "eth3 has no address whose prefix could be served: `ip address add 2001:db8:1::1/64 dev eth3` "+
			"with a prefix of yours, or name one instead of auto"
	}
	if !found {
		t.Errorf("nobody says what is missing: %v", problems)
	}
}

// TestAutoEnds: a prefix lives as long as the address in it that lives longest.
func TestAutoEnds(t *testing.T) {
	l := sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64", "2001:db8:1::2/64", "2001:db8:2::1/64", "2001:db8:2::2/64")
	at := func(d time.Duration) time.Time { return sitetest.Now().Add(d) }
	l.Dynamic = []site.Prefix{
		{Prefix: prefix("2001:db8:1::1/64"), PreferredUntil: at(time.Minute), ValidUntil: at(time.Hour)},
		{Prefix: prefix("2001:db8:1::2/64"), PreferredUntil: at(2 * time.Minute), ValidUntil: at(30 * time.Minute)},
		{Prefix: prefix("2001:db8:2::2/64"), PreferredUntil: at(time.Minute), ValidUntil: at(time.Hour)},
	}
	s := sitetest.Snapshot(t, "networks: {office: {interface: eth1, prefix: auto}}", sitetest.Facts(l))
	equal(t, "prefixes", []site.Prefix{
		{Prefix: prefix("2001:db8:1::/64"), PreferredUntil: at(2 * time.Minute), ValidUntil: at(time.Hour)}, {Prefix: prefix("2001:db8:2::/64")},
	}, network(t, s, "office").Prefixes)
}
