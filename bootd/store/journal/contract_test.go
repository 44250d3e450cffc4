package journal

import (
	"testing"

	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/storetest"
)

// mustOpen opens dir and closes it when the test ends.
func mustOpen(t testing.TB, dir string, opts Options) *Engine {
	t.Helper()
	e, err := Open(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return e
}

func TestContract(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return mustOpen(t, t.TempDir(), Options{}) })
}

func TestContractWhileCompacting(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T) store.Store { return mustOpen(t, t.TempDir(), Options{CompactAt: 1}) })
}

func TestDurable(t *testing.T) {
	t.Parallel()
	for name, opts := range map[string]Options{"plain": {}, "compacting": {CompactAt: 1}} {
		t.Run(name, func(t *testing.T) {
			storetest.RunDurable(t, func(t *testing.T) (func() store.Store, func()) {
				dir := t.TempDir()
				var e *Engine
				open := func() store.Store {
					e = mustOpen(t, dir, opts)
					return e
				}
				return open, func() {
					if err := e.Close(); err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
