package history

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/timeline"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func open(t *testing.T, cfg Config) *History {
	t.Helper()
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return noon }
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	return Open(cfg)
}

func event(host string) timeline.Event {
	return timeline.Event{Kind: timeline.ScriptOffered, Host: host, Adapter: "dhcp6"}
}

func seqs(events []timeline.Event) []uint64 {
	out := make([]uint64, 0, len(events))
	for _, e := range events {
		out = append(out, e.Seq)
	}
	return out
}

func TestRingIsBounded(t *testing.T) {
	h := open(t, Config{Ring: 4})
	for range 10 {
		h.Record(event("a"))
	}
	if d := cmp.Diff([]uint64{7, 8, 9, 10}, seqs(h.Events(Query{}))); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if got := h.Hosts()["a"].Boots; got != 1 {
		t.Errorf("boots %d, want 1", got)
	}
}

func TestQuery(t *testing.T) {
	now := noon
	h := open(t, Config{Now: func() time.Time { now = now.Add(time.Second); return now }})
	h.Record(event("a"), event("b"), event("a"), event("a"))
	for _, c := range []struct {
		name string
		q    Query
		want []uint64
	}{
		{"all", Query{}, []uint64{1, 2, 3, 4}},
		{"host", Query{Host: "a"}, []uint64{1, 3, 4}},
		{"after", Query{After: 2}, []uint64{3, 4}},
		{"since", Query{Since: noon.Add(4 * time.Second)}, []uint64{4}},
		{"only", Query{Only: func(e timeline.Event) bool { return e.Host == "b" }}, []uint64{2}},
		{"newest", Query{Host: "a", Limit: 2}, []uint64{3, 4}},
	} {
		if d := cmp.Diff(c.want, seqs(h.Events(c.q))); d != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, d)
		}
	}
}

func TestReloadSkipsATornLine(t *testing.T) {
	dir := t.TempDir()
	h := open(t, Config{Dir: dir})
	h.Record(event("a"), event("b"))
	h.Flush() // and no Close: the process dies here
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) != 1 {
		t.Fatal(names, err)
	}
	whole, err := os.ReadFile(names[0])
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(whole) {
		if err := os.WriteFile(names[0], whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		again := open(t, Config{Dir: dir})
		lines := bytes.Count(whole[:cut], []byte("\n"))
		if whole[cut] == '\n' {
			lines++ // only the line feed is missing
		}
		if got := len(again.Events(Query{})); got != lines {
			t.Fatalf("cut at %d: %d events, want %d", cut, got, lines)
		}
		again.Record(event("c"))
		again.Close()
		last := open(t, Config{Dir: dir})
		events := last.Events(Query{})
		if len(events) != lines+1 || events[lines].Host != "c" || events[lines].Seq != uint64(lines+1) {
			t.Fatalf("cut at %d: after a restart %+v", cut, events)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

func TestSegmentsAreBounded(t *testing.T) {
	dir := t.TempDir()
	h := open(t, Config{Dir: dir, SegmentSize: 1000, Segments: 3})
	for range 200 {
		h.Record(event("a"))
		h.Flush()
	}
	h.Close()
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(names) > 4 || len(names) < 2 {
		t.Errorf("%d segments, %v", len(names), err)
	}
	got := open(t, Config{Dir: dir}).Events(Query{})
	if n := len(got); n == 0 || got[n-1].Seq != 200 || got[0].Seq != 200-uint64(n)+1 {
		t.Errorf("%d events, the last of 200 in a row wanted", n)
	}
}

func TestADiskThatFailsIsAWarningOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "in", "the", "way")
	if err := os.WriteFile(filepath.Dir(filepath.Dir(dir)), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	h := open(t, Config{Dir: dir, Log: slog.New(slog.NewTextHandler(&log, nil))})
	log.Reset()
	for range 3 {
		h.Record(event("a"))
		h.Flush()
	}
	if n := strings.Count(log.String(), "writing events failed"); n != 1 {
		t.Errorf("%d warnings, want 1:\n%s", n, log.String())
	}
	if err := os.Remove(filepath.Dir(filepath.Dir(dir))); err != nil {
		t.Fatal(err)
	}
	h.Record(event("a"))
	h.Flush()
	if !strings.Contains(log.String(), "writing events works again") {
		t.Errorf("no word of it working again:\n%s", log.String())
	}
	if n := len(h.Events(Query{})); n != 4 {
		t.Errorf("%d events in memory, want 4", n)
	}
}

func TestFollow(t *testing.T) {
	h := open(t, Config{})
	h.Record(event("a"), event("b"))
	past, r := h.Follow(Query{Host: "a"})
	defer r.Close()
	h.Record(event("b"), event("a"))
	if d := cmp.Diff([]uint64{1}, seqs(past)); d != "" {
		t.Errorf("past: %s", d)
	}
	if e := <-r.Events(); e.Seq != 4 {
		t.Errorf("got %d, want 4", e.Seq)
	}
	r.Close()
	r.Close()
	if _, open := <-r.Events(); open || r.Dropped() {
		t.Error("a closed reader goes on, or is called dropped")
	}
}

func TestASlowReaderIsDropped(t *testing.T) {
	h := open(t, Config{})
	_, slow := h.Follow(Query{})
	for range readerBuffer + 1 {
		h.Record(event("a"))
	}
	n := 0
	for range slow.Events() {
		n++
	}
	if n != readerBuffer || !slow.Dropped() {
		t.Errorf("%d events, dropped %v", n, slow.Dropped())
	}
}

func TestRunFlushesEachSecondAndAtTheEnd(t *testing.T) {
	dir := t.TempDir()
	written := func() string {
		var all []byte
		names, _ := filepath.Glob(filepath.Join(dir, "*"))
		for _, n := range names {
			b, _ := os.ReadFile(n)
			all = append(all, b...)
		}
		return fmt.Sprint(bytes.Count(all, []byte("\n")))
	}
	synctest.Test(t, func(t *testing.T) {
		h := open(t, Config{Dir: dir, Now: time.Now})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); _ = h.Run(ctx) }()
		<-h.Ready()
		h.Record(event("a"))
		synctest.Wait()
		if got := written(); got != "0" {
			t.Errorf("%s lines at once, want 0", got)
		}
		time.Sleep(1001 * time.Millisecond) // virtual time
		synctest.Wait()
		if got := written(); got != "1" {
			t.Errorf("%s lines after a second, want 1", got)
		}
		h.Record(event("a"))
		cancel()
		<-done
		h.Close()
		if got := written(); got != "2" {
			t.Errorf("%s lines at the end, want 2", got)
		}
	})
}

// FuzzLoad reads whatever a disk may hold: no panic, and the numbers only go up.
func FuzzLoad(f *testing.F) {
	f.Add([]byte(`{"seq":1,"time":"2026-01-02T12:00:00Z","kind":"armed","host":"a"}` + "\n" + `{"seq":2,"ti`))
	f.Add([]byte("\n\n{}\nnull\n[]\n{\"seq\":18446744073709551615}\n"))
	f.Add([]byte(`{"seq":3,"kind":"dhcp-lease","host":"a","mac":"52:54:00"}`))
	f.Add(bytes.Repeat([]byte("x"), 3*maxLine))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "events-00000000000000000001.ndjson"), data, 0o600); err != nil {
			t.Fatal(err)
		}
		h := Open(Config{Dir: dir, Now: func() time.Time { return noon }, Log: slog.New(slog.DiscardHandler)})
		h.Record(event("z"))
		events := h.Events(Query{})
		if n := len(events); n == 0 || events[n-1].Host != "z" {
			t.Fatalf("the new event is not the last of %d", n)
		}
		for i := 1; i < len(events); i++ {
			if events[i].Seq <= events[i-1].Seq {
				t.Fatalf("event %d after %d", events[i].Seq, events[i-1].Seq)
			}
		}
	})
}
