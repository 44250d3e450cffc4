package daemon

import (
	"context"
	"errors"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// advertised are the prefixes that hosts were told of, in the order of links. A record that cannot be read is left to tidy.
func (d *Daemon) advertised() []site.Advertised {
	var out []site.Advertised
	for k, raw := range d.store.Scan(store.TableNode, advert.Promises) {
		if a, err := advert.ReadPromise(k, raw); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// advertised forgets prefixes in which no host can have an address any more.
func (t *tidy) advertised(ctx context.Context) {
	var keys []store.Key
	for k := range t.daemon.store.Scan(store.TableNode, advert.Promises) {
		keys = append(keys, k)
	}
	now := t.daemon.now()
	var ops []store.Op
	if t.daemon.store.Read(func(v store.View) { ops = advert.Forget(v, keys, now) }); len(ops) == 0 {
		return
	}
	err := t.daemon.store.Update(ctx, func(v store.View) []store.Op { return advert.Forget(v, keys, now) })
	if err != nil && !errors.Is(err, store.ErrReadOnly) && !errors.Is(err, store.ErrUnknown) && ctx.Err() == nil {
		t.daemon.watch.Observe(timeline.Observation{Adapter: "daemon", Message: "tidy", Outcome: reason.Outcome{Reason: reason.StoreUnknown}, Err: err})
	}
}
