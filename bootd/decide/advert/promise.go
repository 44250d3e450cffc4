package advert

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
)

// Promises is what the keys of advertised prefixes begin with, in the table of what belongs to this server alone.
const Promises = "advertised/"

// record is an Advertised in the store; link and prefix are its key.
type record struct {
	OnLink     bool      `json:"on_link"`
	Autonomous bool      `json:"autonomous"`
	ValidUntil time.Time `json:"valid_until"`
}

// Promise lists what an advertisement that is sent now promises: how long hosts may have addresses in its prefixes. Each time
// allows for an hour or an eighth more, so that it has to be written once in that time only. A stale prefix is promised nothing
// anew.
func Promise(link string, ra RA, now time.Time) []site.Advertised {
	var out []site.Advertised
	for _, p := range ra.Prefixes {
		if !p.Stale && p.Valid > 0 {
			out = append(out, site.Advertised{
				Link: link, Prefix: p.Prefix, OnLink: p.OnLink, Autonomous: p.Autonomous,
				ValidUntil: now.Add(p.Valid + min(p.Valid/8, time.Hour)).UTC().Truncate(time.Second),
			})
		}
	}
	return out
}

// Holds reports whether the promises that were made cover what an advertisement that is sent now promises.
func Holds(made map[netip.Prefix]site.Advertised, ra RA, now time.Time) bool {
	for _, p := range ra.Prefixes {
		a, ok := made[p.Prefix]
		if !p.Stale && p.Valid > 0 && (!ok || a.OnLink != p.OnLink || a.Autonomous != p.Autonomous || a.ValidUntil.Before(now.Add(p.Valid))) {
			return false
		}
	}
	return true
}

// WritePromise makes promises durable. One that was made and reaches further stays.
func WritePromise(v store.View, all []site.Advertised) []store.Op {
	var ops []store.Op
	for _, a := range all {
		k := promiseKey(a)
		if raw, ok := v.Get(k); ok {
			if old, err := ReadPromise(k, raw); err == nil && old.ValidUntil.After(a.ValidUntil) {
				a.ValidUntil = old.ValidUntil
			}
		}
		raw, err := json.Marshal(record{a.OnLink, a.Autonomous, a.ValidUntil})
		if err == nil { // there is no such record that cannot be written
			ops = append(ops, store.Op{Key: k, Value: raw})
		}
	}
	return ops
}

// ReadPromise reads one record. Errors: it is none of ours, or damaged.
func ReadPromise(k store.Key, raw []byte) (site.Advertised, error) {
	link, prefix, ok := strings.Cut(strings.TrimPrefix(k.ID, Promises), "/")
	p, err := netip.ParsePrefix(prefix)
	if !ok || err != nil || !strings.HasPrefix(k.ID, Promises) {
		return site.Advertised{}, fmt.Errorf("reading %s: not of the form %sLINK/PREFIX", k, Promises)
	}
	var r record
	if err := json.Unmarshal(raw, &r); err != nil {
		return site.Advertised{}, fmt.Errorf("reading %s: %w", k, err)
	}
	return site.Advertised{Link: link, Prefix: p, OnLink: r.OnLink, Autonomous: r.Autonomous, ValidUntil: r.ValidUntil}, nil
}

func promiseKey(a site.Advertised) store.Key {
	return store.Key{Table: store.TableNode, ID: Promises + a.Link + "/" + a.Prefix.String()}
}

// Forget drops promises whose time is over, among the keys given.
func Forget(v store.View, keys []store.Key, now time.Time) []store.Op {
	var ops []store.Op
	for _, k := range keys {
		raw, ok := v.Get(k)
		if !ok {
			continue
		}
		if a, err := ReadPromise(k, raw); err != nil || now.After(a.ValidUntil) {
			ops = append(ops, store.Op{Key: k})
		}
	}
	return ops
}
