package journal

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"testing"

	"bootd.internal/bootd/store"
)

// counters has writers that count up records of their own until the disk dies, and returns the last value each was
// promised and the last it tried.
func counters(t *testing.T, e *Engine, writers, each int) (promised, tried []int) {
	t.Helper()
	promised, tried = make([]int, writers), make([]int, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			k, mirror := leaseKey(fmt.Sprint(w)), store.Key{Table: store.TableArm, ID: fmt.Sprint(w)}
			for range each {
				n := 0
				err := e.Update(t.Context(), func(v store.View) []store.Op {
					old, _ := v.Get(k)
					n, _ = strconv.Atoi(string(old))
					n++
					value := fmt.Append(nil, n)
					return []store.Op{{Key: k, Value: value}, {Key: mirror, Value: value}}
				})
				tried[w] = max(tried[w], n)
				if err != nil {
					return
				}
				promised[w] = n
			}
		})
	}
	wg.Wait()
	return promised, tried
}

// checkCounters wants each counter between what was promised and what was tried, and no half transaction.
func checkCounters(t *testing.T, e *Engine, promised, tried []int) {
	t.Helper()
	e.Read(func(v store.View) {
		for w := range promised {
			b, _ := v.Get(leaseKey(fmt.Sprint(w)))
			n, _ := strconv.Atoi(string(b))
			if n < promised[w] || n > tried[w] {
				t.Errorf("counter %d is %d, promised %d, tried %d", w, n, promised[w], tried[w])
			}
			if m, _ := v.Get(store.Key{Table: store.TableArm, ID: fmt.Sprint(w)}); string(m) != string(b) {
				t.Errorf("counter %d is %q, its mirror %q", w, b, m)
			}
		}
	})
}

// TestPowerCutAtEveryStep cuts power at each step of the disk, while writers count and compactions run, looks at
// several of the things that may be left, and cuts power again while that is opened.
func TestPowerCutAtEveryStep(t *testing.T) {
	t.Parallel()
	const writers, each = 3, 8
	for dieAt := 1; ; dieAt++ {
		d := newDisk(t, t.TempDir())
		d.dieAt = dieAt
		opts := d.options()
		opts.CompactAt = 200
		e, err := Open(t.TempDir(), opts)
		promised, tried := make([]int, writers), make([]int, writers)
		if err == nil {
			promised, tried = counters(t, e, writers, each)
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
		for seed := range uint64(4) {
			dir := d.afterPowerCut(t, rand.New(rand.NewPCG(seed, uint64(dieAt))))
			reopenDying(t, dir, int(seed)*3+dieAt%3+1, promised, tried)
		}
		if !d.dead {
			if dieAt < 30 {
				t.Errorf("all was done in %d steps: no compaction was cut", dieAt)
			}
			return
		}
		if t.Failed() {
			t.Fatalf("power was cut at step %d", dieAt)
		}
	}
}

// reopenDying opens dir on a disk that dies at step dieAt, and then opens what is left of that.
func reopenDying(t *testing.T, dir string, dieAt int, promised, tried []int) {
	t.Helper()
	d := newDisk(t, dir)
	d.dieAt = dieAt
	if e, err := Open(dir, d.options()); err == nil {
		checkCounters(t, e, promised, tried)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	left := d.afterPowerCut(t, rand.New(rand.NewPCG(9, uint64(dieAt))))
	e, err := Open(left, newDisk(t, left).options())
	if err != nil {
		t.Errorf("opening what is left: %v", err)
		return
	}
	checkCounters(t, e, promised, tried)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestExitAtEveryStep is the same for a process that dies while the kernel lives: all that was written is there.
func TestExitAtEveryStep(t *testing.T) {
	t.Parallel()
	for dieAt := 1; ; dieAt++ {
		d := newDisk(t, t.TempDir())
		d.dieAt = dieAt
		opts := d.options()
		opts.CompactAt = 200
		e, err := Open(t.TempDir(), opts)
		if err != nil {
			continue
		}
		promised, tried := counters(t, e, 2, 8)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		dir := d.afterExit(t)
		again, err := openCopy(t, dir)
		if err != nil {
			t.Fatalf("died at step %d: %v", dieAt, err)
		}
		checkCounters(t, again, promised, tried)
		if !d.dead {
			return
		}
	}
}
