package netns_test

import (
	"context"
	"encoding/json"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
	"bootd.internal/lab/load"
)

const poolInventory = `
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", router: self, unknown: pool, pool: {ranges: "::1000-::17ff", exclude: "::1000-::10ff"}}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`

// inPool reports whether an address is one of poolInventory's.
func inPool(a netip.Addr) bool {
	return netip.MustParsePrefix("2001:db8:1::1000/117").Contains(a) && !netip.MustParsePrefix("2001:db8:1::1000/120").Contains(a)
}

// leasesOf asks the daemon as a person does, by --json.
func leasesOf(t *testing.T, r *labtest.Rack, args ...string) []api.Lease {
	t.Helper()
	out, err := r.Daemon.Run(labtest.Context(t, patience), "leases", append([]string{"--json"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	var all []api.Lease
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return all
}

// TestPoolClients: every client program gets an address of the pool, sets it, and is listed with its MAC and its DUID; its
// lease is ended by hand.
func TestPoolClients(t *testing.T) {
	for _, c := range clients() {
		t.Run(c.name, func(t *testing.T) {
			r := labtest.NewRack(t, labtest.RackConfig{Inventory: poolInventory})
			n := r.Client(t, c.name, unlistedMAC)
			linkLocal(t, n)
			c.start(t, r, n)
			got := waitAddr(t, n, inPool).Addr()
			leases := leasesOf(t, r)
			if len(leases) != 1 || leases[0].Address != got.String() || leases[0].MAC.String() != unlistedMAC || len(leases[0].Clients) != 1 {
				t.Fatalf("%s has %s; the leases are %+v", c.name, got, leases)
			}
			ctx := labtest.Context(t, patience)
			text, err := r.Daemon.Run(ctx, "leases")
			row := regexp.MustCompile(`(?m)^` + got.String() + ` +- +rack1 +` + unlistedMAC + ` +` + leases[0].Clients[0].DUID.String() + ` +bound +\d{4}-`)
			if err != nil || !row.Match(text) {
				t.Errorf("%v: bootd leases prints\n%s", err, text)
			}
			if text, err := r.Daemon.Run(ctx, "explain", got.String()); err != nil || !strings.Contains(string(text), "it is one of the pool of rack1") {
				t.Errorf("%v: bootd explain prints\n%s", err, text)
			}
			if text, err := r.Daemon.Run(ctx, "leases", "release", got.String(), "--yes"); err != nil || string(text) != got.String()+" is free\n" {
				t.Errorf("%v: bootd leases release prints\n%s", err, text)
			}
			if left := leasesOf(t, r, "--expired"); len(left) != 0 {
				t.Errorf("left are %+v", left)
			}
		})
	}
}

// TestPoolPerfdhcp plays a thousand clients behind one card, of two thousand addresses: each gets one of its own, a listed
// machine its reserved one meanwhile, and all are kept over kill -9.
func TestPoolPerfdhcp(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: poolInventory})
	n := r.Client(t, "perfdhcp", unlistedMAC)
	linkLocal(t, n)
	host := r.Client(t, "host", listedMAC)
	linkLocal(t, host)
	// A client for each exchange; perfdhcp's status tells of a few that it did not wait for.
	out, err := n.Command(labtest.Context(t, patience*2), "perfdhcp", "-6", "-l", "eth0", "-r", "200", "-n", "1000", "-R", "1000", "-W", "2000000", "all").CombinedOutput()
	clients()[0].start(t, r, host)
	waitAddr(t, host, func(a netip.Addr) bool { return a == listedAddr })
	seen := map[string]bool{}
	before := leasesOf(t, r)
	for _, l := range before {
		a := netip.MustParseAddr(l.Address)
		if l.Host == "" && (!inPool(a) || seen[l.Holder]) {
			t.Errorf("%s is leased to %s", a, l.Holder)
		}
		seen[l.Holder] = true
	}
	if len(before) < 300 { // it sends nothing twice
		t.Fatalf("%d leases; perfdhcp: %v\n%s", len(before), err, out)
	}
	if err := r.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	r.Daemon, err = r.Server.StartDaemon(labtest.Context(t, patience), lab.DaemonConfig{
		Name: "bootd2", Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"), State: r.Path("bootd.state"),
	})
	if err != nil {
		t.Fatal(err)
	}
	after := leasesOf(t, r)
	if len(after) != len(before) {
		t.Errorf("%d leases before the kill, %d after it", len(before), len(after))
	}
	status, err := r.Daemon.Run(labtest.Context(t, patience), "status")
	if err != nil || !regexp.MustCompile(`(?m)^rack1 pool: \d+ of 1792 addresses used \(\d+%\)$`).Match(status) {
		t.Errorf("%v: bootd status prints\n%s", err, status)
	}
}

// TestPoolRunsOut: people are told before the last address is gone.
func TestPoolRunsOut(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: strings.Replace(poolInventory, "{ranges: \"::1000-::17ff\", exclude: \"::1000-::10ff\"}", `"::1100-::1109"`, 1)})
	n := r.Client(t, "load", "")
	if err := n.Sysctl(map[string]string{"net/ipv6/conf/eth0/disable_ipv6": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := n.SetUp("eth0"); err != nil {
		t.Fatal(err)
	}
	ctx, enough := context.WithCancel(labtest.Context(t, patience))
	defer enough()
	served := map[ident.MAC]bool{}
	err := n.Do(func() error {
		_, err := load.Run(ctx, load.Config{
			Interface: "eth0", Clients: 9, Outstanding: 9, Exchanges: 1 << 30, Base: ident.MAC{0x52, 0x54, 0, 1, 0, 0},
			Granted: func(m ident.MAC, _ netip.Addr) {
				if served[m] = true; len(served) == 9 {
					enough()
				}
			},
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	e := waitFor(t, r.Daemon, "the warning", func(e timeline.Event) bool {
		return e.Kind == timeline.Warning && e.Network == "rack1" && e.Detail != ""
	})
	if !strings.HasPrefix(e.Detail, "9 of 10 addresses of the pool are used (90 %)") {
		t.Errorf("told %q", e.Detail)
	}
}

// TestOneMachineInARow: one listed machine runs every client program, one after the other, each ended without a release.
// All get its address, and one lease is left.
func TestOneMachineInARow(t *testing.T) {
	r := newRack(t)
	n := r.Client(t, "machine", listedMAC)
	linkLocal(t, n)
	all := clients()
	// dhcpcd's helpers outlive it and keep the port: it comes last.
	i := slices.IndexFunc(all, func(c client) bool { return c.name == "dhcpcd" })
	all = append(slices.Delete(all, i, i+1), clients()[i])
	for _, c := range all {
		t.Run(c.name, func(t *testing.T) {
			run(t, n, "ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")
			c.start(t, r, n)
			waitAddr(t, n, func(a netip.Addr) bool { return a == listedAddr })
		})
	}
	leases := leasesOf(t, r, "--expired")
	if len(leases) != 1 || leases[0].Address != listedAddr.String() || leases[0].Host != "r1n01" || len(leases[0].Clients) < 3 {
		t.Errorf("left are %+v", leases)
	}
}
