package dns

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"time"

	"bootd.internal/bootd/egress"
	"bootd.internal/bootd/site"
)

const (
	// patience is how long a client's question may take: resolvers in clients ask again after 5 s.
	patience = 4500 * time.Millisecond
	// rounds is how often each upstream may be asked for one client, since a datagram may be lost, and racing how many at once. A
	// connection loses nothing, but may end.
	rounds         = 5
	roundsOnStream = 2
	racing         = 8
	// moments is how long the first upstream is waited for by whoever asks, before all that a race needs is made. It is the least
	// time after which another one would be asked.
	moments = hedgeLeast
)

var (
	errMismatch = errors.New("answer to another question")
	errNoAnswer = errors.New("no upstream answered")
	errBusy     = errors.New("too many questions wait for it")
	errUseless  = errors.New("it cannot answer")
	errOverrun  = errors.New("another upstream answered first")
)

// upstreams asks resolvers: the one that answers fastest first, another one beside it when that takes long, the next at once
// when it fails.
type upstreams struct {
	now   func() time.Time
	roots *x509.CertPool
	// ctx ends the connections.
	ctx context.Context
	// changed is told of an upstream that is down, or up again.
	changed func(u site.Upstream, down bool)
	secret  [32]byte
	talks   sync.WaitGroup
	crew    *crew
	sockets *egress.Sockets

	mu    sync.Mutex
	known map[site.Upstream]*upstream

	// leaving guards what leaves with the next flush, whether somebody looks for what is overdue, and whether more left since he did.
	leaving       sync.Mutex
	outboxes      []outbox
	watched, more bool
	watcher       *time.Timer
}

func newUpstreams(ctx context.Context, now func() time.Time, roots *x509.CertPool) *upstreams {
	u := &upstreams{ctx: ctx, now: now, roots: roots, known: map[site.Upstream]*upstream{}}
	_, _ = rand.Read(u.secret[:]) // it never fails (crypto/rand)
	return u
}

// use finds what is known of these upstreams, and forgets others when there are many.
func (u *upstreams) use(servers []site.Upstream) []*upstream {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.known) > 2*len(servers)+16 { // inventories came and went
		for s := range u.known {
			if !slices.Contains(servers, s) {
				u.known[s].close()
				delete(u.known, s)
			}
		}
	}
	out := make([]*upstream, len(servers))
	for i, s := range servers {
		if u.known[s] == nil {
			u.known[s] = newUpstream(s, u.secret[:])
			u.known[s].sockets = u.sockets
		}
		out[i] = u.known[s]
	}
	return out
}

// close closes the sockets that wait for a question.
func (u *upstreams) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, p := range u.known {
		p.close()
	}
}

// order sorts upstreams: those that answer before those that are down, fast before slow, and as written.
func order(all []*upstream, now time.Time) (sorted, probes []*upstream) {
	if len(all) == 1 {
		return all, nil
	}
	st := make(map[*upstream]standing, len(all))
	for _, p := range all {
		st[p] = p.standing(now)
	}
	sorted = slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b *upstream) int {
		x, y := st[a], st[b]
		if x.down != y.down {
			if x.down {
				return 1
			}
			return -1
		}
		return cmp.Compare(x.rtt, y.rtt)
	})
	for _, p := range sorted[1:] {
		if st[p].probe {
			probes = append(probes, p)
		}
	}
	return sorted, probes
}

// ask asks one upstream in its way: without EDNS if it does not know that, by a connection if an answer was cut or could have
// been forged.
func (u *upstreams) ask(ctx context.Context, p *upstream, q *query) ([]byte, error) {
	f := p.form(u.now())
	raw, err := u.once(ctx, p, q, f)
	if err != nil {
		return nil, err
	}
	return u.look(ctx, p, q, f, raw)
}

// look asks once more where an answer says that EDNS is not known.
func (u *upstreams) look(ctx context.Context, p *upstream, q *query, f form, raw []byte) ([]byte, error) {
	if !f.edns {
		return raw, nil
	}
	if dnsCode(raw) != codeFormErr {
		p.learn(func() { p.formErrs = 0 })
		return raw, nil
	}
	if raw, known := u.knowsEDNS(ctx, p, q, f); known {
		return raw, nil
	}
	f.edns, f.cookie, f.theirs = false, nil, nil
	return u.once(ctx, p, q, f)
}

// once asks one time.
func (u *upstreams) once(ctx context.Context, p *upstream, q *query, f form) ([]byte, error) {
	if p.Transport != "udp" {
		return u.overStream(ctx, p, q, f)
	}
	raw, err := p.ask(upstreamQuery(q, f), f).end(ctx)
	if errors.Is(err, errUseConnection) {
		return u.overStream(ctx, p, q, f)
	}
	return raw, err
}

// knowsEDNS doubts a FORMERR that may say that an upstream knows no EDNS: whoever guesses a port and an identifier can say that,
// and a question without EDNS has no cookie. What comes over a connection counts; where there is none, it takes two in a row, and
// is soon forgotten.
func (u *upstreams) knowsEDNS(ctx context.Context, p *upstream, q *query, f form) ([]byte, bool) {
	sure := p.Transport != "udp"
	if !sure {
		ctx, cancel := context.WithTimeout(ctx, doubtFor)
		defer cancel()
		raw, err := u.overStream(ctx, p, q, f)
		if err == nil && dnsCode(raw) != codeFormErr {
			return raw, true
		}
		sure = err == nil
	}
	p.learn(func() {
		p.formErrs++
		switch {
		case sure:
			p.noEDNS = u.now().Add(plainFor)
		case p.formErrs > 1:
			p.noEDNS = u.now().Add(doubtfulFor)
		}
	})
	return nil, false
}

// overStream asks by TCP or TLS, once more on a new connection when the old one ended under it.
func (u *upstreams) overStream(ctx context.Context, p *upstream, q *query, f form) ([]byte, error) {
	f.cookie, f.theirs = nil, nil // a connection cannot be forged
	var s *stream
	for range 2 {
		out := upstreamQuery(q, f)
		s = u.connect(p, s)
		raw, err := s.ask(ctx, out)
		if err == nil {
			if f.mixed && !bytes.Equal(questionOf(raw), questionOf(out)) {
				p.learn(func() { p.noCase = u.now().Add(plainFor) })
			}
			return raw, nil
		}
		if !errors.Is(err, errStreamEnded) || ctx.Err() != nil {
			return nil, err
		}
	}
	return nil, errStreamEnded
}

// connect gives the connection to an upstream, a new one when there is none but old: that one has failed, although it may be a
// moment until it says so.
func (u *upstreams) connect(p *upstream, old *stream) *stream {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stream == nil || p.stream == old || p.stream.ended() {
		s := newStream()
		p.stream = s
		u.talks.Go(func() { s.run(u.ctx, func(ctx context.Context) (net.Conn, error) { return u.dial(ctx, p.Upstream) }) })
	}
	return p.stream
}

// dial opens a connection; a certificate must be valid for the name of the inventory.
func (u *upstreams) dial(ctx context.Context, to site.Upstream) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", to.Addr.String())
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if to.Transport != "tls" {
		return conn, nil
	}
	t := tls.Client(conn, &tls.Config{ServerName: to.Name, RootCAs: u.roots, MinVersion: tls.VersionTLS12})
	if err := t.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("checking the certificate for %s: %w", to.Name, err)
	}
	return t, nil
}

// questionOf is the question section of a message that matches has looked at.
func questionOf(p []byte) []byte {
	if binary.BigEndian.Uint16(p[4:]) == 0 {
		return nil
	}
	return p[headerLen : skipName(p, headerLen)+4]
}
