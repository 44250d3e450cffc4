package netns_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
	"bootd.internal/lab/load"
)

// small mounts a file system of a few MiB, where bootd is to keep its state.
func small(t *testing.T, dir, options string) string {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "mode=0700,"+options); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // the namespace ends anyway
	return dir
}

// fill writes until nothing more fits.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 4096); err == nil; {
		_, err = f.Write(block)
	}
	if err := errors.Join(err, f.Close()); !errors.Is(err, unix.ENOSPC) {
		t.Fatal(err)
	}
}

// TestStateDirectoryFull: with a full disk listed hosts get their addresses, and it is said that nothing is kept. With room
// again and a restart all that was promised before is there.
func TestStateDirectoryFull(t *testing.T) {
	const machines, before = 1000, 50 // the journal has room for a few hundred when the disk is full
	base := ident.MAC{0x52, 0x54, 0x00, 0x01, 0x00, 0x00}
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: rackOf(machines, base), Files: loaders()})
	if err := r.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	state := small(t, r.Path("small.state"), "size=8m")
	start := func(name string) *lab.Daemon {
		d, err := r.Server.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
			Name: name, Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"), State: state,
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	d := start("before")
	n := loadNode(t, r)
	promised := map[netip.Addr]string{}
	play(t, n, load.Config{Clients: before, Outstanding: 4, Exchanges: before, Base: base, Granted: func(m ident.MAC, a netip.Addr) {
		promised[a] = fmt.Sprintf("n%05d/net0", m[5])
	}})
	fill(t, filepath.Join(state, "filler"))
	// Those whose Request was on its way to the disk when it was full hear nothing, and send it again.
	served := map[netip.Addr]bool{}
	ctx, all := context.WithCancel(labtest.Context(t, patience))
	defer all()
	res := playUntil(ctx, t, n, load.Config{Clients: machines, Outstanding: 4, Exchanges: 1 << 30, Base: base, Granted: func(_ ident.MAC, a netip.Addr) {
		if served[a] = true; len(served) == machines {
			all()
		}
	}})
	if res.Refused != 0 || len(served) != machines {
		t.Errorf("%d of %d machines have an address, %d times one was refused", len(served), machines, res.Refused)
	}
	e := waitFor(t, d, "the word that nothing is written", func(e timeline.Event) bool { return e.Reason == reason.StoreReadOnly && e.Detail != "" })
	if !strings.Contains(e.Detail, "repair its disk and restart bootd") {
		t.Errorf("the event says %q", e.Detail)
	}
	if out, _ := d.Run(labtest.Context(t, patience), "status"); !strings.Contains(string(out), "no space left on device") {
		t.Errorf("status says\n%s", out)
	}

	if err := os.Remove(filepath.Join(state, "filler")); err != nil {
		t.Fatal(err)
	}
	if err := d.Kill(); err != nil {
		t.Fatal(err)
	}
	r.Daemon = start("after")
	compareHolders(t, r, promised)
}

// rackOf is an inventory of n hosts, n00000 and so on, whose MACs are those of load's clients.
func rackOf(n int, base ident.MAC) string {
	var b strings.Builder
	b.WriteString("networks:\n  rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}\nhosts:\n")
	for i := range n {
		fmt.Fprintf(&b, "  n%05d: %s\n", i, load.Config{Base: base}.MAC(i))
	}
	return b.String()
}

// loadNode is a node that load plays its clients on.
func loadNode(t *testing.T, r *labtest.Rack) *lab.Node {
	t.Helper()
	n := r.Client(t, "load", "")
	if err := n.Sysctl(map[string]string{"net/ipv6/conf/eth0/disable_ipv6": "1"}); err != nil {
		t.Fatal(err)
	}
	if err := n.SetUp("eth0"); err != nil {
		t.Fatal(err)
	}
	return n
}

// play plays the clients to the end.
func play(t *testing.T, n *lab.Node, c load.Config) load.Result {
	t.Helper()
	return playUntil(labtest.Context(t, 4*patience), t, n, c)
}

func playUntil(ctx context.Context, t *testing.T, n *lab.Node, c load.Config) (res load.Result) {
	t.Helper()
	c.Interface = "eth0"
	err := n.Do(func() (err error) {
		res, err = load.Run(ctx, c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestStateDirectoryReadOnly: bootd says which directory cannot be written, and what to do, before it serves anybody.
func TestStateDirectoryReadOnly(t *testing.T) {
	r := newRack(t)
	if err := r.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	state := small(t, r.Path("fixed.state"), "size=1m,ro")
	cmd := r.Server.Command(labtest.Context(t, patience), os.Getenv(labtest.BinaryEnv),
		"serve", "--inventory", r.Path("inventory.yaml"), "--state", state, "--run", r.Path("run"))
	out, err := cmd.CombinedOutput()
	if err == nil || !strings.Contains(string(out), state) || !strings.Contains(string(out), "read-only file system") || !strings.Contains(string(out), "--state") {
		t.Errorf("bootd on a state directory that cannot be written: %v\n%s", err, out)
	}
}

// TestReloadUnderLoad reloads an inventory of 10,000 hosts, by its change and by command, while machines exchange messages with bootd: none
// of them has to send anything twice.
func TestReloadUnderLoad(t *testing.T) {
	const hosts, machines, reloads = 10_000, 200, 1
	base := ident.MAC{0x52, 0x54, 0x00, 0x01, 0x00, 0x00}
	text := func(domain string) string { return "defaults: {domain: " + domain + "}\n" + rackOf(hosts, base) }
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: text("zero.example.net"), Files: loaders()})
	n := loadNode(t, r)
	// The first frames of a link may be lost.
	play(t, n, load.Config{Clients: machines, Outstanding: 4, Exchanges: machines, Base: base})
	playing, enough := context.WithCancel(labtest.Context(t, 4*patience))
	defer enough()
	reloaded := make(chan error, 1)
	go func() {
		defer enough()
		var err error
		for i := range reloads {
			err = errors.Join(err,
				os.WriteFile(r.Path("new.yaml"), []byte(text(fmt.Sprintf("new%d.example.net", i))), 0o644),
				os.Rename(r.Path("new.yaml"), r.Path("inventory.yaml")),
				r.Daemon.API.Reload(playing))
		}
		reloaded <- err
	}()
	// A client that is not answered says so by a retransmission; its interval is far beyond any delay.
	res := playUntil(playing, t, n, load.Config{Clients: machines, Outstanding: 4, Exchanges: 1 << 30, Base: base, Retry: patience})
	if err := <-reloaded; err != nil {
		t.Fatal(err)
	}
	if res.Retransmits != 0 || res.Refused != 0 || res.Exchanges <= machines {
		t.Errorf("%d exchanges, %d messages sent twice, %d refused", res.Exchanges, res.Retransmits, res.Refused)
	}
	t.Logf("%d exchanges during %d reloads of %d hosts; slowest %s", res.Exchanges, reloads, hosts, res.Quantile(1))
}
