package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/store"
)

// openDisk opens an engine on a disk in memory that begins empty.
func openDisk(t *testing.T) (*Engine, *disk) {
	t.Helper()
	dir := t.TempDir()
	d := newDisk(t, dir)
	return mustOpen(t, dir, d.options()), d
}

// failing makes each step of that name fail with err; of a write, n octets still get there.
func (d *disk) failing(step string, n int, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = func(s, _ string) (int, error) {
		if s == step {
			return n, err
		}
		return 0, nil
	}
}

// holdSync makes the next sync say so and then wait for what release is told; further ones succeed.
func (d *disk) holdSync() (reached <-chan struct{}, release chan<- error) {
	at, verdict := make(chan struct{}), make(chan error)
	held := false
	d.mu.Lock()
	defer d.mu.Unlock()
	d.hook = func(s, _ string) (int, error) {
		if s != "sync" || held {
			return 0, nil
		}
		held = true
		close(at)
		return 0, <-verdict
	}
	return at, verdict
}

// look returns what a transaction without Ops sees of a record, and its error.
func look(ctx context.Context, e *Engine, id string) (string, error) {
	var saw string
	err := e.Update(ctx, func(v store.View) []store.Op {
		b, _ := v.Get(leaseKey(id))
		saw = string(b)
		return nil
	})
	return saw, err
}

func TestReadOnlyAfterFailure(t *testing.T) {
	for name, c := range map[string]struct {
		step string
		n    int
		err  error
		want string
	}{
		"sync":      {"sync", 0, syscall.EIO, "syncing journal-00000001: input/output error"},
		"full disk": {"write", 20, syscall.ENOSPC, "writing journal-00000001: no space left on device"},
		"dead disk": {"write", 0, syscall.EIO, "writing journal-00000001: input/output error"},
	} {
		t.Run(name, func(t *testing.T) {
			e, d := openDisk(t)
			put(t, e, "a", "durable")
			d.failing(c.step, c.n, c.err)
			err := set(t, e, "a", "lost")
			if !errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrReadOnly) || err.Error() != "commit outcome unknown: "+c.want {
				t.Errorf("update that fails: %v", err)
			}
			<-e.Failed()
			if err := e.Err(); err == nil || err.Error() != c.want {
				t.Errorf("Err: %v, want %s", err, c.want)
			}
			err = set(t, e, "b", "refused")
			if !errors.Is(err, store.ErrReadOnly) || err.Error() != "store is read-only: "+c.want {
				t.Errorf("update after it: %v", err)
			}
			if err := e.Compact(t.Context()); !errors.Is(err, store.ErrReadOnly) {
				t.Errorf("compact after it: %v", err)
			}
			if saw, err := look(t.Context(), e, "a"); saw != "durable" || err != nil {
				t.Errorf("transaction without ops sees %q, error %v", saw, err)
			}
			wantLeases(t, e, map[string]string{"a": "durable"})
			if err := e.Close(); err != nil {
				t.Error(err)
			}
			again := mustOpen(t, d.afterExit(t), Options{})
			wantLeases(t, again, map[string]string{"a": "durable"})
			put(t, again, "b", "accepted")
		})
	}
}

// TestFailedTruncate is a disk that takes nothing any more: what failed may be there at the next start, whole.
func TestFailedTruncate(t *testing.T) {
	e, d := openDisk(t)
	put(t, e, "a", "durable")
	d.failing("sync", 0, syscall.EIO)
	hook := d.hook
	d.hook = func(s, name string) (int, error) {
		if s == "truncate" {
			return 0, syscall.EIO
		}
		return hook(s, name)
	}
	if err := set(t, e, "a", "unknown"); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("update that fails: %v", err)
	}
	wantLeases(t, e, map[string]string{"a": "durable"})
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantLeases(t, mustOpen(t, d.afterExit(t), Options{}), map[string]string{"a": "unknown"})
}

// TestWaitingWriterIsRefused has one transaction in the failing sync and one behind it.
func TestWaitingWriterIsRefused(t *testing.T) {
	e, d := openDisk(t)
	reached, release := d.holdSync()
	first, second := make(chan error), make(chan error)
	go func() { first <- set(t, e, "a", "1") }()
	<-reached
	ran := make(chan string, 9)
	go func() {
		second <- e.Update(t.Context(), func(v store.View) []store.Op {
			b, _ := v.Get(leaseKey("a"))
			defer func() { ran <- string(b) }()
			return []store.Op{{Key: leaseKey("b"), Value: []byte("2")}}
		})
	}()
	if saw := <-ran; saw != "1" {
		t.Errorf("second transaction first saw %q", saw)
	}
	release <- syscall.EIO
	if err := <-first; !errors.Is(err, store.ErrUnknown) {
		t.Errorf("first transaction: %v", err)
	}
	if err := <-second; !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("second transaction: %v", err)
	}
	wantLeases(t, e, map[string]string{})
}

func TestFailedCompaction(t *testing.T) {
	for _, step := range []string{"create", "write", "sync", "rename"} {
		t.Run(step, func(t *testing.T) {
			e, d := openDisk(t)
			put(t, e, "a", "1")
			var failed int
			for skip := range 2 { // the new journal, then the snapshot
				left := skip
				d.mu.Lock()
				d.hook = func(s, _ string) (int, error) {
					if s != step {
						return 0, nil
					}
					if left--; left == -1 {
						return 0, syscall.ENOSPC
					}
					return 0, nil
				}
				d.mu.Unlock()
				if err := e.Compact(t.Context()); errors.Is(err, syscall.ENOSPC) {
					failed++
				}
				if s := e.Stats(); s.CompactionErr == nil || s.ReadOnly != nil {
					t.Errorf("after a failed compaction: error %v, read-only %v", s.CompactionErr, s.ReadOnly)
				}
				put(t, e, fmt.Sprint("b", skip), "2")
			}
			if failed != 2 {
				t.Errorf("compactions that failed: %d, want 2", failed)
			}
			want := map[string]string{"a": "1", "b0": "2", "b1": "2"}
			wantLeases(t, mustOpen(t, d.afterExit(t), Options{}), want)
			d.failing("none", 0, nil)
			if err := e.Compact(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := e.Stats().CompactionErr; err != nil {
				t.Errorf("after a good compaction: %v", err)
			}
			dir := d.afterExit(t)
			var names []string
			for name := range readDir(t, dir) {
				names = append(names, name)
			}
			if len(names) != 2 {
				t.Errorf("files after a compaction: %q, want a snapshot and a journal", names)
			}
			wantLeases(t, mustOpen(t, dir, Options{}), want)
		})
	}
}

// TestOpenOnFullDisk starts on a disk that has no room: with state it serves that, without it says so.
func TestOpenOnFullDisk(t *testing.T) {
	s := newSample(t, 5)
	d := newDisk(t, s.dir)
	d.failing("write", 0, syscall.ENOSPC)
	e := mustOpen(t, s.dir, d.options())
	want := "writing journal-00000002.tmp: no space left on device"
	if err := e.Err(); err == nil || err.Error() != want {
		t.Errorf("Err: %v, want %s", err, want)
	}
	wantLeases(t, e, s.states[5])
	if err := set(t, e, "a", "1"); !errors.Is(err, store.ErrReadOnly) {
		t.Errorf("update: %v", err)
	}
	empty := t.TempDir()
	d = newDisk(t, empty)
	d.failing("write", 0, syscall.ENOSPC)
	_, err := Open(empty, d.options())
	want = fmt.Sprintf("opening store %s: writing journal-00000001.tmp: no space left on device", empty)
	if err == nil || err.Error() != want {
		t.Errorf("open: %v, want %s", err, want)
	}
}

func TestCloseRefuses(t *testing.T) {
	e, _ := openDisk(t)
	put(t, e, "a", "1")
	if err := errors.Join(e.Close(), e.Close()); err != nil {
		t.Error(err)
	}
	if err := set(t, e, "a", "2"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("update: %v", err)
	}
	if _, err := look(t.Context(), e, "a"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("update without ops: %v", err)
	}
	if err := e.Compact(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("compact: %v", err)
	}
	wantLeases(t, e, map[string]string{"a": "1"})
}

func TestLockAndModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "bootd")
	e := mustOpen(t, dir, Options{})
	put(t, e, "a", "1")
	_, err := Open(dir, Options{})
	want := fmt.Sprintf("opening store %s: state directory is in use: process %d holds %[1]s/lock; "+
		"stop it, or give this one another state directory", dir, os.Getpid())
	if !errors.Is(err, ErrLocked) || err.Error() != want {
		t.Errorf("second open: %v\nwant: %s", err, want)
	}
	modes := map[string]string{}
	if err := filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		modes[strings.TrimPrefix(path, dir)] = info.Mode().String()
		return err
	}); err != nil {
		t.Fatal(err)
	}
	wantModes := map[string]string{
		"": "drwx------", "/lock": "-rw-------", "/snapshot": "-rw-------", "/journal-00000001": "-rw-------",
	}
	if d := cmp.Diff(wantModes, modes); d != "" {
		t.Errorf("modes (-want +got):\n%s", d)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	wantLeases(t, mustOpen(t, dir, Options{}), map[string]string{"a": "1"})
}
