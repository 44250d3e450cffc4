package storetest

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"bootd.internal/bootd/store"
)

// randomOps makes a transaction's changes; sometimes none.
func randomOps(r *rand.Rand) []store.Op {
	var ops []store.Op
	for range r.IntN(5) {
		k := store.Key{Table: store.Table(1 + r.IntN(8)), ID: fmt.Sprintf("%c%d", 'a'+r.IntN(4), r.IntN(30))}
		op := store.Op{Key: k}
		if r.IntN(3) > 0 {
			op.Value = make([]byte, r.IntN(50))
			for i := range op.Value {
				op.Value[i] = byte('0' + r.IntN(10))
			}
		}
		ops = append(ops, op)
	}
	return ops
}

// applyModel makes the changes of ops on a plain map.
func applyModel(model map[string]string, ops []store.Op) {
	for _, op := range ops {
		if op.Value == nil {
			delete(model, op.Key.String())
			continue
		}
		model[op.Key.String()] = string(op.Value)
	}
}

// randomWrites commits n random transactions and makes them on model too.
func randomWrites(t *testing.T, s store.Store, r *rand.Rand, model map[string]string, n int) {
	t.Helper()
	for range n {
		ops := randomOps(r)
		update(t, s, func(v store.View) []store.Op {
			for _, op := range ops {
				got, ok := v.Get(op.Key)
				if want, there := model[op.Key.String()]; ok != there || string(got) != want {
					t.Errorf("%v is %s, the model has %q", op.Key, show(got, ok), want)
				}
			}
			return ops
		})
		applyModel(model, ops)
	}
}

func testRandom(t *testing.T, s store.Store) {
	r := rand.New(rand.NewPCG(4, 4))
	model := map[string]string{}
	for range 20 {
		randomWrites(t, s, r, model, 50)
		wantContent(t, s, model)
	}
}
