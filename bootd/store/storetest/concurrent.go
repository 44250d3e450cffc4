package storetest

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/store"
)

// update commits and reports an error.
func update(t *testing.T, s store.Store, fn func(store.View) []store.Op) {
	t.Helper()
	if err := s.Update(t.Context(), fn); err != nil {
		t.Errorf("update: %v", err)
	}
}

// number is a record as a counter; a missing one is 0.
func number(b []byte, ok bool) uint64 {
	if !ok {
		return 0
	}
	return binary.BigEndian.Uint64(b)
}

func numberOp(k store.Key, n uint64) store.Op {
	return store.Op{Key: k, Value: binary.BigEndian.AppendUint64(nil, n)}
}

// testStarvation has a long transaction over records that others never stop changing.
func testStarvation(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	var busy sync.WaitGroup
	for range 4 {
		busy.Go(func() {
			for ctx.Err() == nil {
				update(t, s, func(v store.View) []store.Op {
					return []store.Op{numberOp(key("busy"), number(v.Get(key("busy")))+1)}
				})
			}
		})
	}
	for range 20 {
		update(t, s, func(v store.View) []store.Op {
			n := number(v.Get(key("busy")))
			for i := range 2000 {
				v.Get(key(fmt.Sprint("filler", i)))
			}
			return []store.Op{numberOp(key("busy"), n+1), numberOp(key("long"), number(v.Get(key("long")))+1)}
		})
	}
	cancel()
	busy.Wait()
	s.Read(func(v store.View) {
		if n := number(v.Get(key("long"))); n != 20 {
			t.Errorf("long transactions committed: %d, want 20", n)
		}
	})
}

// testViewIsOneMoment changes two records together and looks whether anybody sees them apart.
func testViewIsOneMoment(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	same := func(v store.View) {
		if a, b := number(v.Get(key("a"))), number(v.Get(key("b"))); a != b {
			t.Errorf("a is %d while b is %d", a, b)
		}
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			s.Read(same)
		}
	})
	for i := range uint64(300) {
		update(t, s, func(v store.View) []store.Op {
			same(v)
			return []store.Op{numberOp(key("a"), i), numberOp(key("b"), i)}
		})
	}
	cancel()
	wg.Wait()
}

func testScanDuringWrites(t *testing.T, s store.Store) {
	for i := range uint64(100) {
		update(t, s, func(store.View) []store.Op { return []store.Op{numberOp(key(fmt.Sprintf("%03d", i)), 1)} })
	}
	n := 0
	for k := range s.Scan(store.TableLease, "") {
		if n%10 == 0 {
			drop(t, s, k)
			put(t, s, key(k.ID+"x"), "new")
		}
		n++
	}
	if n < 90 || n > 110 {
		t.Errorf("scan of 100 records during 10 deletions and 10 insertions yielded %d", n)
	}
	if got := len(content(s)); got != 100 {
		t.Errorf("records after it: %d, want 100", got)
	}
}

func testWatch(t *testing.T, s store.Store) {
	put(t, s, key("b"), "1")
	put(t, s, key("a"), "1")
	put(t, s, store.Key{Table: store.TableArm, ID: "x"}, "another table")
	next, stop := iter.Pull(s.Watch(t.Context(), store.TableLease))
	defer stop()
	var got []string
	take := func(n int) {
		for range n {
			c, ok := next()
			got = append(got, fmt.Sprintf("%v %s synced=%v more=%v", c.Key, show(c.Value, c.Value != nil), c.Synced, ok))
		}
	}
	take(3)
	put(t, s, key("c"), "")
	put(t, s, store.Key{Table: store.TableArm, ID: "y"}, "another table")
	update(t, s, func(store.View) []store.Op {
		return []store.Op{{Key: key("z"), Value: []byte("1")}, {Key: key("a")}, {Key: key("z"), Value: []byte("2")}}
	})
	put(t, s, key("d"), "4")
	take(5)
	want := []string{
		`lease/a "1" synced=false more=true`,
		`lease/b "1" synced=false more=true`,
		`invalid/ none synced=true more=true`,
		`lease/c "" synced=false more=true`,
		`lease/z "1" synced=false more=true`,
		`lease/a none synced=false more=true`,
		`lease/z "2" synced=false more=true`,
		`lease/d "4" synced=false more=true`,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("watch (-want +got):\n%s", d)
	}
}

func testWatchStops(t *testing.T, s store.Store) {
	put(t, s, key("a"), "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	n := 0
	for c := range s.Watch(ctx, store.TableLease) {
		n++
		if c.Synced {
			cancel() // the watch waits for commits now and ends nevertheless
		}
	}
	if n != 2 {
		t.Errorf("changes before the end: %d, want 2", n)
	}
}

// testWatchAfterUpdate wants what an Update has promised in the state of each watch that begins afterwards.
func testWatchAfterUpdate(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	for w := range 16 {
		mine := key(fmt.Sprint(w))
		wg.Go(func() {
			for i := range 100 {
				put(t, s, mine, fmt.Sprint(i))
				for c := range s.Watch(t.Context(), store.TableLease) {
					if c.Synced {
						t.Errorf("watch after update %d does not begin with %v", i, mine)
						return
					}
					if c.Key != mine {
						continue
					}
					if string(c.Value) != fmt.Sprint(i) {
						t.Errorf("watch after update %d begins with %v=%q", i, mine, c.Value)
					}
					break
				}
			}
		})
	}
	wg.Wait()
}

// testWatchConcurrent starts watchers while writers run; each must end with the store's content.
func testWatchConcurrent(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var writers, watchers sync.WaitGroup
	last := key("last")
	results := make([]map[string]string, 4)
	start := func(i int) {
		watchers.Go(func() {
			seen := map[string]string{}
			for c := range s.Watch(ctx, store.TableLease) {
				switch {
				case c.Synced:
				case c.Value == nil:
					delete(seen, c.Key.String())
				default:
					seen[c.Key.String()] = string(c.Value)
				}
				if c.Key == last {
					break
				}
			}
			results[i] = seen
		})
	}
	for w := range 4 {
		start(w)
		writers.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 1))
			for i := range 200 {
				k := key(fmt.Sprint(r.IntN(20)))
				if r.IntN(3) == 0 {
					drop(t, s, k)
					continue
				}
				put(t, s, k, fmt.Sprint(w, "-", i))
			}
		})
	}
	writers.Wait()
	put(t, s, last, "end")
	watchers.Wait()
	want := content(s)
	for i, got := range results {
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("watcher %d (-want +got):\n%s", i, d)
		}
	}
}

// testOneHolder has many clients ask for the few addresses of a pool: no address may go to two, no client get two.
func testOneHolder(t *testing.T, s store.Store) {
	const clients, pool = 48, 32
	granted := make([]string, clients)
	var wg sync.WaitGroup
	for c := range clients {
		wg.Go(func() {
			update(t, s, func(v store.View) []store.Op {
				granted[c] = ""
				for a := range pool {
					k := key(fmt.Sprintf("2001:db8::%x/128", a))
					if _, taken := v.Peek(k); taken {
						continue
					}
					if _, taken := v.Get(k); taken {
						continue
					}
					granted[c] = k.ID
					return []store.Op{{Key: k, Value: fmt.Append(nil, c)}}
				}
				return nil
			})
		})
	}
	wg.Wait()
	want := map[string]string{}
	for c, id := range granted {
		if id == "" {
			continue
		}
		if other, twice := want["lease/"+id]; twice {
			t.Errorf("%s went to client %s and to client %d", id, other, c)
		}
		want["lease/"+id] = fmt.Sprint(c)
	}
	if len(want) != pool {
		t.Errorf("addresses granted: %d, want all %d", len(want), pool)
	}
	wantContent(t, s, want)
}

// testSum moves amounts between records; the sum must stay.
func testSum(t *testing.T, s store.Store) {
	const accounts, each = 6, 100
	name := func(i int) store.Key { return key(fmt.Sprint("account", i)) }
	for i := range accounts {
		update(t, s, func(store.View) []store.Op { return []store.Op{numberOp(name(i), each)} })
	}
	sum := func(v store.View) (n uint64) {
		for i := range accounts {
			n += number(v.Get(name(i)))
		}
		return n
	}
	var wg sync.WaitGroup
	for w := range 8 {
		r := rand.New(rand.NewPCG(uint64(w), 2))
		wg.Go(func() {
			for range 100 {
				from, to := name(r.IntN(accounts)), name(r.IntN(accounts))
				update(t, s, func(v store.View) []store.Op {
					a, b := number(v.Get(from)), number(v.Get(to))
					if a == 0 || from == to {
						return nil
					}
					return []store.Op{numberOp(from, a-1), numberOp(to, b+1)}
				})
				s.Read(func(v store.View) {
					if n := sum(v); n != accounts*each {
						t.Errorf("sum is %d, want %d", n, accounts*each)
					}
				})
			}
		})
	}
	wg.Wait()
}

// step is one committed transaction: what it saw and what it wrote.
type step struct {
	turn  uint64
	saw   map[string]uint64
	wrote map[string]uint64
}

// testSerial has random transactions that each take a turn from a counter, and replays them in that order: each must
// have seen exactly what those before it wrote.
func testSerial(t *testing.T, s store.Store) {
	const writers, each, keys = 8, 60, 5
	all := make([][]step, writers)
	var wg sync.WaitGroup
	for w := range writers {
		r := rand.New(rand.NewPCG(uint64(w), 3))
		wg.Go(func() {
			for i := range each {
				var last step
				picks := []int{r.IntN(keys), r.IntN(keys), r.IntN(keys)}
				update(t, s, func(v store.View) []store.Op {
					last = step{turn: number(v.Get(key("turn"))), saw: map[string]uint64{}, wrote: map[string]uint64{}}
					for _, p := range picks {
						k := key(fmt.Sprint(p))
						last.saw[k.ID] = number(v.Get(k))
					}
					mine := key(fmt.Sprint(picks[0]))
					last.wrote[mine.ID] = uint64(w*each+i) + 1
					return []store.Op{numberOp(key("turn"), last.turn+1), numberOp(mine, last.wrote[mine.ID])}
				})
				all[w] = append(all[w], last)
			}
		})
	}
	wg.Wait()
	steps := slices.Concat(all...)
	slices.SortFunc(steps, func(a, b step) int { return int(a.turn) - int(b.turn) })
	model := map[string]uint64{}
	for i, st := range steps {
		if st.turn != uint64(i) {
			t.Fatalf("turn %d was taken as number %d", st.turn, i)
		}
		for id, saw := range st.saw {
			if saw != model[id] {
				t.Fatalf("turn %d saw %d in %s, which was %d", i, saw, id, model[id])
			}
		}
		maps.Copy(model, st.wrote)
	}
}
