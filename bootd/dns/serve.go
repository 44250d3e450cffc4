package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
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
	// from is where a datagram came from, out what its answer leaves with; nil: alone.
	from ingress.Peer
	out  *ingress.Batch
	// send writes an answer over TCP and must not block for long.
	send func([]byte)
	// finish is called when the query is done with, answered or not; nil: nobody waits for that.
	finish func()
}

// datagram takes one datagram that came in like this.
func (s *Server) datagram(ctx context.Context, p []byte, from ingress.Peer, truncated bool, c client, why reason.Reason) {
	c.from = from
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
	case !allowed(snap, c.at.Source):
		q.prohibited = true
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
	d := name.Decide(snap, s.cfg.Leases, name.Question{Name: q.name, Type: name.Type(q.typ), Class: q.class, DNS64: c.dns64()})
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
	q.dns64, q.foreign, q.alias = usable64(q, c.dns64()), s.editions.of(snap), d.Alias
	return s.fetch(ctx, c, q, snap)
}

// fetch answers from the cache, or has the forwarder ask; then it reports true.
func (s *Server) fetch(ctx context.Context, c client, q *query, snap *site.Snapshot) (later bool) {
	k := q.key()
	found, ok := s.cache.get([]byte(k), s.cfg.Now(), snap.DNS.Stale)
	switch {
	case !ok:
	case found.waiting && found.answer == nil:
		s.answer(c, q, blank(q, codeServFail), reasonOnly(reason.UpstreamFailed), nil)
		return false
	case found.waiting:
		s.answer(c, q, found.answer, reasonOnly(reason.Stale), nil)
		return false
	case found.answer != nil && !found.stale:
		if found.refresh {
			s.forwarder.refresh(ctx, k, q)
		}
		if found.foreign != q.foreign && q.alias == "" {
			s.cache.confirm(k, q.foreign)
		}
		s.answer(c, q, found.answer, reasonOnly(reason.Cached), nil)
		return false
	}
	why := s.forwarder.join(ctx, k, q, waiter{
		peer: s.counted(c),
		done: func(out *ingress.Batch, a *answer, why reason.Reason, err error) {
			if c.out = out; ctx.Err() == nil {
				s.answer(c, q, a, reasonOnly(why), err)
			}
			if c.finish != nil {
				c.finish()
			}
		},
	}, found.answer, snap.DNS.ClientLimit)
	switch {
	case why == reason.None:
		return true
	case found.answer != nil: // an old answer is better than none
		s.answer(c, q, found.answer, reasonOnly(reason.Stale), nil)
	default:
		s.answer(c, q, blank(q, codeServFail), reasonOnly(why), nil)
	}
	return false
}

// ask is one flight of the forwarder: what it learns is kept before anybody is told.
func (s *Server) ask(ctx context.Context, k string, q *query) (a *answer, why reason.Reason, err error) {
	defer func() {
		if v := recover(); v != nil {
			a, why, err = blank(q, codeServFail), reason.UpstreamFailed, fmt.Errorf("forwarding DNS query: panic: %v", v)
		}
	}()
	snap := s.cfg.Snapshot()
	switch {
	case q.alias != "":
		return s.aliased(ctx, q, snap)
	case q.dns64 != nil:
		return s.synthesized(ctx, k, q, snap)
	}
	return s.learn(ctx, k, q, snap, nil)
}

// learn gives what is kept or asks upstreams, and keeps what they say. change, which may be nil, makes an answer of our own of
// theirs.
func (s *Server) learn(ctx context.Context, k string, q *query, snap *site.Snapshot, change func(*answer, error) (*answer, error)) (a *answer, why reason.Reason, err error) {
	found, _ := s.cache.get([]byte(k), s.cfg.Now(), snap.DNS.Stale)
	switch {
	case found.answer != nil && !found.stale && !found.refresh: // the flight before this one landed while the client came to join
		return found.answer, reason.Cached, nil
	case found.waiting && found.answer == nil:
		return blank(q, codeServFail), reason.UpstreamFailed, nil
	}
	a, err = s.upstreams.resolve(ctx, q, s.servers(snap), snap.DNS.UpstreamLimit)
	if change != nil {
		a, err = change(a, err)
	}
	a, why = s.learned(ctx, k, q, snap, found.answer, a, err)
	return a, why, nil
}

// learned keeps what upstreams say, and gives the old answer where they say nothing. That is not a fault of ours: the reason says
// it, and a log line for each would only repeat it.
func (s *Server) learned(ctx context.Context, k string, q *query, snap *site.Snapshot, old, a *answer, err error) (*answer, reason.Reason) {
	switch {
	case err == nil:
		s.cache.put(k, a, q.foreign, snap.DNS.Cache)
		return a, reason.Forwarded
	case ctx.Err() == nil:
		s.cache.fail(k, q.foreign, s.cfg.Now(), snap.DNS.Cache)
	}
	if old != nil {
		return old, reason.Stale
	}
	return blank(q, codeServFail), reason.UpstreamFailed
}

// servers are the upstreams without ourselves, or a question would run in circles.
func (s *Server) servers(snap *site.Snapshot) []site.Upstream {
	port := s.Addr().Port()
	out := make([]site.Upstream, 0, len(snap.DNS.Upstreams))
	for _, u := range snap.DNS.Upstreams {
		if u.Addr.Port() != port || !own(snap, u.Addr.Addr().WithZone("")) {
			out = append(out, u)
		}
	}
	return out
}

// allowed reports whether an address may ask: of a served network, or of a prefix that the inventory lets in besides.
func allowed(snap *site.Snapshot, a netip.Addr) bool {
	return ingress.Local(snap, a) || slices.ContainsFunc(snap.DNS.Access, func(p netip.Prefix) bool { return p.Contains(a) })
}

// health tells of an upstream that is down, or up again.
func (s *Server) health(u site.Upstream, down bool) {
	e := timeline.Event{Kind: timeline.Warning, Addr: u.Addr.String(), Detail: "the resolver " + u.String() + " answers again"}
	if down {
		e.Detail = "the resolver " + u.String() + " does not answer: others are asked first, see bootd doctor"
	}
	s.cfg.Observer.Observe(timeline.Observation{Adapter: s.String(), Message: "upstream", Events: []timeline.Event{e}})
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
	q.echo = s.cookies(q, c.at.Source, s.cfg.Now())
	if code, ok := extended(o.Reason, a.code); ok {
		q.echo = appendExtended(q.echo, code)
	} else if q.prohibited {
		q.echo = appendExtended(q.echo, dns.ExtendedErrorCodeProhibited)
	}
	recursion := len(s.cfg.Snapshot().DNS.Upstreams) > 0
	s.send(c, a.reply(q, s.cfg.Now(), q.limit(c.tcp), recursion))
	s.observe(c, q, o, err)
}

// send writes an answer. A datagram that does not leave is a lost packet: the client asks again.
func (s *Server) send(c client, b []byte) {
	switch {
	case c.send != nil:
		c.send(b)
	case c.out != nil:
		c.out.Send(append(c.out.Room(), b...), c.from)
	default:
		_ = s.udp.Write(b, c.from)
	}
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
	return typeName(q.typ)
}

func typeName(typ uint16) string {
	switch typ {
	case dns.TypeA, dns.TypeAAAA, dns.TypePTR, dns.TypeNS, dns.TypeSOA, dns.TypeMX, dns.TypeTXT, dns.TypeSRV, dns.TypeCNAME,
		dns.TypeDS, dns.TypeDNSKEY, dns.TypeHTTPS, dns.TypeSVCB, dns.TypeANY:
		return dns.TypeToString[typ]
	}
	return "other"
}
