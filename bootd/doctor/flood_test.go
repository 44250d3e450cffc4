package doctor

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
)

// TestFlood: routers by the dozen, with dozens of prefixes each, do not bury what else is found.
func TestFlood(t *testing.T) {
	r := Examine(input(t, healthy, func(in *Input) {
		for i := range byte(heard.MaxForeign) {
			f := heard.Foreign{Last: sitetest.Now().Add(-5 * time.Second), Foreign: timeline.Foreign{
				Kind: timeline.OtherRouter, Link: "eth1", Addr: netip.AddrFrom16([16]byte{0: 0xfe, 1: 0x80, 15: i + 1}),
				Lifetime: 30 * time.Minute, Managed: true, Other: true,
			}}
			for k := range byte(32) {
				p := netip.PrefixFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 0x99, i, k}), 64)
				f.Prefixes = append(f.Prefixes, timeline.ForeignPrefix{Prefix: p, OnLink: true, Autonomous: true, Valid: time.Hour})
			}
			in.Foreign = append(in.Foreign, f)
		}
	}))
	if most := maxRouters * (maxConflicts + 2); len(r.Findings) > most+1 {
		t.Errorf("%d findings, want %d at most", len(r.Findings), most+1)
	}
	var got []string
	for _, f := range r.Findings {
		if strings.Contains(f.Text, " more ") && !strings.Contains(strings.Join(got, "\n"), f.Text) {
			got = append(got, f.Text)
		}
	}
	if len(got) != 1+maxRouters || got[0] != "56 more routers advertise on eth1" || got[1] != "the RA of fe80::1 on eth1 contradicts bootd in 24 more things" {
		t.Errorf("what is left out: %q", got)
	}
}
