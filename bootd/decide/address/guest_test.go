package address

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

const open = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: discover}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::101"}
`

func openRack(t testing.TB, text string) *site.Snapshot {
	t.Helper()
	return sitetest.Snapshot(t, text, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
}

func guestMAC(i uint32) ident.MAC {
	m := ident.MAC{2, 0}
	binary.BigEndian.PutUint32(m[2:], i)
	return m
}

// asks lets one client ask and gives the address that it was granted, invalid when it got none.
func asks(t testing.TB, s store.Store, snap *site.Snapshot, q Request, now time.Time) netip.Addr {
	t.Helper()
	var d Decision
	err := s.Update(t.Context(), func(v store.View) []store.Op {
		d = Decide(snap, v, q, now)
		return d.Ops
	})
	if err != nil {
		t.Fatal(err)
	}
	if d.Reply == nil || len(d.Reply.IAs) == 0 || len(d.Reply.IAs[0].Addrs) == 0 {
		return netip.Addr{}
	}
	return d.Reply.IAs[0].Addrs[0].Addr
}

// TestGuest compares the whole answer that unlisted firmware gets.
func TestGuest(t *testing.T) {
	snap, m := openRack(t, open), guestMAC(9)
	q := from(m, RequestMsg)
	q.ORO, q.Arch, q.Vendor = []uint16{59, 23}, []uint16{7}, "PXEClient:Arch:00007:UNDI:003000"
	got := Decide(snap, emptyView{}, q, sitetest.Now())
	a := first(snap, m[:])
	want := Decision{
		Outcome: reason.Outcome{Reason: reason.Changed, Network: "rack1", Rule: "unknown: discover"},
		Reply: &Reply{
			Msg: ReplyMsg, Preference: noPreference, DNS: []netip.Addr{addr("2001:db8:1::1")},
			BootURL: "tftp://[2001:db8:1::1]/ipxe.efi",
			IAs: []IAReply{{
				Kind: IANA, IAID: 7, T1: 150 * time.Second, T2: 240 * time.Second,
				Addrs: []Lease{{Addr: a, Preferred: guestPreferred, Valid: guestValid}},
			}},
		},
		Ops: []store.Op{{Key: lease.Key(a), Value: lease.Binding{
			Holder: "02:00:00:00:00:09", Network: "rack1", MAC: m, Claims: []lease.Claim{claim(m, 7)}, State: lease.Bound,
			PreferredUntil: sitetest.Now().Add(guestPreferred + lease.Slack), ValidUntil: sitetest.Now().Add(guestValid + lease.Slack),
		}.Encode()}},
		Events: []timeline.Event{
			{Kind: timeline.DHCPLease, Reason: reason.Changed, Network: "rack1", MAC: m, Addr: a.String()},
			{
				Kind: timeline.LoaderOffered, Reason: reason.BootLoader, Network: "rack1", MAC: m,
				Detail: "tftp://[2001:db8:1::1]/ipxe.efi",
			},
		},
		Heard: &timeline.Machine{
			MAC: m, Network: "rack1", Link: "eth1", DUID: ident.NewDUIDLL(m), Arch: "x86_64", Client: "firmware", Addr: a.String(),
		},
	}
	if diff := cmp.Diff(want, got, compare()); diff != "" {
		t.Error(diff)
	}
}

func first(snap *site.Snapshot, client []byte) netip.Addr {
	n, _ := snap.Network("rack1")
	for a := range snap.Guest(n, n.Prefixes[0].Prefix, client) {
		return a
	}
	return netip.Addr{}
}

type emptyView struct{}

func (emptyView) Get(store.Key) ([]byte, bool)  { return nil, false }
func (emptyView) Peek(store.Key) ([]byte, bool) { return nil, false }

// TestGuestHeld: an unlisted machine waits for what is known of other servers, a listed one does not, and a person may
// say that the other one is known.
func TestGuestHeld(t *testing.T) {
	const written = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: discover, router: other}
`
	for _, c := range []struct {
		name string
		text string
		mac  ident.MAC
		hold reason.Reason
		want reason.Reason
	}{
		{"listed", open, macA(), reason.ServerElsewhere, reason.Answered},
		{"unlisted", open, guestMAC(1), reason.ServerElsewhere, reason.ServerElsewhere},
		{"listening", open, guestMAC(1), reason.Listening, reason.Listening},
		{"free", open, guestMAC(1), reason.None, reason.Answered},
		{"known other", written, guestMAC(1), reason.ServerElsewhere, reason.Answered},
	} {
		t.Run(c.name, func(t *testing.T) {
			q := from(c.mac, Solicit)
			q.Hold = c.hold
			d := Decide(openRack(t, c.text), emptyView{}, q, sitetest.Now())
			if silent := d.Reply == nil; d.Reason != c.want || silent != (c.want != reason.Answered) {
				t.Errorf("got %s, silent %v, want %s", d.Reason, silent, c.want)
			}
		})
	}
}

// TestGuestKeepsItsAddress: two IAIDs of firmware and iPXE share the address of their card, and a lost store changes none.
func TestGuestKeepsItsAddress(t *testing.T) {
	snap, m := openRack(t, open), guestMAC(5)
	engine := memory.New()
	a := asks(t, engine, snap, from(m, RequestMsg), sitetest.Now())
	again := from(m, RequestMsg)
	again.Client, again.IAs[0].IAID = ident.NewDUIDUUID(ident.UUID{1, 2, 3}), 99
	for name, got := range map[string]netip.Addr{
		"another identity": asks(t, engine, snap, again, sitetest.Now().Add(time.Minute)),
		"a lost store":     asks(t, memory.New(), snap, from(m, RequestMsg), sitetest.Now()),
	} {
		if got != a || !a.IsValid() {
			t.Errorf("%s: got %s, had %s", name, got, a)
		}
	}
}

// TestGuestDeclines: a machine that found its address in use by another gets the next one, not the same again.
func TestGuestDeclines(t *testing.T) {
	snap, engine, m, now := openRack(t, open), memory.New(), guestMAC(5), sitetest.Now()
	a := asks(t, engine, snap, from(m, RequestMsg), now)
	q := from(m, Decline)
	q.IAs[0].Addrs = []netip.Addr{a}
	if d := decide(t, snap, engine, q, now).Decision; d.Reason != reason.Changed {
		t.Errorf("the Decline: %s", d.Reason)
	}
	for _, msg := range []Msg{Solicit, RequestMsg} {
		if b := asks(t, engine, snap, from(m, msg), now.Add(time.Minute)); b == a || !b.IsValid() {
			t.Errorf("after %s was declined, %s got %s", a, msg, b)
		}
	}
}

// TestGuestWithoutMAC: DUID and IAID make the address where no MAC is seen.
func TestGuestWithoutMAC(t *testing.T) {
	snap, engine := openRack(t, open), memory.New()
	q := Request{
		At: site.Arrival{Link: "eth1", Index: 2, Source: addr("fe80::5")}, Msg: RequestMsg, Server: snap.ServerDUID,
		Client: "\x00\x02abcdef", IAs: []IA{{Kind: IANA, IAID: 1}},
	}
	q.Evidence = who.Client(q.Client)
	one := asks(t, engine, snap, q, sitetest.Now())
	q.IAs[0].IAID = 2
	two := asks(t, engine, snap, q, sitetest.Now())
	if !one.IsValid() || !two.IsValid() || one == two {
		t.Errorf("got %s and %s", one, two)
	}
}

// TestGuestFlood: whatever names a flood invents, the leases are bounded, no two clients hold one address, no host's
// address is given away, the hosts are served all the time, and the slots are free again when the flood is over.
func TestGuestFlood(t *testing.T) {
	for _, prefix := range []string{"2001:db8:1::/64", "2001:db8:1::/120"} {
		t.Run(prefix, func(t *testing.T) {
			text := `networks:
  rack1: {interface: eth1, prefix: "` + prefix + `", unknown: discover, ra: {autonomous: false}}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::51"}
`
			snap := openRack(t, text)
			engine, holders := memory.New(), map[netip.Addr]uint32{}
			for i := range uint32(3000) {
				a := asks(t, engine, snap, from(guestMAC(i), RequestMsg), sitetest.Now())
				if !a.IsValid() {
					continue
				}
				if other, taken := holders[a]; taken || a == addr("2001:db8:1::51") || a == addr("2001:db8:1::1") {
					t.Fatalf("client %d got %s, which client %d holds", i, a, other)
				}
				holders[a] = i
			}
			if len(holders) < 100 || len(holders) > site.GuestSlots {
				t.Errorf("%d addresses were given", len(holders))
			}
			leases := 0
			for range engine.Scan(store.TableLease, "") {
				leases++
			}
			if leases != len(holders) {
				t.Errorf("%d leases for %d addresses", leases, len(holders))
			}
			if a := asks(t, engine, snap, from(macA(), RequestMsg), sitetest.Now()); a != addr("2001:db8:1::51") {
				t.Errorf("the host got %s", a)
			}
			if a := asks(t, engine, snap, from(guestMAC(5000), RequestMsg), sitetest.Now().Add(time.Hour)); !a.IsValid() {
				t.Error("no address an hour later")
			}
		})
	}
}
