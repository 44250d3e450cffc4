package advert_test

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

var comparable = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

const rack = `
defaults: {domain: example.net, preferred: 1h, valid: 2h}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts: {}
`

func facts(t *testing.T) site.Facts {
	f := sitetest.Facts(sitetest.Link(t, 3, "eth1", "2001:db8:1::1/64"))
	f.Forwarding, f.DefaultRoute = true, true
	return f
}

func TestDecide(t *testing.T) {
	mac := ident.MAC{0x52, 0x54, 0, 0, 0xff, 3}
	usual := func() *advert.RA {
		return &advert.RA{
			Source: mac, Managed: true, Other: true, Preference: "medium", Lifetime: 3 * time.Minute, HopLimit: 64,
			Prefixes: []advert.Prefix{{
				Prefix: netip.MustParsePrefix("2001:db8:1::/64"), OnLink: true, Autonomous: true,
				Valid: 2 * time.Hour, Preferred: time.Hour,
			}},
			Nameservers: []netip.Addr{netip.MustParseAddr("2001:db8:1::1")}, Search: []string{"example.net"},
			RDNSSLifetime: 3 * time.Minute, DNSSLLifetime: 3 * time.Minute, Room: 1500,
		}
	}
	limits := advert.Limits{Min: 20 * time.Second, Max: 60 * time.Second}
	said := func(change func(*advert.RA)) advert.Decision {
		ra := usual()
		change(ra)
		return advert.Decision{
			Outcome: reason.Outcome{Reason: reason.Answered, Network: "rack1"}, RA: ra, Limits: limits,
		}
	}
	left := func(d advert.Decision, lines ...string) advert.Decision {
		d.Left = lines
		return d
	}
	tests := []struct {
		name   string
		change func(*site.Snapshot, *site.Network)
		want   advert.Decision
	}{
		{name: "usual", want: said(func(*advert.RA) {})},
		{
			name:   "router elsewhere",
			change: func(_ *site.Snapshot, n *site.Network) { n.RouterSelf = false },
			want:   advert.Decision{Outcome: reason.Outcome{Reason: reason.RouterElsewhere, Network: "rack1"}},
		},
		{
			name:   "link gone",
			change: func(_ *site.Snapshot, n *site.Network) { n.Link = nil },
			want:   advert.Decision{Outcome: reason.Outcome{Reason: reason.NotServedLink}},
		},
		{
			name: "flags",
			change: func(_ *site.Snapshot, n *site.Network) {
				n.RA.Managed, n.RA.Other, n.RA.Autonomous, n.RA.OnLink = false, false, false, false
				n.RA.Preference, n.RA.MTU, n.RA.HopLimit = "high", 1400, 999
			},
			want: said(func(r *advert.RA) {
				r.Managed, r.Other, r.Preference, r.MTU, r.HopLimit, r.Room = false, false, "high", 1400, 255, 1400
				r.Prefixes[0].OnLink, r.Prefixes[0].Autonomous = false, false
			}),
		},
		{
			name: "no default router",
			change: func(_ *site.Snapshot, n *site.Network) {
				n.RA.Lifetime, n.RA.Preference, n.RA.MTU = 0, "high", 9000
			},
			want: said(func(r *advert.RA) { r.Lifetime, r.MTU = 0, 1500 }),
		},
		{
			name: "lifetimes that do not fit their fields",
			change: func(_ *site.Snapshot, n *site.Network) {
				n.RA.Lifetime, n.Valid, n.Preferred = 90*time.Hour, 1<<62, 1<<62
			},
			want: said(func(r *advert.RA) {
				r.Lifetime = 65535 * time.Second
				r.Prefixes[0].Valid, r.Prefixes[0].Preferred = advert.Infinite, advert.Infinite
			}),
		},
		{
			name: "SLAAC needs 64 bits",
			change: func(_ *site.Snapshot, n *site.Network) {
				n.Prefixes[0].Prefix = netip.MustParsePrefix("2001:db8:1::/56")
			},
			want: said(func(r *advert.RA) {
				r.Prefixes[0].Prefix, r.Prefixes[0].Autonomous = netip.MustParsePrefix("2001:db8:1::/56"), false
			}),
		},
		{
			name: "no prefix yet",
			change: func(_ *site.Snapshot, n *site.Network) {
				n.Prefixes, n.Nameservers, n.Domain, n.Search = nil, nil, "", nil
			},
			want: said(func(r *advert.RA) { r.Prefixes, r.Nameservers, r.Search = nil, nil, nil }),
		},
		{
			name: "names and resolvers that cannot be told",
			change: func(_ *site.Snapshot, n *site.Network) {
				n.Search = []string{
					"EXAMPLE.net.", "b.example", "a..b", strings.Repeat("x", 64), "with blank", "bücher.example", "",
					"1.example", "2.example", "3.example", "4.example", "5.example",
				}
				n.Nameservers = []netip.Addr{
					netip.IPv6Unspecified(), netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("fe80::1%eth1"),
					netip.MustParseAddr("fe80::1"), netip.MustParseAddr("ff02::1"), netip.IPv6Loopback(),
				}
			},
			want: left(said(func(r *advert.RA) {
				r.Search = []string{"example.net", "b.example", "1.example", "2.example", "3.example", "4.example", "5.example"}
				r.Nameservers = []netip.Addr{netip.MustParseAddr("fe80::1")}
			}),
				`the search domain "a..b" is no name that a resolver could be asked for`,
				`the search domain "`+strings.Repeat("x", 64)+`" is no name that a resolver could be asked for`,
				`the search domain "with blank" is no name that a resolver could be asked for`,
				`the search domain "bücher.example" is no name that a resolver could be asked for`),
		},
		{
			name: "prefixes of their own kind",
			change: func(_ *site.Snapshot, n *site.Network) {
				p := netip.MustParsePrefix("fd00:1::/64")
				n.Prefixes = append(n.Prefixes, site.Prefix{Prefix: p})
				n.RA.Prefixes = []site.PrefixRA{{Prefix: p, OnLink: true, Preferred: time.Minute, Valid: time.Minute}}
			},
			want: said(func(r *advert.RA) {
				r.Prefixes = append(r.Prefixes, advert.Prefix{
					Prefix: netip.MustParsePrefix("fd00:1::/64"), OnLink: true, Valid: time.Minute, Preferred: time.Minute,
				})
			}),
		},
		{
			name: "all else",
			change: func(_ *site.Snapshot, n *site.Network) {
				n.RA.ReachableTime, n.RA.RetransTimer = 30*time.Second+500*time.Microsecond, 1<<62
				n.RA.RDNSSLifetime, n.RA.DNSSLLifetime = time.Hour, 0
				n.RA.Routes = []site.Route{{Prefix: netip.MustParsePrefix("2001:db8:100::/48"), Lifetime: time.Hour, Preference: "high"}}
				n.RA.Pref64 = []site.Pref64{
					{Prefix: netip.MustParsePrefix("64:ff9b::/96"), Lifetime: 181 * time.Second},
					{Prefix: netip.MustParsePrefix("2001:db8:64::/56"), Lifetime: 99 * time.Hour},
				}
				n.RA.CaptivePortal = "https://portal.example.net/api"
			},
			want: said(func(r *advert.RA) {
				r.ReachableTime, r.RetransTimer = 30*time.Second, (1<<32-1)*time.Millisecond
				r.RDNSSLifetime, r.DNSSLLifetime = time.Hour, 0
				r.Routes = []site.Route{{Prefix: netip.MustParsePrefix("2001:db8:100::/48"), Lifetime: time.Hour, Preference: "high"}}
				r.Pref64 = []site.Pref64{
					{Prefix: netip.MustParsePrefix("64:ff9b::/96"), Lifetime: 184 * time.Second},
					{Prefix: netip.MustParsePrefix("2001:db8:64::/56"), Lifetime: 65528 * time.Second},
				}
				r.CaptivePortal = "https://portal.example.net/api"
			}),
		},
		{
			name: "intervals below the RFC's",
			change: func(_ *site.Snapshot, n *site.Network) {
				n.RA.MinInterval, n.RA.MaxInterval = time.Second, 2*time.Second
			},
			want: func() advert.Decision {
				d := said(func(*advert.RA) {})
				d.Limits = advert.Limits{Min: 3 * time.Second, Max: 4 * time.Second}
				return d
			}(),
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			snap := sitetest.Snapshot(t, rack, facts(t))
			if tt.change != nil {
				tt.change(snap, snap.Networks[0])
			}
			got := advert.Decide(snap, "eth1", sitetest.Now())
			if diff := cmp.Diff(tt.want, got, comparable); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecideOtherLink(t *testing.T) {
	got := advert.Decide(sitetest.Snapshot(t, rack, facts(t)), "eth9", sitetest.Now())
	want := advert.Decision{Outcome: reason.Outcome{Reason: reason.NotServedLink}}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// Only `router: self` in so many words insists; the default does not.
func TestInsist(t *testing.T) {
	insists := strings.Replace(rack, "interface: eth1,", "interface: eth1, router: self,", 1)
	for text, want := range map[string]bool{rack: false, insists: true} {
		if d := advert.Decide(sitetest.Snapshot(t, text, facts(t)), "eth1", sitetest.Now()); d.Insist != want {
			t.Errorf("Insist = %v, want %v, with\n%s", d.Insist, want, text)
		}
	}
}

// Deadlines of dynamic prefixes count down, and are never further than RFC 9096 lets them be; static lifetimes stand.
func TestDynamicPrefixes(t *testing.T) {
	snap := sitetest.Snapshot(t, rack, facts(t))
	now := sitetest.Now()
	at := func(d time.Duration) time.Time { return now.Add(d) }
	p := func(i int) netip.Prefix { return netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/64", i)) }
	snap.Networks[0].Prefixes = []site.Prefix{
		{Prefix: p(1)},
		{Prefix: p(2), PreferredUntil: at(10 * time.Minute), ValidUntil: at(20 * time.Minute)},
		{Prefix: p(3), PreferredUntil: at(-time.Minute), ValidUntil: at(time.Minute)},
		{Prefix: p(4), PreferredUntil: at(-time.Minute), ValidUntil: at(-time.Second)},
		{Prefix: p(5), PreferredUntil: at(99 * time.Hour), ValidUntil: at(99 * time.Hour)},
		{Prefix: p(6), PreferredUntil: at(30 * time.Minute), ValidUntil: at(5 * time.Minute)}, // nothing is preferred that is not valid
	}
	later := at(30*time.Second + 300*time.Millisecond)
	want := []advert.Prefix{
		{Prefix: p(1), OnLink: true, Autonomous: true, Preferred: time.Hour, Valid: 2 * time.Hour},
		{Prefix: p(2), OnLink: true, Autonomous: true, Preferred: 569 * time.Second, Valid: 1169 * time.Second, Ends: at(20 * time.Minute)},
		{Prefix: p(3), OnLink: true, Autonomous: true, Preferred: 0, Valid: 29 * time.Second, Ends: at(time.Minute)},
		{Prefix: p(5), OnLink: true, Autonomous: true, Preferred: 45 * time.Minute, Valid: 90 * time.Minute, Ends: at(99 * time.Hour)},
		{Prefix: p(6), OnLink: true, Autonomous: true, Preferred: 269 * time.Second, Valid: 269 * time.Second, Ends: at(5 * time.Minute)},
	}
	got := advert.Decide(snap, "eth1", later).RA.Prefixes
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestFinal(t *testing.T) {
	ra := *advert.Decide(sitetest.Snapshot(t, rack, facts(t)), "eth1", sitetest.Now()).RA
	ra.Preference = "high"
	want := ra
	want.Lifetime, want.Preference = 0, "medium"
	if diff := cmp.Diff(want, ra.Final(), comparable); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if ra.Lifetime == 0 {
		t.Error("Final changed what it was called on")
	}
}

func TestDelay(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	lim := advert.Limits{Min: 200 * time.Second, Max: 600 * time.Second}
	low, high := time.Hour, time.Duration(0)
	for range 10_000 {
		for sent := range advert.MaxInitialRtrAdvertisements {
			if d := advert.Delay(sent, r, lim); d != advert.MaxInitialRtrAdvertInterval {
				t.Fatalf("after %d: %v", sent, d)
			}
		}
		d := advert.Delay(3, r, lim)
		low, high = min(low, d), max(high, d)
		if s := advert.SolicitedDelay(r); s < 0 || s > advert.MaxSolicitedDelay {
			t.Fatalf("solicited: %v", s)
		}
	}
	if low < lim.Min || high > lim.Max || low > 202*time.Second || high < 598*time.Second {
		t.Errorf("between %v and %v, want %v", low, high, lim)
	}
	for _, lim := range []advert.Limits{{}, {Min: time.Minute, Max: time.Second}} {
		if d := advert.Delay(9, r, lim); d != max(lim.Min, advert.MinDelayBetweenRAs) {
			t.Errorf("limits %v: %v", lim, d)
		}
	}
}
