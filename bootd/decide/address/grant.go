package address

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

// offer is one of the card's fixed addresses, free for it to take.
type offer struct {
	addr  netip.Addr
	used  bool // by an IA of this message
	given bool // in its answer
}

// granting answers the IAs of one message.
type granting struct {
	*exchange
	ledger ledger
	offers []offer
	// picks is the address of each IA, the zero one where there is none.
	picks []netip.Addr
	// parts is the prefix of each IA_PD.
	parts   []part
	granted int
	// why is the first reason that an IA got no address for.
	why reason.Reason
	// minPreferred is the shortest preferred lifetime granted: T1 and T2 are the same in all IAs of a message.
	minPreferred time.Duration
}

// solicit answers a Solicit (RFC 8415 section 18.3.1). Without rapid commit it only reads.
func (x *exchange) solicit() {
	g := x.begin()
	x.d.Reply = x.reply(Advertise)
	g.answer(g.requested)
	x.event(timeline.DHCPSolicit, reason.None, "", "")
	if x.req.RapidCommit && g.granted > 0 {
		x.d.Reply.Msg, x.d.Reply.RapidCommit = ReplyMsg, true
		g.commit()
		return
	}
	x.d.Reserved = true
	x.d.Reason = g.why
	if g.granted > 0 || len(x.d.Reply.IAs) == 0 { // an empty offer must not keep the client from others
		x.d.Reply.Preference = x.preference()
		x.d.Reason = reason.Answered
	}
}

// request answers a Request (section 18.3.2).
func (x *exchange) request() {
	g := x.begin()
	x.d.Reply = x.reply(ReplyMsg)
	g.answer(g.requested)
	g.commit()
}

// extend answers a Renew or a Rebind (sections 18.3.4 and 18.3.5): a listed host's addresses are ours to say.
func (x *exchange) extend() {
	g := x.begin()
	x.d.Reply = x.reply(ReplyMsg)
	g.answer(g.renewed)
	g.commit()
}

// begin finds what the card may have and gives each IA its address: first those that it has already, then those that
// it names, then in order.
func (x *exchange) begin() *granting {
	g := &x.room.g
	l := ledger{view: x.view, entries: g.ledger.entries[:0], held: g.ledger.held[:0]}
	*g = granting{exchange: x, ledger: l, offers: g.offers[:0], picks: g.picks[:0], parts: g.parts[:0]}
	g.picks = append(g.picks, make([]netip.Addr, len(x.req.IAs))...)
	g.delegate()
	if x.pooled {
		g.fromPool()
		return g
	}
	for _, a := range x.fixed(&g.ledger) {
		if g.free(a) {
			g.offers = append(g.offers, offer{addr: a})
		}
	}
	g.pick(func(ia IA, a netip.Addr) bool { return g.ledger.at(a).b.Has(g.claim(ia)) })
	g.pick(func(ia IA, a netip.Addr) bool { return slices.Contains(ia.Addrs, a) })
	g.pick(func(IA, netip.Addr) bool { return true })
	return g
}

func (g *granting) pick(fits func(IA, netip.Addr) bool) {
	for i, ia := range g.req.IAs {
		if ia.Kind != IANA || g.picks[i].IsValid() {
			continue
		}
		for j := range g.offers {
			if o := &g.offers[j]; !o.used && fits(ia, o.addr) {
				o.used, g.picks[i] = true, o.addr
				break
			}
		}
	}
}

// free reports whether a fixed address can be given to its card now, and says loudly when it cannot.
func (g *granting) free(a netip.Addr) bool {
	e := g.ledger.at(a)
	if !e.found || !e.b.InForce(g.now) {
		return true
	}
	declined := e.b.State == lease.Declined
	if !declined && g.mine(e, IA{}) {
		return true
	}
	until := e.b.ValidUntil.UTC().Format(time.RFC3339)
	detail := fmt.Sprintf("held by %q until %s", e.b.Holder, until)
	if declined {
		detail = fmt.Sprintf("put aside until %s: the client found another machine using it", until)
	}
	g.event(timeline.Warning, reason.NoAddrsAvail, a.String(), detail)
	return false
}

func (x *exchange) claim(ia IA) lease.Claim { return lease.Claim{DUID: x.req.Client, IAID: ia.IAID} }

// answer answers each IA in the reply and gives all of them the same T1 and T2.
func (g *granting) answer(one func(int, IA) IAReply) {
	out := g.d.Reply.IAs
	for i, ia := range g.req.IAs {
		out = append(out, one(i, ia))
	}
	for i := range out {
		if slices.ContainsFunc(out[i].Addrs, func(l Lease) bool { return l.Valid > 0 }) ||
			slices.ContainsFunc(out[i].Prefixes, func(l PrefixLease) bool { return l.Valid > 0 }) {
			out[i].T1, out[i].T2 = g.renewal()
		}
	}
	g.d.Reply.IAs = out
}

// renewal is T1 and T2 of all IAs: what the network says where that is in time, else half and four fifths of the shortest
// preferred lifetime (RFC 8415 section 21.4). Who keeps its address for ever need not ask.
func (g *granting) renewal() (t1, t2 time.Duration) {
	t1, t2 = (g.minPreferred / 2).Truncate(time.Second), (g.minPreferred / 5 * 4).Truncate(time.Second)
	if g.minPreferred >= forever {
		t1, t2 = forever, forever
	}
	if g.net.T2 > 0 && g.net.T2 <= g.minPreferred {
		t2 = g.net.T2
	}
	if g.net.T1 > 0 && g.net.T1 <= g.minPreferred {
		t1 = g.net.T1
	}
	return min(t1, t2), t2
}

// forever is the infinite lifetime (RFC 8415 section 7.7).
const forever = 0xffffffff * time.Second

// requested answers one IA of a Solicit or a Request.
func (g *granting) requested(i int, ia IA) IAReply {
	if ia.Kind == IAPD {
		return g.delegated(i, ia)
	}
	if g.req.Msg == RequestMsg && slices.ContainsFunc(ia.Addrs, g.offLink) {
		return g.refuse(ia, NotOnLink, reason.NotOnLink)
	}
	if !g.picks[i].IsValid() {
		return g.refuseFull(ia)
	}
	return IAReply{Kind: ia.Kind, IAID: ia.IAID, Addrs: []Lease{g.lease(g.picks[i], ia)}}
}

// renewed answers one IA of a Renew or a Rebind. An IA that names another's address, or nothing that we know, is
// NoBinding: the client asks anew. Addresses that the card no longer has end with lifetimes of zero.
func (g *granting) renewed(i int, ia IA) IAReply {
	if ia.Kind == IAPD {
		return g.redelegated(i, ia)
	}
	if ia.Kind != IANA {
		return g.refuse(ia, NoBinding, reason.NoBinding)
	}
	fixed := g.own(i)
	known := g.picks[i].IsValid() && g.ledger.at(g.picks[i]).b.Has(g.claim(ia))
	offLink := true
	var ended []netip.Addr
	for _, a := range ia.Addrs {
		e := g.ledger.at(a)
		switch {
		case slices.Contains(fixed, a):
			known = true
			continue
		case g.others(e, ia):
			return g.refuse(ia, NoBinding, reason.NotOwner)
		case g.mine(e, ia):
			known = true
		}
		offLink = offLink && g.offLink(a)
		ended = append(ended, a)
	}
	if !known && !offLink && len(ended) > 0 {
		return g.refuse(ia, NoBinding, reason.NoBinding)
	}
	out := IAReply{Kind: ia.Kind, IAID: ia.IAID}
	if g.picks[i].IsValid() {
		out.Addrs = append(out.Addrs, g.lease(g.picks[i], ia))
	}
	for _, a := range ended {
		out.Addrs = append(out.Addrs, Lease{Addr: a})
		g.ended(a, ia)
	}
	switch {
	case len(out.Addrs) == 0:
		return g.refuseFull(ia)
	case !g.picks[i].IsValid():
		g.why = cmp.Or(g.why, reason.NotOnLink)
	}
	return out
}

// own are the addresses that an IA may go on with.
func (g *granting) own(i int) []netip.Addr {
	switch {
	case !g.pooled:
		return g.fixed(&g.ledger)
	case g.picks[i].IsValid():
		return []netip.Addr{g.picks[i]}
	}
	return nil
}

// ended drops the claim on an address that is no longer the client's.
func (g *granting) ended(a netip.Addr, ia IA) {
	e := g.ledger.at(a)
	if !g.mine(e, ia) {
		return
	}
	if b, ok := e.b.Release(g.claim(ia), g.now); ok {
		g.rest(e, b)
	}
}

func (g *granting) offLink(a netip.Addr) bool {
	_, ok := g.prefix(a)
	return !ok
}

// lease takes an address for an IA.
func (g *granting) lease(a netip.Addr, ia IA) Lease {
	preferred, valid := g.lifetimes(a)
	g.count(preferred)
	for i := range g.offers {
		g.offers[i].given = g.offers[i].given || g.offers[i].addr == a
	}

	e := g.ledger.at(a)
	b := e.b
	if !e.found || !b.InForce(g.now) {
		b = lease.Binding{}
	}
	holder := g.holderOf(ia)
	if g.pooled && b.Holder == holder && b.MAC != g.mac && b.MAC.Valid() && g.mac.Valid() && g.cardSeen() {
		g.d.Twin = b.MAC
	}
	named := b.Holder == holder && b.Network == g.net.Name && b.MAC == g.mac
	if !named || !b.Covers(g.claim(ia), g.now.Add(preferred), g.now.Add(valid)) {
		b.Holder, b.Network, b.MAC = holder, g.net.Name, g.mac
		e.put(b.Grant(g.claim(ia), g.now.Add(preferred+lease.Slack), g.now.Add(valid+lease.Slack)))
	}
	if g.pooled {
		g.ledger.note(g.net.Name, holder, a)
	}
	return Lease{Addr: a, Preferred: preferred, Valid: valid}
}

// cardSeen reports whether the asking card showed itself; a DUID may hold the MAC of another one of the machine.
func (g *granting) cardSeen() bool {
	return slices.ContainsFunc(g.req.Evidence, func(e who.Evidence) bool { return e.Kind == who.FrameMAC || e.Kind == who.RelayMAC })
}

// count counts what is granted, and the shortest time until it is to be renewed.
func (g *granting) count(preferred time.Duration) {
	if g.granted == 0 {
		g.minPreferred = preferred
	}
	g.granted++
	g.minPreferred = min(g.minPreferred, preferred)
}

// refuse answers an IA with a status and no address.
func (g *granting) refuse(ia IA, code uint16, why reason.Reason) IAReply {
	if why == reason.NotOwner || g.why == reason.None {
		g.why = why
	}
	return IAReply{Kind: ia.Kind, IAID: ia.IAID, Status: status(code)}
}

// refuseFull answers an IA that there is nothing for (RFC 8415 section 18.3.2).
func (g *granting) refuseFull(ia IA) IAReply {
	switch {
	case ia.Kind == IAPD:
		return g.refuse(ia, NoPrefixAvail, reason.NoAddrsAvail)
	case g.pooled && len(g.net.Pools) > 0:
	case ia.Kind == IANA && (g.pooled || len(g.fixed(&g.ledger)) == 0):
		return g.refuse(ia, NoAddrsAvail, reason.NoPrefix)
	}
	return g.refuse(ia, NoAddrsAvail, reason.NoAddrsAvail)
}

// status is a code with what a person reads in a capture.
func status(code uint16) *Status {
	text := "done"
	switch code {
	case NoAddrsAvail:
		text = "no address for this IA"
	case NoBinding:
		text = "no binding for this IA"
	case NotOnLink:
		text = "not for this link"
	case NoPrefixAvail:
		text = "no prefix for this IA"
	}
	return &Status{Code: code, Text: text}
}

// commit finishes a Reply that binds.
func (g *granting) commit() {
	g.d.Reserved = g.match.NIC != nil && !g.fromDelegation() // what nobody reserved for it may be another's by the time the store writes again
	g.d.Ops = append(g.ledger.ops(), g.partOps()...)
	if g.granted > 0 {
		g.d.Ops = append(g.d.Ops, who.Learn(g.view, g.match, g.req.Evidence)...)
	}
	switch {
	case g.why == reason.NotOwner || g.granted == 0 && g.why != reason.None:
		g.d.Reason = g.why
	case len(g.d.Ops) > 0:
		g.d.Reason = reason.Changed
	case g.granted > 0:
		g.d.Reason = reason.Retransmit
	default:
		g.d.Reason = reason.Answered
	}
	for _, o := range g.offers {
		if o.given && g.d.Reason != reason.Retransmit {
			g.event(timeline.DHCPLease, g.d.Reason, o.addr.String(), "")
			if g.d.Heard != nil {
				g.d.Heard.Addr = o.addr.String()
			}
		}
	}
	if g.d.Reason != reason.Retransmit {
		g.toldParts()
		g.offered()
	}
}
