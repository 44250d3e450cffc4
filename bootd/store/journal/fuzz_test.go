package journal

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/store"
)

// batchBody encodes transactions as a batch's body.
func batchBody(txs ...[]store.Op) []byte {
	var b []byte
	for _, ops := range txs {
		b = appendTx(b, ops)
	}
	return b
}

// collect decodes a batch and keeps its ops.
func collect(body []byte, count uint32) ([]store.Op, error) {
	var ops []store.Op
	err := decodeBatch(body, count, func(op store.Op) { ops = append(ops, op) })
	return ops, err
}

func TestBatchRoundTrip(t *testing.T) {
	first := []store.Op{{Key: leaseKey("a"), Value: []byte("1")}, {Key: leaseKey("")}, {Key: leaseKey("b"), Value: []byte{}}}
	second := []store.Op{{Key: store.Key{Table: store.TableNode, ID: "x"}, Value: make([]byte, 300)}}
	got, err := collect(batchBody(first, second), 2)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(slices.Concat(first, second), got); d != "" {
		t.Errorf("ops (-want +got):\n%s", d)
	}
}

// FuzzDecodeBatch wants no panic, only ops that Update accepts too, and the same ops from what they encode to.
func FuzzDecodeBatch(f *testing.F) {
	f.Add(batchBody([]store.Op{{Key: leaseKey("2001:db8::1/128"), Value: []byte("v")}}), uint32(1))
	f.Add(batchBody([]store.Op{{Key: leaseKey("a")}}, []store.Op{{Key: leaseKey("b"), Value: []byte{}}}), uint32(2))
	f.Add([]byte{1, 1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, uint32(1))
	f.Add([]byte{0xff, 0xff, 0xff, 0x07}, uint32(1<<31))
	f.Add([]byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, body []byte, count uint32) {
		ops, err := collect(body, count)
		for _, op := range ops {
			if err := op.Check(); err != nil {
				t.Fatalf("decoded %v: %v", op.Key, err)
			}
		}
		if err != nil {
			return
		}
		again, err := collect(batchBody(ops), 1)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(ops, again); d != "" {
			t.Errorf("ops changed (-first +again):\n%s", d)
		}
	})
}

// FuzzJournal replays any content as the newest journal: no panic, and either damage or a state.
func FuzzJournal(f *testing.F) {
	h := header{magic: magicJournal, gen: 1}
	frames := []byte{}
	for seq := range uint64(3) {
		frame := append(beginFrame(nil), batchBody([]store.Op{{Key: leaseKey("a"), Value: []byte("v")}})...)
		sealFrame(frame, h.salt, seq+1, kindBatch, 1)
		frames = append(frames, frame...)
	}
	f.Add(frames)
	f.Add(frames[:len(frames)-3])
	f.Add(append(slices.Clone(frames[:20]), frames[25:]...))
	f.Add(make([]byte, 100))
	f.Fuzz(func(t *testing.T, content []byte) {
		r := &reader{}
		data := append(h.encode(), content...)
		err := r.journal(h, data, int64(len(data)), nil)
		var damage *DamageError
		if err != nil && !errors.As(err, &damage) {
			t.Fatalf("replaying: %v", err)
		}
		held := max(r.out.lastSize, int64(len(bytes.TrimRight(data, "\x00")))) // zeros at the end are room
		if err == nil && r.out.lastSize+r.out.TornOctets != held {
			t.Errorf("%d octets count and %d are torn, of %d", r.out.lastSize, r.out.TornOctets, len(data))
		}
	})
}

// TestForgedFrame puts a whole valid frame of an older journal into a value and tears the record that holds it: it must
// pass for content, not for a valid record behind damage.
func TestForgedFrame(t *testing.T) {
	forged := append(beginFrame(nil), batchBody([]store.Op{{Key: leaseKey("evil"), Value: []byte("x")}})...)
	sealFrame(forged, [8]byte{}, 3, kindBatch, 1)
	h := header{magic: magicJournal, gen: 1}
	for i := range h.salt {
		h.salt[i] = byte(rand.UintN(256))
	}
	h.salt[0] |= 1
	frame := append(beginFrame(nil), batchBody([]store.Op{{Key: leaseKey("a"), Value: forged}})...)
	sealFrame(frame, h.salt, 1, kindBatch, 1)
	dir := t.TempDir()
	writeFile(t, dir, journalName(1), append(h.encode(), frame[:len(frame)-1]...))
	e, err := openCopy(t, dir)
	if err != nil {
		t.Fatal(err)
	}
	wantLeases(t, e, map[string]string{})
}
