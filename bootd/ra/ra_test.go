package ra

import (
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

func TestMain(m *testing.M) { netiftest.Main(m) }

const rack = `
defaults: {domain: example.net}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  r1n01: 52:54:00:00:01:00
`

func insisting() string {
	return strings.Replace(rack, "interface: eth1", "interface: eth1, router: self", 1)
}

func elsewhere() string {
	return strings.Replace(rack, "interface: eth1", "interface: eth1, router: other", 1)
}

const (
	multicastRA = "> RA to ff02::1 (33:33:00:00:00:01) lifetime 3m0s M=1"
	finalRA     = "> RA to ff02::1 (33:33:00:00:00:01) lifetime 0s M=1"
	periodic    = "Periodic answered rack1"
	soliciting  = "> RS to 33:33:00:00:00:02"
)

var foreignMAC = ident.MAC{0x52, 0x54, 0, 0, 0xee, 1}

func TestListenThenAdvertise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.run()
		b.pass(33 * time.Second)
		b.expect("0s "+soliciting, "400ms "+soliciting,
			"1s "+multicastRA, "1s "+periodic, "17s "+multicastRA, "17s "+periodic, "33s "+multicastRA, "33s "+periodic)
		b.pass(10 * time.Minute)
		b.mu.Lock()
		if n := len(b.lines) / 2; n < 10 || n > 30 { // 20 to 60 s apart
			t.Errorf("%d advertisements in ten minutes", n)
		}
		b.mu.Unlock()
		b.stop(nil)
	})
}

func TestInsistingStartsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.final = true
		b.run()
		b.pass(10 * time.Second)
		b.expect("0s "+multicastRA, "0s "+periodic)
		b.stop(nil)
		b.expect("10s "+finalRA, "10s Final answered")
	})
}

// A restart says nothing at its end: the next start repairs what is to be repaired.
func TestNoFinalAtRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.expect("0s "+multicastRA, "0s "+periodic)
		b.stop(nil)
		b.expect()
	})
}

func TestSolicited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.pass(5 * time.Second)
		b.expect("0s "+multicastRA, "0s "+periodic)
		b.hear(clientMAC, unhex(rsOVMF))
		b.hear(clientMAC, unhex(rsOVMF))
		b.pass(100 * time.Millisecond)
		stranger := ident.MAC{0x52, 0x54, 0, 0, 1, 3}
		b.hear(stranger, unhex(rsInstaller))
		b.pass(60 * time.Millisecond)
		b.expect(`5s RouterSolicitation retransmit rack1 "::"`,
			"5s > RA to ff02::1 (52:54:00:00:01:00) lifetime 3m0s M=1",
			`5s RouterSolicitation answered rack1 r1n01 "::" [router-solicit 52:54:00:00:01:00 :: ]`,
			"5.1s > RA to fe80::5054:ff:fe00:103 (52:54:00:00:01:03) lifetime 3m0s M=1",
			`5.1s RouterSolicitation answered rack1 "fe80::5054:ff:fe00:103" [router-solicit 52:54:00:00:01:03 fe80::5054:ff:fe00:103 ]`)
		b.stop(nil)
	})
}

// Hundreds at once get theirs within 50 ms, and no multicast is sent for it.
func TestSolicitedByARack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.expect("0s "+multicastRA, "0s "+periodic)
		for i := range 600 {
			b.hear(ident.MAC{0x52, 0x54, 0, 1, byte(i >> 8), byte(i)}, unhex(rsOVMF))
		}
		b.pass(50 * time.Millisecond)
		b.mu.Lock()
		defer b.mu.Unlock()
		answered := 0
		for _, l := range b.lines {
			if strings.HasPrefix(l, "0s > RA to ff02::1 (52:54:00:01:") {
				answered++
			}
		}
		if answered != 600 || len(b.lines) != 1200 {
			t.Errorf("%d answers in %d lines", answered, len(b.lines))
		}
		b.cancel()
	})
}

func TestSolicitedFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.run()
		b.pass(500 * time.Millisecond)
		for i := range maxPending + 2 {
			b.hear(ident.MAC{0x52, 0x54, 0, 1, byte(i >> 8), byte(i)}, unhex(rsOVMF))
		}
		b.expect("0s "+soliciting, "400ms "+soliciting,
			`500ms RouterSolicitation overload rack1 "::"`, `500ms RouterSolicitation overload rack1 "::"`)
		b.pass(550 * time.Millisecond)
		b.mu.Lock()
		if n := len(b.lines); n != 2+2*maxPending || b.lines[0] != "1s "+multicastRA {
			t.Errorf("%d lines, the first: %s", n, b.lines[0])
		}
		b.mu.Unlock()
		b.stop(nil)
	})
}

// TestBlink: a link that went and came back is not listened to first again; a router that is heard then is yielded to as ever.
func TestBlink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.begun = &Begun{}
		b.run()
		b.pass(2 * time.Second)
		b.expect("0s "+soliciting, "400ms "+soliciting, "1s "+multicastRA, "1s "+periodic)
		b.stop(nil)
		b.run()
		b.pass(time.Second)
		b.expect("2s "+soliciting, "2s "+multicastRA, "2s "+periodic, "2.4s "+soliciting)
		b.hear(foreignMAC, ip(routerLL, advertisement(1800)...))
		b.stop(nil)
		b.mu.Lock()
		b.lines = nil
		b.mu.Unlock()
		b.run()
		b.pass(500 * time.Millisecond)
		b.expect("3s "+soliciting, "3.4s "+soliciting)
		b.stop(nil)
	})
}

func TestYieldsWhileListening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.final = true
		b.run()
		b.hear(clientMAC, unhex(rsIPXE))
		b.pass(300 * time.Millisecond)
		b.hear(foreignMAC, ip(routerLL, advertisement(9000)...))
		b.hear(foreignMAC, ip(routerLL, advertisement(9000)...))
		b.pass(time.Hour)
		b.hear(clientMAC, unhex(rsIPXE))
		held := "another router advertises here (lifetime 9000s, M=1 O=0): bootd sends no advertisements until the network " +
			"says `router: self` (or `router: other`)"
		b.expect("0s "+soliciting,
			`300ms RouterAdvertisement router-elsewhere rack1 "fe80::1" [foreign-router 52:54:00:00:ee:01 fe80::1 `+held+`]`,
			`300ms RouterSolicitation router-elsewhere rack1 "fe80::5054:ff:fe00:100"`,
			`300ms RouterAdvertisement router-elsewhere rack1 "fe80::1"`,
			`1h0m0.3s RouterSolicitation router-elsewhere rack1 "fe80::5054:ff:fe00:100"`)

		b.swap(insisting())
		b.changed <- struct{}{}
		b.pass(16 * time.Second)
		b.expect("1h0m0.3s "+multicastRA, "1h0m0.3s "+periodic, "1h0m16.3s "+multicastRA, "1h0m16.3s "+periodic)
		b.stop(nil)
		b.expect("1h0m16.3s "+finalRA, "1h0m16.3s Final answered")
	})
}

// A router that could not answer in the first second, because it had just multicast, is yielded to as well, and what we
// said is taken back.
func TestYieldsInProbation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.run()
		b.pass(3 * time.Second)
		b.hear(foreignMAC, ip(routerLL, with(advertisement(9000), 5, 0)...))
		b.pass(time.Hour)
		b.expect("0s "+soliciting, "400ms "+soliciting, "1s "+multicastRA, "1s "+periodic,
			"3s RouterAdvertisement router-elsewhere rack1 \"fe80::1\" [foreign-router 52:54:00:00:ee:01 fe80::1 another router "+
				"advertises here (lifetime 9000s, M=0 O=0): bootd sends no advertisements until the network says `router: self` (or `router: other`)]",
			"3s "+finalRA, "3s Final answered")
		b.stop(nil)
	})
}

// TestReleased: a router that has been silent for its lifetime does not silence us any more; one that said that it stops, and one
// that another follows, does so for as long as hosts go by what they heard.
func TestReleased(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.run()
		b.pass(300 * time.Millisecond)
		b.hear(foreignMAC, ip(routerLL, advertisement(600)...))
		b.pass(500 * time.Second)
		b.hear(foreignMAC, ip(routerLL, advertisement(600)...))
		b.hear(foreignMAC, ip(routerLL, advertisement(0)...))
		b.pass(599 * time.Second)
		b.mu.Lock()
		before := len(b.lines)
		b.lines = nil
		b.mu.Unlock()
		if before == 0 {
			t.Error("nothing was seen of the router")
		}
		b.pass(3 * time.Second)
		b.expect("18m20.3s Listen changed rack1 [foreign-router 00:00:00:00:00:00  hosts have forgotten the other router on eth1: bootd advertises again, unless one answers now]",
			"18m20.3s "+soliciting, "18m20.7s "+soliciting, "18m21.3s "+multicastRA, "18m21.3s "+periodic)
		b.stop(nil)
	})
}

// After the start, or from a router that is no default router, an advertisement is an event and no more.
func TestForeignRoutersLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, rack)
		b.run()
		b.pass(500 * time.Millisecond)
		b.hear(foreignMAC, ip(routerLL, advertisement(0)...))
		b.pass(9500 * time.Millisecond)
		b.hear(foreignMAC, ip(routerLL, advertisement(600)...))
		b.pass(7 * time.Second)
		b.expect("0s "+soliciting, "400ms "+soliciting,
			`500ms RouterAdvertisement router-elsewhere rack1 "fe80::1" [foreign-router 52:54:00:00:ee:01 fe80::1 another router advertises beside bootd (lifetime 0s, M=1 O=0)]`,
			"1s "+multicastRA, "1s "+periodic,
			`10s RouterAdvertisement router-elsewhere rack1 "fe80::1" [foreign-router 52:54:00:00:ee:01 fe80::1 another router advertises beside bootd (lifetime 600s, M=1 O=0)]`,
			"17s "+multicastRA, "17s "+periodic)
		for i := range 100 {
			b.hear(foreignMAC, ip(netip.MustParseAddr(fmt.Sprintf("fe80::9:%x", i)), advertisement(600)...))
		}
		b.mu.Lock()
		if n := strings.Count(strings.Join(b.lines, "\n"), "[foreign-router"); n != maxRouters-1 {
			t.Errorf("%d events for a hundred invented routers, want %d", n, maxRouters-1)
		}
		b.mu.Unlock()
		b.stop(nil)
	})
}

// TestConflictsAreWatched: at any time, each change of what contradicts us is one event with what it is, and each advertisement
// counts.
func TestConflictsAreWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, strings.Replace(insisting(), "router: self", "router: self, ra: {mtu: 1400}", 1))
		b.run()
		b.pass(time.Hour)
		b.mu.Lock()
		b.lines = nil
		b.mu.Unlock()
		calm := ip(routerLL, with(advertisement(0), 5, 0xc0)...)
		loud := ip(routerLL, whole()...)
		b.hear(foreignMAC, calm)
		b.hear(foreignMAC, loud) // at once: told with the next one
		b.hear(foreignMAC, calm)
		b.pass(3 * time.Second)
		b.hear(foreignMAC, loud)
		b.pass(3 * time.Second)
		b.hear(foreignMAC, loud)
		b.hear(foreignMAC, calm)
		var events, conflicts []string
		b.mu.Lock()
		for _, l := range b.lines {
			if i := strings.Index(l, "[foreign-router"); i >= 0 {
				events = append(events, l[i:])
			}
		}
		for _, f := range b.foreign {
			conflicts = append(conflicts, strings.Join(f.Conflicts, " "))
		}
		b.mu.Unlock()
		at := "[foreign-router 52:54:00:00:ee:01 fe80::1 another router advertises beside bootd "
		want := []string{
			at + "(lifetime 0s, M=1 O=1)]",
			at + "(lifetime 60s, M=1 O=0); the prefix 2001:db8:9::/64, which is none of rack1; the resolver 2001:db8::53, which rack1 does not name; " +
				"the resolver 2001:db8::54, which rack1 does not name]",
			at + "(lifetime 0s, M=1 O=1)]",
		}
		if diff := cmp.Diff(want, events); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		all := "default-router foreign-prefix resolver"
		if diff := cmp.Diff([]string{"", all, "", all, all, ""}, conflicts); diff != "" {
			t.Errorf("conflicts (-want +got):\n%s", diff)
		}
		b.stop(nil)
	})
}

func TestRouterElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, elsewhere())
		b.final = true
		b.run()
		b.hear(foreignMAC, ip(routerLL, with(advertisement(1800), 5, 0)...))
		b.hear(clientMAC, unhex(rsIPXE))
		b.pass(time.Hour)
		b.expect("0s "+soliciting,
			`0s RouterAdvertisement router-elsewhere rack1 "fe80::1" [foreign-router 52:54:00:00:ee:01 fe80::1 the router of this link (lifetime 1800s, M=0 O=0) must set M, or iPXE and firmware ask for no address]`,
			`0s RouterSolicitation router-elsewhere rack1 "fe80::5054:ff:fe00:100"`,
			"400ms "+soliciting, "1s Periodic router-elsewhere rack1")
		b.stop(nil)
		b.expect()
	})
}

// What changed is said at once, but never sooner than three seconds after the last multicast; what did not is not.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.pass(time.Second)
		b.changed <- struct{}{}
		b.pass(time.Second)
		b.swap(strings.Replace(insisting(), "router: self", "router: self, ra: {managed: false}", 1))
		b.changed <- struct{}{}
		b.pass(18 * time.Second)
		b.expect("0s "+multicastRA, "0s "+periodic,
			"3s "+strings.Replace(multicastRA, "M=1", "M=0", 1), "3s "+periodic,
			"19s "+strings.Replace(multicastRA, "M=1", "M=0", 1), "19s "+periodic)
		b.swap(elsewhere())
		b.changed <- struct{}{}
		b.pass(time.Hour)
		b.expect("20s "+strings.Replace(finalRA, "M=1", "M=0", 1), "20s Final answered")
		b.stop(nil)
	})
}

// An address that the link got anew is the source from then on.
func TestAddressChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.pass(10 * time.Second)
		b.link.LinkLocal = netip.MustParseAddr("fe80::77")
		b.swap(insisting())
		b.changed <- struct{}{}
		b.pass(time.Second)
		b.expect("0s "+multicastRA, "0s "+periodic, "10s "+multicastRA, "10s "+periodic)
		b.stop(nil)
	})
}

func TestBadPacketsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.run()
		b.expect("0s "+multicastRA, "0s "+periodic)
		own := b.link.LinkLocal
		b.hear(clientMAC, with(unhex(rsOVMF), 7, 64))
		b.hear(clientMAC, ip(clientLL, rs(1, 0)...))
		b.hear(clientMAC, ip(netip.IPv6Unspecified(), rs(1, 1, 0, 0, 0, 0, 0, 0)...))
		b.hear(clientMAC, []byte("junk"))
		b.hear(b.link.MAC, ip(own, advertisement(180)...))
		b.hear(foreignMAC, ip(own, advertisement(180)...))
		b.hear(b.link.MAC, ip(own, rs()...))
		b.expect(`0s RouterSolicitation bad-hop-limit rack1 "::"`,
			`0s RouterSolicitation malformed rack1 "fe80::5054:ff:fe00:100"`,
			`0s RouterSolicitation bad-source rack1 "::"`, `0s Unknown malformed rack1`,
			`0s RouterAdvertisement looped rack1 "fe80::5054:ff:fe00:ff03"`,
			`0s RouterAdvertisement looped rack1 "fe80::5054:ff:fe00:ff03"`,
			`0s RouterSolicitation looped rack1 "fe80::5054:ff:fe00:ff03"`)
		b.stop(nil)
	})
}

func TestFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, insisting())
		b.fail = syscall.ENOBUFS
		b.run()
		b.hear(clientMAC, unhex(rsIPXE))
		b.pass(100 * time.Millisecond)
		b.expect("0s "+multicastRA, "0s Periodic none rack1 error: no buffer space available",
			"0s > RA to fe80::5054:ff:fe00:100 (52:54:00:00:01:00) lifetime 3m0s M=1",
			`0s RouterSolicitation none rack1 r1n01 "fe80::5054:ff:fe00:100" [router-solicit 52:54:00:00:01:00 fe80::5054:ff:fe00:100 ] error: no buffer space available`)
		b.broken <- syscall.ENETDOWN
		if err := <-b.ended; err == nil || err.Error() != "network is down" {
			t.Errorf("Run: %v", err)
		}
		b.cancel()
	})
}

func TestNewRefuses(t *testing.T) {
	good := sitetest.Link(t, 3, "eth1")
	change := func(f func(*site.Link)) site.Link {
		l := good
		f(&l)
		return l
	}
	b := newBench(t, rack)
	for _, tt := range []struct {
		link site.Link
		want string
	}{
		{change(func(l *site.Link) { l.Up = false }), "advertising on eth1: the link is down"},
		{change(func(l *site.Link) { l.LinkLocal = netip.Addr{} }), "advertising on eth1: it has no link-local address yet (duplicate address detection)"},
		{change(func(l *site.Link) { l.MAC = ident.MAC{} }), "advertising on eth1: it is no Ethernet link"},
	} {
		if _, err := New(b.config(), tt.link); err == nil || err.Error() != tt.want {
			t.Errorf("error %v, want %s", err, tt.want)
		}
	}
	cfg := b.config()
	cfg.Listen = func(site.Link) (Conn, error) { return nil, syscall.EPERM }
	if _, err := New(cfg, good); err == nil || err.Error() != "advertising on eth1: operation not permitted" {
		t.Errorf("error %v", err)
	}
	task, err := New(b.config(), good)
	if err != nil || task.String() != "router advertisements on eth1" || task.Close() != nil {
		t.Errorf("New: %v, %v", task, err)
	}
}
