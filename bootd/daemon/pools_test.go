package daemon

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
)

// TestPools: a pool that is nearly used up is told once, before it is, and the metrics show it; leases that ended long ago
// are forgotten with the notes of their holders, those of hosts are not.
func TestPools(t *testing.T) {
	var log bytes.Buffer
	k, now := keeper(t, &log)
	k.daemon.world.Replace(sitetest.Inventory(t, `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: pool, pool: "::10-::19"}
hosts:
  r1n01: {mac: "52:54:00:aa:01:01", address: "::9"}
`))
	lend := func(n int, holder string, state lease.State) {
		a := netip.MustParseAddr(fmt.Sprintf("2001:db8:1::%d", n))
		b := lease.Binding{Holder: holder, Network: "rack1", State: state, ValidUntil: now.Add(time.Hour)}
		err := k.daemon.store.Update(t.Context(), func(store.View) []store.Op {
			return []store.Op{{Key: lease.Key(a), Value: b.Encode()}, {Key: lease.HeldKey("rack1", holder), Value: a.AsSlice()}}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	var seen uint64
	k.told(&seen)
	lend(9, "r1n01/net0", lease.Bound)
	for i := range 9 {
		k.pools()
		if text := k.told(&seen); text != "" {
			t.Errorf("with %d of 10: %s", i, text)
		}
		lend(10+i, lease.ClientHolder("\x00\x02abc", 7)+fmt.Sprint(i), []lease.State{lease.Bound, lease.Resting, lease.Declined}[i%3])
	}
	k.pools()
	k.pools()
	want := " warning: 9 of 10 addresses of the pool are used (90 %): make it larger, or valid shorter\n"
	if diff := cmp.Diff(want, k.told(&seen)); diff != "" {
		t.Error(diff)
	}
	wantMetrics := `# HELP bootd_pool_addresses Addresses of the pools by state: total, bound, resting, declined.
# TYPE bootd_pool_addresses gauge
bootd_pool_addresses{network="rack1",state="bound"} 3
bootd_pool_addresses{network="rack1",state="declined"} 3
bootd_pool_addresses{network="rack1",state="resting"} 3
bootd_pool_addresses{network="rack1",state="total"} 10
`
	if diff := cmp.Diff(wantMetrics, scrape(t, k.daemon.metrics, "bootd_pool")); diff != "" {
		t.Error(diff)
	}
	k.daemon.world.Replace(sitetest.Inventory(t, "networks: {rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}}\nhosts: {r1n01: 52:54:00:aa:01:01}\n"))
	if k.pools(); scrape(t, k.daemon.metrics, "bootd_pool") != "" {
		t.Error("a pool that is no more is shown")
	}
	*now = now.Add(time.Hour + address.KeepExpired - time.Second)
	k.forget(t.Context())
	if n := records(k, store.TableLease); n != 10 {
		t.Errorf("%d leases are left before their time", n)
	}
	*now = now.Add(time.Second)
	k.forget(t.Context())
	if leases, notes := records(k, store.TableLease), records(k, store.TableHeld); leases != 1 || notes != 1 {
		t.Errorf("%d leases and %d notes are left", leases, notes)
	}
}

func records(k *tidy, table store.Table) (n int) {
	for range k.daemon.store.Scan(table, "") {
		n++
	}
	return n
}
