package advert_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

// TestAllThatFits: what there is no room for is said, what hosts need most goes first, and nothing that fits is left out.
func TestAllThatFits(t *testing.T) {
	f := facts(t)
	f.Links[0].MTU = 1280
	snap := sitetest.Snapshot(t, rack, f)
	n := snap.Networks[0]
	n.Prefixes, n.Nameservers, n.Search = nil, nil, nil
	for i := range 20 {
		n.Prefixes = append(n.Prefixes, site.Prefix{Prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%d::/64", i))})
	}
	for i := range 20 {
		n.Nameservers = append(n.Nameservers, netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i+1)))
	}
	for i := range 60 {
		n.Search = append(n.Search, fmt.Sprintf("%02d.example", i))
	}
	d := advert.Decide(snap, "eth1", sitetest.Now())
	// 1280 - 40 - 16 - 8, 20 prefixes of 32, 20 resolvers of 16 in two options with 8 more: 240 are left for names of 12 octets,
	// the first option of at most 240.
	if len(d.RA.Prefixes) != 20 || len(d.RA.Nameservers) != 20 || len(d.RA.Search) != 19 {
		t.Errorf("%d prefixes, %d resolvers, %d names", len(d.RA.Prefixes), len(d.RA.Nameservers), len(d.RA.Search))
	}
	want := "the search domain 18.example does not fit into one packet: router advertisements are never fragmented (RFC 6980)"
	if len(d.Left) != 42 || d.Left[0] != want {
		t.Errorf("left out %d: %q, want %q first", len(d.Left), d.Left, want)
	}

	n.RA.MTU = 1300 // no more than what machines with a tunnel behind them hear
	if d := advert.Decide(snap, "eth1", sitetest.Now()); d.RA.Room != 1280 {
		t.Errorf("room %d on a link of 1280", d.RA.Room)
	}
	n.Link.MTU = 9000
	if d := advert.Decide(snap, "eth1", sitetest.Now()); d.RA.Room != 1300 || len(d.RA.Search) == 61 {
		t.Errorf("room %d, %d names", d.RA.Room, len(d.RA.Search))
	}
	n.RA.MTU = 0
	if d := advert.Decide(snap, "eth1", sitetest.Now()); d.RA.Room != 9000 || len(d.RA.Search) != 61 || d.Left != nil {
		t.Errorf("room %d, %d names, left %q", d.RA.Room, len(d.RA.Search), d.Left)
	}
}

func TestLists(t *testing.T) {
	long := strings.Repeat("x", 60)
	names := []string{long + ".a", long + ".b", long + ".c", long + ".d", "e"}
	want := [][]string{{long + ".a", long + ".b", long + ".c"}, {long + ".d", "e"}}
	if diff := cmp.Diff(want, advert.SearchLists(names)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	var all []netip.Addr
	for i := range 30 {
		all = append(all, netip.MustParseAddr(fmt.Sprintf("2001:db8::%d", i)))
	}
	if got := advert.ResolverLists(all); len(got) != 3 || len(got[0]) != 14 || len(got[2]) != 2 {
		t.Errorf("%v", got)
	}
	if advert.ResolverLists(nil) != nil || advert.SearchLists(nil) != nil {
		t.Error("an empty list makes an option")
	}
}

// TestSame: a lifetime that counts down is nothing new to say, a prefix that stops being preferred is.
func TestSame(t *testing.T) {
	snap := sitetest.Snapshot(t, rack, facts(t))
	now := sitetest.Now()
	p := &snap.Networks[0].Prefixes[0]
	p.PreferredUntil, p.ValidUntil = now.Add(time.Minute), now.Add(time.Hour)
	at := func(d time.Duration) advert.RA { return *advert.Decide(snap, "eth1", now.Add(d)).RA }
	if !at(0).Same(at(30 * time.Second)) {
		t.Error("counting down is a change")
	}
	if at(0).Same(at(2 * time.Minute)) {
		t.Error("the end of the preferred lifetime is none")
	}
	before := at(0)
	before.MTU = 1400
	if before.Same(at(0)) {
		t.Error("the MTU is none")
	}
}
