package dhcp6

import (
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

// TestTwinsAreToldOnce: a warning for each card of a pair, once, whoever of the two asks; a flood of pairs ends in silence, and
// only for a day.
func TestTwinsAreToldOnce(t *testing.T) {
	var w twins
	now := sitetest.Now()
	tell := func(asks, had ident.MAC) []timeline.Event {
		d := address.Decision{Outcome: reason.Outcome{Network: "rack1"}, Twin: had, Heard: &timeline.Machine{MAC: asks}}
		w.tell(&d, "\x00\x02same", now)
		return d.Events
	}
	a, b := ident.MAC{2, 0, 0, 0, 0, 1}, ident.MAC{2, 0, 0, 0, 0, 2}
	got := tell(b, a)
	if len(got) != 2 || got[0].MAC != a || got[1].MAC != b || got[0].Kind != timeline.Warning || got[0].Network != "rack1" ||
		!strings.HasPrefix(got[0].Detail, a.String()+" and "+b.String()) || !strings.Contains(got[1].Detail, "00:02:73:61:6d:65") {
		t.Errorf("got %+v", got)
	}
	if got := append(tell(a, b), tell(b, a)...); len(got) > 0 {
		t.Errorf("told again: %+v", got)
	}
	invented := func(i int) ident.MAC { return ident.MAC(binary.BigEndian.AppendUint16([]byte{2, 1, 0, 0}, uint16(i))) }
	for i := range 2 * maxTwins {
		tell(invented(i), a)
	}
	if got := tell(invented(9999), a); len(got) > 0 || len(w.told) != maxTwins {
		t.Errorf("%d pairs, told of %+v", len(w.told), got)
	}
	now = now.Add(twinLasts + time.Second)
	if got := tell(invented(9999), a); len(got) != 2 || len(w.told) != 1 {
		t.Errorf("a day later %d pairs, told of %+v", len(w.told), got)
	}
}

// TestTwinsReachTheObserver: a copy of a machine asks beside it.
func TestTwinsReachTheObserver(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	snap := sitetest.Snapshot(t, "networks:\n  rack1: {interface: lo, prefix: \"2001:db8::/64\", router: self, unknown: pool}\n",
		sitetest.Facts(sitetest.Link(t, lo.Index, "lo", "2001:db8::1/64")))
	var card atomic.Uint32
	client, seen, _ := start(t, memory.New(), func(c *Config) {
		c.Snapshot = func() *site.Snapshot { return snap }
		c.Neighbours = netiftest.Neighbours{MACFunc: func(int, netip.Addr) (ident.MAC, bool) { return ident.MAC{2, 0, 0, 0, 0, byte(card.Load())}, true }}
	})
	var told []timeline.Event
	for i := range uint32(6) {
		card.Store(1 + i%2)
		ask(t, client, msg(address.RequestMsg, clientID(), opt(dhcpv6.OptionServerID, []byte(snap.ServerDUID)...), ia(dhcpv6.OptionIANA)))
		for _, e := range seen.next(t).Events {
			if e.Kind == timeline.Warning {
				told = append(told, e)
			}
		}
	}
	if len(told) != 2 || told[0].MAC == told[1].MAC {
		t.Errorf("got %+v", told)
	}
}
