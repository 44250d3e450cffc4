package advert_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
)

func lines(all []advert.Conflict) []string {
	var out []string
	for _, c := range all {
		out = append(out, string(c.Kind)+": "+c.What)
		if c.Consequence == "" {
			out = append(out, "no consequence is named")
		}
	}
	return out
}

// TestShortLifetimes: a router that counts down may be a minute behind, whatever the lifetime.
func TestShortLifetimes(t *testing.T) {
	snap := sitetest.Snapshot(t, rack, facts(t))
	p := netip.MustParsePrefix("2001:db8:1::/64")
	ours := &advert.RA{HopLimit: 64, Prefixes: []advert.Prefix{{Prefix: p, Valid: 3 * time.Minute, Preferred: 3 * time.Minute}}}
	for valid, want := range map[time.Duration]int{2 * time.Minute: 0, 119 * time.Second: 1} {
		theirs := timeline.Foreign{Prefixes: []timeline.ForeignPrefix{{Prefix: p, Valid: valid, Preferred: valid}}}
		if got := lines(advert.Conflicts(snap.Networks[0], ours, theirs)); len(got) != want {
			t.Errorf("valid %v: %q", valid, got)
		}
	}
}

// TestConflicts: each thing of RFC 4861 section 6.2.7 alone, and the resolver and prefix of nobody.
func TestConflicts(t *testing.T) {
	text := strings.Replace(rack, "interface: eth1", "interface: eth1, ra: {mtu: 1400, reachable_time: 30s, retrans_timer: 1s}", 1)
	snap := sitetest.Snapshot(t, text, facts(t))
	n := snap.Networks[0]
	own := netip.MustParsePrefix("2001:db8:1::/64")
	same := func() timeline.Foreign {
		return timeline.Foreign{
			Managed: true, Other: true, HopLimit: 64, MTU: 1400, ReachableTime: 30 * time.Second, RetransTimer: time.Second,
			Prefixes:    []timeline.ForeignPrefix{{Prefix: own, OnLink: true, Autonomous: true, Valid: 2 * time.Hour, Preferred: time.Hour}},
			Nameservers: []netip.Addr{netip.MustParseAddr("2001:db8:1::1")},
		}
	}
	for _, c := range []struct {
		name   string
		change func(*timeline.Foreign)
		want   []string
	}{
		{"the same", func(*timeline.Foreign) {}, nil},
		{"nothing specified", func(f *timeline.Foreign) {
			*f = timeline.Foreign{Managed: true, Other: true}
		}, nil},
		{"a default router", func(f *timeline.Foreign) { f.Lifetime = time.Minute }, []string{"default-router: router lifetime 1m0s"}},
		{"M and O", func(f *timeline.Foreign) { f.Managed, f.Other = false, false }, []string{
			"managed: M=0 where bootd says M=1", "other: O=0 where bootd says O=1",
		}},
		{"O means nothing beside M", func(f *timeline.Foreign) { f.Other = false }, nil},
		{"values", func(f *timeline.Foreign) {
			f.HopLimit, f.MTU, f.ReachableTime, f.RetransTimer = 32, 1500, time.Second, time.Minute
		}, []string{
			"hop-limit: hop limit 32 where bootd says 64", "mtu: MTU 1500 where bootd says 1400",
			"reachable-time: reachable time 1s where bootd says 30s", "retrans-timer: retransmission timer 1m0s where bootd says 1s",
		}},
		{"prefix flags", func(f *timeline.Foreign) { f.Prefixes[0].Autonomous = false }, []string{
			"prefix-flags: 2001:db8:1::/64 with L=1 A=0 where bootd says L=1 A=1",
		}},
		{"a lifetime that counts down a little", func(f *timeline.Foreign) { f.Prefixes[0].Valid -= 5 * time.Minute }, nil},
		{"lifetimes", func(f *timeline.Foreign) { f.Prefixes[0].Preferred = 0 }, []string{
			"prefix-lifetime: 2001:db8:1::/64 preferred 0s, valid 2h0m0s where bootd says 1h0m0s, 2h0m0s",
		}},
		{"another prefix, and one that is taken back", func(f *timeline.Foreign) {
			f.Prefixes = append(f.Prefixes, timeline.ForeignPrefix{Prefix: netip.MustParsePrefix("2001:db8:9::/64"), Autonomous: true, Valid: time.Hour},
				timeline.ForeignPrefix{Prefix: netip.MustParsePrefix("2001:db8:8::/64"), Autonomous: true})
		}, []string{"foreign-prefix: the prefix 2001:db8:9::/64, which is none of rack1"}},
		{"another resolver", func(f *timeline.Foreign) { f.Nameservers[0] = netip.MustParseAddr("2001:db8::53") }, []string{
			"resolver: the resolver 2001:db8::53, which rack1 does not name",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := same()
			c.change(&f)
			got := lines(advert.Conflicts(n, advert.Decide(snap, "eth1", sitetest.Now()).RA, f))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	f := same()
	f.Managed, f.HopLimit = false, 1
	if got := advert.Conflicts(n, nil, f); got != nil {
		t.Errorf("a router that we leave the link to contradicts %v", lines(got))
	}
}

// TestLacks: what a machine needs and no router of the link says.
func TestLacks(t *testing.T) {
	snap := sitetest.Snapshot(t, strings.Replace(rack, "interface: eth1", "interface: eth1, router: other", 1), facts(t))
	n := snap.Networks[0]
	router := func(onLink, autonomous bool) timeline.Foreign {
		return timeline.Foreign{Managed: true, Lifetime: time.Hour, Nameservers: []netip.Addr{netip.MustParseAddr("2001:db8:1::1")}, Prefixes: []timeline.ForeignPrefix{
			{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Valid: time.Hour, OnLink: onLink, Autonomous: autonomous},
		}}
	}
	for _, c := range []struct {
		name string
		all  []timeline.Foreign
		want []string
	}{
		{"all there", []timeline.Foreign{router(true, true)}, nil},
		{"two together", []timeline.Foreign{router(true, false), {Prefixes: router(false, true).Prefixes}}, nil},
		{"flags", []timeline.Foreign{router(false, false)}, []string{
			"prefix-flags: the prefix 2001:db8:1::/64 is advertised with L=0", "prefix-flags: the prefix 2001:db8:1::/64 is advertised with A=0",
		}},
		{"nothing", []timeline.Foreign{{}}, []string{
			"prefix-flags: the prefix 2001:db8:1::/64 is not advertised", "resolver: no resolver (RDNSS) is advertised",
			"default-router: no default router is advertised (router lifetime 0)",
		}},
	} {
		if diff := cmp.Diff(c.want, lines(advert.Lacks(n, c.all))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}
