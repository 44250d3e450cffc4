package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/net/ipv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// serve answers one datagram. Whatever happens, there is one observation.
func (s *Server) serve(ctx context.Context, d *datagram) {
	start := s.cfg.Now()
	message := ""
	defer func() {
		if p := recover(); p != nil {
			err := fmt.Errorf("answering DHCPv6 packet: panic: %v", p)
			s.observe(d, message, reason.Outcome{Reason: reason.Malformed}, err)
			s.trace(d, start, "", reason.Outcome{Reason: reason.Malformed}, sent{err: err})
		}
	}()
	if d.over {
		s.observe(d, message, reason.Outcome{Reason: reason.Oversized}, nil)
		s.trace(d, start, "", reason.Outcome{Reason: reason.Oversized}, sent{})
		return
	}
	d.mac, d.seen = s.sender(d, start)
	p, why := parse(d.buf[:d.n])
	message = p.req.Msg.String()
	if why != reason.None {
		s.observe(d, message, reason.Outcome{Reason: why}, nil)
		s.trace(d, start, p.req.Client, reason.Outcome{Reason: why}, sent{})
		return
	}
	snap := s.cfg.Snapshot()
	if len(p.hops) > 0 {
		if !s.relayed(d, &p, snap, start) {
			return
		}
	} else {
		s.evidence(&p.req, snap, d)
		p.req.Hold = s.hold(d.link, start)
	}
	decision, err := s.decide(ctx, snap, p.req, start)
	if len(p.hops) > 0 {
		s.ports.charge(s.ports.of(p.req.At.Relay, p.hops), decision, start)
	}
	var out sent
	if err == nil && decision.Reply != nil {
		var reply []byte
		reply, out.left = encodeWhole(decision.Reply, p.xid, p.req.Client, snap.ServerDUID)
		out.octets = wrap(p.hops, passOn(reply, p.hops, p.req.ORO))
		err = s.send(d, p.hops, out.octets)
	}
	if decision.Outcome.Reason == reason.OtherServer && len(p.hops) == 0 {
		s.overheard(d.link, p.req)
	}
	out.err, out.took = err, s.cfg.Now().Sub(start)
	s.cfg.Observer.Observe(timeline.Observation{
		Adapter: adapter, Message: message, Outcome: decision.Outcome, Took: out.took, Err: err,
		Peer: strconv.Quote(d.from.String()), Events: decision.Events, MAC: seen(p.req.Evidence), Heard: decision.Heard,
	})
	s.trace(d, start, p.req.Client, decision.Outcome, out)
}

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
	if d.seen {
		req.Evidence = who.Frame(d.mac)
	}
	req.Evidence = append(req.Evidence, who.Client(req.Client)...)
	for _, e := range who.Source(source) {
		if e.Kind == who.EUI64 { // whose lease the source is says who had it, not who asks
			req.Evidence = append(req.Evidence, e)
		}
	}
}

// decide decides inside a transaction, so that two packets cannot get one address, and comes back when all that the
// answer rests on is durable. An error comes with a Decision that is silent.
func (s *Server) decide(ctx context.Context, snap *site.Snapshot, req address.Request, now time.Time) (address.Decision, error) {
	// A stop lets the transactions that are under way end.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTimeout)
	defer cancel()
	var d address.Decision
	err := s.cfg.Store.Update(ctx, func(v store.View) []store.Op {
		d = address.Decide(snap, v, req, now)
		return d.Ops
	})
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, store.ErrReadOnly):
		return s.standing(snap, req, now), nil
	case errors.Is(err, store.ErrUnknown), errors.Is(err, context.DeadlineExceeded):
		d.Outcome.Reason = reason.StoreUnknown
		return address.Decision{Outcome: d.Outcome}, nil
	}
	d.Outcome.Reason = reason.StoreUnknown
	return address.Decision{Outcome: d.Outcome}, fmt.Errorf("committing DHCPv6 lease: %w", err)
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

// send writes to where the packet came from, over the interface that it came in on. Asked at an address of ours, it
// answers from that; asked at a group, the kernel picks the address that fits the client's. To a relay with a global address
// the kernel's routes lead, and a relay listens on the servers' port unless it says otherwise (RFC 8357 section 5.2).
func (s *Server) send(d *datagram, hops []hop, b []byte) error {
	cm := ipv6.ControlMessage{IfIndex: d.link}
	if !d.dst.IsMulticast() {
		cm.Src = d.dst.AsSlice()
	}
	// The interface in the control message stands for the zone.
	to := netip.AddrPortFrom(d.from.Addr().WithZone(""), d.from.Port())
	if len(hops) > 0 {
		if !to.Addr().IsLinkLocalUnicast() {
			cm.IfIndex = 0
		}
		if hops[0].port == nil {
			to = netip.AddrPortFrom(to.Addr(), serverPort)
		}
	}
	if _, _, err := s.conn.WriteMsgUDPAddrPort(b, cm.Marshal(), to); err != nil {
		return fmt.Errorf("sending DHCPv6 reply: %w", err)
	}
	return nil
}

// observe reports a packet that was not decided.
func (s *Server) observe(d *datagram, message string, o reason.Outcome, err error) {
	if message == "" {
		message = address.Msg(0).String()
	}
	s.cfg.Observer.Observe(timeline.Observation{
		Adapter: adapter, Message: message, Outcome: o, Err: err, Peer: strconv.Quote(d.from.String()), MAC: d.mac,
	})
}
