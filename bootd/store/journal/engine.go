// Package journal is the embedded store engine: all records in memory, each transaction appended to a journal and
// synced before Update returns, a snapshot now and then so that the journal stays short.
//
// Reads take no lock: the records are an immutable tree, and a commit replaces its root. One goroutine writes, and
// one sync serves all transactions that waited for it. After a failed write or sync the engine goes back to what is
// durable and only reads. It never guesses at damaged files: Open says where the damage is and what to do.
package journal

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

// defaultCompactAt is how large the journal grows at least before it is compacted.
const defaultCompactAt = 4 << 20

// Options change how an engine works. The zero value is right for the daemon.
type Options struct {
	// CompactAt is the size in octets that the journal reaches at least before it is compacted by itself; 0 means
	// 4 MiB. It is compacted once it is larger than this and than twice the snapshot.
	CompactAt int64
	// Now tells the time of a compaction; nil means time.Now.
	Now func() time.Time

	wrap func(directory) directory // tests put a failing disk here
}

// Engine is a store.Store on a directory. Open makes one, Close ends it.
type Engine struct {
	opts Options
	root *os.Root
	lock *os.File
	dir  directory
	feed *memory.Feed // shows what is durable

	head    atomic.Pointer[memory.State] // all that is committed, perhaps ahead of the disk
	durable atomic.Pointer[memory.State] // all that is synced
	retries atomic.Uint64

	mu       sync.Mutex // held to replace head and for what follows
	filling  *batch     // takes transactions; nil when none wait
	writing  *batch     // is being written; nil between batches
	spare    batch      // frame and ops of one that was written, for the next
	failure  error      // why the engine is read-only; nil while it is not
	isClosed bool
	stats    Stats

	wake    chan struct{}   // filling is no longer nil
	asks    chan chan error // Compact's callers
	failed  chan struct{}   // closed when failure is set
	closing chan struct{}   // closed by Close
	stopped chan struct{}   // closed when the committer has ended
	closed  sync.Once

	log committer
}

var _ store.Store = (*Engine)(nil)

// Open reads the state in dir, which it makes if needed with mode 0700, and starts the engine. Only one process can
// have it open: ErrLocked otherwise, with the process that has. A *DamageError means that a file holds something else than
// was synced to it; Open has changed nothing then. What a crash leaves behind is no damage: Recovered tells.
//
// Open writes a fresh snapshot, because after a failed sync the kernel may show content that the disk does not have. If
// that fails on a directory that holds state, the engine starts read-only and Err says why.
func Open(dir string, opts Options) (*Engine, error) {
	e, err := open(dir, opts)
	if err != nil {
		return nil, fmt.Errorf("opening store %s: %w", dir, err)
	}
	go e.log.run()
	return e, nil
}

func open(dir string, opts Options) (_ *Engine, err error) {
	if opts.CompactAt <= 0 {
		opts.CompactAt = defaultCompactAt
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	root, err := openRoot(dir)
	if err != nil {
		return nil, err
	}
	lock, err := lock(root)
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, unlock(lock), root.Close())
		}
	}()
	found, err := recoverDir(root)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		opts: opts, root: root, lock: lock, dir: rootDir{root},
		feed:    memory.NewFeed(found.state),
		wake:    make(chan struct{}, 1),
		asks:    make(chan chan error),
		failed:  make(chan struct{}),
		closing: make(chan struct{}),
		stopped: make(chan struct{}),
	}
	if opts.wrap != nil {
		e.dir = opts.wrap(e.dir)
	}
	e.head.Store(found.state)
	e.durable.Store(found.state)
	e.stats.Recovery = found.Recovery
	e.log = committer{e: e, zeros: make([]byte, roomStep), compacted: make(chan compaction, 1)}
	if err := e.log.begin(found); err != nil {
		if found.fresh {
			return nil, errors.Join(err, e.log.close())
		}
		e.fail(err)
	}
	return e, nil
}

// Close writes what waits, stops the engine and frees the directory. Transactions that come later get ErrClosed; reads
// go on. The error is that of closing files; a failed write was told to who waited for it, and Err knows it.
func (e *Engine) Close() error {
	var err error
	e.closed.Do(func() {
		e.mu.Lock()
		e.isClosed = true
		e.mu.Unlock()
		close(e.closing)
		<-e.stopped
		if err = errors.Join(e.log.close(), unlock(e.lock), e.root.Close()); err != nil {
			err = fmt.Errorf("closing store %s: %w", e.root.Name(), err)
		}
	})
	return err
}

// Err is nil while the engine writes, else why it is read-only.
func (e *Engine) Err() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.failure
}

// Failed is closed when the engine becomes read-only, which lasts until the directory is opened again.
func (e *Engine) Failed() <-chan struct{} { return e.failed }

// Read runs fn over all that is committed.
func (e *Engine) Read(fn func(store.View)) { fn(memory.Reader{State: e.head.Load()}) }

// Scan walks one table as it is when the walk begins.
func (e *Engine) Scan(t store.Table, prefix string) iter.Seq2[store.Key, []byte] {
	return func(yield func(store.Key, []byte) bool) { e.head.Load().Scan(t, prefix)(yield) }
}

// Watch yields what is durable of one table; see store.Store. So it never shows what a failed sync undoes, and a
// commit may be seen by Read before. It also ends when the engine is closed. A watcher that is more
// than memory.MaxLag changes behind is shown the difference to the present instead of each commit.
func (e *Engine) Watch(ctx context.Context, t store.Table) iter.Seq[store.Change] {
	return e.feed.Watch(ctx, e.closing, t)
}

// Stats are figures for metrics and status.
type Stats struct {
	Recovery Recovery
	// Records and Octets count what is durable, Octets without overhead.
	Records int
	Octets  int64
	// JournalOctets is the size of all transactions in the journals since the last snapshot, SnapshotOctets that of the snapshot.
	JournalOctets, SnapshotOctets int64
	// Transactions that were synced, and the Syncs it took, since Open.
	Transactions, Syncs uint64
	// Conflicts counts runs of transactions that were lost to others, since Open.
	Conflicts uint64
	// Compactions that succeeded since Open, the last one's end, and why the last one failed, if it did.
	Compactions    uint64
	LastCompaction time.Time
	CompactionErr  error
	// ReadOnly is why the engine does not write, nil while it does.
	ReadOnly error
}

// Stats returns the present figures.
func (e *Engine) Stats() Stats {
	e.mu.Lock()
	s := e.stats
	s.ReadOnly = e.failure
	e.mu.Unlock()
	durable := e.durable.Load()
	s.Records, s.Octets, s.Conflicts = durable.Len(), durable.Octets(), e.retries.Load()
	return s
}
