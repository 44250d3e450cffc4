package address

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

// rack is six hosts whose names, in each generation of the inventory, go with other addresses.
func rack(t testing.TB, generation int) *site.Snapshot {
	t.Helper()
	var b strings.Builder
	b.WriteString("networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}\nhosts:\n")
	for i := range 6 {
		fmt.Fprintf(&b, "  h%d: {mac: \"52:54:00:aa:01:%02x\", address: \"::1%d\"}\n", i, i, (i+generation)%6)
	}
	return sitetest.Snapshot(t, b.String(), sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
}

// held is what clients believe: who may use an address until when.
type held map[netip.Addr]struct {
	holder string
	until  time.Time
}

// TestNobodySharesAnAddress plays random messages of many clients, true and forged, over days, while the inventory moves
// addresses from host to host. At no time may two cards hold one address, and no address lies outside the prefix.
func TestNobodySharesAnAddress(t *testing.T) {
	snaps := []*site.Snapshot{rack(t, 0), rack(t, 1), rack(t, 2)}
	steps := 10000
	if testing.Short() {
		steps = 3000
	}
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 1))
		engine, clients, now, snap := memory.New(), held{}, sitetest.Now(), snaps[0]
		grants := 0
		for range steps {
			now = now.Add(time.Duration(r.IntN(600)) * time.Second)
			if r.IntN(500) == 0 {
				snap = snaps[r.IntN(len(snaps))]
			}
			q := randomRequest(r, snap)
			var d Decision
			err := engine.Update(t.Context(), func(v store.View) []store.Op {
				d = Decide(snap, v, q, now)
				return d.Ops
			})
			if err != nil {
				t.Fatal(err)
			}
			grants += check(t, clients, q, d, now)
		}
		if grants < steps/20 {
			t.Errorf("seed %d: only %d of %d messages got an address", seed, grants, steps)
		}
	}
}

// check compares a decision with what the clients hold, and lets them believe it. It gives how many addresses there are.
func check(t *testing.T, clients held, q Request, d Decision, now time.Time) int {
	t.Helper()
	if d.Reply == nil || d.Reply.Msg != ReplyMsg {
		return 0
	}
	for _, e := range d.Events {
		was, a := clients[addrOf(e)], addrOf(e)
		switch {
		case e.Kind == timeline.DHCPRelease && e.Detail == lease.Resting.String():
			was.until = now.Add(lease.RestFor) // iPXE may go on for that long
			clients[a] = was
		case e.Kind == timeline.DHCPDecline: // it found that it cannot use the address
			delete(clients, a)
		}
	}
	prefix := netip.MustParsePrefix("2001:db8:1::/64")
	seen := map[netip.Addr]bool{}
	n := 0
	for _, ia := range d.Reply.IAs {
		for _, l := range ia.Addrs {
			switch {
			case l.Valid == 0:
				continue
			case !prefix.Contains(l.Addr):
				t.Fatalf("%s gave %s, outside the prefix", q.Msg, l.Addr)
			case seen[l.Addr]:
				t.Fatalf("%s gave %s twice", q.Msg, l.Addr)
			}
			if was := clients[l.Addr]; was.holder != d.Host && was.until.After(now) {
				t.Fatalf("%s gave %s to %s while %s holds it until %s, now %s", q.Msg, l.Addr, d.Host, was.holder, was.until, now)
			}
			seen[l.Addr] = true
			n++
			clients[l.Addr] = struct {
				holder string
				until  time.Time
			}{d.Host, now.Add(l.Valid)}
		}
		// A lifetime of zero ends the use of an address.
		for _, l := range ia.Addrs {
			if was, ok := clients[l.Addr]; ok && l.Valid == 0 && was.holder == d.Host {
				delete(clients, l.Addr)
			}
		}
	}
	return n
}

func addrOf(e timeline.Event) netip.Addr {
	a, _ := netip.ParseAddr(e.Addr)
	return a
}

func randomRequest(r *rand.Rand, snap *site.Snapshot) Request {
	msgs := []Msg{Solicit, RequestMsg, RequestMsg, Renew, Rebind, Release, Decline, Confirm}
	m := ident.MAC{0x52, 0x54, 0, 0xaa, 1, byte(r.IntN(7))} // the seventh is a stranger
	q := Request{
		Msg: msgs[r.IntN(len(msgs))], Client: ident.NewDUIDLL(m), At: site.Arrival{Link: "eth1", Index: 2},
		RapidCommit: r.IntN(2) == 0,
	}
	switch r.IntN(3) {
	case 0:
		q.Client = ident.NewDUIDLL(ident.MAC{0x52, 0x54, 0, 0xaa, 1, byte(r.IntN(6))}) // perhaps another's
	case 1:
		q.Client = ident.NewDUIDUUID(ident.UUID{15: byte(1 + r.IntN(6))})
	}
	switch q.Msg {
	case RequestMsg, Renew, Release, Decline:
		q.Server = snap.ServerDUID
	}
	for range 1 + r.IntN(2) {
		ia := IA{Kind: IANA, IAID: ident.IAID(r.IntN(3))}
		for range r.IntN(3) {
			ia.Addrs = append(ia.Addrs, netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::1%d", 1+r.IntN(12)/11, r.IntN(6))))
		}
		q.IAs = append(q.IAs, ia)
	}
	q.Evidence = append(who.Frame(m), who.Client(q.Client)...)
	return q
}

// TestLeasesStayBounded: claims and learned identities do not grow with what clients send.
func TestLeasesStayBounded(t *testing.T) {
	snap, engine := rack(t, 0), memory.New()
	for i := range 300 {
		q := from(ident.MAC{0x52, 0x54, 0, 0xaa, 1, byte(i % 6)}, RequestMsg)
		q.Client = ident.NewDUIDUUID(ident.UUID{0: 1, 14: byte(i / 7), 15: byte(i % 13)})
		q.Evidence = append(q.Evidence, who.Client(q.Client)...)
		q.IAs[0].IAID = ident.IAID(i)
		if got := decide(t, snap, engine, q, sitetest.Now()); got.Decision.Reply == nil {
			t.Fatal(got.Decision.Outcome)
		}
	}
	learned := 0
	for range engine.Scan(store.TableLearned, "") {
		learned++
	}
	if most := 6 * (1 + who.MaxLearned); learned > most {
		t.Errorf("%d learned records of six hosts, at most %d", learned, most)
	}
	for k, raw := range engine.Scan(store.TableLease, "") {
		if b, err := lease.Decode(raw); err != nil || len(b.Claims) > lease.MaxClaims {
			t.Errorf("%s has %d claims, error %v", k, len(b.Claims), err)
		}
	}
}

// BenchmarkExchange is a four-message exchange of a client that was never seen, over the memory store.
func BenchmarkExchange(b *testing.B) {
	snap, engine := rack(b, 0), memory.New()
	for i := 0; b.Loop(); i++ {
		m := ident.MAC{0x52, 0x54, 0, 0xaa, 1, byte(i % 6)}
		solicit, request := from(m, Solicit), from(m, RequestMsg)
		solicit.IAs[0].IAID, request.IAs[0].IAID = ident.IAID(i), ident.IAID(i)
		for _, q := range []Request{solicit, request} {
			err := engine.Update(b.Context(), func(v store.View) []store.Op { return Decide(snap, v, q, sitetest.Now()).Ops })
			if err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
}
