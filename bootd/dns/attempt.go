package dns

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bootd.internal/bootd/ingress"
)

// attempt is a flight that no goroutine waits for: its question leaves together with others, and whoever reads the answer gives it
// to the clients. Nearly always that is all. When it is not, the flight goes on as any other, with what was asked already.
type attempt struct {
	s      *Server
	ctx    context.Context
	k      string
	fl     *flight
	race   race
	sorted []*upstream
	asked  asking
}

// attempt takes off without a goroutine. It reports false when the flight needs one; then nothing was done.
func (s *Server) attempt(ctx context.Context, k string, q *query, fl *flight) bool {
	if q.alias != "" || fl.stale != nil {
		return false
	}
	snap := s.cfg.Snapshot()
	servers := s.servers(snap)
	found, _ := s.cache.get([]byte(k), s.cfg.Now(), snap.DNS.Stale)
	if found.answer != nil || found.waiting || len(servers) == 0 {
		return false
	}
	sorted, probes := order(s.upstreams.use(servers), s.cfg.Now())
	p := sorted[0]
	if len(probes) > 0 || p.Transport != "udp" || !p.enter(snap.DNS.UpstreamLimit) {
		return false
	}
	a := &attempt{s: s, ctx: ctx, k: k, fl: fl, sorted: sorted}
	a.race = race{upstreams: s.upstreams, q: q, limit: snap.DNS.UpstreamLimit, ctx: ctx}
	f := p.form(s.cfg.Now())
	a.asked = asking{out: upstreamQuery(q, f), f: f, began: time.Now(), done: a.heard, late: a.late}
	s.upstreams.put(p, &a.asked)
	return true
}

// heard is called by the reader of answers, or by whoever could not send the question.
func (a *attempt) heard(raw []byte, err error) {
	got, err := guarded(func() (*answer, error) { return a.race.heard(a.sorted, a.asked.began, a.asked.f, raw, err), nil })
	switch {
	case err != nil:
		a.land(nil, err, nil)
	case got == nil:
		a.goOn(func() (*answer, error) { return a.race.all(a.sorted, nil, a.asked.began) })
	case a.race.q.dns64 != nil:
		a.heardSix(got)
	default: // by the reader, to whom the batch belongs
		a.land(got, nil, a.s.answers)
	}
}

// heardSix goes on to the IPv4 addresses where there are none in IPv6 (DNS64).
func (a *attempt) heardSix(said *answer) {
	got, err := guarded(func() (*answer, error) {
		got, _, err := a.s.six(a.race.q, said)
		return got, err
	})
	switch {
	case err != nil:
		a.land(nil, err, nil)
	case got != nil:
		a.land(got, nil, a.s.answers)
	default:
		a.goOn(func() (*answer, error) { return said, nil })
	}
}

// late is called when there is no answer yet.
func (a *attempt) late(w wait) {
	a.race.goOn(w.p, a.asked.began, a.asked.f, func() ([]byte, error) { return w.end(a.race.ctx) })
	a.goOn(func() (*answer, error) { return a.race.all(a.sorted, nil, a.asked.began) })
}

// goOn has a goroutine ask what is left to ask.
func (a *attempt) goOn(ask func() (*answer, error)) {
	a.race.crew.do(func() {
		got, err := guarded(func() (*answer, error) {
			got, err := ask()
			if a.race.q.dns64 != nil {
				return a.s.sixOrFour(a.ctx, a.race.q, a.s.cfg.Snapshot(), got, err)
			}
			return got, err
		})
		a.land(got, err, nil)
	})
}

// land keeps what came and gives it to those who wait for it.
func (a *attempt) land(got *answer, err error, out *ingress.Batch) {
	defer a.s.forwarder.talks.Done()
	got, why := a.s.learned(a.ctx, a.k, a.race.q, a.s.cfg.Snapshot(), nil, got, err)
	if !errors.Is(err, errPanic) {
		err = nil
	}
	a.s.forwarder.land(a.k, a.fl, out, got, why, err)
}

// errPanic is a fault of ours, or of the library's, that an answer has met.
var errPanic = errors.New("panic")

// guarded makes an error of a panic: no answer may end the daemon.
func guarded(f func() (*answer, error)) (a *answer, err error) {
	defer func() {
		if v := recover(); v != nil {
			a, err = nil, fmt.Errorf("forwarding DNS query: %w: %v", errPanic, v)
		}
	}()
	return f()
}

// outbox holds questions until they leave together.
type outbox struct {
	p     *upstream
	asked []*asking
}

// put has a question leave with the next flush.
func (u *upstreams) put(p *upstream, a *asking) {
	u.leaving.Lock()
	defer u.leaving.Unlock()
	for i := range u.outboxes {
		if o := &u.outboxes[i]; o.p == p {
			o.asked = append(o.asked, a)
			return
		}
	}
	u.outboxes = append(u.outboxes, outbox{p, append(make([]*asking, 0, together), a)})
}

// flush sends what was put; whoever has queries handled calls it once they are.
func (u *upstreams) flush() {
	u.leaving.Lock()
	all := u.outboxes
	u.outboxes = nil
	u.leaving.Unlock()
	if len(all) == 0 {
		return
	}
	for _, o := range all {
		o.p.send(o.asked)
	}
	u.leaving.Lock()
	defer u.leaving.Unlock()
	if u.more = true; !u.watched {
		u.watched = true
		u.talks.Add(1)
		u.watcher = time.AfterFunc(moments, u.watch)
	}
}

// unwatch has nobody look any more: nothing is on its way.
func (u *upstreams) unwatch() {
	u.leaving.Lock()
	defer u.leaving.Unlock()
	if u.watched && u.watcher.Stop() {
		u.watched = false
		u.talks.Done()
	}
}

// watch looks for questions that wait for long, as long as there are any.
func (u *upstreams) watch() {
	u.leaving.Lock()
	u.more = false
	u.leaving.Unlock()
	now := time.Now()
	var late []func()
	next := now.Add(moments)
	left := false
	u.mu.Lock()
	for _, p := range u.known {
		some, first := p.overdue(now)
		late = append(late, some...)
		if !first.IsZero() {
			next, left = earlier(next, first), true
		}
	}
	u.mu.Unlock()
	for _, f := range late {
		f()
	}
	u.leaving.Lock()
	defer u.leaving.Unlock()
	if !left && !u.more {
		u.watched = false
		u.talks.Done()
		return
	}
	u.watcher.Reset(time.Until(next))
}
