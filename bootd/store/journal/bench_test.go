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

// fill writes n records as large as a lease.
func fill(b *testing.B, dir string, n int) {
	b.Helper()
	e, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for at := 0; at < n; at += 100 {
		err := e.Update(b.Context(), func(store.View) []store.Op {
			ops := make([]store.Op, 100)
			for i := range ops {
				k := store.Key{Table: store.TableLease, ID: fmt.Sprintf("2001:db8::%x/128", at+i)}
				ops[i] = store.Op{Key: k, Value: make([]byte, 200)}
			}
			return ops
		})
		if err != nil {
			b.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkOpen10000 opens 10,000 leases, with the snapshot that Open writes.
func BenchmarkOpen10000(b *testing.B) {
	dir := b.TempDir()
	fill(b, dir, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		e, err := Open(dir, Options{})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkRead has readers on all processors while nothing is written.
func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	fill(b, dir, 10_000)
	e, err := Open(dir, Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = e.Close() })
	k := store.Key{Table: store.TableLease, ID: "2001:db8::42/128"}
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			e.Read(func(v store.View) {
				if _, ok := v.Get(k); !ok {
					b.Error("record is missing")
				}
			})
		}
	})
}
