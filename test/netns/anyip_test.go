package netns_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"

	"bootd.internal/bootd/prefix"
	"bootd.internal/bootd/timeline"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// anyInventory binds one prefix of each family, and one only while bootd runs.
const anyInventory = `
networks:
  lan: {interface: eth1, prefix: "2001:db8:1::/64"}
anyip:
  - {prefix: "2001:db8:100::/64", names: ["*.hosts.example.net"]}
  - "192.0.2.0/28"
  - {prefix: "2001:db8:101::/64", keep: false}
  - {prefix: "2001:db8:a:0:8000::/65", neighbour: eth1, keep: false}
`

// TestAnyIP: a thousand random addresses of a prefix answer ping and a web server that knows none of them; so does the address of
// a name. What another program has is not hidden; a crash and a reload leave what the inventory says, and nothing else.
func TestAnyIP(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: anyInventory})
	n := r.Client(t, "visitor", unlistedMAC)
	linkLocal(t, n)
	run(t, n, "ip", "-6", "addr", "add", "2001:db8:1::99/64", "dev", "eth0", "nodad")
	run(t, n, "ip", "-6", "route", "add", "2001:db8:100::/40", "via", "fe80::1", "dev", "eth0")
	webServer(t, r.Server)

	out, err := r.Daemon.Run(labtest.Context(t, patience), "status")
	if err != nil || !strings.Contains(string(out), "anyip 2001:db8:100::/64: bound\nanyip 192.0.2.0/28: bound\nanyip 2001:db8:101::/64: bound\nanyip 2001:db8:a:0:8000::/65: bound\n") {
		t.Errorf("%v:\n%s", err, out)
	}
	thousand(t, r, n)
	answersFour(t, r, n)

	named := prefix.Named(netip.MustParsePrefix("2001:db8:100::/64"), "shop1.hosts.example.net")
	if got := strings.TrimSpace(run(t, n, "dig", "+short", "AAAA", "shop1.hosts.example.net", "@2001:db8:1::1")); got != named.String() {
		t.Errorf("the name's address is %q, want %s", got, named)
	}
	fetch(t, n, named)
	proxied(t, r, n)
	anyConflict(t, r)
	anyCrash(t, r)
}

// TestAnyIPDelegated: of a delegated /60 the first /64 is this machine's, by the inventory of examples/anyip.yaml; its addresses answer the ISP,
// also after a crash, and the prefix is never away meanwhile.
func TestAnyIPDelegated(t *testing.T) {
	i := newISP(t)
	i.delegate(t)
	text, err := os.ReadFile("../../examples/anyip.yaml")
	if err != nil {
		t.Fatal(err)
	}
	i.start(t, string(text))
	e, err := i.daemon.Wait(labtest.Context(t, patience), "a prefix is bound", func(e timeline.Event) bool {
		return e.Kind == timeline.PrefixBound && strings.Contains(e.Addr, ":")
	})
	if err != nil {
		t.Fatal(err)
	}
	p := netip.MustParsePrefix(e.Addr)
	if p.Bits() != 64 || !netip.MustParsePrefix("2001:db8:100::/56").Contains(p.Addr()) {
		t.Errorf("bound is %s", p)
	}
	webServer(t, i.home)
	fetch(t, i.provider, prefix.Named(p, "shop.example.net"))
	if err := i.daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	i.start(t, string(text))
	for _, e := range i.daemon.Events() {
		if e.Kind == timeline.PrefixUnbound {
			t.Errorf("%+v", e)
		}
	}
	if got := locals(t, i.home); got != p.String()+" 192.0.2.0/28" {
		t.Errorf("after a crash: %s", got)
	}
	run(t, i.provider, "ping", "-6", "-c", "1", "-W", "20", prefix.Named(p, "shop.example.net").String())
}

// webServer listens on all addresses of a node, and answers with the one that was asked.
func webServer(t *testing.T, n *lab.Node) {
	t.Helper()
	var l net.Listener
	err := n.Do(func() (err error) {
		l, err = net.Listen("tcp", "[::]:8080")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Context().Value(http.LocalAddrContextKey))
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close(); <-done })
}

// fetch asks the web server at an address.
func fetch(t *testing.T, n *lab.Node, a netip.Addr) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (c net.Conn, err error) {
			err = n.Do(func() error {
				c, err = (&net.Dialer{}).DialContext(ctx, network, addr)
				return err
			})
			return c, err
		},
	}}
	at := netip.AddrPortFrom(a, 8080).String()
	resp, err := client.Get("http://" + at + "/")
	if err != nil {
		t.Errorf("%s: %v", a, err)
		return
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || string(body) != at {
		t.Errorf("%s answers %q: %v", a, body, err)
	}
}

// thousand asks a thousand random addresses for an echo, and the web server at each.
func thousand(t *testing.T, r *labtest.Rack, n *lab.Node) {
	t.Helper()
	out, err := exec.Command(os.Getenv(labtest.BinaryEnv), "prefix", "-n", "1000", "random", "2001:db8:100::/64").Output()
	if err != nil {
		t.Fatal(err)
	}
	silent := map[string]netip.Addr{}
	for line := range strings.Lines(string(out)) {
		a := netip.MustParseAddr(strings.TrimSpace(line))
		silent[a.String()] = a
		fetch(t, n, a)
	}
	if len(silent) != 1000 {
		t.Fatalf("%d addresses", len(silent))
	}
	var c *icmp.PacketConn
	if err := n.Do(func() (err error) { c, err = icmp.ListenPacket("ip6:ipv6-icmp", "::"); return err }); err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	echo, err := (&icmp.Message{Type: ipv6.ICMPTypeEchoRequest, Body: &icmp.Echo{ID: 7}}).Marshal(nil)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 1500)
	for deadline := time.Now().Add(patience); len(silent) > 0 && time.Now().Before(deadline); {
		for _, a := range silent {
			if _, err := c.WriteTo(echo, &net.IPAddr{IP: a.AsSlice()}); err != nil {
				t.Fatal(err)
			}
			// One at a time: the kernel answers a bounded number of echoes a second (icmp_ratelimit is for errors only).
			if err := c.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
				t.Fatal(err)
			}
			for {
				size, from, err := c.ReadFrom(buf)
				if err != nil {
					break // asked again in the next round
				}
				if m, err := icmp.ParseMessage(58, buf[:size]); err == nil && m.Type == ipv6.ICMPTypeEchoReply {
					delete(silent, from.String())
					break
				}
			}
		}
	}
	if len(silent) > 0 {
		t.Errorf("%d of 1000 addresses answer no ping", len(silent))
	}
}

// answersFour pings addresses of IPv4, whose neighbours the kernel answers by itself.
func answersFour(t *testing.T, r *labtest.Rack, n *lab.Node) {
	t.Helper()
	run(t, r.Server, "ip", "addr", "add", "198.51.100.1/24", "dev", "eth1")
	run(t, n, "ip", "addr", "add", "198.51.100.2/24", "dev", "eth0")
	run(t, n, "ip", "route", "add", "192.0.2.0/28", "dev", "eth0")
	for _, a := range []string{"192.0.2.1", "192.0.2.14"} {
		run(t, n, "ping", "-c", "1", "-W", "20", a)
	}
}

// proxied: half of the prefix of a link is ours, and answered for there: a neighbour reaches it, and cannot take an address of it.
func proxied(t *testing.T, r *labtest.Rack, n *lab.Node) {
	t.Helper()
	run(t, r.Server, "ip", "addr", "add", "2001:db8:a::1/64", "dev", "eth1", "nodad")
	run(t, n, "ip", "addr", "add", "2001:db8:a::2/64", "dev", "eth0", "nodad")
	fetch(t, n, netip.MustParseAddr("2001:db8:a:0:8000:1234:5678:9abc"))
	if out, err := n.Command(labtest.Context(t, patience), "ping", "-c", "1", "-W", "1", "2001:db8:a:0:7000::1").CombinedOutput(); err == nil {
		t.Errorf("an address outside the prefix answers:\n%s", out)
	}
	run(t, n, "ip", "addr", "add", "2001:db8:a:0:8000::77/64", "dev", "eth0")
	err := lab.WaitFor(labtest.Context(t, patience), "the address is found in use", func() bool {
		return strings.Contains(run(t, n, "ip", "-6", "addr", "show", "dev", "eth0"), "2001:db8:a:0:8000::77/64 scope global dadfailed tentative")
	})
	if err != nil {
		t.Errorf("%v\n%s", err, run(t, n, "ip", "-6", "addr"))
	}
}

// anyConflict: a route that stands there is said and stays; when it is gone, the prefix is bound.
func anyConflict(t *testing.T, r *labtest.Rack) {
	t.Helper()
	run(t, r.Server, "ip", "-6", "route", "add", "2001:db8:102::/64", "via", "fe80::9", "dev", "eth1", "proto", "static")
	changed := strings.Replace(anyInventory, "192.0.2.0/28", "2001:db8:102::/64", 1)
	reload(t, r, changed)
	const said = "! anyip 2001:db8:102::/64: the route 2001:db8:102::/64 over eth1 is there, set by an administrator (proto static), " +
		"and would not be used any more: `ip -6 route del 2001:db8:102::/64`, or bind another prefix\n"
	waitStatus(t, r, said)
	if got := locals(t, r.Server); got != "2001:db8:a:0:8000::/65 2001:db8:100::/64 2001:db8:101::/64" {
		t.Errorf("bound: %s", got)
	}
	run(t, r.Server, "ip", "-6", "route", "del", "2001:db8:102::/64")
	if _, err := r.Daemon.Run(labtest.Context(t, patience), "reload"); err != nil {
		t.Fatal(err)
	}
	waitStatus(t, r, "anyip 2001:db8:102::/64: bound\n")
}

// anyCrash: what is stale after a crash goes and what is missing comes back, and at the end only what is to be kept is there.
func anyCrash(t *testing.T, r *labtest.Rack) {
	t.Helper()
	if err := r.Daemon.Kill(); err != nil {
		t.Fatal(err)
	}
	run(t, r.Server, "ip", "-6", "route", "add", "local", "2001:db8:1ff::/64", "dev", "lo", "table", "local", "proto", "217")
	run(t, r.Server, "ip", "-6", "route", "add", "local", "2001:db8:1fe::/64", "dev", "lo", "table", "local", "proto", "static")
	run(t, r.Server, "ip", "-6", "route", "del", "local", "2001:db8:100::/64", "dev", "lo", "table", "local", "proto", "217")
	var err error
	r.Daemon, err = r.Server.StartDaemon(labtest.Context(t, patience), lab.DaemonConfig{
		Name: "again", Binary: os.Getenv(labtest.BinaryEnv), Inventory: r.Path("inventory.yaml"), State: r.Path("bootd.state"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := locals(t, r.Server); got != "2001:db8:a:0:8000::/65 2001:db8:100::/64 2001:db8:101::/64 2001:db8:102::/64" {
		t.Errorf("after a crash: %s", got)
	}
	if got := run(t, r.Server, "ip", "-6", "route", "show", "table", "local", "2001:db8:1fe::/64"); !strings.Contains(got, "proto static") {
		t.Errorf("another program's is gone: %q", got)
	}
	if err := r.Daemon.Stop(); err != nil {
		t.Fatal(err)
	}
	if got := locals(t, r.Server); got != "2001:db8:100::/64 2001:db8:102::/64" {
		t.Errorf("after the end: %s", got)
	}
}

// locals are the prefixes of IPv6 and IPv4 that bootd bound, in order.
func locals(t *testing.T, n *lab.Node) string {
	t.Helper()
	var all []string
	for _, family := range []string{"-6", "-4"} {
		for line := range strings.Lines(run(t, n, "ip", family, "route", "show", "table", "local", "proto", "217")) {
			all = append(all, strings.Fields(line)[1])
		}
	}
	return strings.Join(all, " ")
}

// reload serves another inventory.
func reload(t *testing.T, r *labtest.Rack, text string) {
	t.Helper()
	if err := os.WriteFile(r.Path("inventory.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Daemon.Run(labtest.Context(t, patience), "reload"); err != nil {
		t.Fatal(err)
	}
}

// waitStatus waits until bootd status has a line.
func waitStatus(t *testing.T, r *labtest.Rack, line string) {
	t.Helper()
	var out []byte
	err := lab.WaitFor(labtest.Context(t, patience), "the status line "+line, func() bool {
		var err error
		if out, err = r.Daemon.Run(labtest.Context(t, patience), "status"); err != nil {
			t.Fatal(err)
		}
		return strings.Contains(string(out), line)
	})
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
}
