package daemon

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// tidyEvery is how often arms and attempts are looked at: for what time did to them, and to renew the arms, which die
// where nobody watches over them (install.WatchedFor).
const tidyEvery = 30 * time.Second

// stuckEvery is how often hosts are looked at for a stage that lasts too long.
const stuckEvery = 5 * time.Second

// tidyAtOnce is how many hosts one transaction tidies: they share a sync.
const tidyAtOnce = 256

// tidy ends arms that ran out and attempts whose callback never came, so that people see it, and keeps the others alive.
type tidy struct {
	daemon *Daemon
	ready  chan struct{}
	// full are the networks whose pool is known to be nearly used up.
	full map[string]bool
}

func (t *tidy) String() string         { return "tidy" }
func (t *tidy) Ready() <-chan struct{} { return t.ready }

// Run looks again and again until ctx ends.
func (t *tidy) Run(ctx context.Context) error {
	t.all(ctx)
	t.armed()
	t.pools()
	close(t.ready)
	tick, look := time.NewTicker(tidyEvery), time.NewTicker(stuckEvery)
	defer tick.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			t.all(ctx)
			t.forget(ctx)
		case <-look.C:
			t.stuck()
			t.pools()
		}
	}
}

// stuck tells of hosts whose stage lasts too long. People read it, nothing follows from it.
func (t *tidy) stuck() {
	now := t.daemon.now()
	for _, state := range t.daemon.history.Hosts() {
		if e, ok := state.StuckEvent(now); ok {
			t.daemon.watch.Observe(timeline.Observation{
				Adapter: "daemon", Message: "stage", Outcome: reason.Outcome{Reason: reason.TimedOut, Host: e.Host}, Events: []timeline.Event{e},
			})
		}
	}
}

// armed tells at the start which hosts are armed from before: whoever put an old state back shall see what it means.
func (t *tidy) armed() {
	now := t.daemon.now()
	var all, names []string
	for k := range t.daemon.store.Scan(store.TableArm, "") {
		all = append(all, k.ID)
	}
	t.daemon.store.Read(func(v store.View) {
		for _, host := range all {
			if arm, ok, err := install.ReadArm(v, host); err == nil && ok && arm.Live(now) {
				names = append(names, host)
			}
		}
	})
	if len(names) == 0 {
		return
	}
	const shown = 8
	list := strings.Join(names[:min(len(names), shown)], " ")
	if len(names) > shown {
		list += " ..."
	}
	t.daemon.log.Warn("hosts are armed from before this start", "count", len(names), "hosts", list)
	t.daemon.history.Record(timeline.Event{
		Adapter: "daemon", Kind: timeline.Warning,
		Detail: fmt.Sprintf("armed from before this start: %d (%s); bootd cancel disarms", len(names), list),
	})
}

// all looks at every host that has an arm or an attempt.
func (t *tidy) all(ctx context.Context) {
	hosts := map[string]bool{}
	for _, table := range []store.Table{store.TableArm, store.TableAttempt} {
		for k := range t.daemon.store.Scan(table, "") {
			hosts[k.ID] = true
		}
	}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(hosts)), tidyAtOnce) {
		if ctx.Err() != nil {
			return
		}
		t.some(ctx, some)
	}
	t.advertised(ctx)
}

func (t *tidy) some(ctx context.Context, hosts []string) {
	now := t.daemon.now()
	var ops []store.Op
	var events []timeline.Event
	snap := t.daemon.world.Snapshot()
	decide := func(v store.View) {
		ops, events = nil, nil
		for _, host := range hosts {
			tidied := boot.Tidy
			if _, listed := snap.Host(host); !listed {
				tidied = boot.Delisted
			}
			o, e := tidied(v, host, now)
			ops, events = append(ops, o...), append(events, e...)
		}
	}
	if t.daemon.store.Read(decide); len(ops) == 0 {
		return
	}
	err := t.daemon.store.Update(ctx, func(v store.View) []store.Op {
		decide(v)
		return ops
	})
	if errors.Is(err, store.ErrReadOnly) || errors.Is(err, store.ErrUnknown) || ctx.Err() != nil {
		return // said elsewhere; the next round finds it again
	}
	if err != nil {
		t.daemon.watch.Observe(timeline.Observation{Adapter: "daemon", Message: "tidy", Outcome: reason.Outcome{Reason: reason.StoreUnknown}, Err: err})
		return
	}
	for _, e := range events {
		t.daemon.watch.Observe(timeline.Observation{
			Adapter: "daemon", Message: "tidy", Outcome: reason.Outcome{Reason: reason.Changed, Host: e.Host}, Events: []timeline.Event{e},
		})
	}
}
