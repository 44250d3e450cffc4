package address

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// release answers a Release (RFC 8415 section 18.3.7): it drops the sender's own claims and no other's.
func (x *exchange) release() {
	x.giveBack(func(e *entry, c lease.Claim) {
		if b, ok := e.b.Release(c, x.now); ok {
			x.rest(e, b)
			x.event(timeline.DHCPRelease, reason.Changed, e.addr.String(), b.State.String())
		}
	})
}

// rest writes what a release left. An address that the inventory keeps for a card by now does not rest: that card waits for
// it.
func (x *exchange) rest(e *entry, b lease.Binding) {
	if b.State == lease.Resting && x.pooled && x.kept(e.addr) {
		e.end()
		return
	}
	e.put(b)
}

// decline answers a Decline (section 18.3.8): the address is put aside. One of a pool that is beyond the limit is free for
// others at once, else one client that declines whatever it is offered takes the pool away from all; vacant keeps it from the
// card that declined it.
func (x *exchange) decline() {
	limited := false
	x.giveBack(func(e *entry, c lease.Claim) {
		counted := x.pooled && !x.kept(e.addr)
		over := counted && x.d.PutAside >= x.req.PutAside
		aside := x.aside(e)
		if over {
			aside = 0
		}
		b, ok := e.b.Decline(c, x.now, aside)
		if !ok {
			return
		}
		e.put(b)
		if over {
			limited = true
			x.event(timeline.DHCPDecline, reason.RateLimited, e.addr.String(), fmt.Sprintf(
				"not put aside: too many are already for this card, or on %s; the card does not get it for %s", x.net.Name, lease.DeclinerAvoids))
			return
		}
		if counted {
			x.d.PutAside++
		}
		x.event(timeline.DHCPDecline, reason.Changed, e.addr.String(), "")
		x.event(timeline.Warning, reason.NoAddrsAvail, e.addr.String(), fmt.Sprintf(
			"another machine uses the address of %s: nobody gets it for %s; find that machine", b.Holder, aside))
	})
	if limited && x.d.Reason == reason.Changed {
		x.d.Reason = reason.RateLimited
	}
}

// aside is how long a declined address is handed to nobody. A host that waits for it has no other.
func (x *exchange) aside(e *entry) time.Duration {
	if x.pooled && !x.kept(e.addr) {
		return lease.DeclineGuestFor
	}
	return lease.DeclineFor
}

// giveBack walks the addresses that a Release or Decline names. An address of the sender's without the claim stays as it
// is and is no fault: a retransmit finds its claim gone. All else is NoBinding, in the IA.
func (x *exchange) giveBack(drop func(*entry, lease.Claim)) {
	l := ledger{view: x.view}
	x.d.Reply = &Reply{
		Msg: ReplyMsg, Preference: noPreference, Status: status(Success),
	}
	why := reason.None
	var ops []store.Op
	for _, ia := range x.req.IAs {
		known := false
		if ia.Kind == IAPD && x.req.Msg == Release {
			var other bool
			if ops, known, other = x.releaseParts(ops, ia); other {
				why = reason.NotOwner
			}
		}
		for _, a := range ia.Addrs {
			e := l.at(a)
			switch {
			case ia.Kind != IANA:
			case x.mine(e, ia):
				known = true
				drop(e, x.claim(ia))
			case x.others(e, ia):
				why = reason.NotOwner
			}
		}
		if !known {
			x.d.Reply.IAs = append(x.d.Reply.IAs, IAReply{
				Kind: ia.Kind, IAID: ia.IAID, Status: status(NoBinding),
			})
			why = cmp.Or(why, reason.NoBinding)
		}
	}
	x.d.Ops = append(l.ops(), ops...)
	switch {
	case why == reason.NotOwner || why != reason.None && len(x.d.Ops) == 0:
		x.d.Reason = why
	case len(x.d.Ops) > 0:
		x.d.Reason = reason.Changed
	default:
		x.d.Reason = reason.Retransmit
	}
}

// confirm answers a Confirm (section 18.3.3): are these addresses good on this link? It reads no lease. No address, or no
// prefix to measure it by: silence.
func (x *exchange) confirm() {
	var addrs, off int
	for _, ia := range x.req.IAs {
		addrs += len(ia.Addrs)
		for _, a := range ia.Addrs {
			if _, ok := x.prefix(a); !ok {
				off++
			}
		}
	}
	switch {
	case addrs == 0:
		x.d.Reason = reason.NoBinding
		return
	case !slices.ContainsFunc(x.net.Prefixes, x.alive):
		x.d.Reason = reason.NoPrefix
		return
	}
	x.d.Reply, x.d.Reserved = x.reply(ReplyMsg), true
	code := Success
	x.d.Reason = reason.Answered
	if off > 0 {
		code, x.d.Reason = NotOnLink, reason.NotOnLink
	}
	x.d.Reply.Status = status(code)
}
