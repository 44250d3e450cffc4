package journal

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"bootd.internal/bootd/store"
)

// BenchmarkUpdate64 has 64 writers, each with keys of its own, as 64 outstanding DHCPv6 exchanges would have.
func BenchmarkUpdate64(b *testing.B) {
	e, err := Open(b.TempDir(), Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	value := make([]byte, 200)
	var next atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for w := range 64 {
		wg.Go(func() {
			for {
				n := next.Add(1)
				if n > int64(b.N) {
					return
				}
				k := store.Key{Table: store.TableLease, ID: fmt.Sprintf("2001:db8:%x::%x/128", w, n%160)}
				err := e.Update(b.Context(), func(v store.View) []store.Op {
					v.Get(k)
					return []store.Op{{Key: k, Value: value}}
				})
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	s := e.Stats()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
	b.ReportMetric(float64(s.Transactions)/float64(s.Syncs), "writes/sync")
}
