package advert_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

// TestStale: a prefix that went away is said to be deprecated for as long as it was promised, with at most what RFC 9096 lets a
// prefix have; one that is on another link now is not on this one any more.
func TestStale(t *testing.T) {
	now := sitetest.Now()
	f := facts(t)
	f.Links = append(f.Links, sitetest.Link(t, 4, "eth2", "2001:db8:5::1/64"))
	told := func(link, p string, flags bool, d time.Duration) site.Advertised {
		return site.Advertised{Link: link, Prefix: netip.MustParsePrefix(p), OnLink: true, Autonomous: flags, ValidUntil: now.Add(d)}
	}
	f.Advertised = []site.Advertised{
		told("eth1", "2001:db8:1::/64", true, 24*time.Hour), // is there
		told("eth1", "2001:db8:2::/64", true, 24*time.Hour), // went away
		told("eth1", "2001:db8:3::/64", false, time.Hour),   // went away long ago
		told("eth1", "2001:db8:4::/64", true, -time.Second), // forgotten
		told("eth1", "2001:db8:5::/64", true, 12*time.Hour), // went to eth2
		told("eth9", "2001:db8:6::/64", true, 12*time.Hour), // never was here
		told("eth1", "fd00:1::/120", false, 90*time.Second),
	}
	snap := sitetest.Snapshot(t, strings.Replace(rack, "hosts: {}", `  rack2: {interface: eth2, prefix: "2001:db8:5::/64"}`, 1), f)
	prefixes := func(at time.Duration) []advert.Prefix { return advert.Decide(snap, "eth1", now.Add(at)).RA.Prefixes }
	usual := advert.Prefix{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), OnLink: true, Autonomous: true, Valid: 2 * time.Hour, Preferred: time.Hour}
	gone := func(p string, a bool, valid, ends time.Duration) advert.Prefix {
		return advert.Prefix{Prefix: netip.MustParsePrefix(p), OnLink: true, Autonomous: a, Valid: valid, Ends: now.Add(ends), Stale: true}
	}
	want := []advert.Prefix{
		usual, gone("2001:db8:2::/64", true, 90*time.Minute, 24*time.Hour), gone("2001:db8:5::/64", true, 0, 12*time.Hour),
		gone("2001:db8:3::/64", false, 40*time.Minute, time.Hour),
	}
	if diff := cmp.Diff(want, prefixes(20*time.Minute), comparable); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	want = []advert.Prefix{usual, gone("2001:db8:2::/64", true, 10*time.Second, 24*time.Hour)}
	if diff := cmp.Diff(want, prefixes(24*time.Hour-10*time.Second), comparable); diff != "" {
		t.Errorf("near the end (-want +got):\n%s", diff)
	}
	if got := prefixes(24 * time.Hour); len(got) != 1 {
		t.Errorf("after the end: %v", got)
	}
	n := snap.Networks[0]
	for a, want := range map[string]bool{"2001:db8:1::9": true, "2001:db8:2::9": true, "2001:db8:5::9": false, "2001:db8:6::9": false} {
		if n.Contains(netip.MustParseAddr(a)) != want {
			t.Errorf("Contains(%s) is not %v", a, want)
		}
	}
}

// TestPromises: what is written reaches as far as every advertisement until it is written again, survives, and is forgotten
// when it is over.
func TestPromises(t *testing.T) {
	engine := memory.New()
	snap := sitetest.Snapshot(t, rack, facts(t))
	p := netip.MustParsePrefix("2001:db8:1::/64")
	made := map[netip.Prefix]site.Advertised{}
	now, writes := sitetest.Now(), 0
	update := func(fn func(store.View) []store.Op) {
		t.Helper()
		if err := engine.Update(t.Context(), fn); err != nil {
			t.Fatal(err)
		}
	}
	for range 1000 { // sixteen hours
		ra := *advert.Decide(snap, "eth1", now).RA
		if !advert.Holds(made, ra, now) {
			writes++
			all := advert.Promise("eth1", ra, now)
			update(func(v store.View) []store.Op { return advert.WritePromise(v, all) })
			made[p] = all[0]
		}
		if made[p].ValidUntil.Before(now.Add(2 * time.Hour)) {
			t.Fatalf("at %v hosts were told more than is written: %v", now, made[p].ValidUntil)
		}
		now = now.Add(time.Minute)
	}
	if writes < 50 || writes > 80 { // each 15 minutes, an eighth of two hours
		t.Errorf("%d writes", writes)
	}
	read := func() (out []site.Advertised, keys []store.Key) {
		for k, raw := range engine.Scan(store.TableNode, advert.Promises) {
			a, err := advert.ReadPromise(k, raw)
			if err != nil {
				t.Error(err)
			}
			out, keys = append(out, a), append(keys, k)
		}
		return out, keys
	}
	got, keys := read()
	want := []site.Advertised{{Link: "eth1", Prefix: p, OnLink: true, Autonomous: true, ValidUntil: made[p].ValidUntil}}
	if diff := cmp.Diff(want, got, comparable); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	short := want[0] // a shorter promise takes nothing back
	short.ValidUntil, short.OnLink = now, false
	update(func(v store.View) []store.Op { return advert.WritePromise(v, []site.Advertised{short}) })
	if got, _ := read(); got[0].ValidUntil != want[0].ValidUntil || got[0].OnLink {
		t.Errorf("%v", got)
	}
	update(func(v store.View) []store.Op { return advert.Forget(v, keys, want[0].ValidUntil) })
	if got, _ := read(); len(got) != 1 {
		t.Error("forgotten too soon")
	}
	update(func(v store.View) []store.Op { return advert.Forget(v, keys, want[0].ValidUntil.Add(time.Second)) })
	if got, _ := read(); len(got) != 0 {
		t.Error("never forgotten")
	}
}

func TestReadPromiseRefuses(t *testing.T) {
	for id, raw := range map[string]string{
		"advertised/eth1/2001:db8::": "{}", "advertised/eth1": "{}", "eth1/2001:db8::/64": "{}", "advertised/eth1/2001:db8::/64": "{",
	} {
		if a, err := advert.ReadPromise(store.Key{Table: store.TableNode, ID: id}, []byte(raw)); err == nil {
			t.Errorf("%s: %v", id, a)
		}
	}
}

func TestWithdrawn(t *testing.T) {
	snap := sitetest.Snapshot(t, rack, facts(t))
	snap.Networks[0].RA.Routes = []site.Route{{Prefix: netip.MustParsePrefix("::/0"), Lifetime: time.Hour}}
	ra := *advert.Decide(snap, "eth1", sitetest.Now()).RA
	got := ra.Withdrawn()
	if p := got.Prefixes[0]; p.Preferred != 0 || p.Valid != 90*time.Minute || got.Lifetime != 0 || got.RDNSSLifetime != 0 || got.Routes[0].Lifetime != 0 {
		t.Errorf("%+v", got)
	}
	if ra.Prefixes[0].Preferred == 0 || ra.Routes[0].Lifetime == 0 {
		t.Error("Withdrawn changed what it was called on")
	}
}
