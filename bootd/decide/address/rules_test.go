package address

import (
	"testing"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
)

// TestTemporaryGivesNothingBack: an IA_TA that names a lease of an IA_NA of its name ends nothing.
func TestTemporaryGivesNothingBack(t *testing.T) {
	snap := snapshot(t)
	for _, m := range []Msg{Release, Decline} {
		s := storeOf(t, leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 7))})
		q := from(macA(), m, "2001:db8:1::101")
		q.IAs[0].Kind = IATA
		if d := decide(t, snap, s, q, sitetest.Now()).Decision; d.Reason != reason.NoBinding || len(d.Ops) > 0 {
			t.Errorf("%s: %s, %d writes", m, d.Reason, len(d.Ops))
		}
	}
}

// TestForEver: who keeps its address for ever need not ask again.
func TestForEver(t *testing.T) {
	snap := openRack(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", preferred: infinite, valid: infinite}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: "::101"}
`)
	d := Decide(snap, emptyView{}, from(macA(), RequestMsg), sitetest.Now())
	if ia := d.Reply.IAs[0]; ia.T1 != forever || ia.T2 != forever || ia.Addrs[0].Valid != forever {
		t.Errorf("got %+v", ia)
	}
}

// TestHeldByItsPort: a port of a relay with too many new machines holds them back, also where the inventory says who the
// router is; another server does not.
func TestHeldByItsPort(t *testing.T) {
	snap := openRack(t, pooledRack)
	snap.Networks[0].RouterWritten = true
	for hold, want := range map[reason.Reason]reason.Reason{
		reason.RateLimited: reason.RateLimited, reason.ServerElsewhere: reason.Answered,
	} {
		q := client(1, Solicit)
		q.Hold = hold
		if d := Decide(snap, emptyView{}, q, sitetest.Now()); d.Reason != want {
			t.Errorf("%s: %s, want %s", hold, d.Reason, want)
		}
	}
}

// TestHintOfAnEndedPrefix: an address of a pool whose prefix has ended is given to nobody who names it.
func TestHintOfAnEndedPrefix(t *testing.T) {
	snap, now := openRack(t, pooledRack), sitetest.Now()
	a := asks(t, memory.New(), snap, client(1, RequestMsg), now)
	snap.Networks[0].Pools[0].Prefix.ValidUntil = now.Add(-time.Second)
	d := Decide(snap, emptyView{}, client(1, Solicit, a.String()), now)
	if len(d.Reply.IAs[0].Addrs) > 0 {
		t.Errorf("got %+v", d.Reply.IAs[0])
	}
}
