// Package memory is a store engine that keeps everything in a map and forgets it when the process ends: for tests,
// for `bootd check`, and as the map under the engines that do write.
//
// It never touches a disk, so its transactions are durable as soon as they are committed.
package memory

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"

	"bootd.internal/bootd/store"
)

// OptimisticRuns is how often an engine runs a transaction beside others. When others were faster each time, it runs
// alone, so that a long transaction over busy records comes to its end too.
const OptimisticRuns = 16

// Engine is a store.Store in memory. New makes one.
type Engine struct {
	mu   sync.Mutex // held to replace head
	head atomic.Pointer[State]
	feed *Feed
}

var _ store.Store = (*Engine)(nil)

// New returns an empty engine.
func New() *Engine {
	e := &Engine{feed: NewFeed(&State{})}
	e.head.Store(&State{})
	return e
}

// Update runs fn and commits its Ops; see store.Store. Errors: store.ErrInvalid, or the cause of ctx's end, and then
// nothing was committed. fn must not call Update, except in its first OptimisticRuns runs.
func (e *Engine) Update(ctx context.Context, fn func(store.View) []store.Op) error {
	for run := 0; ; run++ {
		if ctx.Err() != nil {
			return fmt.Errorf("updating store: %w", context.Cause(ctx))
		}
		if done, err := e.try(fn, run >= OptimisticRuns); done || err != nil {
			return err
		}
	}
}

// Start runs fn and commits its Ops at once.
func (e *Engine) Start(fn func(store.View) []store.Op) store.Commit {
	return settled{e.Update(context.Background(), fn)}
}

// settled is a transaction that has its outcome.
type settled struct{ err error }

func (settled) Sync()                        {}
func (settled) Done() bool                   { return true }
func (s settled) Wait(context.Context) error { return s.err }

// try runs fn once and reports whether its changes were committed. If alone, nobody commits meanwhile.
func (e *Engine) try(fn func(store.View) []store.Op, alone bool) (bool, error) {
	if alone {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	tx := Begin(e.head.Load())
	ops, err := Own(fn(tx))
	if err != nil || len(ops) == 0 {
		return err == nil, err
	}
	if !alone {
		e.mu.Lock()
		defer e.mu.Unlock()
	}
	head := e.head.Load()
	if !tx.Holds(head) {
		return false, nil
	}
	head = head.Apply(head.seq+1, ops)
	e.head.Store(head)
	e.feed.Publish(head, ops)
	return true, nil
}

// Read runs fn over the present state.
func (e *Engine) Read(fn func(store.View)) { fn(Reader{e.head.Load()}) }

// Scan walks one table as it is when the walk begins.
func (e *Engine) Scan(t store.Table, prefix string) iter.Seq2[store.Key, []byte] {
	return func(yield func(store.Key, []byte) bool) { e.head.Load().Scan(t, prefix)(yield) }
}

// Watch yields the state and the commits of one table; see store.Store. A watcher that is MaxLag changes behind
// is shown the difference to the present instead of each commit.
func (e *Engine) Watch(ctx context.Context, t store.Table) iter.Seq[store.Change] {
	return e.feed.Watch(ctx, nil, t)
}
