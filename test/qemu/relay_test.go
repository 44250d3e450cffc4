package qemu_test

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// TestBehindARelay boots iPXE in a rack that bootd has no interface in: its router advertises (radvd) and relays (Debian's
// dhcrelay). The host gets its address, its script over HTTP from beyond the router, and boots its disk.
func TestBehindARelay(t *testing.T) {
	l := labtest.New(t)
	attach := func(n *lab.Node, link *lab.Link, name string, addrs ...string) {
		t.Helper()
		in := lab.Interface{Name: name, Self: lab.NoAddress}
		for _, a := range addrs {
			in.Addr = append(in.Addr, netip.MustParsePrefix(a))
		}
		if err := n.Attach(link, in); err != nil {
			t.Fatal(err)
		}
	}
	link := func(name string) *lab.Link {
		t.Helper()
		k, err := l.Link(name)
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
	node := func(name string) *lab.Node {
		t.Helper()
		n, err := l.Node(name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	core, rack, server, router := link("core"), link("rack2"), node("server"), node("router")
	attach(server, core, "eth0", "fe80::1/64", "2001:db8:f::1/64")
	attach(router, core, "core", "fe80::12/64", "2001:db8:f::12/64")
	attach(router, rack, "rack", "fe80::2/64", "2001:db8:2::1/64")
	if err := router.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1"}); err != nil {
		t.Fatal(err)
	}
	if out, err := server.Command(t.Context(), "ip", "-6", "route", "add", "2001:db8:2::/64", "via", "2001:db8:f::12").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.MkdirAll(l.Path("files"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"inventory.yaml": `serve: {transit: eth0}
networks:
  rack2: {relay: "2001:db8:2::1", prefix: "2001:db8:2::/64"}
hosts:
  r1n01: {mac: ` + mac + `, address: "2001:db8:2::101"}
`,
		"radvd.conf": `interface rack { AdvSendAdvert on; AdvManagedFlag on; AdvOtherConfigFlag on; MinRtrAdvInterval 3; MaxRtrAdvInterval 4; prefix 2001:db8:2::/64 { }; };
`,
	} {
		if err := os.WriteFile(l.Path(name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	d, err := server.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{Binary: os.Getenv(labtest.BinaryEnv), Inventory: l.Path("inventory.yaml")})
	if err != nil {
		t.Fatal(err)
	}
	background(t, l, router, "dhcrelay", "-6", "-d", "--no-pid", "-l", "2001:db8:2::1%rack", "-u", "2001:db8:f::1%core")
	background(t, l, router, "radvd", "-n", "-m", "stderr", "-u", "root", "-C", l.Path("radvd.conf"), "-p", l.Path("radvd.pid"))

	r := &labtest.Rack{Lab: l, Link: rack, Server: server, Daemon: d}
	vm := boot(t, r, biosMachine(t, r))
	if e := r.WaitMachine(t, time.Minute, vm, timeline.ScriptFetched); e.Reason != reason.LocalDisk || e.Network != "rack2" {
		t.Errorf("the script: %+v", e)
	}
	t.Logf("script fetched %.1f s after power-on", time.Since(vm.Started).Seconds())
	waitConsole(t, vm, time.Minute, diskBooted)
	var leased []string
	for _, e := range d.Events() {
		if e.Kind == timeline.DHCPLease {
			leased = append(leased, fmt.Sprint(e.Host, " ", e.Addr))
		}
	}
	if got := strings.Join(leased, "; "); got != "r1n01 2001:db8:2::101" {
		t.Errorf("leased: %s", got)
	}
}

// background runs a program on a node until the test ends.
func background(t *testing.T, l *lab.Lab, n *lab.Node, name string, args ...string) {
	t.Helper()
	log, err := os.Create(l.Path(name + ".log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := n.Command(ctx, name, args...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was told to end
		_ = log.Close()
	})
}
