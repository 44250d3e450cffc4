package ra

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

// TestDecisionsFit: decide/advert counts octets as the encoder does, whatever an inventory holds: a packet of what fits is no
// longer than the link carries, and one more thing of what was left out would not have fitted.
func TestDecisionsFit(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		link := sitetest.Link(t, 3, "eth1", "2001:db8:1::1/64")
		link.MTU = 1280 + r.IntN(400)
		snap := sitetest.Snapshot(t, rack, sitetest.Facts(link))
		n := snap.Networks[0]
		many(r, n)
		d := advert.Decide(snap, "eth1", sitetest.Now())
		b, err := encodeAdvertisement(*d.RA, routerLL, allNodes())
		if err != nil {
			t.Fatalf("%v: %+v", err, *d.RA)
		}
		if len(b) > min(d.RA.Room, link.MTU) {
			t.Fatalf("%d octets on a link of %d", len(b), link.MTU)
		}
		if len(d.Left) > 0 && len(b) < d.RA.Room-264 { // the longest thing there is
			t.Fatalf("%d octets on a link of %d, and left out: %q", len(b), link.MTU, d.Left)
		}
	}
}

func many(r *rand.Rand, n *site.Network) {
	n.RA.MTU = r.IntN(2) * 1400
	for i := range r.IntN(20) {
		n.Prefixes = append(n.Prefixes, site.Prefix{Prefix: netip.MustParsePrefix(fmt.Sprintf("2001:db8:%x::/64", 0x100+i))})
	}
	for i := range r.IntN(40) {
		n.Nameservers = append(n.Nameservers, netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", 0x100+i)))
	}
	for range r.IntN(30) {
		n.Search = append(n.Search, strings.Repeat("a", 1+r.IntN(60))+"."+strings.Repeat("b", 1+r.IntN(60)))
	}
	for range r.IntN(8) {
		bits := r.IntN(129)
		n.RA.Routes = append(n.RA.Routes, site.Route{Prefix: netip.PrefixFrom(netip.MustParseAddr("2001:db8::1"), bits).Masked(), Preference: "low"})
	}
	for range r.IntN(4) {
		n.RA.Pref64 = append(n.RA.Pref64, site.Pref64{Prefix: netip.MustParsePrefix("64:ff9b::/96")})
	}
	if r.IntN(2) == 0 {
		n.RA.CaptivePortal = "https://" + strings.Repeat("p", 1+r.IntN(232))
	}
}
