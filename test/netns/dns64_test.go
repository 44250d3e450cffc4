package netns_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// six is the smallest inventory of an IPv6-only network with a way to IPv4; the RA names the NAT64, and names follow.
const six = `
dns: {upstreams: "[2001:db8:1::64]:5353"}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", ra: {pref64: "2001:db8:64::/96"}}
`

// program starts a program in a node and ends it with the test.
func program(t *testing.T, n *lab.Node, log, name string, args ...string) *exec.Cmd {
	t.Helper()
	out, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := n.Command(labtest.Context(t, 5*time.Minute), name, args...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait() // it was told to end
	})
	return cmd
}

// scripted is one answer of ldns-testns.
func scripted(match, reply, name, typ string, answer ...string) string {
	s := fmt.Sprintf("ENTRY_BEGIN\nMATCH %s\nREPLY %s\nADJUST copy_id\nSECTION QUESTION\n%s IN %s\nSECTION ANSWER\n", match, reply, name, typ)
	return s + strings.Join(answer, "\n") + "\nENTRY_END\n"
}

// nat64 is a way out of a network without IPv4: Debian's tayga, a web server behind it that has IPv4 only, and an upstream
// resolver for names, ldns-testns, which sends no case back and thereby makes bootd ask over TCP.
type nat64 struct {
	prefix      string       // of the NAT64
	web, router netip.Prefix // the web server's address and its router's
	names       string       // what the upstream answers
}

// newNAT64 puts it on the rack's link as 2001:db8:1::64 and routes its prefix there from bootd's machine; the resolver is at port 5353.
func newNAT64(t *testing.T, r *labtest.Rack, c nat64) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	v4, err := r.Lab.Link("v4")
	must(err)
	gate, err := r.Node("gate")
	must(err)
	must(gate.Attach(r.Link, lab.Interface{Name: "eth0", Self: lab.NoAddress, Addr: []netip.Prefix{
		netip.MustParsePrefix("fe80::64/64"), netip.MustParsePrefix("2001:db8:1::64/64"),
	}}))
	must(gate.Attach(v4, lab.Interface{Name: "eth1", Self: lab.NoAddress}))
	web, err := r.Node("web")
	must(err)
	must(web.Attach(v4, lab.Interface{Name: "eth0", Self: lab.NoAddress}))
	run(t, web, "ip", "address", "add", c.web.String(), "dev", "eth0")
	run(t, web, "ip", "route", "add", "192.168.255.0/24", "via", c.router.Addr().String())

	conf := fmt.Sprintf("tun-device nat64\nipv4-addr 192.168.255.1\nipv6-addr 2001:db8:464::1\nprefix %s\ndynamic-pool 192.168.255.0/24\ndata-dir %s\n",
		c.prefix, r.Path("."))
	must(os.WriteFile(r.Path("tayga.conf"), []byte(conf), 0o644))
	run(t, gate, "ip", "address", "add", c.router.String(), "dev", "eth1")
	run(t, gate, "tayga", "--mktun", "-c", r.Path("tayga.conf"))
	run(t, gate, "ip", "link", "set", "nat64", "up")
	run(t, gate, "ip", "route", "add", "192.168.255.0/24", "dev", "nat64")
	run(t, gate, "ip", "-6", "route", "add", c.prefix, "dev", "nat64")
	must(gate.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1", "net/ipv4/ip_forward": "1"}))
	program(t, gate, r.Path("tayga.log"), "tayga", "-n", "-c", r.Path("tayga.conf"))
	run(t, r.Server, "ip", "-6", "route", "add", c.prefix, "via", "2001:db8:1::64")

	must(os.WriteFile(r.Path("upstream.data"), []byte(c.names), 0o644))
	program(t, gate, r.Path("upstream.log"), "ldns-testns", "-6", "-p", "5353", r.Path("upstream.data"))

	var l net.Listener
	must(web.Do(func() (err error) {
		l, err = net.Listen("tcp4", c.web.Addr().String()+":80")
		return err
	}))
	srv := &http.Server{ReadHeaderTimeout: patience, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "hello %s from %s\n", r.Host, r.RemoteAddr[:strings.LastIndex(r.RemoteAddr, ":")])
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
}

// inside runs a program in the node with that file as its resolv.conf, and returns what it printed.
func inside(t *testing.T, n *lab.Node, file string, args ...string) string {
	t.Helper()
	return run(t, n, "unshare", append([]string{"-m", "sh", "-c", `mount --bind "$0" /etc/resolv.conf && exec "$@"`, file}, args...)...)
}

// TestDNS64 has a machine without IPv4 fetch from a server that has nothing else, by its name, through bootd's DNS64.
func TestDNS64(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: six, Files: loaders()})
	newNAT64(t, r, nat64{
		prefix: "2001:db8:64::/96", web: netip.MustParsePrefix("192.0.2.80/24"), router: netip.MustParsePrefix("192.0.2.1/24"),
		names: scripted("opcode qtype qname", "QR RD RA NOERROR", "web.example.org.", "A", "web.example.org. 300 IN A 192.0.2.80") +
			scripted("opcode qtype qname", "QR RD RA NOERROR", "web.example.org.", "AAAA") +
			scripted("opcode", "QR RD RA NXDOMAIN", "none.example.org.", "A"),
	})
	n := r.Client(t, "client", unlistedMAC)
	err := n.Sysctl(map[string]string{"net/ipv6/conf/eth0/accept_ra": "1"})
	if err == nil {
		err = n.SetUp("eth0")
	}
	if err != nil {
		t.Fatal(err)
	}
	waitAddr(t, n, func(a netip.Addr) bool { return a.IsGlobalUnicast() && !a.IsLinkLocalUnicast() })
	file := r.Path("resolv.conf")
	if err := os.WriteFile(file, []byte("nameserver 2001:db8:1::1\noptions timeout:5\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	inside := func(args ...string) string { return inside(t, n, file, args...) }
	if got, want := inside("getent", "ahosts", "web.example.org"), "2001:db8:64::c000:250"; !strings.Contains(got, want) {
		t.Errorf("glibc resolves\n%s, want %s", got, want)
	}
	if got := inside("curl", "-sSf", "-m", "20", "http://web.example.org/"); !strings.HasPrefix(got, "hello web.example.org from 192.168.255.") {
		t.Errorf("curl got %q", got)
	}
	if got := inside("drill", "-x", "2001:db8:1::1"); !strings.Contains(got, "bootd.internal.") {
		t.Errorf("drill -x:\n%s", got)
	}
	if got := inside("drill", "ipv4only.arpa", "AAAA"); !strings.Contains(got, "2001:db8:64::c000:aa") {
		t.Errorf("drill ipv4only.arpa:\n%s", got)
	}
}
