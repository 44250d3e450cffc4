package address

import (
	"net/netip"
	"testing"
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

// TestInherits: who is known by its DUID keeps its lease when the inventory gives it another name, lists it, or takes it out; and
// nobody else gets it by that.
func TestInherits(t *testing.T) {
	listed := func(name, duid string) string {
		return pooledRack + "  " + name + ": {duid: \"" + duid + "\", address: \"::3103\"}\n"
	}
	mine, other := client(1, RequestMsg), client(2, RequestMsg)
	here := addr("2001:db8:1::3103")
	says := func(q Request, msg Msg, named ...netip.Addr) Request {
		q.Msg, q.IAs = msg, []IA{{Kind: IANA, IAID: q.IAs[0].IAID, Addrs: named}}
		if msg == Solicit || msg == Rebind {
			q.Server = ""
		}
		return q
	}
	for name, c := range map[string]struct {
		before, after string
		q             Request
		want          netip.Addr
	}{
		"renamed":                    {listed("old", mine.Client.String()), listed("new", mine.Client.String()), mine, here},
		"another of its name before": {listed("old", mine.Client.String()), listed("new", other.Client.String()), other, netip.Addr{}},
		"taken over by a host":       {listed("old", mine.Client.String()), listed("old", other.Client.String()), other, here},
	} {
		engine, now := memory.New(), sitetest.Now()
		if got := asks(t, engine, openRack(t, c.before), says(mine, RequestMsg), now); got != here {
			t.Fatalf("%s: first %s", name, got)
		}
		snap := openRack(t, c.after)
		for _, m := range []Msg{Solicit, RequestMsg, Renew} {
			if got := asks(t, engine, snap, says(c.q, m, here), now.Add(time.Minute)); got != c.want {
				t.Errorf("%s: %s gets %s, want %s", name, m, got, c.want)
			}
		}
	}

	// A pool's client is listed with the address that it has.
	engine, now := memory.New(), sitetest.Now()
	pooled := asks(t, engine, openRack(t, pooledRack), says(mine, RequestMsg), now)
	snap := openRack(t, pooledRack+"  h: {duid: \""+mine.Client.String()+"\", address: \""+pooled.String()+"\"}\n")
	if got := asks(t, engine, snap, says(mine, Renew, pooled), now.Add(time.Minute)); got != pooled {
		t.Errorf("listed: it gets %s, want %s", got, pooled)
	}
	for k, raw := range engine.Scan(store.TableLease, "") {
		if b, err := lease.Decode(raw); err != nil || b.Holder != "h/net0" {
			t.Errorf("%s is held by %q, error %v", k.ID, b.Holder, err)
		}
	}

	// A host is taken out: its old address ends, and it has one of the pool.
	engine = memory.New()
	asks(t, engine, openRack(t, listed("old", mine.Client.String())), says(mine, RequestMsg), now)
	d := decide(t, openRack(t, pooledRack), engine, says(mine, Rebind, here), now.Add(time.Minute)).Decision
	addrs := d.Reply.IAs[0].Addrs
	if len(addrs) != 2 || addrs[0].Valid == 0 || addrs[1].Addr != here || addrs[1].Valid != 0 {
		t.Errorf("taken out: %+v", d.Reply.IAs)
	}
}
