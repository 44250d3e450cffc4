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

	"bootd.internal/bootd/site"
)

const (
	// patience is how long a client's question may take: resolvers in clients ask again after 5 s.
	patience = 4500 * time.Millisecond
	// rounds is how often each upstream may be asked for one client, racing how many at once, and again how long before the
	// same one is asked once more: a datagram may be lost.
	rounds = 2
	racing = 8
	again  = time.Second
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

	mu    sync.Mutex
	known map[site.Upstream]*upstream
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

type result struct {
	from   *upstream
	answer *answer
	err    error
}

// race is one question on its way to several upstreams.
type race struct {
	*upstreams
	q       *query
	limit   int
	ctx     context.Context
	results chan result
	wg      sync.WaitGroup
	// one asks one upstream: try. begun, which may be nil, goes on with what the first one was asked already, after waited.
	one    func(*upstream) (*answer, error)
	begun  func(*upstream) (*answer, error)
	waited time.Duration
	// done are upstreams that need not be asked again: they said no.
	done map[*upstream]bool
	// running counts what is on its way to each, active all of it.
	running map[*upstream]int
	active  int
}

// resolve asks until one answers; then it says what that was. An answer that means "I cannot" moves on to the next. No more
// goroutines than racing and the probes are at work at one time, and all have ended when it returns.
func (u *upstreams) resolve(ctx context.Context, q *query, servers []site.Upstream, limit int) (*answer, error) {
	if len(servers) == 0 {
		return nil, errNoAnswer
	}
	began := time.Now()
	sorted, probes := order(u.use(servers), u.now())
	r := &race{upstreams: u, q: q, limit: limit, ctx: ctx}
	if len(probes) == 0 {
		if a := r.alone(sorted, began); a != nil {
			return a, nil
		}
	}
	ctx, cancel := context.WithDeadline(ctx, began.Add(patience))
	defer cancel()
	inner, overrun := context.WithCancelCause(ctx)
	r.ctx, r.one, r.results = inner, r.try, make(chan result, rounds*len(sorted)+len(probes))
	r.done, r.running = map[*upstream]bool{}, map[*upstream]int{}
	defer r.wg.Wait()
	defer overrun(errOverrun)
	for _, p := range probes[:min(len(probes), 1)] {
		if p.probing(u.now()) {
			r.start(p)
		}
	}
	turns := slices.Concat(sorted, sorted)
	return r.run(turns, sorted)
}

// alone asks the first upstream, and answers if it does at once, as nearly always. Otherwise the race goes on with it.
func (r *race) alone(sorted []*upstream, began time.Time) *answer {
	p := sorted[0]
	if p.Transport != "udp" || !p.enter(r.limit) {
		return nil
	}
	f := p.form(r.now())
	out := upstreamQuery(r.q, f)
	c, err := p.send(out)
	var raw []byte
	later := false
	if err == nil {
		raw, later, err = p.waitShort(c, out, f)
	}
	if err == nil && !later && (dnsCode(raw) != codeFormErr || !f.edns) {
		a, err := r.judge(p, began, func() ([]byte, error) { return r.look(r.ctx, p, r.q, f, raw) })
		if err == nil {
			others(sorted, p)
			return a
		}
		r.begun = func(*upstream) (*answer, error) { return nil, err }
		return nil
	}
	r.waited = time.Since(began)
	r.begun = func(*upstream) (*answer, error) {
		return r.judge(p, began, func() ([]byte, error) {
			if later {
				raw, err = p.wait(r.ctx, c, out, f)
			}
			if errors.Is(err, errUseConnection) {
				raw, err = r.overStream(r.ctx, p, r.q, f)
			}
			if err != nil {
				return nil, err
			}
			return r.look(r.ctx, p, r.q, f, raw)
		})
	}
	return nil
}

// others tells those that did not answer that one did.
func others(sorted []*upstream, who *upstream) {
	for _, p := range sorted {
		if p != who {
			p.passed()
		}
	}
}

func (r *race) run(turns, sorted []*upstream) (*answer, error) {
	next := 0
	// launch asks the next one that is not asked just now, and says how long to wait until the one after.
	launch := func() time.Duration {
		for next < len(turns) {
			p := turns[next]
			next++
			if r.done[p] || r.running[p] > 0 && next <= len(sorted) {
				continue
			}
			r.start(p)
			if next >= len(sorted) {
				return again
			}
			return p.hedge()
		}
		return patience
	}
	timer := time.NewTimer(max(0, launch()-r.waited))
	defer timer.Stop()
	var errs error
	for {
		select {
		case res := <-r.results:
			r.running[res.from]--
			r.active--
			if res.err == nil {
				others(sorted, res.from)
				return res.answer, nil
			}
			errs = fmt.Errorf("asking %s: %w", res.from, res.err)
			if errors.Is(res.err, errUseless) {
				r.done[res.from] = true
			}
			if r.active == 0 || r.active < racing && r.fresh(sorted[min(next, len(sorted)):]) {
				wait := launch()
				if r.active == 0 {
					return nil, fmt.Errorf("%w: %w", errNoAnswer, errs)
				}
				timer.Reset(wait)
			}
		case <-timer.C:
			if r.active < racing {
				timer.Reset(launch())
			}
		case <-r.ctx.Done():
			return nil, fmt.Errorf("%w: %w", errNoAnswer, cmp.Or(errs, r.ctx.Err()))
		}
	}
}

// fresh reports whether one of these was not asked yet.
func (r *race) fresh(all []*upstream) bool {
	return slices.ContainsFunc(all, func(p *upstream) bool { return !r.done[p] && r.running[p] == 0 })
}

func (r *race) start(p *upstream) {
	r.running[p]++
	r.active++
	one := r.one
	if r.begun != nil {
		one, r.begun = r.begun, nil
	}
	r.wg.Add(1)
	r.crew.do(func() {
		defer r.wg.Done()
		a, err := one(p)
		r.results <- result{p, a, err}
	})
}

// try asks one upstream and notes how that went.
func (r *race) try(p *upstream) (*answer, error) {
	if !p.enter(r.limit) {
		return nil, errBusy
	}
	return r.judge(p, time.Now(), func() ([]byte, error) { return r.ask(r.ctx, p, r.q) })
}

// judge notes how it went with an upstream that was entered.
func (r *race) judge(p *upstream, began time.Time, ask func() ([]byte, error)) (*answer, error) {
	defer p.leave()
	raw, err := ask()
	var a *answer
	if err == nil {
		if len(questionOf(raw)) == len(r.q.question) {
			copy(raw[headerLen:], r.q.question) // names that point into it come back in the client's case, not in ours by chance
		}
		a, err = r.keep(raw)
	}
	took := time.Since(began)
	switch {
	case err == nil, errors.Is(err, errUseless):
		if p.answered(took, err != nil) {
			r.changed(p.Upstream, false)
		}
	case errors.Is(context.Cause(r.ctx), errOverrun):
		p.slow(took)
	case errors.Is(context.Cause(r.ctx), context.Canceled): // the daemon ends
	default:
		if p.failed(r.now(), took) {
			r.changed(p.Upstream, true)
		}
	}
	return a, err
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
	raw, err := p.exchange(ctx, upstreamQuery(q, f), f)
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
