package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"bootd.internal/bootd/decide/name"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
	"github.com/miekg/dns"
)

// client is who asked, how, and the way back.
type client struct {
	at    site.Arrival
	net   *site.Network
	peer  netip.AddrPort
	tcp   bool
	began time.Time
	// send writes an answer and must not block for long.
	send func([]byte)
	// finish is called when the query is done with, answered or not; nil: nobody waits for that.
	finish func()
}

// datagram takes one datagram.
func (s *Server) datagram(ctx context.Context, p []byte, from ingress.Peer, truncated bool) {
	c := client{peer: from.Addr, began: s.cfg.Now()}
	c.send = func(b []byte) {
		// An answer that does not leave is a lost packet: the client asks again.
		_ = s.udp.Write(b, from)
	}
	var why reason.Reason
	c.at, c.net, why = ingress.Served(s.cfg.Snapshot(), from.Index, from.Addr.Addr(), from.Local)
	if why == reason.None && truncated {
		why = reason.Oversized
	}
	if why != reason.None {
		s.observe(c, nil, reasonOnly(why), nil)
		return
	}
	s.handle(ctx, c, p)
}

// handle answers one query, or has the forwarder answer it later.
func (s *Server) handle(ctx context.Context, c client, p []byte) {
	later := false
	var q *query
	defer func() {
		if v := recover(); v != nil {
			s.observe(c, q, reasonOnly(reason.Malformed), fmt.Errorf("handling DNS query: panic: %v", v))
		}
		if !later && c.finish != nil {
			c.finish()
		}
	}()
	parsed, err := parseQuery(p)
	q = &parsed
	snap := s.cfg.Snapshot()
	switch {
	case snap == nil, errors.Is(err, errSilent):
		s.observe(c, nil, reasonOnly(reason.Malformed), nil)
	case !ingress.Local(snap, c.at.Source):
		s.answer(c, q, blank(q, codeRefused), reasonOnly(reason.Refused), nil)
	case errors.Is(err, errNotImplemented):
		s.answer(c, q, blank(q, codeNotImp), reasonOnly(reason.Refused), nil)
	case err != nil:
		s.answer(c, q, blank(q, codeFormErr), reasonOnly(reason.Malformed), nil)
	case q.version > 0:
		s.answer(c, q, blank(q, codeBadVers), reasonOnly(reason.Refused), nil)
	default:
		later = s.resolve(ctx, c, q, snap)
	}
}

// resolve answers from the snapshot, from the cache, or by the forwarder; then it reports true.
func (s *Server) resolve(ctx context.Context, c client, q *query, snap *site.Snapshot) (later bool) {
	d := name.Decide(snap, s.cfg.Held, name.Question{Name: q.name, Type: name.Type(q.typ), Class: q.class})
	if !d.Forward {
		a, err := localAnswer(q, d)
		if err != nil {
			a, err = blank(q, codeServFail), fmt.Errorf("answering for %q: %w", q.name, err)
		}
		s.answer(c, q, a, d.Outcome, err)
		return false
	}
	switch {
	case len(s.servers(snap)) == 0:
		s.answer(c, q, blank(q, codeRefused), reasonOnly(reason.NoUpstream), nil)
		return false
	case !q.rd:
		// Nobody asks a forwarder without wanting it to forward, but to see what others asked for.
		s.answer(c, q, blank(q, codeRefused), reasonOnly(reason.Refused), nil)
		return false
	}
	k := keyOf(q)
	if a := s.cache.get(k, s.cfg.Now()); a != nil {
		s.answer(c, q, a, reasonOnly(cached(a)), nil)
		return false
	}
	why := s.forwarder.join(ctx, k, q, waiter{
		peer: c.at.Source,
		done: func(a *answer, why reason.Reason, err error) {
			if ctx.Err() == nil {
				s.answer(c, q, a, reasonOnly(why), err)
			}
			if c.finish != nil {
				c.finish()
			}
		},
	})
	if why != reason.None {
		s.answer(c, q, blank(q, codeServFail), reasonOnly(why), nil)
		return false
	}
	return true
}

// cached is the reason of an answer that was kept: a failure goes on being one.
func cached(a *answer) reason.Reason {
	if a.code == codeServFail {
		return reason.UpstreamFailed
	}
	return reason.Cached
}

// ask is one flight of the forwarder: what it learns is kept before anybody is told.
func (s *Server) ask(ctx context.Context, q *query) (a *answer, why reason.Reason, err error) {
	defer func() {
		if v := recover(); v != nil {
			a, why, err = blank(q, codeServFail), reason.UpstreamFailed, fmt.Errorf("forwarding DNS query: panic: %v", v)
		}
	}()
	if a := s.cache.get(keyOf(q), s.cfg.Now()); a != nil { // the flight before this one landed while the client came to join
		return a, cached(a), nil
	}
	why = reason.Forwarded
	a, err = s.upstreams.resolve(ctx, q, s.servers(s.cfg.Snapshot()))
	if err != nil {
		// Not a fault of ours: the reason says it, and a log line for each would only repeat it.
		why, err = reason.UpstreamFailed, nil
		a = blank(q, codeServFail)
		a.made, a.life = s.cfg.Now(), failureLife
	}
	if ctx.Err() == nil {
		s.cache.put(keyOf(q), a)
	}
	return a, why, err
}

// servers are the upstreams without ourselves, or a question would run in circles.
func (s *Server) servers(snap *site.Snapshot) []netip.AddrPort {
	port := s.Addr().Port()
	out := make([]netip.AddrPort, 0, len(snap.Forward))
	for _, u := range snap.Forward {
		if u.Port() != port || !own(snap, u.Addr().WithZone("")) {
			out = append(out, u)
		}
	}
	return out
}

func own(snap *site.Snapshot, a netip.Addr) bool {
	for _, n := range snap.Networks {
		for _, mine := range n.Servers {
			if mine == a {
				return true
			}
		}
		if n.Link != nil && n.Link.LinkLocal == a {
			return true
		}
	}
	return a.IsLoopback() // the wildcard socket holds this port of ::1 too
}

func (s *Server) answer(c client, q *query, a *answer, o reason.Outcome, err error) {
	recursion := len(s.cfg.Snapshot().Forward) > 0
	c.send(a.reply(q, s.cfg.Now(), q.limit(c.tcp), recursion))
	s.observe(c, q, o, err)
}

// observe tells the observer of a query that has been dealt with; q is nil when there was none to read.
func (s *Server) observe(c client, q *query, o reason.Outcome, err error) {
	if c.net != nil {
		o.Network = c.net.Name
	}
	s.cfg.Observer.Observe(timeline.Observation{
		Adapter: s.String(), Message: message(q), Outcome: o, Took: s.cfg.Now().Sub(c.began), Err: err,
		Peer: strconv.Quote(c.peer.Addr().String()),
	})
}

// fault reports what went wrong with a socket.
func (s *Server) fault(err error) {
	s.cfg.Observer.Observe(timeline.Observation{Adapter: s.String(), Message: message(nil), Err: err})
}

func reasonOnly(why reason.Reason) reason.Outcome { return reason.Outcome{Reason: why} }

// message names a query's type for metrics: a closed set.
func message(q *query) string {
	if q == nil || q.question == nil {
		return "other"
	}
	switch q.typ {
	case dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeNS, dns.TypeSOA, dns.TypeMX, dns.TypeTXT, dns.TypeSRV, dns.TypeCNAME,
		dns.TypeDS, dns.TypeDNSKEY, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeANY:
		return dns.TypeToString[q.typ]
	}
	return "other"
}
