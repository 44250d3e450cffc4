package address

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

// TestDeclineBeyondTheLimit: the client gets its Reply (RFC 8415 section 18.3.8), the address is anybody's at once but that
// card's, and a retransmit is answered alike.
func TestDeclineBeyondTheLimit(t *testing.T) {
	snap, engine, now := openRack(t, pooledRack), memory.New(), sitetest.Now()
	a := asks(t, engine, snap, client(1, RequestMsg), now)
	q := client(1, Decline, a.String())
	q.PutAside = 0
	got := decide(t, snap, engine, q, now)
	left := got.Leases[a.String()]
	got.Decision.Ops, got.Decision.Heard, got.Leases = nil, nil, nil
	want := Decision{
		Outcome: reason.Outcome{Reason: reason.RateLimited, Network: "rack1", Rule: "unknown: pool"}, Reply: success(),
		Events: []timeline.Event{event(timeline.DHCPDecline, "", guestMAC(1), reason.RateLimited, a.String(),
			"not put aside: too many are already for this card, or on rack1; the card does not get it for 1h0m0s")},
	}
	if diff := cmp.Diff(result{Decision: want}, got, compare()); diff != "" {
		t.Error(diff)
	}
	if left.InForce(now) {
		t.Errorf("left is %+v", left)
	}
	again := decide(t, snap, engine, q, now.Add(time.Second)).Decision
	if diff := cmp.Diff(success(), again.Reply, compare()); diff != "" || len(again.Ops) > 0 {
		t.Errorf("again: %d writes, %s", len(again.Ops), diff)
	}
	other := client(1, RequestMsg, a.String()) // another client behind the card
	other.Client = "\x00\x02another"
	other.Evidence = append(who.Frame(guestMAC(1)), who.Client(other.Client)...)
	for at, q := range map[string]Request{"the client": client(1, RequestMsg, a.String()), "its card": other} {
		if b := asks(t, memory.New(), snap, q, now); b != a {
			t.Fatalf("%s would not get %s at first, but %s", at, a, b)
		}
		if b := asks(t, engine, snap, q, now.Add(time.Minute)); b == a || !b.IsValid() {
			t.Errorf("a minute later %s gets %s", at, b)
		}
	}
	late := clone(t, engine)
	if b := asks(t, late, snap, client(3, RequestMsg, a.String()), now.Add(time.Minute)); b != a {
		t.Errorf("somebody else gets %s, not %s", b, a)
	}
	if b := asks(t, engine, snap, other, now.Add(time.Hour+time.Minute)); b == a { // it has another by now
		t.Errorf("an hour later it moved to %s", b)
	}
	fresh := client(1, RequestMsg, a.String())
	fresh.IAs[0].IAID = 99
	if b := asks(t, engine, snap, fresh, now.Add(time.Hour+time.Minute)); b != a {
		t.Errorf("an hour later the card gets %s, not %s", b, a)
	}
}

// TestDeclineOfMany: a Decline of several addresses puts aside as many as it may, and says how many.
func TestDeclineOfMany(t *testing.T) {
	snap, engine, now := openRack(t, pooledRack), memory.New(), sitetest.Now()
	q := client(1, RequestMsg)
	q.IAs = nil
	for i := range ident.IAID(5) {
		q.IAs = append(q.IAs, IA{Kind: IANA, IAID: i})
	}
	for i, ia := range decide(t, snap, engine, q, now).Decision.Reply.IAs {
		q.IAs[i].Addrs = append(q.IAs[i].Addrs, ia.Addrs[0].Addr)
	}
	q.Msg, q.PutAside = Decline, 3
	d := decide(t, snap, engine, q, now).Decision
	if d.PutAside != 3 || d.Reason != reason.RateLimited || len(d.Reply.IAs) > 0 {
		t.Errorf("%d put aside, %s, %+v", d.PutAside, d.Reason, d.Reply)
	}
	if use := CountPools(snap, engine.Scan(store.TableLease, ""), now); use[0].Declined != 3 || use[0].Bound != 0 {
		t.Errorf("got %+v", use[0])
	}
}

// clone copies a store's leases.
func clone(t *testing.T, s store.Store) store.Store {
	t.Helper()
	all := leases{}
	for k, raw := range s.Scan(store.TableLease, "") {
		b, err := lease.Decode(raw)
		p, keyErr := lease.Prefix(k)
		if err != nil || keyErr != nil {
			t.Fatal(err, keyErr)
		}
		all[p.Addr().String()] = b
	}
	return storeOf(t, all)
}
