package journal

import (
	"context"
	"errors"
	"fmt"

	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

// batch is the transactions that one sync makes durable.
type batch struct {
	frame []byte // room for the head, then the transactions
	count int
	ops   []store.Op
	state *memory.State // with all of them
	done  chan struct{} // closed when the outcome is known
	err   error         // the outcome, valid once done is closed
}

// plan is one run of a transaction.
type plan struct {
	tx   *memory.Tx
	ops  []store.Op
	wire []byte
}

// attempt is what one run of a transaction came to.
type attempt struct {
	// wait is the batch to wait for; nil when there is none.
	wait *batch
	// again says that the transaction must run again, after wait if there is one.
	again bool
	// writes says that wait's outcome is the transaction's own.
	writes bool
}

// ended reports whether there is a batch and its outcome is known.
func (a attempt) ended() bool {
	select {
	case <-a.wait.done:
		return true
	default:
		return false
	}
}

// Update runs fn and returns when its Ops and all it saw are durable; see store.Store. Further errors: the cause of
// ctx's end when it ended before anything was committed, store.ErrClosed, store.ErrInvalid. fn must not call Update, Start or
// Stats, except in its first memory.OptimisticRuns runs.
func (e *Engine) Update(ctx context.Context, fn func(store.View) []store.Op) error {
	if ctx.Err() != nil {
		return fmt.Errorf("updating store: %w", context.Cause(ctx))
	}
	c := commit{e: e, fn: fn}
	c.run()
	return c.Wait(ctx)
}

// Start is Update up to the wait for the disk; see store.Store.
func (e *Engine) Start(fn func(store.View) []store.Op) store.Commit {
	c := &commit{e: e, fn: fn}
	c.run()
	return c
}

// commit is one transaction under way.
type commit struct {
	e    *Engine
	fn   func(store.View) []store.Op
	runs int
	last attempt
	err  error
}

// run runs fn until nothing but the disk can change its outcome.
func (c *commit) run() {
	for {
		c.last, c.err = c.e.try(c.fn, c.runs >= memory.OptimisticRuns)
		c.runs++
		if c.err != nil || c.last.wait != nil || !c.last.again {
			return
		}
		c.e.retries.Add(1)
	}
}

// Done reports whether the outcome stands.
func (c *commit) Done() bool {
	return c.err != nil || c.last.wait == nil || c.last.ended() && c.last.wait.err == nil && !c.last.again
}

// Sync wakes the committer.
func (c *commit) Sync() {
	select {
	case c.e.wake <- struct{}{}:
	default:
	}
}

// Wait returns once the outcome stands, or is ErrUnknown because ctx ended.
func (c *commit) Wait(ctx context.Context) error {
	for c.err == nil && c.last.wait != nil {
		if !c.last.ended() { // what is known is told, whether ctx ended or not
			c.Sync()
			select {
			case <-c.last.wait.done:
			case <-ctx.Done():
				if c.last.again {
					return fmt.Errorf("updating store: %w", context.Cause(ctx))
				}
				return fmt.Errorf("%w: waiting for the journal: %w", store.ErrUnknown, context.Cause(ctx))
			}
		}
		if !c.last.again {
			if err := c.last.wait.err; err == nil || c.last.writes && !errors.Is(err, store.ErrReadOnly) {
				return err
			}
			// What it read or built upon is undone, and nothing of it was written. It may stand on what is durable.
		}
		if ctx.Err() != nil {
			return fmt.Errorf("updating store: %w", context.Cause(ctx))
		}
		c.run()
	}
	return c.err
}

// try runs fn once. If alone, nobody commits meanwhile.
func (e *Engine) try(fn func(store.View) []store.Op, alone bool) (attempt, error) {
	if alone {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	p, err := e.plan(fn)
	if err != nil {
		return attempt{}, err
	}
	if len(p.ops) == 0 && p.tx.Need() <= e.durable.Load().Seq() && !e.ended() {
		return attempt{}, nil
	}
	if !alone {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	if len(p.ops) == 0 {
		return e.settle(p.tx.Need())
	}
	return e.commit(p)
}

// ended reports whether Close was called.
func (e *Engine) ended() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// plan runs fn over all that is committed and makes what the journal will hold.
func (e *Engine) plan(fn func(store.View) []store.Op) (plan, error) {
	p := plan{tx: memory.Begin(e.head.Load())}
	var err error
	if p.ops, err = memory.Own(fn(p.tx)); err != nil || len(p.ops) == 0 {
		return p, err
	}
	p.wire = appendTx(nil, p.ops)
	if len(p.wire) > maxBatch {
		return p, fmt.Errorf("%w: transaction of %d octets, at most %d", store.ErrInvalid, len(p.wire), maxBatch)
	}
	return p, nil
}

// settle finds what a transaction without Ops waits for, so that transaction need is durable. The caller holds mu.
func (e *Engine) settle(need uint64) (attempt, error) {
	switch {
	case e.isClosed:
		return attempt{}, store.ErrClosed
	case need <= e.durable.Load().Seq():
		return attempt{}, nil
	case e.failure != nil:
		return attempt{again: true}, nil // it read what was undone since
	case e.writing != nil && need <= e.writing.state.Seq():
		return attempt{wait: e.writing}, nil
	}
	return attempt{wait: e.filling}, nil
}

// commit applies p and adds it to the batch that waits. The caller holds mu.
func (e *Engine) commit(p plan) (attempt, error) {
	head := e.head.Load()
	switch {
	case e.isClosed:
		return attempt{}, store.ErrClosed
	case !p.tx.Holds(head):
		return attempt{again: true}, nil
	case e.failure != nil:
		return attempt{}, fmt.Errorf("%w: %w", store.ErrReadOnly, e.failure)
	}
	b := e.filling
	if b == nil {
		b = &batch{frame: beginFrame(e.spare.frame[:0]), ops: e.spare.ops[:0], done: make(chan struct{})}
		e.filling, e.spare = b, batch{}
	}
	if len(b.frame) >= maxBatch {
		return attempt{wait: b, again: true}, nil
	}
	b.state = head.Apply(head.Seq()+1, p.ops)
	b.frame = append(b.frame, p.wire...)
	b.ops = append(b.ops, p.ops...)
	b.count++
	e.head.Store(b.state)
	return attempt{wait: b, writes: true}, nil
}
