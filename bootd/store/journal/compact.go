package journal

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

// A compaction, each step safe to die after:
//
//  1. A new journal is written under a temporary name, synced, renamed, and the directory synced. It names the octets
//     of the previous one that count. From then on batches go there.
//  2. Beside that, the state at the change is written to a temporary file, synced, renamed to the snapshot, and the
//     directory synced. It names the new journal as the one to go on with.
//  3. The journals before the new one are removed.
//
// Until the rename in 2 is durable, the old snapshot and all journals since are what Open reads.

// chunkSize is about how many octets of records a frame of a snapshot holds.
const chunkSize = 64 << 10

// compaction is the outcome of step 2 and 3.
type compaction struct {
	size    int64    // of the snapshot
	covered int64    // octets of journals that it replaced
	removed []string // these journals
	err     error
}

// Compact writes a snapshot now and drops the journals before it. Errors: those of the disk, after which the engine
// goes on with the journals it has; store.ErrClosed; store.ErrReadOnly; the cause of ctx's end, and then the
// compaction goes on alone.
func (e *Engine) Compact(ctx context.Context) error {
	reply := make(chan error, 1)
	select {
	case e.asks <- reply:
	case <-e.closing:
		return fmt.Errorf("compacting store: %w", store.ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("compacting store: %w", context.Cause(ctx))
	}
	select {
	case err := <-reply:
		if err != nil {
			return fmt.Errorf("compacting store: %w", err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("compacting store: %w", context.Cause(ctx))
	}
}

// compactIfDue starts a compaction when the journals have grown enough.
func (c *committer) compactIfDue() {
	if !c.running && c.total > max(c.e.opts.CompactAt, 2*c.snapshot, c.notBefore) {
		c.compact(make(chan error, 1))
	}
}

// compact changes to a new journal and starts writing the snapshot beside.
func (c *committer) compact(reply chan error) {
	if cause := c.e.Err(); cause != nil {
		reply <- fmt.Errorf("%w: %w", store.ErrReadOnly, cause)
		return
	}
	covered := c.total
	c.old = append(c.old, journalName(c.header.gen))
	if err := c.rotate(c.header.gen + 1); err != nil {
		c.old = c.old[:len(c.old)-1]
		c.settle(compaction{err: err})
		reply <- err
		return
	}
	c.running, c.reply = true, reply
	state, gen, old := c.e.durable.Load(), c.header.gen, c.old[:len(c.old):len(c.old)]
	go func() {
		done := c.e.writeSnapshot(state, gen, old, c.e.closing)
		done.covered = covered
		c.compacted <- done
	}()
}

// finish takes over the outcome of the compaction that ran beside.
func (c *committer) finish(done compaction) {
	c.running = false
	c.settle(done)
	c.reply <- done.err
}

// rotate makes journal gen and writes to it from now on.
func (c *committer) rotate(gen uint64) error {
	e := c.e
	h := header{magic: magicJournal, gen: gen, base: e.durable.Load().Seq(), prev: uint64(c.size)}
	rand.Read(h.salt[:])
	name := journalName(gen)
	f, err := writeTemp(e.dir, name+tempSuffix, func(f file) error {
		_, err := f.Write(h.encode())
		return err
	})
	if err != nil {
		return err
	}
	if err := e.dir.rename(name+tempSuffix, name); err != nil {
		return errors.Join(fmt.Errorf("renaming the new journal: %w", err), f.Close(), e.dir.remove(name+tempSuffix))
	}
	// From here on the old journal must not grow, for the new one may be found behind it after a crash.
	old := c.file
	c.file, c.header, c.size, c.room = f, h, headerSize, headerSize
	if err := e.dir.sync(); err != nil {
		err = fmt.Errorf("syncing the directory of %s: %w", name, err)
		e.fail(err)
		return err
	}
	if old != nil {
		return old.Close()
	}
	return nil
}

// writeTemp makes a synced file with what fill writes and leaves it open. On failure nothing is left of it.
func writeTemp(dir directory, name string, fill func(file) error) (file, error) {
	f, err := dir.create(name)
	if err != nil {
		return nil, fmt.Errorf("creating %s: %w", name, err)
	}
	err = fill(f)
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("writing %s: %w", name, err), f.Close(), dir.remove(name))
	}
	return f, nil
}

// writeSnapshot writes state as the snapshot that journal gen goes on from, and removes the journals old. It gives
// up when stop is closed.
func (e *Engine) writeSnapshot(state *memory.State, gen uint64, old []string, stop <-chan struct{}) compaction {
	temp := snapshotName + tempSuffix
	var size int64
	f, err := writeTemp(e.dir, temp, func(f file) error {
		var err error
		size, err = encodeSnapshot(f, state, gen, stop)
		return err
	})
	if err != nil {
		return compaction{err: err}
	}
	if err := errors.Join(f.Close(), e.dir.rename(temp, snapshotName)); err != nil {
		return compaction{err: errors.Join(fmt.Errorf("putting the snapshot in place: %w", err), e.dir.remove(temp))}
	}
	if err := e.dir.sync(); err != nil {
		return compaction{err: fmt.Errorf("syncing the directory of the snapshot: %w", err)}
	}
	// A journal that cannot be removed only takes room until the next start, which tries again.
	for _, name := range old {
		_ = e.dir.remove(name)
	}
	return compaction{size: size, removed: old}
}

// encodeSnapshot writes all of state and returns the octets it took.
func encodeSnapshot(f file, state *memory.State, gen uint64, stop <-chan struct{}) (int64, error) {
	h := header{magic: magicSnapshot, gen: gen, base: state.Seq()}
	rand.Read(h.salt[:])
	n, err := f.Write(h.encode())
	size := int64(n)
	if err != nil {
		return size, err
	}
	frame, count, records, chunks := beginFrame(nil), 0, 0, uint64(0)
	flush := func(k kind, count int) error {
		select {
		case <-stop:
			return errStopped
		default:
		}
		sealFrame(frame, h.salt, chunks, k, count)
		n, err := f.Write(frame)
		size += int64(n)
		chunks++
		frame = beginFrame(frame[:0])
		return err
	}
	for k, v := range state.All() {
		frame = appendOp(frame, store.Op{Key: k, Value: v})
		count++
		records++
		if len(frame) < chunkSize {
			continue
		}
		if err := flush(kindChunk, count); err != nil {
			return size, err
		}
		count = 0
	}
	if count > 0 {
		if err := flush(kindChunk, count); err != nil {
			return size, err
		}
	}
	err = flush(kindEnd, records)
	return size, err
}
