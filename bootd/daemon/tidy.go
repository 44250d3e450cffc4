package daemon

import (
	"context"
	"errors"
	"time"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// tidyEvery is how often arms and attempts are looked at for what time did to them. Late is never wrong: a decision
// looks at the time itself.
const tidyEvery = 30 * time.Second

// tidy ends arms that ran out and attempts whose callback never came, so that people see it.
type tidy struct {
	daemon *Daemon
	ready  chan struct{}
}

func (t *tidy) String() string         { return "tidy" }
func (t *tidy) Ready() <-chan struct{} { return t.ready }

// Run looks again and again until ctx ends.
func (t *tidy) Run(ctx context.Context) error {
	close(t.ready)
	tick := time.NewTicker(tidyEvery)
	defer tick.Stop()
	for {
		t.all(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// all looks at every host that has an arm or an attempt.
func (t *tidy) all(ctx context.Context) {
	hosts := map[string]bool{}
	for _, table := range []store.Table{store.TableArm, store.TableAttempt} {
		for k := range t.daemon.store.Scan(table, "") {
			hosts[k.ID] = true
		}
	}
	for host := range hosts {
		if ctx.Err() != nil {
			return
		}
		t.one(ctx, host)
	}
}

func (t *tidy) one(ctx context.Context, host string) {
	now := t.daemon.now()
	idle := true
	t.daemon.store.Read(func(v store.View) {
		ops, events := boot.Tidy(v, host, now)
		idle = len(ops) == 0 && len(events) == 0
	})
	if idle {
		return
	}
	var events []timeline.Event
	err := t.daemon.store.Update(ctx, func(v store.View) []store.Op {
		var ops []store.Op
		ops, events = boot.Tidy(v, host, now)
		return ops
	})
	if errors.Is(err, store.ErrReadOnly) || errors.Is(err, store.ErrUnknown) {
		return // said elsewhere; the next round finds it again
	}
	o := timeline.Observation{
		Adapter: "daemon", Message: "tidy", Outcome: reason.Outcome{Reason: reason.Changed, Host: host}, Events: events, Err: err,
	}
	t.daemon.watch.Observe(o)
}
