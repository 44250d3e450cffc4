package dns

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"bootd.internal/bootd/site"
)

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
	one    func(p *upstream, first bool) (*answer, error)
	begun  func(p *upstream, first bool) (*answer, error)
	waited time.Duration
	// done are upstreams that need not be asked again: they said no, or nothing reaches them.
	done map[*upstream]bool
	// running counts what is on its way to each, active all of it; asked counts how often each was asked.
	running, asked map[*upstream]int
	active         int
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
	return r.all(sorted, probes, began)
}

// all asks all, one after the other, and goes on with what was asked already.
func (r *race) all(sorted, probes []*upstream, began time.Time) (*answer, error) {
	ctx, cancel := context.WithDeadline(r.ctx, began.Add(patience))
	defer cancel()
	inner, overrun := context.WithCancelCause(ctx)
	r.ctx, r.one, r.results = inner, r.try, make(chan result, rounds*len(sorted)+len(probes))
	r.done, r.running, r.asked = map[*upstream]bool{}, map[*upstream]int{}, map[*upstream]int{}
	defer r.wg.Wait()
	defer overrun(errOverrun)
	for _, p := range probes[:min(len(probes), 1)] {
		if p.probing(r.now()) {
			r.start(p)
		}
	}
	return r.run(slices.Repeat(sorted, rounds), sorted)
}

// alone asks the first upstream, and answers if it does at once, as nearly always. Otherwise the race goes on with it.
func (r *race) alone(sorted []*upstream, began time.Time) *answer {
	p := sorted[0]
	if p.Transport != "udp" || !p.enter(r.limit) {
		return nil
	}
	f := p.form(r.now())
	w := p.ask(upstreamQuery(r.q, f), f)
	t := time.NewTimer(moments)
	defer t.Stop()
	select {
	case c := <-w.came:
		return r.heard(sorted, began, f, c.raw, c.err)
	case <-t.C:
		r.goOn(p, began, f, func() ([]byte, error) { return w.end(r.ctx) })
		return nil
	}
}

// heard gives the answer of the first upstream if it is one. Otherwise the race goes on with what it said.
func (r *race) heard(sorted []*upstream, began time.Time, f form, raw []byte, err error) *answer {
	p := sorted[0]
	if err != nil || dnsCode(raw) == codeFormErr && f.edns {
		raw = bytes.Clone(raw)
		r.goOn(p, began, f, func() ([]byte, error) { return raw, err })
		return nil
	}
	a, err := r.judge(p, began, true, func() ([]byte, error) { return r.look(r.ctx, p, r.q, f, raw) })
	if err == nil {
		others(sorted, p)
		return a
	}
	r.begun = func(*upstream, bool) (*answer, error) { return nil, err }
	return nil
}

// goOn has the race wait for what the first upstream was asked.
func (r *race) goOn(p *upstream, began time.Time, f form, end func() ([]byte, error)) {
	r.waited = time.Since(began)
	r.begun = func(*upstream, bool) (*answer, error) {
		return r.judge(p, began, true, func() ([]byte, error) {
			raw, err := end()
			if errors.Is(err, errUseConnection) {
				raw, err = r.overStream(r.ctx, p, r.q, f)
			}
			if err != nil {
				return nil, err
			}
			return r.look(r.ctx, p, r.q, f, raw)
		})
	}
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
			if r.done[p] || r.running[p] > 0 && next <= len(sorted) || p.Transport != "udp" && r.asked[p] >= roundsOnStream {
				continue
			}
			r.start(p)
			if next%len(sorted) == 0 {
				return p.again(next / len(sorted))
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
			if errors.Is(res.err, errUseless) || r.asked[res.from] > 1 && r.running[res.from] == 0 {
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
	r.asked[p]++
	r.active++
	one, first := r.one, r.asked[p] == 1
	if r.begun != nil {
		one, r.begun = r.begun, nil
	}
	r.wg.Add(1)
	r.crew.do(func() {
		defer r.wg.Done()
		a, err := guarded(func() (*answer, error) { return one(p, first) })
		r.results <- result{p, a, err}
	})
}

// try asks one upstream and notes how that went. It is asked again, since a datagram may be lost, as long as there is room for
// first questions; that is no second failure.
func (r *race) try(p *upstream, first bool) (*answer, error) {
	limit := r.limit
	if !first {
		limit = (limit + 1) / 2
	}
	if !p.enter(limit) {
		return nil, errBusy
	}
	return r.judge(p, time.Now(), first, func() ([]byte, error) { return r.ask(r.ctx, p, r.q) })
}

// judge notes how it went with an upstream that was entered; counts: that it did not answer is a failure.
func (r *race) judge(p *upstream, began time.Time, counts bool, ask func() ([]byte, error)) (*answer, error) {
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
	case counts && !errors.Is(err, errSameFault): // one refusal is no sixteen failures
		if p.failed(r.now(), took) {
			r.changed(p.Upstream, true)
		}
	}
	return a, err
}
