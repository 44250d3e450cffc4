package site_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

// TestOptionsCascade: option by option, the narrower wins, and says where it was set. ntp and timezone are told as options
// by the section that sets them, unless it writes the option itself.
func TestOptionsCascade(t *testing.T) {
	s := sitetest.Snapshot(t, `
defaults:
  timezone: Europe/Oslo
  ntp: ["2001:db8::123", ntp.example.net]
  options: {captive-portal: "https://a.example.net/", lost-server: lost.example.net}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", options: {captive-portal: "https://b.example.net/", 234: {hex: "01"}}}
profiles:
  p: {script: x, options: {ntp-servers: "ff05::101", lost-server: profile.example.net}}
hosts:
  plain: {mac: 52:54:00:aa:01:01}
  other: {mac: 52:54:00:aa:01:02, profile: p, ntp: own.example.net, options: {captive-portal: {never: true}, 234: {hex: "02", always: true}}}
  installed: {mac: 52:54:00:aa:01:03, profile: p}
  same: {mac: 52:54:00:aa:01:04, profile: p}
`, sitetest.SmallFacts(t))
	n := network(t, s, "rack1")
	told := func(host string) (out []string) {
		h, ok := s.Host(host)
		if !ok {
			t.Fatal(host)
		}
		for _, o := range site.Told(h.Options, n.Options) {
			out = append(out, o.Name+" "+o.String()+", "+o.Origin.From)
		}
		return out
	}
	for host, want := range map[string][]string{
		"plain": {
			"sntp-servers 2001:db8::123, defaults", `new-tzdb-timezone "Europe/Oslo", defaults`, "lost-server lost.example.net, defaults",
			"ntp-servers 2001:db8::123, ntp.example.net, defaults", `captive-portal "https://b.example.net/", networks.rack1`, "234 01, networks.rack1",
		},
		"other": {
			"lost-server profile.example.net, profiles.p", "ntp-servers own.example.net, hosts.other", "234 02 (always), hosts.other",
			`new-tzdb-timezone "Europe/Oslo", defaults`,
		},
		"installed": {
			"lost-server profile.example.net, profiles.p", "ntp-servers ff05::101, profiles.p",
			"sntp-servers 2001:db8::123, defaults", `new-tzdb-timezone "Europe/Oslo", defaults`,
			`captive-portal "https://b.example.net/", networks.rack1`, "234 01, networks.rack1",
		},
	} {
		if diff := cmp.Diff(want, told(host)); diff != "" {
			t.Errorf("%s: %s", host, diff)
		}
	}
	a, _ := s.Host("installed")
	b, _ := s.Host("same")
	if &a.Options[0] != &b.Options[0] {
		t.Error("ten thousand hosts of one profile would each have a list of their own")
	}
	other, _ := s.Host("other")
	if _, ok := site.Find(other.Options, n.Options, 103); ok {
		t.Error("never hides nothing")
	}
	if o, ok := site.Find(other.Options, n.Options, 42); !ok || o.Origin.Pos.Line != 3 {
		t.Errorf("found %+v, %t", o, ok)
	}
}

// TestPortalIsToldTwice: what router advertisements tell of a captive portal, DHCPv6 tells, too.
func TestPortalIsToldTwice(t *testing.T) {
	for text, want := range map[string]string{
		`ra: {captive_portal: "https://ra.example.net/"}`:                                                        `"https://ra.example.net/" networks.rack1`,
		`ra: {captive_portal: "https://ra.example.net/"}, options: {captive-portal: "https://own.example.net/"}`: `"https://own.example.net/" networks.rack1`,
		`ra: {mtu: 1400}`: `"https://a.example.net/" defaults`,
	} {
		s := sitetest.Snapshot(t, `
defaults: {options: {captive-portal: "https://a.example.net/"}}
networks: {rack1: {interface: eth1, prefix: "2001:db8:1::/64", `+text+`}}
`, sitetest.SmallFacts(t))
		o, ok := site.Find(nil, network(t, s, "rack1").Options, 103)
		if got := o.String() + " " + o.Origin.From; !ok || got != want {
			t.Errorf("%s: told %s, want %s", text, got, want)
		}
	}
}
