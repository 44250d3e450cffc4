// Package storetest is the suite that each engine of store must pass: the contract case by case, and random
// transactions checked against a plain map.
//
// It never looks inside an engine, and it knows no engine by name.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/store"
)

// Run tests the store.Store that open returns; each subtest opens its own, which must be empty. open registers what
// closes it with t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, store.Store)
	}{
		{"GetAndPeek", testGetAndPeek},
		{"Delete", testDelete},
		{"EmptyValue", testEmptyValue},
		{"LastOpOfAKeyCounts", testLastOp},
		{"ValuesAreCopied", testValuesAreCopied},
		{"Invalid", testInvalid},
		{"Limits", testLimits},
		{"Atomic", testAtomic},
		{"ConflictRunsAgain", testConflict},
		{"MissIsAPrecondition", testMissConflict},
		{"PeekIsNoPrecondition", testPeekNoConflict},
		{"BusyKeysComeToAnEnd", testStarvation},
		{"CancelledBefore", testCancelledBefore},
		{"ViewIsOneMoment", testViewIsOneMoment},
		{"ScanOrder", testScanOrder},
		{"ScanStops", testScanStops},
		{"ScanDuringWrites", testScanDuringWrites},
		{"WatchStateThenCommits", testWatch},
		{"WatchStops", testWatchStops},
		{"WatchAfterUpdate", testWatchAfterUpdate},
		{"WatchMissesNothing", testWatchConcurrent},
		{"OneHolder", testOneHolder},
		{"SumIsKept", testSum},
		{"Serial", testSerial},
		{"RandomAgainstModel", testRandom},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func key(id string) store.Key { return store.Key{Table: store.TableLease, ID: id} }

// put commits one value.
func put(t *testing.T, s store.Store, k store.Key, v string) {
	t.Helper()
	if err := s.Update(t.Context(), func(store.View) []store.Op { return []store.Op{{Key: k, Value: []byte(v)}} }); err != nil {
		t.Errorf("putting %v: %v", k, err)
	}
}

// drop commits one deletion.
func drop(t *testing.T, s store.Store, k store.Key) {
	t.Helper()
	if err := s.Update(t.Context(), func(store.View) []store.Op { return []store.Op{{Key: k}} }); err != nil {
		t.Errorf("deleting %v: %v", k, err)
	}
}

// content is all records of all tables as text, by key.
func content(s store.Store) map[string]string {
	all := map[string]string{}
	for t := store.TableLease; t.Valid(); t++ {
		for k, v := range s.Scan(t, "") {
			all[k.String()] = string(v)
		}
	}
	return all
}

func wantContent(t *testing.T, s store.Store, want map[string]string) {
	t.Helper()
	if d := cmp.Diff(want, content(s)); d != "" {
		t.Errorf("content (-want +got):\n%s", d)
	}
}

// show describes what a view says of a key.
func show(v []byte, ok bool) string {
	if !ok {
		return "none"
	}
	return fmt.Sprintf("%q", v)
}

func testGetAndPeek(t *testing.T, s store.Store) {
	put(t, s, key("a"), "1")
	var got []string
	look := func(v store.View) {
		got = append(got, show(v.Get(key("a"))), show(v.Peek(key("a"))), show(v.Get(key("b"))), show(v.Peek(key("b"))),
			show(v.Get(store.Key{Table: store.TableArm, ID: "a"})), show(v.Get(store.Key{Table: 200, ID: "a"})))
	}
	s.Read(look)
	if err := s.Update(t.Context(), func(v store.View) []store.Op { look(v); return nil }); err != nil {
		t.Fatal(err)
	}
	one := []string{`"1"`, `"1"`, "none", "none", "none", "none"}
	if d := cmp.Diff(append(one, one...), got); d != "" {
		t.Errorf("views (-want +got):\n%s", d)
	}
}

func testDelete(t *testing.T, s store.Store) {
	put(t, s, key("a"), "1")
	put(t, s, key("b"), "2")
	drop(t, s, key("a"))
	drop(t, s, key("never"))
	wantContent(t, s, map[string]string{"lease/b": "2"})
	put(t, s, key("a"), "3")
	wantContent(t, s, map[string]string{"lease/a": "3", "lease/b": "2"})
}

func testEmptyValue(t *testing.T, s store.Store) {
	put(t, s, key(""), "")
	wantContent(t, s, map[string]string{"lease/": ""})
}

func testLastOp(t *testing.T, s store.Store) {
	err := s.Update(t.Context(), func(store.View) []store.Op {
		return []store.Op{{Key: key("a"), Value: []byte("1")}, {Key: key("b"), Value: []byte("1")}, {Key: key("a")}, {Key: key("b"), Value: []byte("2")}}
	})
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, map[string]string{"lease/b": "2"})
}

func testValuesAreCopied(t *testing.T, s store.Store) {
	buf := []byte("before")
	if err := s.Update(t.Context(), func(store.View) []store.Op { return []store.Op{{Key: key("a"), Value: buf}} }); err != nil {
		t.Fatal(err)
	}
	copy(buf, "after!")
	wantContent(t, s, map[string]string{"lease/a": "before"})
}

func testInvalid(t *testing.T, s store.Store) {
	for _, c := range []struct {
		op   store.Op
		want string
	}{
		{store.Op{Key: store.Key{ID: "a"}, Value: []byte("x")}, "invalid operation: table 0 does not exist"},
		{store.Op{Key: store.Key{Table: 99, ID: "a"}}, "invalid operation: table 99 does not exist"},
		{store.Op{Key: key(strings.Repeat("i", 513))}, "invalid operation: id of 513 octets, at most 512"},
		{store.Op{Key: key("a"), Value: make([]byte, 1<<20+1)}, "invalid operation: value of 1048577 octets, at most 1048576"},
	} {
		err := s.Update(t.Context(), func(store.View) []store.Op {
			return []store.Op{{Key: key("fine"), Value: []byte("x")}, c.op}
		})
		if !errors.Is(err, store.ErrInvalid) || err.Error() != c.want {
			t.Errorf("update with %v: error %v, want %s", c.op.Key, err, c.want)
		}
	}
	wantContent(t, s, map[string]string{})
}

func testLimits(t *testing.T, s store.Store) {
	id, value := strings.Repeat("i", store.MaxID), bytes.Repeat([]byte("v"), store.MaxValue)
	put(t, s, key(id), string(value))
	s.Read(func(v store.View) {
		if got, ok := v.Get(key(id)); !ok || !bytes.Equal(got, value) {
			t.Errorf("largest record: found %v with %d octets", ok, len(got))
		}
	})
}

func testAtomic(t *testing.T, s store.Store) {
	arm := store.Key{Table: store.TableArm, ID: "r1n01"}
	err := s.Update(t.Context(), func(store.View) []store.Op {
		return []store.Op{{Key: key("a"), Value: []byte("1")}, {Key: arm, Value: []byte("2")}}
	})
	if err != nil {
		t.Fatal(err)
	}
	wantContent(t, s, map[string]string{"lease/a": "1", "arm/r1n01": "2"})
}

// conflict lets another transaction change "a" between the first run of one that reads by look and its commit, and
// returns what each run saw.
func conflict(t *testing.T, s store.Store, look func(store.View) ([]byte, bool)) []string {
	t.Helper()
	var saw []string
	err := s.Update(t.Context(), func(v store.View) []store.Op {
		saw = append(saw, show(look(v)))
		if len(saw) == 1 {
			put(t, s, key("a"), "theirs")
		}
		return []store.Op{{Key: key("b"), Value: fmt.Appendf(nil, "run %d", len(saw))}}
	})
	if err != nil {
		t.Fatal(err)
	}
	return saw
}

func testConflict(t *testing.T, s store.Store) {
	put(t, s, key("a"), "ours")
	saw := conflict(t, s, func(v store.View) ([]byte, bool) { return v.Get(key("a")) })
	if d := cmp.Diff([]string{`"ours"`, `"theirs"`}, saw); d != "" {
		t.Errorf("runs saw (-want +got):\n%s", d)
	}
	wantContent(t, s, map[string]string{"lease/a": "theirs", "lease/b": "run 2"})
}

func testMissConflict(t *testing.T, s store.Store) {
	saw := conflict(t, s, func(v store.View) ([]byte, bool) { return v.Get(key("a")) })
	if d := cmp.Diff([]string{"none", `"theirs"`}, saw); d != "" {
		t.Errorf("runs saw (-want +got):\n%s", d)
	}
	wantContent(t, s, map[string]string{"lease/a": "theirs", "lease/b": "run 2"})
}

func testPeekNoConflict(t *testing.T, s store.Store) {
	saw := conflict(t, s, func(v store.View) ([]byte, bool) { return v.Peek(key("a")) })
	if d := cmp.Diff([]string{"none"}, saw); d != "" {
		t.Errorf("runs saw (-want +got):\n%s", d)
	}
	wantContent(t, s, map[string]string{"lease/a": "theirs", "lease/b": "run 1"})
}

func testCancelledBefore(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := s.Update(ctx, func(store.View) []store.Op { return []store.Op{{Key: key("a"), Value: []byte("1")}} })
	if !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnknown) {
		t.Errorf("update with an ended context: %v, want context.Canceled without store.ErrUnknown", err)
	}
	wantContent(t, s, map[string]string{})
}

func testScanOrder(t *testing.T, s store.Store) {
	for _, id := range []string{"b", "a/2", "", "a/10", "a", "a0", "a/", "c", "\xff", "a/1"} {
		put(t, s, key(id), "v"+id)
	}
	put(t, s, store.Key{Table: store.TableArm, ID: "a/1"}, "another table")
	for prefix, want := range map[string][]string{
		"":     {"", "a", "a/", "a/1", "a/10", "a/2", "a0", "b", "c", "\xff"},
		"a":    {"a", "a/", "a/1", "a/10", "a/2", "a0"},
		"a/":   {"a/", "a/1", "a/10", "a/2"},
		"a/1":  {"a/1", "a/10"},
		"aa":   nil,
		"z":    nil,
		"\xff": {"\xff"},
	} {
		var got []string
		for k, v := range s.Scan(store.TableLease, prefix) {
			if k.Table != store.TableLease || string(v) != "v"+k.ID {
				t.Errorf("scan %q: %v is %q", prefix, k, v)
			}
			got = append(got, k.ID)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("scan %q (-want +got):\n%s", prefix, d)
		}
	}
	for k := range s.Scan(99, "") {
		t.Errorf("scan of an unknown table yields %v", k)
	}
}

func testScanStops(t *testing.T, s store.Store) {
	for _, id := range []string{"a", "b", "c"} {
		put(t, s, key(id), id)
	}
	var got []string
	for k := range s.Scan(store.TableLease, "") {
		got = append(got, k.ID)
		if k.ID == "b" {
			break
		}
	}
	if d := cmp.Diff([]string{"a", "b"}, got); d != "" {
		t.Errorf("scan until b (-want +got):\n%s", d)
	}
}
