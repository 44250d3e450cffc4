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
	left   []uint16
	took   time.Duration
	err    error
}

// trace shows a datagram and its answer to those who look. It costs next to nothing while nobody does.
func (s *Server) trace(d *datagram, at time.Time, client ident.DUID, o reason.Outcome, out sent) {
	if s.cfg.Tracer == nil || !s.cfg.Tracer.Wanted() {
		return
	}
	x := trace.Exchange{
		Time: at, Client: netip.AddrPortFrom(d.from.Addr().WithZone(""), d.from.Port()), Server: d.dst, DUID: client,
		Query: slices.Clone(d.buf[:d.n]), Reply: out.octets, LeftOut: out.left, Took: out.took, Outcome: o,
	}
	if d.seen {
		x.MAC = d.mac
	} else if m, ok := client.MAC(); ok {
		x.MAC = m
	}
	if out.err != nil {
		x.Err = out.err.Error()
	}
	for _, n := range s.cfg.Snapshot().Networks {
		if n.Link != nil && n.Link.Index == d.link {
			x.Link, x.ServerMAC = n.Link.Name, n.Link.MAC
			if len(out.octets) > 0 {
				x.From = answersFrom(d, n)
			}
			break
		}
	}
	s.cfg.Tracer.Trace(x)
}

// answersFrom is the address that the kernel takes for an answer (RFC 6724 section 5): the one that was asked, else one of
// the same scope.
func answersFrom(d *datagram, n *site.Network) netip.Addr {
	switch {
	case !d.dst.IsMulticast():
		return d.dst
	case d.from.Addr().IsLinkLocalUnicast() || !n.Own.IsValid():
		return n.Link.LinkLocal
	}
	return n.Own
}
