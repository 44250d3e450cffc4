package daemon

import (
	"bytes"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/journal"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/timeline/history"
)

const tidyInventory = `defaults: {profile: debian13}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  debian13: {kernel: linux, initrd: [initrd.gz], script: ipxe/debian.ipxe, answers: preseed/debian13.cfg}
hosts:
  r1n01: 52:54:00:aa:01:01
  r1n02: 52:54:00:aa:01:02
`

// keeper is a daemon as far as tidy needs one, with a clock that a test sets.
func keeper(t *testing.T, log *bytes.Buffer) (*tidy, *time.Time) {
	t.Helper()
	now := noon
	d := &Daemon{log: plain(log, slog.LevelInfo), now: func() time.Time { return now }}
	var err error
	if d.store, err = journal.Open(filepath.Join(t.TempDir(), "store"), journal.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.store.Close() })
	d.history = history.Open(history.Config{Now: d.now, Log: d.log})
	d.metrics = NewMetrics("v1")
	d.watch = NewObserver(d.metrics, d.log, d.history, d.now)
	k := &fakeKernel{ch: make(chan struct{})}
	d.world = NewWorld(sitetest.Inventory(t, tidyInventory), k, Identity{DUID: ident.NewDUIDLL(ident.MAC{2})}, slog.New(slog.DiscardHandler), d.now, d.history, d.metrics)
	return &tidy{daemon: d, ready: make(chan struct{})}, &now
}

func (t *tidy) arm(test *testing.T, hosts ...string) {
	test.Helper()
	err := t.daemon.store.Update(test.Context(), func(v store.View) []store.Op {
		var ops []store.Op
		for _, name := range hosts {
			h, _ := t.daemon.world.Snapshot().Host(name)
			o, err := install.Order(v, boot.Subject(h), install.Wish{ID: "o-" + name, By: "ops"}, t.daemon.now())
			if err != nil {
				test.Error(err)
			}
			ops = append(ops, o...)
		}
		return ops
	})
	if err != nil {
		test.Fatal(err)
	}
}

// told is what people see, since the last time.
func (t *tidy) told(since *uint64) string {
	var b strings.Builder
	for _, e := range t.daemon.history.Events(history.Query{After: *since}) {
		fmt.Fprintf(&b, "%s %s: %s\n", e.Host, e.Kind, e.Detail)
		*since = e.Seq
	}
	return b.String()
}

func (t *tidy) live(host string) bool {
	var live bool
	t.daemon.store.Read(func(v store.View) {
		arm, ok, err := install.ReadArm(v, host)
		live = ok && err == nil && arm.Live(t.daemon.now())
	})
	return live
}

func TestTidyWatchesOverArms(t *testing.T) {
	var log bytes.Buffer
	tidy, now := keeper(t, &log)
	tidy.arm(t, "r1n01", "r1n02")
	var seen uint64
	tidy.told(&seen)
	expect := func(want string) {
		t.Helper()
		if d := cmp.Diff(want, tidy.told(&seen)); d != "" {
			t.Errorf("told (-want +got):\n%s", d)
		}
	}
	for range 100 {
		*now = now.Add(2 * time.Minute)
		tidy.all(t.Context())
	}
	if !tidy.live("r1n01") || log.Len() > 0 {
		t.Errorf("live: %t, and the log of two arms that are only renewed is\n%s", tidy.live("r1n01"), log.String())
	}
	tidy.armed()
	expect(" warning: armed from before this start: 2 (r1n01 r1n02); bootd cancel disarms\n")
	tidy.daemon.world.Replace(sitetest.Inventory(t, strings.Replace(tidyInventory, "  r1n02: 52:54:00:aa:01:02\n", "", 1)))
	tidy.told(&seen)
	tidy.all(t.Context())
	expect("r1n02 cancelled: it is not in the inventory any more\n")
	*now = now.Add(20 * time.Minute) // bootd was off, or its state is a copy
	tidy.all(t.Context())
	expect("r1n01 arm-expired: the arm was last watched over 20m0s ago: bootd was off since, its clock was set, or its state is an old copy\n")
	tidy.armed()
	tidy.all(t.Context())
	expect("")
}

func TestTidyTellsOnceWhoIsStuck(t *testing.T) {
	var log bytes.Buffer
	tidy, now := keeper(t, &log)
	var seen uint64
	tidy.told(&seen)
	tidy.daemon.history.Record(timeline.Event{Kind: timeline.ScriptFetched, Reason: reason.Install, Host: "r1n01"}, timeline.Event{Kind: timeline.FileFetched, Host: "r1n01"})
	tidy.told(&seen)
	for range 60 {
		*now = now.Add(5 * time.Second)
		tidy.stuck()
	}
	if d := cmp.Diff("r1n01 stuck: at kernel for 4m0s; heard last: file-fetched\n", tidy.told(&seen)); d != "" {
		t.Error(d)
	}
	const want = `level=INFO msg=observed adapter=daemon message=stage reason=timed-out host=r1n01 event=stuck detail="at kernel for 4m0s; heard last: file-fetched"` + "\n"
	if d := cmp.Diff(want, log.String()); d != "" {
		t.Error(d)
	}
}

// TestWrongTokensDoNotFloodTheLog: a thousand a second are counted, and no line is written of any.
func TestWrongTokensDoNotFloodTheLog(t *testing.T) {
	var log bytes.Buffer
	rec, m := &recorder{}, NewMetrics("v1")
	o := NewObserver(m, plain(&log, slog.LevelInfo), rec, func() time.Time { return noon })
	for range 1000 {
		o.Observe(timeline.Observation{Adapter: "http", Message: "answers", Outcome: reason.Outcome{Reason: reason.TokenUnknown, Host: "r1n02"}})
	}
	if log.Len() > 0 || len(rec.events) > 0 {
		t.Errorf("%d events, and the log is\n%s", len(rec.events), log.String())
	}
}
