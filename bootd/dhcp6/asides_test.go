package dhcp6

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

// TestDeclinesAreBounded: one card that declines whatever it gets, and then one that shows another MAC each time, take no pool
// away from the others. Each Decline has its Reply, and no card gets at once what it declined.
func TestDeclinesAreBounded(t *testing.T) {
	const size = 64
	var passed atomic.Int64
	now := func() time.Time { return sitetest.Now().Add(time.Duration(passed.Load())) }
	pass := func(d time.Duration) { passed.Add(int64(d)) }
	engine := memory.New()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	snap := sitetest.Snapshot(t, `networks:
  rack1: {interface: lo, prefix: "2001:db8::/64", router: self, unknown: pool, pool: "::1000-::103f"}
`, sitetest.Facts(sitetest.Link(t, lo.Index, "lo", "2001:db8::1/64")))
	client, seen, _ := start(t, engine, func(c *Config) {
		c.Snapshot, c.Now = func() *site.Snapshot { return snap }, now
	})
	part := func(code uint16, from []byte) []byte { // the first of that kind, whole
		for b := from[4:]; len(b) >= 4; {
			n := 4 + int(binary.BigEndian.Uint16(b[2:]))
			if binary.BigEndian.Uint16(b) == code {
				return b[:n]
			}
			b = b[n:]
		}
		t.Fatalf("no option %d in % x", code, from)
		return nil
	}
	server := opt(dhcpv6.OptionServerID, []byte(snap.ServerDUID)...)
	last := map[ident.MAC]string{}
	declines := func(m ident.MAC) reason.Reason {
		t.Helper()
		id := opt(dhcpv6.OptionClientID, []byte(ident.NewDUIDLL(m))...)
		got := ask(t, client, msg(address.RequestMsg, id, server, ia(dhcpv6.OptionIANA)))
		seen.next(t)
		na := part(uint16(dhcpv6.OptionIANA), got)
		if len(na) < 4+12+4+24 || na[17] != byte(dhcpv6.OptionIAAddr) {
			t.Fatalf("%s gets % x", m, na)
		}
		if a := string(na[20:36]); a == last[m] {
			t.Fatalf("%s gets at once what it declined", m)
		} else {
			last[m] = a
		}
		got = ask(t, client, msg(address.Decline, id, server, na))
		if status := part(uint16(dhcpv6.OptionStatusCode), got); got[0] != byte(address.ReplyMsg) || status[4] != 0 || status[5] != 0 {
			t.Fatalf("the Decline got % x", got)
		}
		return seen.next(t).Outcome.Reason
	}
	aside := func() int {
		return address.CountPools(snap, engine.Scan(store.TableLease, ""), now())[0].Declined
	}
	broken := ident.MAC{2, 0, 0, 0, 0, 1}
	for i := range 3 * size {
		want := reason.Changed
		if i >= cardAsides {
			want = reason.RateLimited
		}
		if got := declines(broken); got != want {
			t.Fatalf("Decline %d: %s, want %s", i, got, want)
		}
		if (i+1)%(size-cardAsides) == 0 { // or it has declined all that there is within the hour
			pass(lease.DeclinerAvoids)
			clear(last)
		}
	}
	if n := aside(); n != cardAsides {
		t.Errorf("one card has %d put aside", n)
	}
	pass(2 * time.Hour)
	clear(last)
	for i := range 4 * size {
		declines(ident.MAC{2, 0, 0, 0, 1, byte(i)})
	}
	if n := aside(); n != size/poolPart+1 { // five hours have passed, one came back
		t.Errorf("all together have %d put aside", n)
	}
	for range 48 { // two days
		pass(time.Hour)
		clear(last)
		for i := range byte(8) {
			declines(ident.MAC{2, 0, 0, 0, 2, i})
		}
		if n := aside(); n > size/4 {
			t.Fatalf("%d are put aside", n)
		}
	}
	if n := aside(); n < size/poolPart {
		t.Errorf("after two days %d are put aside", n)
	}
}

// TestAsides: the limit is the card's, whatever DUID it says, and comes back bit by bit; what is not used is given back; who is
// not about a pool is not counted, and a flood of cards is forgotten.
func TestAsides(t *testing.T) {
	snap := sitetest.Snapshot(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, pool: "::1000-::2fff"}
  rack2: {interface: eth2, prefix: "2001:db8:2::/64"}
`, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64")))
	var a asides
	now := sitetest.Now()
	decline := func(link string, m ident.MAC, duid ident.DUID, named int) (int, allowance) {
		req := address.Request{Msg: address.Decline, Client: duid, At: site.Arrival{Link: link}}
		if m.Valid() {
			req.Evidence = who.Frame(m)
		}
		req.IAs = []address.IA{{Kind: address.IANA, Addrs: make([]netip.Addr, named)}}
		w := a.allow(&req, snap, now)
		return req.PutAside, w
	}
	want := func(what string, got, want int) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %d may be put aside, want %d", what, got, want)
		}
	}
	m := ident.MAC{2, 0, 0, 0, 0, 1}
	for _, link := range []string{"eth2", "eth9"} {
		n, w := decline(link, m, "\x00\x02a", 9)
		a.settle(w, 0)
		want("no pool on "+link, n, 0)
	}
	if n, _ := decline("eth1", m, "\x00\x02a", 0); n != 0 || a.cards != nil {
		t.Errorf("nothing is named: %d, %v", n, a.cards)
	}
	n, w := decline("eth1", m, "\x00\x02a", 3)
	want("three of four", n, 3)
	a.settle(w, 1)
	n, _ = decline("eth1", m, "\x00\x02b", 9)
	want("two were not used", n, 3)
	n, _ = decline("eth1", m, "\x00\x02c", 9)
	want("another client of the card", n, 0)
	n, _ = decline("eth1", ident.MAC{}, "\x00\x02c", 1)
	want("one that shows no card", n, 1)
	now = now.Add(lease.DeclineGuestFor/cardAsides - time.Second)
	n, _ = decline("eth1", m, "\x00\x02a", 9)
	want("before one comes back", n, 0)
	now = now.Add(time.Second)
	n, _ = decline("eth1", m, "\x00\x02a", 9)
	want("one came back", n, 1)
	now = now.Add(lease.DeclineGuestFor)
	n, _ = decline("eth1", m, "\x00\x02a", 9)
	want("a day later", n, cardAsides)
	for i := range 3 * maxPorts { // they hold nothing, and make nobody's spent Declines forgotten
		_, w := decline("eth1", ident.MAC(binary.BigEndian.AppendUint32([]byte{2, 2}, uint32(i))), "\x00\x02a", 1)
		a.settle(w, 0)
	}
	n, _ = decline("eth1", m, "\x00\x02a", 9)
	want("after many that put nothing aside", n, 0)
	for i := range 3 * maxPorts {
		decline("eth1", ident.MAC(binary.BigEndian.AppendUint32([]byte{2, 1}, uint32(i))), "\x00\x02a", 1)
		if len(a.cards) > maxPorts {
			t.Fatalf("%d cards are remembered", len(a.cards))
		}
	}
	n, _ = decline("eth1", ident.MAC{2, 9}, "\x00\x02a", 1)
	want("the pool's part is used up", n, 0)
	if _, known := a.cards[(ident.MAC{2, 9}).String()]; known {
		t.Error("a card that spent nothing is remembered")
	}
}
