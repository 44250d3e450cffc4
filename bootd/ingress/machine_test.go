package ingress_test

import (
	"net/netip"
	"testing"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/site"
)

// TestCounted: all addresses of a card are one machine; who is not known as a card is an address.
func TestCounted(t *testing.T) {
	card := ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}
	known := func(index int, a netip.Addr) (ident.MAC, bool) {
		return card, index == 7 && a != netip.MustParseAddr("::9")
	}
	for _, tc := range []struct {
		neighbour func(int, netip.Addr) (ident.MAC, bool)
		index     int
		source    string
		want      ingress.Machine
	}{
		{known, 7, "2001:db8:1::1", ingress.Machine{MAC: card}},
		{known, 7, "2001:db8:1::2", ingress.Machine{MAC: card}},
		{known, 7, "::9", ingress.Machine{Addr: netip.MustParseAddr("::9")}},
		{known, 8, "2001:db8:1::1", ingress.Machine{Addr: netip.MustParseAddr("2001:db8:1::1")}},
		{nil, 7, "2001:db8:1::1", ingress.Machine{Addr: netip.MustParseAddr("2001:db8:1::1")}},
	} {
		got := ingress.Counted(tc.neighbour, site.Arrival{Index: tc.index, Source: netip.MustParseAddr(tc.source)})
		if got != tc.want {
			t.Errorf("%s on %d is %v, want %v", tc.source, tc.index, got, tc.want)
		}
	}
}
