package ra

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
)

// noted is a store that writes down when it is asked.
type noted struct {
	bench *bench
	store.Store
	err error
}

func (n *noted) Update(ctx context.Context, fn func(store.View) []store.Op) error {
	n.bench.note("promise")
	if n.err != nil {
		return n.err
	}
	return n.Store.Update(ctx, fn)
}

func (n *noted) told(t *testing.T) []site.Advertised {
	var out []site.Advertised
	for k, raw := range n.Scan(store.TableNode, advert.Promises) {
		a, err := advert.ReadPromise(k, raw)
		if err != nil {
			t.Error(err)
		}
		out = append(out, a)
	}
	return out
}

// TestPrefixGoesAway: what hosts are told is written down first; a prefix that goes away is taken back at once, three times,
// then with every advertisement, also by the next start.
func TestPrefixGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, strings.Replace(insisting(), `"2001:db8:1::/64"`, `["2001:db8:1::/64", "2001:db8:2::/64"], valid: 1d`, 1))
		s := &noted{bench: b, Store: memory.New()}
		b.store, b.prefixes = s, true
		b.run()
		b.pass(10 * time.Second)
		one, two := "  2001:db8:1::/64 preferred 12h0m0s valid 24h0m0s", "  2001:db8:2::/64 preferred 12h0m0s valid 24h0m0s"
		gone := "  2001:db8:2::/64 preferred 0s valid 1h30m0s"
		b.expect("0s promise", "0s "+multicastRA, "0s "+one, "0s "+two, "0s "+periodic)
		b.told = s.told(t)
		b.swap(insisting())
		b.changed <- struct{}{}
		b.pass(time.Second)
		b.expect("10s "+multicastRA, "10s "+one, "10s "+gone, "10s "+periodic)
		b.changed <- struct{}{} // nothing new
		b.pass(16 * time.Second)
		b.expect("26s "+multicastRA, "26s "+one, "26s "+gone, "26s "+periodic)
		b.stop(nil)

		b.run() // another start; the clock of the benchmark goes on
		b.pass(time.Second)
		b.expect("27s promise", "27s "+multicastRA, "27s "+one, "27s "+gone, "27s "+periodic)
		b.stop(nil)
	})
}

// TestPromiseCannotBeKept: machines are told all the same, and the disk is not asked with each of them.
func TestPromiseCannotBeKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.store = &noted{bench: b, Store: memory.New(), err: errors.New("the disk is full")}
		b.run()
		b.hear(clientMAC, unhex(rsIPXE))
		b.pass(100 * time.Millisecond)
		b.expect("0s promise", "0s Promise none error: remembering the prefixes of eth1: the disk is full",
			"0s "+multicastRA, "0s "+periodic,
			"0s > RA to fe80::5054:ff:fe00:100 (52:54:00:00:01:00) lifetime 3m0s M=1",
			`0s RouterSolicitation answered rack1 r1n01 "fe80::5054:ff:fe00:100" [router-solicit 52:54:00:00:01:00 fe80::5054:ff:fe00:100 ]`)
		b.stop(nil)
	})
}

// TestNetworkGoes: a network that leaves the inventory takes back all that it said, whether or not bootd goes on.
func TestNetworkGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.prefixes = true
		b.run()
		b.pass(10 * time.Second)
		b.expect("0s "+multicastRA, "0s   2001:db8:1::/64 preferred 12h0m0s valid 24h0m0s", "0s "+periodic)
		b.swapNothing()
		b.stop(nil)
		b.expect("10s "+finalRA, "10s   2001:db8:1::/64 preferred 0s valid 1h30m0s", "10s Final answered")
	})
}
