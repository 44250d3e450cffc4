package journal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/store"
)

func TestReaderWaitsForWhatItSaw(t *testing.T) {
	e, d := openDisk(t)
	put(t, e, "old", "1")
	put(t, e, "gone", "1")
	reached, release := d.holdSync()
	written := make(chan error)
	go func() {
		written <- e.Update(t.Context(), func(store.View) []store.Op {
			return []store.Op{{Key: leaseKey("new"), Value: []byte("1")}, {Key: leaseKey("gone")}}
		})
	}()
	<-reached
	for _, c := range []struct {
		id, saw string
		waits   bool
	}{
		{"old", "1", false},
		{"new", "1", true},
		{"gone", "", true},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		err := e.Update(ctx, func(v store.View) []store.Op {
			b, _ := v.Get(leaseKey(c.id))
			if string(b) != c.saw {
				t.Errorf("%s is %q, want %q", c.id, b, c.saw)
			}
			cancel() // who waits for the disk learns that it ended, who need not wait never looks
			return nil
		})
		if errors.Is(err, store.ErrUnknown) != c.waits || errors.Is(err, context.Canceled) != c.waits {
			t.Errorf("reading %s: %v, should it wait: %v", c.id, err, c.waits)
		}
	}
	// Read and Peek are ahead of the disk and wait for nothing.
	wantLeases(t, e, map[string]string{"old": "1", "new": "1"})
	err := e.Update(t.Context(), func(v store.View) []store.Op { v.Peek(leaseKey("new")); return nil })
	if err != nil {
		t.Errorf("peeking: %v", err)
	}
	release <- nil
	if err := <-written; err != nil {
		t.Error(err)
	}
}

// TestReaderOfUndoneRunsAgain has a reader wait for a value that is undone.
func TestReaderOfUndoneRunsAgain(t *testing.T) {
	e, d := openDisk(t)
	put(t, e, "a", "old")
	reached, release := d.holdSync()
	written := make(chan error)
	go func() { written <- set(t, e, "a", "new") }()
	<-reached
	saw := make(chan string, 9)
	read := make(chan error)
	go func() {
		read <- e.Update(t.Context(), func(v store.View) []store.Op {
			b, _ := v.Get(leaseKey("a"))
			saw <- string(b)
			return nil
		})
	}()
	first := <-saw
	release <- syscall.EIO
	if err := <-read; err != nil {
		t.Errorf("reader: %v", err)
	}
	if d := cmp.Diff([]string{"new", "old"}, []string{first, <-saw}); d != "" {
		t.Errorf("reader saw (-want +got):\n%s", d)
	}
	if err := <-written; !errors.Is(err, store.ErrUnknown) {
		t.Errorf("writer: %v", err)
	}
}

func TestContextEndsWhileWaiting(t *testing.T) {
	e, d := openDisk(t)
	reached, release := d.holdSync()
	ctx, cancel := context.WithCancelCause(t.Context())
	written := make(chan error)
	go func() {
		written <- e.Update(ctx, func(store.View) []store.Op { return []store.Op{{Key: leaseKey("a"), Value: []byte("1")}} })
	}()
	<-reached
	cancel(errors.New("client gave up"))
	if err := <-written; !errors.Is(err, store.ErrUnknown) || err.Error() != "commit outcome unknown: waiting for the journal: client gave up" {
		t.Errorf("update: %v", err)
	}
	release <- nil
	if saw, err := look(t.Context(), e, "a"); saw != "1" || err != nil {
		t.Errorf("afterwards a is %q, error %v", saw, err)
	}
}

// TestWatchShowsDurableOnly lets a sync fail and then looks at what a watcher was shown.
func TestWatchShowsDurableOnly(t *testing.T) {
	e, d := openDisk(t)
	put(t, e, "a", "1")
	d.failing("sync", 0, syscall.EIO)
	var got []string
	for c := range e.Watch(t.Context(), store.TableLease) {
		got = append(got, fmt.Sprintf("%s=%s %v", c.Key.ID, c.Value, c.Synced))
		if c.Synced {
			if err := set(t, e, "a", "2"); !errors.Is(err, store.ErrUnknown) {
				t.Errorf("update: %v", err)
			}
			if err := e.Close(); err != nil { // ends the watch
				t.Error(err)
			}
		}
	}
	if d := cmp.Diff([]string{"a=1 false", "= true"}, got); d != "" {
		t.Errorf("watch (-want +got):\n%s", d)
	}
}

// TestStart: what was started is seen at once, and one sync makes all of it durable once somebody asks for the disk.
func TestStart(t *testing.T) {
	e, err := Open(t.TempDir(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	before := e.Stats().Syncs
	var all []store.Commit
	for i := range 10 {
		all = append(all, e.Start(func(store.View) []store.Op {
			return []store.Op{{Key: store.Key{Table: store.TableLease, ID: strconv.Itoa(i)}, Value: []byte("x")}}
		}))
	}
	reader := e.Start(func(v store.View) []store.Op {
		if _, ok := v.Get(store.Key{Table: store.TableLease, ID: "9"}); !ok {
			t.Error("what was started is not seen")
		}
		return nil
	})
	all = append(all, reader)
	for i, c := range all {
		if c.Done() {
			t.Errorf("%d is done before the disk was asked", i)
		}
	}
	all[0].Sync()
	for i, c := range all {
		if err := c.Wait(t.Context()); err != nil || !c.Done() {
			t.Errorf("%d: error %v, done %t", i, err, c.Done())
		}
	}
	if s := e.Stats(); s.Syncs != before+1 || s.Records != 10 {
		t.Errorf("%d syncs for %d records, want one for ten", s.Syncs-before, s.Records)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for range 64 { // what is known is told, whatever became of ctx
		if err := all[0].Wait(ended); err != nil {
			t.Fatalf("done, and then %v", err)
		}
	}
	if c := e.Start(func(store.View) []store.Op { return nil }); !c.Done() || c.Wait(t.Context()) != nil {
		t.Error("a transaction that writes nothing waits")
	}
	if c := e.Start(func(store.View) []store.Op { return []store.Op{{}} }); !c.Done() || !errors.Is(c.Wait(t.Context()), store.ErrInvalid) {
		t.Error("an invalid transaction waits, or ends well")
	}
}
