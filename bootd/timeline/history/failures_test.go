package history

import (
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/timeline"
)

// TestFailuresAreKeptLonger: what led to a failure stays when a thousand events of others have come, in memory and on
// disk, and what went well does not.
func TestFailuresAreKeptLonger(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, Ring: 32, SegmentSize: 1 << 10, Segments: 2}
	h := open(t, cfg)
	kind := func(host string, k timeline.Kind) { e := event(host); e.Kind = k; h.Record(e) }
	for _, k := range []timeline.Kind{timeline.LoaderOffered, timeline.LoaderFetched, timeline.ScriptFetched} {
		kind("good", k)
		kind("bad", k)
	}
	kind("good", timeline.Installed)
	kind("bad", timeline.InstallFailed)
	kind("slow", timeline.LoaderOffered)
	kind("slow", timeline.Stuck)
	for i := range 1000 {
		h.Record(event("other" + strconv.Itoa(i%10)))
		if i%10 == 0 {
			h.Flush()
		}
	}
	check := func(h *History) {
		t.Helper()
		for host, want := range map[string][]uint64{"good": {}, "bad": {2, 4, 6, 8}, "slow": {9, 10}} {
			if d := cmp.Diff(want, seqs(h.Events(Query{Host: host}))); d != "" {
				t.Errorf("%s (-want +got):\n%s", host, d)
			}
		}
		all := seqs(h.Events(Query{}))
		if len(all) != 32+6 || all[0] != 2 || all[len(all)-1] != 1010 {
			t.Errorf("all: %v", all)
		}
	}
	check(h)
	h.Close()
	check(open(t, cfg))
	for _, n := range []string{"events-*.ndjson", "failures-*.ndjson"} {
		if found, err := filepath.Glob(filepath.Join(dir, n)); err != nil || len(found) == 0 || len(found) > 8 {
			t.Errorf("%s: %v, %v", n, found, err)
		}
	}
}

func TestFailuresAreBounded(t *testing.T) {
	h := open(t, Config{Ring: 64})
	for i := range 10_000 {
		e := event("h" + strconv.Itoa(i%7))
		if i%3 == 0 {
			e.Kind = timeline.Stuck
		}
		h.Record(e)
	}
	if n := len(h.failures); n > 32 {
		t.Errorf("%d events of failures are kept", n)
	}
}
