package address

import (
	"testing"
	"time"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
)

// TestTwins: two cards with one DUID and IAID are one client (RFC 8415 section 12): they have one address, and it is noticed.
func TestTwins(t *testing.T) {
	snap, engine, now := openRack(t, pooledRack), memory.New(), sitetest.Now()
	twin := func(m ident.MAC, msg Msg) Request {
		q := client(1, msg)
		q.Evidence = append(who.Frame(m), who.Client(q.Client)...)
		if m == (ident.MAC{}) {
			q.Evidence = who.Client(q.Client)
		}
		return q
	}
	one, two := guestMAC(1), guestMAC(2)
	a := asks(t, engine, snap, twin(one, RequestMsg), now)
	for _, c := range []struct {
		asks ident.MAC
		msg  Msg
		want ident.MAC
	}{
		{one, Renew, ident.MAC{}},
		{two, Solicit, one},
		{two, RequestMsg, one},
		{two, RequestMsg, ident.MAC{}},
		{one, RequestMsg, two},
		{ident.MAC{}, RequestMsg, ident.MAC{}},
		{two, RequestMsg, ident.MAC{}}, // behind a relay that shows no card
	} {
		d := decide(t, snap, engine, twin(c.asks, c.msg), now).Decision
		if d.Twin != c.want || len(d.Reply.IAs[0].Addrs) != 1 || d.Reply.IAs[0].Addrs[0].Addr != a {
			t.Errorf("%s from %s: twin %s, %+v", c.msg, c.asks, d.Twin, d.Reply.IAs)
		}
	}
	// A machine asks through one card with the DUID of another; where its frame is not seen, the MAC in the DUID is none that asked.
	q := client(2, RequestMsg)
	q.Client = ident.NewDUIDLL(guestMAC(4))
	q.Evidence = append(who.Frame(guestMAC(3)), who.Client(q.Client)...)
	decide(t, snap, engine, q, now)
	q.Evidence = who.Client(q.Client)
	if d := decide(t, snap, engine, q, now).Decision; d.Twin.Valid() {
		t.Errorf("a card of the same machine: %s", d.Twin)
	}
	if d := decide(t, snap, engine, twin(one, RequestMsg), now.Add(12*time.Hour+lease.Slack)).Decision; d.Twin.Valid() {
		t.Errorf("the twin's lease has ended: %s", d.Twin)
	}
}
