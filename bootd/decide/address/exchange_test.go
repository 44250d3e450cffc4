package address

import (
	"net/netip"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

func macTwin() ident.MAC { return ident.MAC{0x52, 0x54, 0, 0xaa, 1, 3} }

const putAside = "put aside until 2026-01-02T03:09:05Z: the client found another machine using it"

func solicits() []decision {
	two := from(macA(), Solicit)
	two.IAs = []IA{{Kind: IANA, IAID: 1}, {Kind: IANA, IAID: 2}}
	mixed := from(macA(), Solicit)
	mixed.IAs = []IA{{Kind: IATA, IAID: 1}, {Kind: IAPD, IAID: 2}, {Kind: IANA, IAID: 3}}
	none := from(macA(), Solicit)
	none.IAs = nil
	rapid := from(macA(), Solicit)
	rapid.RapidCommit = true
	both := from(macTwin(), Solicit)
	both.IAs = []IA{{Kind: IANA, IAID: 1}, {Kind: IANA, IAID: 2, Addrs: []netip.Addr{addr("2001:db8:1::201")}}}
	solicited := event(timeline.DHCPSolicit, "a", macA(), reason.None, "", "")
	return []decision{
		{
			name: "Solicit only reads", req: from(macA(), Solicit, "2001:db8:9::9"),
			want: Decision{Outcome: of("a", reason.Answered), Reply: offer255(granted(IANA, 7, "2001:db8:1::101")), Events: []timeline.Event{solicited}, Reserved: true},
		},
		{
			name: "the second IA_NA gets NoAddrsAvail", req: two,
			want: Decision{
				Outcome: of("a", reason.Answered), Events: []timeline.Event{solicited}, Reserved: true,
				Reply: offer255(granted(IANA, 1, "2001:db8:1::101"), refused(IANA, 2, NoAddrsAvail)),
			},
		},
		{
			name: "the IA with a claim goes before the first", req: two, before: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 2))},
			want: Decision{
				Outcome: of("a", reason.Answered), Events: []timeline.Event{solicited}, Reserved: true,
				Reply: offer255(refused(IANA, 1, NoAddrsAvail), granted(IANA, 2, "2001:db8:1::101")),
			},
		},
		{
			name: "two addresses, two IA_NAs, the hint counts", req: both,
			want: Decision{
				Outcome: of("twin", reason.Answered), Reserved: true,
				Events: []timeline.Event{event(timeline.DHCPSolicit, "twin", macTwin(), reason.None, "", "")},
				Reply:  offer255(granted(IANA, 1, "2001:db8:1::202"), granted(IANA, 2, "2001:db8:1::201")),
			},
		},
		{
			name: "IA_TA and IA_PD have nothing", req: mixed,
			want: Decision{
				Outcome: of("a", reason.Answered), Events: []timeline.Event{solicited}, Reserved: true,
				Reply: offer255(refused(IATA, 1, NoAddrsAvail), refused(IAPD, 2, NoPrefixAvail), granted(IANA, 3, "2001:db8:1::101")),
			},
		},
		{
			name: "no IA", req: none,
			want: Decision{Outcome: of("a", reason.Answered), Reply: offer255(), Events: []timeline.Event{solicited}, Reserved: true},
		},
		{
			name: "rapid commit binds", req: rapid, after: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 7))},
			want: Decision{
				Outcome: of("a", reason.Changed), Reserved: true,
				Reply:  &Reply{Msg: ReplyMsg, Preference: noPreference, RapidCommit: true, IAs: []IAReply{granted(IANA, 7, "2001:db8:1::101")}},
				Events: []timeline.Event{solicited, event(timeline.DHCPLease, "a", macA(), reason.Changed, "2001:db8:1::101", "")},
			},
		},
		{
			name: "rapid commit with nothing to commit is an Advertise", req: rapid,
			before: leases{"2001:db8:1::101": with(bound("a", macA(), claim(macA(), 7)), lease.Declined, lease.DeclineFor)},
			want: Decision{
				Outcome: of("a", reason.NoAddrsAvail), Reply: reply(Advertise, refused(IANA, 7, NoAddrsAvail)), Reserved: true,
				Events: []timeline.Event{event(timeline.Warning, "a", macA(), reason.NoAddrsAvail, "2001:db8:1::101", putAside), solicited},
			},
		},
		{
			name: "an address that another holds is not offered, with no preference", req: from(macA(), Solicit),
			before: leases{"2001:db8:1::101": bound("b", macB(), claim(macB(), 1))},
			want: Decision{
				Outcome: of("a", reason.NoAddrsAvail), Reply: reply(Advertise, refused(IANA, 7, NoAddrsAvail)), Reserved: true,
				Events: []timeline.Event{
					event(timeline.Warning, "a", macA(), reason.NoAddrsAvail, "2001:db8:1::101", `held by "b/net0" until 2026-01-02T15:05:05Z`),
					solicited,
				},
			},
		},
		{
			name: "a lease that ran out holds nothing", req: from(macA(), Solicit),
			before: leases{"2001:db8:1::101": with(bound("b", macB(), claim(macB(), 1)), lease.Bound, -time.Second)},
			want:   Decision{Outcome: of("a", reason.Answered), Reply: offer255(granted(IANA, 7, "2001:db8:1::101")), Events: []timeline.Event{solicited}, Reserved: true},
		},
	}
}

func requests() []decision {
	leased := event(timeline.DHCPLease, "a", macA(), reason.Changed, "2001:db8:1::101", "")
	full := bound("a", macA())
	for i := range lease.MaxClaims {
		full.Claims = append(full.Claims, claim(macA(), ident.IAID(100+i)))
	}
	rolled := full
	rolled.Claims = append(append([]lease.Claim{}, full.Claims[1:]...), claim(macA(), 7))
	renamed := bound("old", macA(), claim(macA(), 1))
	later := bound("a", macA(), claim(macA(), 7))
	later.PreferredUntil, later.ValidUntil = later.PreferredUntil.Add(-2*lease.Slack), later.ValidUntil.Add(-2*lease.Slack)
	ok := Decision{Outcome: of("a", reason.Changed), Reply: reply(ReplyMsg, granted(IANA, 7, "2001:db8:1::101")), Events: []timeline.Event{leased}, Reserved: true}
	again := Decision{Outcome: of("a", reason.Retransmit), Reply: ok.Reply, Reserved: true}
	return []decision{
		{name: "Request binds", req: from(macA(), RequestMsg, "2001:db8:1::101"), want: ok, after: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 7))}},
		{name: "a retransmit is answered identically and writes nothing", req: from(macA(), RequestMsg, "2001:db8:1::101"), before: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 7))}, want: again},
		{name: "a Request after the slack writes", req: from(macA(), RequestMsg), before: leases{"2001:db8:1::101": later}, want: ok, after: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 7))}},
		{
			name: "another address of the link in the Request is replaced by the card's", req: from(macA(), RequestMsg, "2001:db8:1::1be8"),
			want: ok, after: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 7))},
		},
		{
			name: "NotOnLink", req: from(macA(), RequestMsg, "2001:db8:9::9"),
			want: Decision{Outcome: of("a", reason.NotOnLink), Reply: reply(ReplyMsg, refused(IANA, 7, NotOnLink)), Reserved: true},
		},
		{
			name: "a second claim joins the first", req: from(macA(), RequestMsg), before: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 1))},
			want: ok, after: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 1), claim(macA(), 7))},
		},
		{
			name: "the oldest of too many claims goes", req: from(macA(), RequestMsg), before: leases{"2001:db8:1::101": full},
			want: ok, after: leases{"2001:db8:1::101": rolled},
		},
		{
			name: "a resting address is bound again", req: from(macA(), RequestMsg),
			before: leases{"2001:db8:1::101": with(bound("a", macA()), lease.Resting, lease.RestFor)},
			want:   ok, after: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 7))},
		},
		{
			name: "a renamed host keeps its address", req: from(macA(), RequestMsg), before: leases{"2001:db8:1::101": renamed},
			want: ok, after: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 1), claim(macA(), 7))},
		},
		{
			name: "a declined address is not handed out", req: from(macA(), RequestMsg, "2001:db8:1::101"),
			before: leases{"2001:db8:1::101": with(bound("a", macA(), claim(macA(), 7)), lease.Declined, lease.DeclineFor)},
			want: Decision{
				Outcome: of("a", reason.NoAddrsAvail), Reply: reply(ReplyMsg, refused(IANA, 7, NoAddrsAvail)), Reserved: true,
				Events: []timeline.Event{event(timeline.Warning, "a", macA(), reason.NoAddrsAvail, "2001:db8:1::101", putAside)},
			},
		},
		{
			name: "a declined address comes back", req: from(macA(), RequestMsg, "2001:db8:1::101"),
			before: leases{"2001:db8:1::101": with(bound("a", macA(), claim(macA(), 1)), lease.Declined, 0)},
			want:   ok, after: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 7))},
		},
	}
}

func renewals() []decision {
	leased := func(a string) []timeline.Event {
		return []timeline.Event{event(timeline.DHCPLease, "a", macA(), reason.Changed, a, "")}
	}
	old := bound("a", macA(), claim(macA(), 7))
	aging := old
	aging.PreferredUntil, aging.ValidUntil = aging.PreferredUntil.Add(-3*time.Hour), aging.ValidUntil.Add(-3*time.Hour)
	ended := Lease{Addr: addr("2001:db8:1::99")}
	moved := granted(IANA, 7, "2001:db8:1::101")
	moved.Addrs = append(moved.Addrs, ended)
	offLink := granted(IANA, 7, "2001:db8:1::101")
	offLink.Addrs = append(offLink.Addrs, Lease{Addr: addr("2001:db8:9::9")})
	var out []decision
	for _, m := range []Msg{Renew, Rebind} {
		pd := from(macA(), m)
		pd.IAs[0].Kind = IAPD
		out = append(out, []decision{
			{
				name: m.String() + " extends", req: from(macA(), m, "2001:db8:1::101"), before: leases{"2001:db8:1::101": aging},
				want:  Decision{Outcome: of("a", reason.Changed), Reply: reply(ReplyMsg, granted(IANA, 7, "2001:db8:1::101")), Events: leased("2001:db8:1::101"), Reserved: true},
				after: leases{"2001:db8:1::101": old},
			},
			{
				name: m.String() + " of the card's own address after the state was lost", req: from(macA(), m, "2001:db8:1::101"),
				want:  Decision{Outcome: of("a", reason.Changed), Reply: reply(ReplyMsg, granted(IANA, 7, "2001:db8:1::101")), Events: leased("2001:db8:1::101"), Reserved: true},
				after: leases{"2001:db8:1::101": old},
			},
			{
				name: m.String() + " after the inventory gave the card another address", req: from(macA(), m, "2001:db8:1::99"),
				before: leases{"2001:db8:1::99": old},
				want:   Decision{Outcome: of("a", reason.Changed), Reply: reply(ReplyMsg, moved), Events: leased("2001:db8:1::101"), Reserved: true},
				after: leases{
					"2001:db8:1::101": old,
					"2001:db8:1::99":  with(bound("a", macA()), lease.Resting, lease.RestFor),
				},
			},
			{
				name: m.String() + " of an address of another link ends it", req: from(macA(), m, "2001:db8:9::9"),
				want:  Decision{Outcome: of("a", reason.Changed), Reply: reply(ReplyMsg, offLink), Events: leased("2001:db8:1::101"), Reserved: true},
				after: leases{"2001:db8:1::101": old},
			},
			{
				name: m.String() + " of what we know nothing of", req: from(macA(), m, "2001:db8:1::1be8"),
				want: Decision{Outcome: of("a", reason.NoBinding), Reply: reply(ReplyMsg, refused(IANA, 7, NoBinding)), Reserved: true},
			},
			{
				name: m.String() + " of another's lease", req: from(macA(), m, "2001:db8:1::102"),
				before: leases{"2001:db8:1::102": bound("b", macB(), claim(macA(), 7))},
				want:   Decision{Outcome: of("a", reason.NotOwner), Reply: reply(ReplyMsg, refused(IANA, 7, NoBinding)), Reserved: true},
			},
			{
				name: m.String() + " of an address that the inventory keeps for another", req: from(macA(), m, "2001:db8:1::102"),
				want: Decision{Outcome: of("a", reason.NotOwner), Reply: reply(ReplyMsg, refused(IANA, 7, NoBinding)), Reserved: true},
			},
			{
				name: m.String() + " of a prefix", req: pd,
				want: Decision{Outcome: of("a", reason.NoBinding), Reply: reply(ReplyMsg, refused(IAPD, 7, NoBinding)), Reserved: true},
			},
		}...)
	}
	return out
}

func returns() []decision {
	one := leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 7))}
	two := leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 1), claim(macA(), 7))}
	bs := leases{"2001:db8:1::102": bound("b", macB(), claim(macA(), 7))}
	released := func(state string) []timeline.Event {
		return []timeline.Event{event(timeline.DHCPRelease, "a", macA(), reason.Changed, "2001:db8:1::101", state)}
	}
	out := []decision{
		{
			name: "a Release drops its own claim only", req: from(macA(), Release, "2001:db8:1::101"), before: two,
			want: Decision{Outcome: of("a", reason.Changed), Reply: success(), Events: released("bound")}, after: leases{"2001:db8:1::101": bound("a", macA(), claim(macA(), 1))},
		},
		{
			name: "the last Release lets the address rest", req: from(macA(), Release, "2001:db8:1::101"), before: one,
			want:  Decision{Outcome: of("a", reason.Changed), Reply: success(), Events: released("resting")},
			after: leases{"2001:db8:1::101": with(bound("a", macA()), lease.Resting, time.Hour)},
		},
		{
			name: "a Release again is answered identically", req: from(macA(), Release, "2001:db8:1::101"),
			before: leases{"2001:db8:1::101": with(bound("a", macA()), lease.Resting, time.Hour)},
			want:   Decision{Outcome: of("a", reason.Retransmit), Reply: success()},
		},
		{
			name: "a Decline puts the address aside", req: from(macA(), Decline, "2001:db8:1::101"), before: one,
			want: Decision{
				Outcome: of("a", reason.Changed), Reply: success(),
				Events: []timeline.Event{
					event(timeline.DHCPDecline, "a", macA(), reason.Changed, "2001:db8:1::101", ""),
					event(timeline.Warning, "a", macA(), reason.NoAddrsAvail, "2001:db8:1::101",
						"another machine uses the address of a/net0: nobody gets it for 5m0s; find that machine"),
				},
			},
			after: leases{"2001:db8:1::101": with(bound("a", macA(), claim(macA(), 7)), lease.Declined, 5*time.Minute)},
		},
		{
			name: "a Decline again is answered identically", req: from(macA(), Decline, "2001:db8:1::101"),
			before: leases{"2001:db8:1::101": with(bound("a", macA(), claim(macA(), 7)), lease.Declined, time.Minute)},
			want:   Decision{Outcome: of("a", reason.Retransmit), Reply: success()},
		},
	}
	for _, m := range []Msg{Release, Decline} {
		forged := from(macA(), m, "2001:db8:1::102")
		forged.Client = ident.NewDUIDLL(macB())
		out = append(out,
			decision{
				name: "forged " + m.String(), req: forged, before: leases{"2001:db8:1::102": bound("b", macB(), claim(macB(), 7))},
				want: Decision{Outcome: of("a", reason.NotOwner), Reply: success(refused(IANA, 7, NoBinding))},
			},
			decision{
				name: m.String() + " of another's address with a claim of one's own", req: from(macA(), m, "2001:db8:1::102"), before: bs,
				want: Decision{Outcome: of("a", reason.NotOwner), Reply: success(refused(IANA, 7, NoBinding))},
			},
			decision{
				name: m.String() + " of nothing we know", req: from(macA(), m, "2001:db8:1::1be8"),
				want: Decision{Outcome: of("a", reason.NoBinding), Reply: success(refused(IANA, 7, NoBinding))},
			})
	}
	return out
}

func rest() []decision {
	asks := func(q Request, oro ...uint16) Request { q.ORO = oro; return q }
	all := reply(ReplyMsg)
	all.DNS, all.Search = []netip.Addr{addr("2001:db8:1::1")}, []string{"example.net"}
	all.SolMaxRT, all.InfMaxRT, all.InfoRefresh = 5*time.Minute, 5*time.Minute, 3*time.Hour
	dns := offer255(granted(IANA, 7, "2001:db8:1::101"))
	dns.DNS = all.DNS
	dns.SolMaxRT = 5 * time.Minute
	confirmed := reply(ReplyMsg)
	confirmed.Status = status(Success)
	notOnLink := reply(ReplyMsg)
	notOnLink.Status = status(NotOnLink)
	return []decision{
		{name: "Confirm", req: from(macA(), Confirm, "2001:db8:1::55"), want: Decision{Outcome: of("a", reason.Answered), Reply: confirmed, Reserved: true}},
		{name: "Confirm for a moved host", req: from(macA(), Confirm, "2001:db8:1::55", "2001:db8:9::9"), want: Decision{Outcome: of("a", reason.NotOnLink), Reply: notOnLink, Reserved: true}},
		{name: "Confirm of nothing", req: from(macA(), Confirm), want: Decision{Outcome: of("a", reason.NoBinding)}},
		{name: "Information-request", req: from(macA(), InformationRequest), want: Decision{Outcome: of("a", reason.Answered), Reply: reply(ReplyMsg), Reserved: true}},
		{
			name: "Information-request for all we have, and more", req: asks(from(macA(), InformationRequest), 23, 24, 32, 82, 83, 60, 12),
			want: Decision{Outcome: of("a", reason.Answered), Reply: all, Reserved: true},
		},
		{
			name: "options only when asked, Information Refresh Time only where it belongs", req: asks(from(macA(), Solicit), 23, 32, 82),
			want: Decision{Outcome: of("a", reason.Answered), Reply: dns, Reserved: true, Events: []timeline.Event{event(timeline.DHCPSolicit, "a", macA(), reason.None, "", "")}},
		},
	}
}
