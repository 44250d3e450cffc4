package netns_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
	"bootd.internal/lab/load"
)

const (
	// listed machines are hosts, the others get addresses of the pool.
	killListed   = 200
	killMachines = 300
	// killsEnv names the environment variable that says how often bootd is killed; make bench takes 100.
	killsEnv = "BOOTD_KILLS"
)

// TestKill9 kills bootd without warning while 300 clients are in the middle of
// their exchanges, again and again. Every lease that a client was ever answered
// is there after each restart, and no address is there twice.
func TestKill9(t *testing.T) {
	kills := 2
	if text := os.Getenv(killsEnv); text != "" {
		var err error
		if kills, err = strconv.Atoi(text); err != nil || kills < 1 {
			t.Fatalf("%s=%q: want a number from 1", killsEnv, text)
		}
	}
	var hosts strings.Builder
	for i := range killListed {
		fmt.Fprintf(&hosts, "  n%03d: %s\n", i, killLoad().MAC(i))
	}
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: `
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", router: self, unknown: pool}
hosts:
` + hosts.String()})
	n := r.Client(t, "load", "")
	if err := n.Sysctl(map[string]string{"net/ipv6/conf/eth0/disable_ipv6": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := n.SetUp("eth0"); err != nil {
		t.Fatal(err)
	}
	answered := map[ident.MAC]netip.Addr{}
	for i := range kills {
		killAmid(t, r, n, 1+(i*37)%(killMachines-1), answered)
		var err error
		r.Daemon, err = r.Server.StartDaemon(labtest.Context(t, patience), lab.DaemonConfig{
			Name: fmt.Sprintf("bootd%d", i+2), Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"), State: r.Path("bootd.state"),
		})
		if err != nil {
			t.Fatal(err)
		}
		compareHolders(t, r, holders(answered))
		if t.Failed() {
			t.Fatalf("after kill %d of %d", i+1, kills)
		}
	}
}

func killLoad() load.Config {
	return load.Config{
		Interface: "eth0", Clients: killMachines, Outstanding: killMachines, Exchanges: 10 * killMachines,
		Base: ident.MAC{0x52, 0x54, 0x00, 0x01, 0x00, 0x00},
	}
}

// killAmid plays the clients and kills bootd after so many Replies; it adds what they were answered.
func killAmid(t *testing.T, r *labtest.Rack, n *lab.Node, after int, answered map[ident.MAC]netip.Addr) {
	t.Helper()
	ctx, enough := context.WithCancel(labtest.Context(t, patience))
	defer enough()
	killed := make(chan error, 1)
	replies := 0
	cfg := killLoad()
	cfg.Granted = func(m ident.MAC, a netip.Addr) {
		if was, ok := answered[m]; ok && was != a {
			t.Errorf("%s was promised %s, and then %s", m, was, a)
		}
		answered[m] = a
		if replies++; replies == after {
			daemon := r.Daemon
			go func() {
				killed <- daemon.Kill()
				enough()
			}()
		}
	}
	err := n.Do(func() error {
		_, err := load.Run(ctx, cfg)
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
	case <-labtest.Context(t, patience).Done():
		t.Fatalf("only %d Replies came, bootd was to be killed after %d", replies, after)
	}
}

// holders names who an answer was for: the host, or the client by DUID and IAID.
func holders(answered map[ident.MAC]netip.Addr) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	for mac, addr := range answered {
		if i := int(binary.BigEndian.Uint16(mac[4:])); i < killListed {
			out[addr] = fmt.Sprintf("n%03d/net0", i)
		} else {
			out[addr] = lease.ClientHolder(ident.NewDUIDLL(mac), 0)
		}
	}
	return out
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
