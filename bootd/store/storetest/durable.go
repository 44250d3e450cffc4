package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/store"
)

// RunDurable tests an engine that keeps its records beyond its own end. Each subtest calls begin for a fresh place and
// then opens a store there again and again; closing the last one is what shut does.
func RunDurable(t *testing.T, begin func(t *testing.T) (open func() store.Store, shut func())) {
	t.Helper()
	t.Run("RandomAcrossReopen", func(t *testing.T) {
		open, shut := begin(t)
		r, model := rand.New(rand.NewPCG(5, 5)), map[string]string{}
		for range 12 {
			s := open()
			wantContent(t, s, model)
			randomWrites(t, s, r, model, r.IntN(120))
			shut()
		}
	})
	t.Run("ConcurrentAcrossReopen", func(t *testing.T) {
		open, shut := begin(t)
		want := map[string]string{}
		for round := range 4 {
			s := open()
			var wg sync.WaitGroup
			for w := range 16 {
				wg.Go(func() {
					for i := range 20 {
						put(t, s, key(fmt.Sprint(w, "-", i)), fmt.Sprint(round))
					}
				})
				for i := range 20 {
					want["lease/"+fmt.Sprint(w, "-", i)] = fmt.Sprint(round)
				}
			}
			wg.Wait()
			shut()
			wantContent(t, open(), want)
			shut()
		}
	})
	t.Run("ReopenedTransactionsHold", func(t *testing.T) {
		open, shut := begin(t)
		put(t, open(), key("a"), "before")
		shut()
		s := open()
		defer shut()
		saw := conflict(t, s, func(v store.View) ([]byte, bool) { return v.Get(key("a")) })
		if d := cmp.Diff([]string{`"before"`, `"theirs"`}, saw); d != "" {
			t.Errorf("runs saw (-want +got):\n%s", d)
		}
	})
}
