package journal

import (
	"errors"
	"fmt"
	"os"

	"bootd.internal/bootd/store"
)

// committer is the one goroutine that writes. Its fields are touched by Open before it starts, by it, and by Close
// after it has ended.
type committer struct {
	e         *Engine
	file      file // the newest journal; nil when there is none
	header    header
	size      int64    // octets of it that are synced
	room      int64    // octets that the file has: zeros from size on
	zeros     []byte   // roomStep of them
	total     int64    // octets of all journals since the last snapshot
	snapshot  int64    // octets of the snapshot
	notBefore int64    // a failed compaction is not tried again before total is this large
	old       []string // journals that the next snapshot makes superfluous
	compacted chan compaction
	running   bool // a compaction works beside
	reply     chan error
}

// run writes batches until the engine is closed and nothing waits.
func (c *committer) run() {
	defer close(c.e.stopped)
	for {
		asks := c.e.asks
		if c.running {
			asks = nil
		}
		select {
		case <-c.e.wake:
			c.flush()
			c.compactIfDue()
		case reply := <-asks:
			c.compact(reply)
		case done := <-c.compacted:
			c.finish(done)
		case <-c.e.closing:
			c.flush()
			if c.running {
				c.finish(<-c.compacted)
			}
			return
		}
	}
}

// flush writes and syncs what waits.
func (c *committer) flush() {
	e := c.e
	e.mu.Lock()
	b := e.filling
	e.filling, e.writing = nil, b
	e.mu.Unlock()
	if b == nil {
		return
	}
	sealFrame(b.frame, c.header.salt, e.durable.Load().Seq()+1, kindBatch, b.count)
	if err := c.write(b.frame); err != nil {
		e.fail(err)
		c.discard()
		return
	}
	c.size += int64(len(b.frame))
	c.total += int64(len(b.frame))

	// Before the writers hear of it, so that a watch that begins after an Update shows what that wrote.
	e.feed.Publish(b.state, b.ops)
	e.mu.Lock()
	e.durable.Store(b.state)
	e.writing = nil
	if cap(b.frame) <= roomStep {
		clear(b.ops)
		e.spare = batch{frame: b.frame, ops: b.ops}
	}
	e.stats.Transactions += uint64(b.count)
	e.stats.Syncs++
	e.stats.JournalOctets = c.total
	e.mu.Unlock()
	close(b.done)
}

// roomStep is how many octets of zeros are written behind a frame that no longer fits into the file. A sync of a file that has
// grown writes its metadata too and takes about twice as long as one of octets that were written over.
const roomStep = 64 << 10

func (c *committer) write(frame []byte) error {
	if _, err := c.file.WriteAt(frame, c.size); err != nil {
		return fmt.Errorf("writing %s: %w", journalName(c.header.gen), withoutPath(err))
	}
	if end := c.size + int64(len(frame)); end > c.room {
		n, _ := c.file.WriteAt(c.zeros, end) // room is speed: a disk that is full takes frames as long as they fit
		c.room = end + int64(n)
	}
	if err := c.file.Sync(); err != nil {
		return fmt.Errorf("syncing %s: %w", journalName(c.header.gen), withoutPath(err))
	}
	return nil
}

// withoutPath drops the path from an error of the journal's file, which still has the temporary name it was made under.
func withoutPath(err error) error {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return p.Err
	}
	return err
}

// discard takes a batch whose write failed off the file again, so that it does not appear after the next start when
// everybody has been answered without it. That may fail too, which is why its writers were told ErrUnknown; the
// failure that made the engine read-only is the one to report.
func (c *committer) discard() {
	if c.file.Truncate(c.size) == nil {
		_ = c.file.Sync()
	}
}

// fail makes the engine read-only, undoes all that is not durable, and tells who waits.
func (e *Engine) fail(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.failure != nil {
		return
	}
	e.failure = cause
	e.head.Store(e.durable.Load())
	end := func(b *batch, err error) {
		if b != nil {
			b.err = err
			close(b.done)
		}
	}
	end(e.writing, fmt.Errorf("%w: %w", store.ErrUnknown, cause))
	end(e.filling, fmt.Errorf("%w: %w", store.ErrReadOnly, cause))
	e.writing, e.filling = nil, nil
	close(e.failed)
}

// begin starts a new journal and writes a snapshot of what Open found.
func (c *committer) begin(found *recovered) error {
	for _, name := range found.temps {
		if err := c.e.dir.remove(name); err != nil {
			return fmt.Errorf("removing what a crash left: %w", err)
		}
	}
	for _, gen := range found.journals {
		c.old = append(c.old, journalName(gen))
	}
	c.header, c.size = found.last, found.lastSize
	next := found.nextGen()
	if err := c.rotate(next); err != nil {
		return err
	}
	done := c.e.writeSnapshot(c.e.durable.Load(), next, c.old, nil)
	c.settle(done)
	return done.err
}

// close closes the journal, without the room in it. Nothing is lost when that fails: the next start tells zeros from frames.
func (c *committer) close() error {
	if c.file == nil {
		return nil
	}
	if c.room > c.size {
		_ = c.file.Truncate(c.size)
	}
	return c.file.Close()
}

// settle takes over the outcome of a compaction.
func (c *committer) settle(done compaction) {
	e := c.e
	now := e.opts.Now()
	if done.err != nil {
		c.notBefore = c.total + e.opts.CompactAt
	} else {
		c.old = c.old[len(done.removed):]
		c.total -= done.covered
		c.snapshot, c.notBefore = done.size, 0
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stats.CompactionErr = done.err
	e.stats.JournalOctets = c.total
	if done.err == nil {
		e.stats.Compactions++
		e.stats.LastCompaction = now
		e.stats.SnapshotOctets = done.size
	}
}
