package api_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/timeline/history"
)

// TestReleaseDeclined: what was declined is shown and ended by network, interface, host or card, and nothing else is.
func TestReleaseDeclined(t *testing.T) {
	f := start(t)
	now, card := sitetest.Now(), ident.MAC{2, 0, 0, 0, 0, 7}
	const many = 1500 // more than one transaction
	put := func(a string, b lease.Binding) store.Op {
		return store.Op{Key: lease.Key(netip.MustParseAddr(a)), Value: b.Encode()}
	}
	err := f.store.Update(t.Context(), func(store.View) []store.Op {
		b := lease.Binding{Holder: "duid 00", Network: "rack1", State: lease.Declined, ValidUntil: now.Add(time.Hour)}
		own, bound, over, seen, damaged := b, b, b, b, store.Op{Key: lease.Key(netip.MustParseAddr("2001:db8:1::4")), Value: []byte("?")}
		own.Holder, bound.State, over.ValidUntil, seen.MAC = "r1n01/net0", lease.Bound, now, card
		ops := []store.Op{put("2001:db8:1::1", own), put("2001:db8:1::2", bound), put("2001:db8:1::3", over), damaged, put("2001:db8:1::5", seen)}
		b.Network = "other"
		for i := range many {
			ops = append(ops, put(fmt.Sprintf("2001:db8:9::%x", i+1), b))
		}
		return ops
	})
	if err != nil {
		t.Fatal(err)
	}
	_, err = f.client.ReleaseDeclined(t.Context(), api.ReleaseDeclinedRequest{Of: "rack9"})
	wantError(t, err, http.StatusNotFound, `"rack9" is no network, interface or host of inventory.yaml, and no MAC`)
	for _, c := range []struct {
		of      string
		confirm bool
		want    []string
	}{
		{"r1n01", false, []string{"2001:db8:1::1"}},
		{card.String(), false, []string{"2001:db8:1::5"}},
		{"rack1", false, []string{"2001:db8:1::1", "2001:db8:1::5"}},
		{"eth1", false, []string{"2001:db8:1::1", "2001:db8:1::5"}},
		{"r1n01", true, []string{"2001:db8:1::1"}},
		{"r1n01", true, nil},
		{"eth1", true, []string{"2001:db8:1::5"}},
	} {
		got, err := f.client.ReleaseDeclined(t.Context(), api.ReleaseDeclinedRequest{Of: c.of, Confirm: c.confirm, By: "alice"})
		var addrs []string
		for _, l := range got.Leases {
			addrs = append(addrs, l.Address)
		}
		if err != nil || got.Released != c.confirm || fmt.Sprint(addrs) != fmt.Sprint(c.want) {
			t.Errorf("%s: %v, %v %v, want %v", c.of, err, got.Released, addrs, c.want)
		}
	}
	said := f.history.Events(history.Query{})
	if e := said[len(said)-1]; len(said) != 2 || e.Kind != timeline.Warning || e.Detail != "leases that were put aside were ended by alice (uid 0): 1 of eth1" {
		t.Errorf("events %+v", said)
	}
	all, err := f.client.ReleaseDeclined(t.Context(), api.ReleaseDeclinedRequest{Confirm: true})
	if err != nil || len(all.Leases) != many {
		t.Errorf("%v, %d of %d", err, len(all.Leases), many)
	}
	if left, err := f.client.Leases(t.Context(), true); err != nil || len(left) != 3 {
		t.Errorf("%v, left are %+v", err, left)
	}
}
