package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// seen is the MAC that the evidence shows, zero where it shows none.
func seen(ev []who.Evidence) ident.MAC {
	for _, e := range ev {
		if e.Kind <= who.DUIDMAC {
			return e.MAC
		}
	}
	return ident.MAC{}
}

// evidence fills in where the message came from and what that says of its sender.
func (s *Server) evidence(req *address.Request, snap *site.Snapshot, d *datagram) {
	source := d.from.Addr().WithZone("")
	req.At = site.Arrival{Index: d.link, Source: source, Dest: d.dst}
	if source.IsLinkLocalUnicast() {
		req.At.Via = source
	}
	for _, n := range snap.Networks {
		if n.Link != nil && n.Link.Index == d.link {
			req.At.Link = n.Link.Name
			break
		}
	}
	if d.seen && d.mac.Valid() {
		req.Evidence = append(req.Evidence, who.Evidence{Kind: who.FrameMAC, MAC: d.mac})
	}
	// Whose lease the source is says who had it, not who asks.
	req.Evidence = who.AppendEUI64(who.AppendClient(req.Evidence, req.Client), source)
}

// settle makes the answer of an item whose transaction has ended: all that it rests on is durable, or there is none.
func (s *Server) settle(ctx context.Context, it *item, snap *site.Snapshot, start time.Time) {
	err := it.err
	if err == nil {
		err = it.commit.Wait(ctx) // it has ended
	}
	it.err = nil
	outcome := it.decision.Outcome
	outcome.Reason = reason.StoreUnknown
	switch {
	case err == nil:
	case errors.Is(err, store.ErrReadOnly):
		it.decision = s.standing(snap, it.p.req, start)
	case errors.Is(err, store.ErrUnknown), errors.Is(err, context.DeadlineExceeded):
		it.decision = address.Decision{Outcome: outcome}
	default:
		it.decision, it.err = address.Decision{Outcome: outcome}, fmt.Errorf("committing DHCPv6 lease: %w", err)
	}
	if it.decision.Reply == nil {
		return
	}
	reply, left := encodeWhole(it.rooms.reply[:0], it.decision.Reply, it.p.xid, it.p.req.Client, snap.ServerDUID)
	reply = passOn(reply, it.p.hops, it.p.req.ORO)
	it.rooms.reply = reply
	it.out.octets, it.out.left = wrap(it.p.hops, reply), left
}

// standing decides without writing, for a store that is read-only: what the inventory reserves is answered, all else is
// silence.
func (s *Server) standing(snap *site.Snapshot, req address.Request, now time.Time) address.Decision {
	var d address.Decision
	s.cfg.Store.Read(func(v store.View) { d = address.Decide(snap, v, req, now) })
	if len(d.Ops) > 0 && !d.Reserved {
		d.Outcome.Reason = reason.StoreReadOnly
		return address.Decision{Outcome: d.Outcome}
	}
	if d.Outcome.Reason == reason.Changed {
		d.Outcome.Reason = reason.Answered
	}
	d.Ops = nil
	return d
}

// reply queues an answer for where the packet came from, over the interface that it came in on. Asked at an address of ours, it
// answers from that; asked at a group, the kernel picks the address that fits the client's. To a relay with a global address
// the kernel's routes lead. Clients listen on their own port whatever they send from (RFC 8415 section 7.2), so no other port
// of a machine can be written to by forging its address; a relay listens on the servers' port unless it says otherwise (RFC
// 8357 section 5.2).
func (s *Server) reply(b *ingress.Batch, it *item) {
	d := &it.d
	to := ingress.Peer{Addr: d.from, Index: d.link}
	if !d.dst.IsMulticast() {
		to.Local = d.dst
	}
	hops := it.p.hops
	switch {
	case len(hops) == 0 && s.clients != 0:
		to.Addr = netip.AddrPortFrom(to.Addr.Addr(), s.clients)
	case len(hops) > 0 && hops[0].port == nil:
		to.Addr = netip.AddrPortFrom(to.Addr.Addr(), serverPort)
	}
	it.out.port = to.Addr.Port()
	if len(hops) > 0 {
		if !to.Addr.Addr().IsLinkLocalUnicast() {
			b.Send(it.out.octets, to)
			return
		}
	}
	b.SendOn(it.out.octets, to)
}

// observe reports a packet that was not decided.
func (s *Server) observe(d *datagram, m address.Msg, o reason.Outcome, err error) {
	s.cfg.Observer.Observe(timeline.Observation{
		Adapter: adapter, Message: m.String(), Outcome: o, Err: err, From: timeline.Sender{AddrPort: d.from}, MAC: d.mac,
	})
}
