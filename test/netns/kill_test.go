package netns_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/ident"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
	"bootd.internal/lab/load"
)

// TestKill9 kills bootd without warning while 200 clients are in the middle of
// their exchanges. Every lease that a client was answered is there after the
// restart, and no address is there twice.
func TestKill9(t *testing.T) {
	const machines = 200
	base := ident.MAC{0x52, 0x54, 0x00, 0x01, 0x00, 0x00}
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: rackOf(machines, base)})
	n := loadNode(t, r)
	answered := map[ident.MAC]netip.Addr{}
	killed := make(chan error, 1)
	ctx := labtest.Context(t, patience)
	playing, enough := context.WithCancel(ctx)
	defer enough()
	err := n.Do(func() error {
		_, err := load.Run(playing, load.Config{
			Interface: "eth0", Clients: machines, Outstanding: machines, Exchanges: machines, Base: base,
			Granted: func(m ident.MAC, a netip.Addr) {
				answered[m] = a
				if len(answered) == machines/4 {
					go func() {
						killed <- r.Daemon.Kill()
						enough()
					}()
				}
			},
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-killed:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatalf("only %d clients were answered", len(answered))
	}
	r.Daemon, err = r.Server.StartDaemon(ctx, lab.DaemonConfig{
		Name: "bootd2", Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"), State: r.Path("bootd.state"),
	})
	if err != nil {
		t.Fatal(err)
	}
	compareLeases(t, r, answered)
}

// compareLeases looks for what clients were answered among the daemon's leases.
func compareLeases(t *testing.T, r *labtest.Rack, answered map[ident.MAC]netip.Addr) {
	t.Helper()
	promised := map[netip.Addr]string{}
	for mac, addr := range answered {
		promised[addr] = fmt.Sprintf("n%05d/net0", mac[5])
	}
	compareHolders(t, r, promised)
}

// compareHolders looks for promised addresses and their holders among the daemon's leases.
func compareHolders(t *testing.T, r *labtest.Rack, promised map[netip.Addr]string) {
	t.Helper()
	out, err := r.Daemon.Run(labtest.Context(t, patience), "leases", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var leases []api.Lease
	if err := json.Unmarshal(out, &leases); err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	kept := map[string]string{}
	for _, l := range leases {
		if other, twice := kept[l.Prefix]; twice {
			t.Errorf("%s is leased to %s and %s", l.Prefix, other, l.Holder)
		}
		kept[l.Prefix] = l.Holder
	}
	for addr, want := range promised {
		if got := kept[netip.PrefixFrom(addr, 128).String()]; got != want {
			t.Errorf("%s was promised to %s, but after the restart it belongs to %q", addr, want, got)
		}
	}
	t.Logf("%d leases promised, %d kept", len(promised), len(leases))
}
