package netns_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
	"bootd.internal/lab/load"
)

const (
	relayRacks    = 6
	relayMachines = 30
	// relayLimit is for all six racks together, on a machine that is busy with other things.
	relayLimit = 2 * time.Minute
)

// relayProgram is one of Debian's relays.
type relayProgram struct {
	name    string
	command func(rack int, dir string) []string
}

func relayPrograms() []relayProgram {
	return []relayProgram{
		{"dhcrelay", func(rack int, dir string) []string {
			return []string{
				"dhcrelay", "-6", "-d", "--no-pid", "-l", rackRouter(rack) + "%rack", "-u", "2001:db8:f::1%core",
			}
		}},
		{"dibbler-relay", func(rack int, dir string) []string {
			// It knows no other place for its files, and both directories exist once on this machine.
			return []string{"unshare", "-m", "sh", "-c", `
				for d in /etc/dibbler /var/lib/dibbler /var/log/dibbler; do mkdir -p $d && mount -t tmpfs tmpfs $d || exit; done
				cp ` + dir + `/relay.conf /etc/dibbler/relay.conf && exec dibbler-relay run`}
		}},
		{"dhcp6relay", func(rack int, dir string) []string { // wide-dhcpv6
			return []string{
				"dhcp6relay", "-f", "-d", "-s", "2001:db8:f::1", "-r", "core", "-b", rackUplink(rack), "-p", dir + "/pid", "rack",
			}
		}},
	}
}

func rackRouter(rack int) string { return fmt.Sprintf("2001:db8:%d::1", rack) }
func rackUplink(rack int) string { return fmt.Sprintf("2001:db8:f::1%d", rack) }

// router is a rack's router: it forwards, advertises, and relays.
type router struct {
	node    *lab.Node
	link    *lab.Link
	rack    int
	program relayProgram
	dir     string
	log     *os.File

	stop func()
}

// start runs the relay and radvd.
func (r *router) start() error {
	ctx, cancel := context.WithCancel(context.Background())
	var wait []func() error
	r.stop = sync.OnceFunc(func() {
		cancel()
		for _, w := range wait {
			_ = w() // they were told to end
		}
	})
	for _, args := range [][]string{
		r.program.command(r.rack, r.dir),
		{"radvd", "-n", "-m", "stderr", "-u", "root", "-C", r.dir + "/radvd.conf", "-p", r.dir + "/radvd.pid"},
	} {
		cmd := r.node.Command(ctx, args[0], args[1:]...)
		cmd.Stdout, cmd.Stderr = r.log, r.log
		if err := cmd.Start(); err != nil {
			return fmt.Errorf("starting %s: %w", args[0], err)
		}
		wait = append(wait, cmd.Wait)
	}
	return nil
}

// TestSixRacks: six racks of thirty machines, each behind a router of its own with one of Debian's three relays. Every machine
// gets its reserved address and its boot file, although one rack's router restarts while its machines ask; and a host that has
// no more than an address out of its router's advertisement fetches its script from behind the router.
func TestSixRacks(t *testing.T) {
	l := labtest.New(t)
	core, err := l.Link("core")
	if err != nil {
		t.Fatal(err)
	}
	server := relayServer(t, l, core)
	var racks errgroup.Group
	for rack := 1; rack <= relayRacks; rack++ {
		r := newRouter(t, l, core, rack)
		clients, host := rackClients(t, l, r)
		racks.Go(func() error {
			return errors.Join(r.play(labtest.Context(t, relayLimit), clients, rack <= 3), r.fetch(labtest.Context(t, relayLimit), host))
		})
	}
	if err := racks.Wait(); err != nil {
		t.Error(err)
	}
	for rack := 1; rack <= relayRacks; rack++ {
		name := fmt.Sprintf("r%dhost", rack)
		e, err := server.Wait(labtest.Context(t, patience), "script of "+name, func(e timeline.Event) bool {
			return e.Host == name && e.Kind == timeline.ScriptFetched
		})
		if err != nil || e.Network != fmt.Sprintf("rack%d", rack) {
			t.Errorf("%+v %v", e, err)
		}
	}
	if t.Failed() {
		return
	}
	unlistedRelay(t, l, core, server)
	out, err := server.Run(labtest.Context(t, patience), "status")
	if err != nil || !strings.Contains(string(out), "rack6 on relay 2001:db8:6::1 (up): 2001:db8:f::1\n") {
		t.Errorf("%v\n%s", err, out)
	}
}

// unlistedRelay asks as the relay of a rack that nobody listed: the events and bootd doctor have the line to add.
func unlistedRelay(t *testing.T, l *lab.Lab, core *lab.Link, server *lab.Daemon) {
	t.Helper()
	n, err := l.Node("router7")
	if err != nil {
		t.Fatal(err)
	}
	err = n.Attach(core, lab.Interface{Name: "core", Self: lab.NoAddress, Addr: []netip.Prefix{
		netip.MustParsePrefix("fe80::17/64"), netip.MustParsePrefix("2001:db8:f::17/64"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	forward := append([]byte{12, 0}, netip.MustParseAddr("2001:db8:7::1").AsSlice()...)
	forward = append(forward, netip.MustParseAddr("fe80::5054:ff:fe10:700").AsSlice()...)
	solicit := append([]byte{1, 0, 0, 7, 0, 1, 0, 10, 0, 3, 0, 1}, 0x52, 0x54, 0, 0x10, 7, 0)
	forward = append(append(forward, 0, 9, 0, byte(len(solicit))), solicit...)
	err = n.Do(func() error {
		c, err := net.Dial("udp6", "[2001:db8:f::1]:547")
		if err != nil {
			return err
		}
		_, err = c.Write(forward)
		return errors.Join(err, c.Close())
	})
	if err != nil {
		t.Fatal(err)
	}
	line := `rack: {relay: "2001:db8:7::1", prefix: "2001:db8:7::/64"}`
	_, err = server.Wait(labtest.Context(t, patience), "the unlisted relay", func(e timeline.Event) bool {
		return e.Kind == timeline.ForeignRelay && strings.HasSuffix(e.Detail, line)
	})
	if err != nil {
		t.Fatal(err)
	}
	out, _ := server.Run(labtest.Context(t, patience), "doctor") // it finds other things in a lab, and says so by its exit code
	if !strings.Contains(string(out), "do: if it is yours, list it below networks: "+line+"\n") {
		t.Errorf("bootd doctor says:\n%s", out)
	}
}

// relayServer runs bootd on the core link, behind which all racks are.
func relayServer(t *testing.T, l *lab.Lab, core *lab.Link) *lab.Daemon {
	t.Helper()
	n, err := l.Node("server")
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Attach(core, lab.Interface{Name: "eth0", Self: lab.NoAddress, Addr: []netip.Prefix{
		netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix("2001:db8:f::1/64"),
	}}); err != nil {
		t.Fatal(err)
	}
	text := "serve: {transit: eth0}\nnetworks:\n"
	hosts := "hosts:\n"
	for rack := 1; rack <= relayRacks; rack++ {
		run(t, n, "ip", "-6", "route", "add", fmt.Sprintf("2001:db8:%d::/64", rack), "via", rackUplink(rack))
		text += fmt.Sprintf("  rack%d: {relay: %q, prefix: \"2001:db8:%d::/64\"}\n", rack, rackRouter(rack), rack)
		hosts += fmt.Sprintf("  r%dhost: {mac: 52:54:00:10:0%d:ff, network: rack%d}\n", rack, rack, rack)
		for i := range relayMachines {
			hosts += fmt.Sprintf("  r%dn%02d: {mac: 52:54:00:10:0%d:%02x, address: \"2001:db8:%d::%x\"}\n", rack, i, rack, i, rack, 0x100+i)
		}
	}
	if err := os.WriteFile(l.Path("inventory.yaml"), []byte(text+hosts), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.Path("files"), 0o755); err != nil {
		t.Fatal(err)
	}
	d, err := n.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{
		Binary: os.Getenv(labtest.BinaryEnv), Inventory: l.Path("inventory.yaml"),
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// newRouter starts a rack's router between the core and a link of its own.
func newRouter(t *testing.T, l *lab.Lab, core *lab.Link, rack int) *router {
	t.Helper()
	programs := relayPrograms()
	r := &router{rack: rack, program: programs[(rack-1)%len(programs)], dir: l.Path(fmt.Sprintf("router%d", rack))}
	var err error
	if r.node, err = l.Node(fmt.Sprintf("router%d", rack)); err != nil {
		t.Fatal(err)
	}
	if r.link, err = l.Link(fmt.Sprintf("rack%d", rack)); err != nil {
		t.Fatal(err)
	}
	for _, a := range []struct {
		link       *lab.Link
		name, addr string
	}{{core, "core", rackUplink(rack)}, {r.link, "rack", rackRouter(rack)}} {
		if err := r.node.Attach(a.link, lab.Interface{Name: a.name, Self: lab.NoAddress, Addr: []netip.Prefix{
			netip.MustParsePrefix(fmt.Sprintf("fe80::1%d/64", rack)), netip.MustParsePrefix(a.addr + "/64"),
		}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.node.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1"}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"relay.conf": fmt.Sprintf("log-level 8\nlog-mode short\niface core {\n server unicast 2001:db8:f::1\n}\niface rack {\n client multicast yes\n interface-id %d\n}\n", 5000+rack),
		"radvd.conf": fmt.Sprintf("interface rack {\n AdvSendAdvert on;\n MinRtrAdvInterval 3;\n MaxRtrAdvInterval 4;\n AdvManagedFlag on;\n AdvOtherConfigFlag on;\n prefix 2001:db8:%d::/64 {};\n};\n", rack),
	} {
		if err := os.MkdirAll(r.dir, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(r.dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if r.log, err = os.Create(l.Path(fmt.Sprintf("router%d.log", rack))); err != nil {
		t.Fatal(err)
	}
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.stop()
		_ = r.log.Close()
	})
	return r
}

// rackClients makes a node that plays the machines of a rack, and one host with a kernel of its own.
func rackClients(t *testing.T, l *lab.Lab, r *router) (clients, host *lab.Node) {
	t.Helper()
	return r.client(t, l, "machines", "", map[string]string{"net/ipv6/conf/eth0/disable_ipv6": "1"}),
		r.client(t, l, "host", fmt.Sprintf("52:54:00:10:0%d:ff", r.rack), map[string]string{"net/ipv6/conf/eth0/accept_ra": "2"})
}

func (r *router) client(t *testing.T, l *lab.Lab, name, mac string, settings map[string]string) *lab.Node {
	t.Helper()
	n, err := l.Node(fmt.Sprintf("%s%d", name, r.rack))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Attach(r.link, lab.Interface{Name: "eth0", MAC: mac, Down: true}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(n.Sysctl(settings), n.SetUp("eth0")); err != nil {
		t.Fatal(err)
	}
	return n
}

// play plays the thirty machines; where it restarts, the router goes away when a third of them has an address and comes back.
func (r *router) play(ctx context.Context, n *lab.Node, restarts bool) error {
	third, restarted := make(chan struct{}), make(chan error, 1)
	if !restarts {
		restarted <- nil
	} else {
		go func() { // not in the thread that plays: it belongs to the machines' namespace
			select {
			case <-third:
				r.stop()
				restarted <- r.start()
			case <-ctx.Done():
				restarted <- ctx.Err()
			}
		}()
	}
	all, done := context.WithCancel(ctx)
	defer done()
	answered := map[ident.MAC]bool{}
	base := ident.MAC{0x52, 0x54, 0x00, 0x10, byte(r.rack), 0}
	var res load.Result
	err := n.Do(func() (err error) {
		res, err = load.Run(all, load.Config{
			Interface: "eth0", Clients: relayMachines, Outstanding: relayMachines / 3, Exchanges: math.MaxInt, Base: base, Boot: true,
			Granted: func(m ident.MAC, _ netip.Addr) {
				answered[m] = true
				if restarts && len(answered) == relayMachines/3 {
					restarts = false
					close(third)
				}
				if len(answered) == relayMachines {
					done()
				}
			},
		})
		return err
	})
	if err := errors.Join(err, <-restarted); err != nil {
		return fmt.Errorf("rack %d, %s: %w", r.rack, r.program.name, err)
	}
	var wrong []error
	for i := range relayMachines {
		m := base
		m[5] = byte(i)
		want := netip.MustParseAddr(fmt.Sprintf("2001:db8:%d::%x", r.rack, 0x100+i))
		if got, url := res.Leases[m], res.BootURLs[m]; got != want || url != "http://[2001:db8:f::1]/boot.ipxe" {
			wrong = append(wrong, fmt.Errorf("rack %d, %s: %s has %s, want %s, and boots %q", r.rack, r.program.name, m, got, want, url))
		}
	}
	return errors.Join(wrong...)
}

// fetch gets the script as a host that made its address out of the router's advertisement.
func (r *router) fetch(ctx context.Context, n *lab.Node) error {
	var out []byte
	err := lab.WaitFor(ctx, fmt.Sprintf("script of the host in rack %d", r.rack), func() bool {
		var err error
		out, err = n.Command(ctx, "curl", "-sS", "-f", "-m", "5", "http://[2001:db8:f::1]/boot.ipxe").Output()
		return err == nil
	})
	if err != nil {
		return err
	}
	if !strings.HasPrefix(string(out), "#!ipxe") || !strings.Contains(string(out), fmt.Sprintf("r%dhost", r.rack)) {
		return fmt.Errorf("the host in rack %d is told:\n%s", r.rack, out)
	}
	return nil
}
