package address

import (
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

// TestStalePrefix: of a prefix that the network does not have any more nobody gets an address, and who has one loses it.
func TestStalePrefix(t *testing.T) {
	f := sitetest.SmallFacts(t)
	f.Advertised = []site.Advertised{{
		Link: "eth1", Prefix: netip.MustParsePrefix("2001:db8:9::/64"), OnLink: true, Autonomous: true, ValidUntil: sitetest.Now().Add(seconds(3600)),
	}}
	snap := sitetest.Snapshot(t, sitetest.Small(), f)
	if n, _ := snap.Network("rack1"); len(n.Stale) != 1 {
		t.Fatal("the prefix is not stale")
	}
	had := map[string]lease.Binding{"2001:db8:9::101": bound("r1n02/net0", macB(), claim(macB(), 7))}
	for _, msg := range []Msg{Solicit, RequestMsg, Renew, Rebind} {
		got := decide(t, snap, storeOf(t, had), from(macB(), msg, "2001:db8:9::101"), sitetest.Now()).Decision
		for _, ia := range got.Reply.IAs {
			for _, l := range ia.Addrs {
				if stale := netip.MustParsePrefix("2001:db8:9::/64").Contains(l.Addr); stale && l.Valid != 0 || !stale && l.Valid == 0 {
					t.Errorf("message %d: %s", msg, cmp.Diff(nil, ia, compare()))
				}
			}
		}
	}
}
