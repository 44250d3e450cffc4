package dhcp6

import (
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/trace"
)

// Tracer is who looks at packets live. trace.Hub is one.
type Tracer interface {
	// Wanted is asked for each packet: it must be cheap.
	Wanted() bool
	Trace(trace.Exchange)
}

// sent is what went back for a datagram; no octets: nothing did.
type sent struct {
	octets []byte
	// port is the one that they were sent to.
	port uint16
	left []uint16
	took time.Duration
	err  error
}

// trace shows a datagram and its answer to those who look. It costs next to nothing while nobody does.
func (s *Server) trace(d *datagram, at time.Time, client ident.DUID, o reason.Outcome, out sent) {
	if s.cfg.Tracer == nil || !s.cfg.Tracer.Wanted() {
		return
	}
	x := trace.Exchange{
		Time: at, Client: netip.AddrPortFrom(d.from.Addr().WithZone(""), d.from.Port()), Server: d.dst, DUID: client,
		Query: slices.Clone(d.octets), Reply: slices.Clone(out.octets), LeftOut: out.left, Took: out.took, Outcome: o,
	}
	if d.seen {
		x.MAC = d.mac
	} else if m, ok := client.MAC(); ok {
		x.MAC = m
	}
	if out.err != nil {
		x.Err = out.err.Error()
	}
	x.Link, x.ServerMAC, x.From = seenOn(s.cfg.Snapshot(), d)
	if len(out.octets) == 0 {
		x.From = netip.Addr{}
	} else {
		x.To = out.port
	}
	s.cfg.Tracer.Trace(x)
}

// seenOn is the link of a datagram, its card, and where an answer comes from.
func seenOn(snap *site.Snapshot, d *datagram) (link string, mac ident.MAC, from netip.Addr) {
	for _, n := range snap.Networks {
		if n.Link != nil && n.Link.Index == d.link {
			return n.Link.Name, n.Link.MAC, answersFrom(d, *n.Link, n.Own)
		}
	}
	l, ok := snap.Carries(d.link)
	if !ok {
		return "", ident.MAC{}, netip.Addr{}
	}
	own := netip.Addr{}
	for _, p := range l.Addrs {
		if own = p.Addr(); p.Contains(d.from.Addr().WithZone("")) {
			break
		}
	}
	return l.Name, l.MAC, answersFrom(d, l, own)
}

// answersFrom is the address that the kernel takes for an answer (RFC 6724 section 5): the one that was asked, else one of
// the same scope.
func answersFrom(d *datagram, l site.Link, own netip.Addr) netip.Addr {
	switch {
	case !d.dst.IsMulticast():
		return d.dst
	case d.from.Addr().IsLinkLocalUnicast() || !own.IsValid():
		return l.LinkLocal
	}
	return own
}
