package journal

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

func TestStats(t *testing.T) {
	dir := t.TempDir()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	opts := Options{Now: func() time.Time { return now }}
	e, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	put(t, e, "a", "12345")
	put(t, e, "b", "1")
	put(t, e, "a", "123")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	e = mustOpen(t, dir, opts)
	put(t, e, "c", "1")
	size := int64(frameHeaderSize + payloadHead + 1 + 2 + 2 + 2)
	want := Stats{
		Recovery: Recovery{Records: 2, Transactions: 3},
		Records:  3, Octets: 8,
		JournalOctets: size, SnapshotOctets: headerSize + 2*(frameHeaderSize+payloadHead) + 14,
		Transactions: 1, Syncs: 1, Compactions: 1, LastCompaction: now,
	}
	if d := cmp.Diff(want, e.Stats()); d != "" {
		t.Errorf("stats (-want +got):\n%s", d)
	}
	if err := e.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	want.JournalOctets, want.Compactions, want.SnapshotOctets = 0, 2, want.SnapshotOctets+6
	if d := cmp.Diff(want, e.Stats()); d != "" {
		t.Errorf("stats after a compaction (-want +got):\n%s", d)
	}
}

// TestCompactsByItself writes one record over and over: the journal must not grow beyond its bound by much.
func TestCompactsByItself(t *testing.T) {
	dir := t.TempDir()
	d := newDisk(t, dir)
	opts := d.options()
	opts.CompactAt = 1000
	e := mustOpen(t, dir, opts)
	for i := range 500 {
		put(t, e, "a", fmt.Sprint(i))
	}
	for e.Stats().JournalOctets > opts.CompactAt { // on a busy machine a compaction is still at work
		put(t, e, "a", "499")
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	s := e.Stats()
	if s.Compactions < 5 {
		t.Errorf("compactions: %d, want some", s.Compactions)
	}
	left := d.afterExit(t)
	total := 0
	for _, data := range readDir(t, left) {
		total += len(data)
	}
	if total > 4000 {
		t.Errorf("files hold %d octets after %d compactions", total, s.Compactions)
	}
	wantLeases(t, mustOpen(t, left, Options{}), map[string]string{"a": "499"})
}

// TestLargeTransactions fills batches beyond what one may hold.
func TestLargeTransactions(t *testing.T) {
	t.Parallel()
	e, d := openDisk(t)
	big := make([]byte, store.MaxValue)
	tx := func(id string, n int) error {
		return e.Update(t.Context(), func(store.View) []store.Op {
			ops := make([]store.Op, n)
			for i := range ops {
				ops[i] = store.Op{Key: leaseKey(fmt.Sprint(id, "-", i)), Value: big}
			}
			return ops
		})
	}
	err := tx("too large", 16)
	want := "invalid operation: transaction of 16777495 octets, at most 16777216"
	if !errors.Is(err, store.ErrInvalid) || err.Error() != want {
		t.Errorf("transaction of 16 MiB and more: %v, want %s", err, want)
	}
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			if err := tx(fmt.Sprint(w), 9); err != nil {
				t.Errorf("transaction of 9 MiB: %v", err)
			}
		})
	}
	wg.Wait()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := openCopy(t, d.afterExit(t))
	if err != nil {
		t.Fatal(err)
	}
	got, ignore := again.Stats(), cmpopts.IgnoreFields(Stats{}, "LastCompaction", "SnapshotOctets", "Octets")
	wantStats := Stats{Recovery: Recovery{Records: 36, Transactions: 4}, Records: 36, Compactions: 1}
	if d := cmp.Diff(wantStats, got, ignore); d != "" {
		t.Errorf("stats (-want +got):\n%s", d)
	}
}

// TestLosesOnlySoOften makes a transaction lose each of its first runs: the one after them must run alone.
func TestLosesOnlySoOften(t *testing.T) {
	e, _ := openDisk(t)
	runs := 0
	err := e.Update(t.Context(), func(v store.View) []store.Op {
		v.Get(leaseKey("a"))
		if runs++; runs <= memory.OptimisticRuns {
			put(t, e, "a", "r")
		} else if e.mu.TryLock() {
			e.mu.Unlock()
			t.Error("others can commit during the last run")
		}
		return []store.Op{{Key: leaseKey("a"), Value: []byte("x")}}
	})
	if err != nil || runs != memory.OptimisticRuns+1 {
		t.Errorf("update after %d runs: %v, want %d runs", runs, err, memory.OptimisticRuns+1)
	}
}
