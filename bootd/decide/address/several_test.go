package address

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

// na is an IA_NA that names addresses.
func na(id ident.IAID, named ...string) IA {
	ia := IA{Kind: IANA, IAID: id}
	for _, n := range named {
		ia.Addrs = append(ia.Addrs, addr(n))
	}
	return ia
}

// sends is a message of a card with these IAs.
func sends(m ident.MAC, msg Msg, ias ...IA) Request {
	q := from(m, msg)
	q.IAs = ias
	return q
}

// ended is an address that its client stops using.
func ended(ia IAReply, a string) IAReply {
	ia.Addrs = append(ia.Addrs, Lease{Addr: addr(a)})
	return ia
}

// several are messages with more than one IA or address: each IA is answered by itself, and the reason is that of the message.
func several() []decision {
	leasedA := event(timeline.DHCPLease, "a", macA(), reason.Changed, "2001:db8:1::101", "")
	leased := func(a string) timeline.Event {
		return event(timeline.DHCPLease, "twin", macTwin(), reason.Changed, a, "")
	}
	released := func(state string) timeline.Event {
		return event(timeline.DHCPRelease, "a", macA(), reason.Changed, "2001:db8:1::101", state)
	}
	one := leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 7))}
	rests := with(bound("a", macA()), lease.Resting, time.Hour)
	both := leases{"2001:db8:1::201": bound("twin", macTwin(), claim(macTwin(), 1)), "2001:db8:1::202": bound("twin", macTwin(), claim(macTwin(), 2))}
	ofB := bound("b", macB(), claim(macB(), 7))
	return []decision{
		{
			name: "one IA of a card with two addresses gets the one that it names", req: sends(macTwin(), RequestMsg, na(1, "2001:db8:1::202")),
			want: Decision{
				Outcome: of("twin", reason.Changed), Reply: reply(ReplyMsg, granted(IANA, 1, "2001:db8:1::202")), Reserved: true,
				Events: []timeline.Event{leased("2001:db8:1::202")},
			},
			after: leases{"2001:db8:1::202": bound("twin", macTwin(), claim(macTwin(), 1))},
		},
		{
			name: "an IA that names both addresses of its card ends none of them",
			req:  sends(macTwin(), Renew, na(1, "2001:db8:1::201", "2001:db8:1::202"), na(2, "2001:db8:1::202")), before: both,
			want: Decision{
				Outcome: of("twin", reason.Retransmit), Reserved: true,
				Reply: reply(ReplyMsg, granted(IANA, 1, "2001:db8:1::201"), granted(IANA, 2, "2001:db8:1::202")),
			},
		},
		{
			name: "an IA for which nothing is left, of an address that the card no longer has: it ends, without T1 and T2",
			req:  sends(macA(), Renew, na(7, "2001:db8:1::101"), na(8, "2001:db8:1::99")),
			before: leases{
				"2001:db8:1::101": bound("a", macA(), claim(macA(), 7)), "2001:db8:1::99": bound("a", macA(), claim(macA(), 8)),
			},
			want: Decision{
				Outcome: of("a", reason.Changed), Reserved: true, Events: []timeline.Event{leasedA},
				Reply: reply(ReplyMsg, granted(IANA, 7, "2001:db8:1::101"), ended(IAReply{Kind: IANA, IAID: 8}, "2001:db8:1::99")),
			},
			after: leases{
				"2001:db8:1::101": bound("a", macA(), claim(macA(), 7)),
				"2001:db8:1::99":  with(bound("a", macA()), lease.Resting, lease.RestFor),
			},
		},
		{
			name: "the same while another holds what the card should have",
			req:  sends(macA(), Renew, na(7, "2001:db8:1::99")),
			before: leases{
				"2001:db8:1::101": ofB, "2001:db8:1::99": bound("a", macA(), claim(macA(), 7)),
			},
			want: Decision{
				Outcome: of("a", reason.NotOnLink), Reserved: true,
				Reply: reply(ReplyMsg, ended(IAReply{Kind: IANA, IAID: 7}, "2001:db8:1::99")),
				Events: []timeline.Event{
					event(timeline.Warning, "a", macA(), reason.NoAddrsAvail, "2001:db8:1::101", `held by "b/net0" until 2026-01-02T15:05:05Z`),
				},
			},
			after: leases{
				"2001:db8:1::101": ofB, "2001:db8:1::99": with(bound("a", macA()), lease.Resting, lease.RestFor),
			},
		},
		{
			name: "a Renew without an address, while another holds it", req: sends(macA(), Renew, na(7)), before: leases{"2001:db8:1::101": ofB},
			want: Decision{
				Outcome: of("a", reason.NoAddrsAvail), Reserved: true, Reply: reply(ReplyMsg, refused(IANA, 7, NoAddrsAvail)),
				Events: []timeline.Event{
					event(timeline.Warning, "a", macA(), reason.NoAddrsAvail, "2001:db8:1::101", `held by "b/net0" until 2026-01-02T15:05:05Z`),
				},
			},
		},
		{
			name: "unknown addresses, not all of them of another link", req: sends(macA(), Renew, na(8, "2001:db8:1::1be8", "2001:db8:9::9")),
			want: Decision{Outcome: of("a", reason.NoBinding), Reply: reply(ReplyMsg, refused(IANA, 8, NoBinding)), Reserved: true},
		},
		{
			name: "Renew of one's own and of another's address", req: sends(macA(), Renew, na(7, "2001:db8:1::101"), na(8, "2001:db8:1::102")),
			want: Decision{
				Outcome: of("a", reason.NotOwner), Reserved: true, Events: []timeline.Event{event(timeline.DHCPLease, "a", macA(), reason.NotOwner, "2001:db8:1::101", "")},
				Reply: reply(ReplyMsg, granted(IANA, 7, "2001:db8:1::101"), refused(IANA, 8, NoBinding)),
			},
			after: one,
		},
		{
			name: "an unknown address first, then another's: that is what is said", req: sends(macA(), Renew, na(8, "2001:db8:1::1be8"), na(9, "2001:db8:1::102")),
			want: Decision{
				Outcome: of("a", reason.NotOwner), Reserved: true, Reply: reply(ReplyMsg, refused(IANA, 8, NoBinding), refused(IANA, 9, NoBinding)),
			},
		},
		{
			name: "Release of one's own and of an unknown address", before: one,
			req: sends(macA(), Release, na(7, "2001:db8:1::101"), na(8, "2001:db8:1::1be8")),
			want: Decision{
				Outcome: of("a", reason.Changed), Reply: success(refused(IANA, 8, NoBinding)), Events: []timeline.Event{released("resting")},
			},
			after: leases{"2001:db8:1::101": rests},
		},
		{
			name: "Release of one's own and of another's address", before: one,
			req: sends(macA(), Release, na(7, "2001:db8:1::101"), na(8, "2001:db8:1::102")),
			want: Decision{
				Outcome: of("a", reason.NotOwner), Reply: success(refused(IANA, 8, NoBinding)), Events: []timeline.Event{released("resting")},
			},
			after: leases{"2001:db8:1::101": rests},
		},
		{
			name: "an address named twice is released once", req: sends(macA(), Release, na(7, "2001:db8:1::101", "2001:db8:1::101")), before: one,
			want:  Decision{Outcome: of("a", reason.Changed), Reply: success(), Events: []timeline.Event{released("resting")}},
			after: leases{"2001:db8:1::101": rests},
		},
	}
}

// odd are what the tables before leave out.
func odd() []decision {
	leased := event(timeline.DHCPLease, "a", macA(), reason.Changed, "2001:db8:1::101", "")
	now := bound("a", macA(), claim(macA(), 7))
	ok := Decision{Outcome: of("a", reason.Changed), Reply: reply(ReplyMsg, granted(IANA, 7, "2001:db8:1::101")), Events: []timeline.Event{leased}, Reserved: true}
	renamed, elsewhere, recarded := now, now, now
	renamed.Holder, elsewhere.Network, recarded.MAC = "old/net0", "old", macB()
	resting := with(bound("a", macA()), lease.Resting, time.Minute)
	return []decision{
		{name: "a lease takes the new name of its host", req: from(macA(), RequestMsg), before: leases{"2001:db8:1::101": renamed}, want: ok, after: leases{"2001:db8:1::101": now}},
		{name: "and of its network", req: from(macA(), RequestMsg), before: leases{"2001:db8:1::101": elsewhere}, want: ok, after: leases{"2001:db8:1::101": now}},
		{name: "and the new card of its host", req: from(macA(), RequestMsg), before: leases{"2001:db8:1::101": recarded}, want: ok, after: leases{"2001:db8:1::101": now}},
		{name: "a Request without an IA", req: sends(macA(), RequestMsg), want: Decision{Outcome: of("a", reason.Answered), Reply: reply(ReplyMsg), Reserved: true}},
		{
			name: "another's lease that ran out is nobody's", req: from(macA(), Renew, "2001:db8:1::99"),
			before: leases{"2001:db8:1::99": with(bound("gone", macB(), claim(macB(), 7)), lease.Bound, -time.Second)},
			want:   Decision{Outcome: of("a", reason.NoBinding), Reply: reply(ReplyMsg, refused(IANA, 7, NoBinding)), Reserved: true},
		},
		{
			name: "Renew of what the card gave back ends it, and writes nothing of it", req: from(macA(), Renew, "2001:db8:1::99"),
			before: leases{"2001:db8:1::99": resting, "2001:db8:1::101": now},
			want: Decision{
				Outcome: of("a", reason.Retransmit), Reply: reply(ReplyMsg, ended(granted(IANA, 7, "2001:db8:1::101"), "2001:db8:1::99")), Reserved: true,
			},
		},
	}
}

// TestShortestLeaseRenewsAll: T1 and T2 are the same in all IAs of a message, those of the lease that ends first (RFC 8415
// section 18.3.9), and never later than that is preferred.
func TestShortestLeaseRenewsAll(t *testing.T) {
	facts := sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64", "2001:db8:2::1/64"))
	for times, want := range map[string][2]time.Duration{
		"": {30 * time.Minute, 48 * time.Minute}, ", t1: 1h, t2: 1h": {time.Hour, time.Hour}, ", t1: 10m, t2: 2h": {10 * time.Minute, 48 * time.Minute},
	} {
		snap := sitetest.Snapshot(t, `networks:
  rack1: {interface: eth1, prefix: ["2001:db8:1::/64", "2001:db8:2::/64"], preferred: 6h, valid: 12h`+times+`}
hosts:
  a: {mac: "52:54:00:aa:01:01", address: ["2001:db8:1::101", "2001:db8:2::101"]}
`, facts)
		for i := range snap.Networks[0].Prefixes {
			for _, ias := range [][]IA{{na(1, "2001:db8:1::101"), na(2, "2001:db8:2::101")}, {na(1, "2001:db8:2::101"), na(2, "2001:db8:1::101")}} {
				was := snap.Networks[0].Prefixes[i]
				snap.Networks[0].Prefixes[i].PreferredUntil = sitetest.Now().Add(time.Hour)
				d := decide(t, snap, memory.New(), sends(macA(), RequestMsg, ias...), sitetest.Now()).Decision
				snap.Networks[0].Prefixes[i] = was
				for _, ia := range d.Reply.IAs {
					if len(ia.Addrs) != 1 || ia.T1 != want[0] || ia.T2 != want[1] {
						t.Errorf("%q: %+v, want %s", times, ia, want)
					}
				}
			}
		}
	}
}

// TestLostLeaseOfAnEndedPrefix: the card's own written address, of a prefix that is over, and of which no lease is known, ends.
func TestLostLeaseOfAnEndedPrefix(t *testing.T) {
	snap := snapshot(t)
	snap.Networks[0].Prefixes[0].ValidUntil = sitetest.Now().Add(-time.Second)
	d := Decide(snap, emptyView{}, from(macA(), Renew, "2001:db8:1::101"), sitetest.Now())
	if ia := d.Reply.IAs[0]; ia.Status != nil || len(ia.Addrs) != 1 || ia.Addrs[0] != (Lease{Addr: addr("2001:db8:1::101")}) {
		t.Errorf("%s: %+v", d.Reason, ia)
	}
}

// TestDelistedKeepsItsPoolAddress: what a card had while it was listed goes by its MAC, and to nobody else.
func TestDelistedKeepsItsPoolAddress(t *testing.T) {
	listed, engine, now := openRack(t, pooledRack), memory.New(), sitetest.Now()
	a := asks(t, engine, listed, from(macA(), RequestMsg), now)
	open := openRack(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, pool: "::1000-::10ff"}
`)
	for m, same := range map[ident.MAC]bool{macB(): false, macA(): true} {
		q := client(1, Renew, a.String())
		q.Evidence = append(who.Frame(m), who.Client(q.Client)...)
		q.Msg, q.Server = Solicit, ""
		if got := asks(t, engine, open, q, now.Add(time.Minute)); (got == a) != same || got == (netip.Addr{}) {
			t.Errorf("%s is offered %s", m, got)
		}
	}
}

// TestRetransmitTellsNothing: what a first exchange told of lease and boot file is not told of its retransmits.
func TestRetransmitTellsNothing(t *testing.T) {
	snap, engine := snapshot(t), memory.New()
	q := from(macA(), RequestMsg)
	q.ORO, q.Arch, q.Vendor = []uint16{59}, []uint16{7}, "PXEClient:Arch:00007:UNDI:003000"
	kinds := func(d Decision) (out []timeline.Kind) {
		for _, e := range d.Events {
			out = append(out, e.Kind)
		}
		return out
	}
	first := decide(t, snap, engine, q, sitetest.Now()).Decision
	again := decide(t, snap, engine, q, sitetest.Now()).Decision
	if k := kinds(first); len(k) != 2 || k[0] != timeline.DHCPLease || k[1] != timeline.LoaderOffered || len(again.Events) > 0 {
		t.Errorf("told %v, then %+v", k, again.Events)
	}
}

// TestDeclineOfAKeptAddress: the limit of a pool is not that of an address that a host waits for, and another's address in the
// message is what is said of it.
func TestDeclineOfAKeptAddress(t *testing.T) {
	before, engine, now := openRack(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, pool: "::1000-::10ff"}
`), memory.New(), sitetest.Now()
	a := asks(t, engine, before, client(1, RequestMsg, "2001:db8:1::1001"), now)
	b := asks(t, engine, before, client(2, RequestMsg), now)
	q := client(1, Decline, a.String())
	q.PutAside = 0
	got := decide(t, openRack(t, pooledRack), engine, q, now)
	if l := got.Leases[a.String()]; got.Decision.Reason != reason.Changed || got.Decision.PutAside != 0 || !l.ValidUntil.Equal(now.Add(lease.DeclineFor)) {
		t.Errorf("%s: %+v", got.Decision.Reason, l)
	}
	c := asks(t, engine, before, client(3, RequestMsg), now)
	q = client(3, Decline, c.String())
	q.PutAside, q.IAs = 0, append(q.IAs, na(8, b.String()))
	if d := decide(t, before, engine, q, now).Decision; d.Reason != reason.NotOwner {
		t.Errorf("with another's: %s", d.Reason)
	}
}

// TestRefusedIsNotLearned: what a machine says of itself is believed once it is given an address.
func TestRefusedIsNotLearned(t *testing.T) {
	for addr, want := range map[string]bool{"2001:db8:9::9": false, "2001:db8:1::101": true} {
		q := from(macA(), RequestMsg, addr)
		q.Client = ident.NewDUIDUUID(ident.UUID{1, 2, 3})
		q.Evidence = append(who.Frame(macA()), who.Client(q.Client)...)
		ops := Decide(snapshot(t), emptyView{}, q, sitetest.Now()).Ops
		if got := slices.ContainsFunc(ops, func(o store.Op) bool { return o.Key == who.LearnedKey("a") }); got != want {
			t.Errorf("asked for %s: learned %v, want %v", addr, got, want)
		}
	}
}
