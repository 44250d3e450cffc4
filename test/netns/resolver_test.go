package netns_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	bignum "math/big"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// beside puts a node with 2001:db8:1::53 on the rack's link: where an upstream runs.
func beside(t *testing.T, r *labtest.Rack) *lab.Node {
	t.Helper()
	n, err := r.Node("upstream")
	if err != nil {
		t.Fatal(err)
	}
	err = n.Attach(r.Link, lab.Interface{Name: "eth0", Self: lab.NoAddress, Addr: []netip.Prefix{
		netip.MustParsePrefix("fe80::53/64"), netip.MustParsePrefix("2001:db8:1::53/64"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// awake waits until somebody in the node answers DNS over TCP at a port.
func awake(t *testing.T, n *lab.Node, port string) {
	t.Helper()
	err := lab.WaitFor(labtest.Context(t, patience), "the upstream answers", func() bool {
		return n.Command(labtest.Context(t, patience), "dig", "+tcp", "+tries=1", "+time=1", "-6", "@2001:db8:1::53", "-p", port, "up.example.org").Run() == nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestResolverScripted has ldns-testns play upstreams of bad manners, and asks with dig, drill and dnsperf.
func TestResolverScripted(t *testing.T) {
	const inventory = `
dns: {upstreams: "[2001:db8:1::53]:5353"}
defaults: {domain: rack.example.net}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101", dns: {aliases: [www], wildcard: true, records: {_ssh._tcp: {srv: 0 0 22}}}}
`
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: inventory, Files: loaders()})
	up := beside(t, r)
	var big []string
	for i := range 60 {
		big = append(big, fmt.Sprintf("big.example.org. 300 IN AAAA 2001:db8:9::%x", i+1))
	}
	const ok, full = "QR RD RA NOERROR", "opcode qtype qname"
	// Junk first: a few octets, then the good answer in a packet of its own.
	junk := "ENTRY_BEGIN\nMATCH UDP opcode qtype qname\nREPLY QR RD RA NOERROR\nADJUST copy_id\nSECTION QUESTION\njunk.example.org. IN AAAA\n" +
		"HEX_ANSWER_BEGIN\n00 01 02\nHEX_ANSWER_END\nEXTRA_PACKET\nREPLY QR RD RA NOERROR\nADJUST copy_id\nSECTION QUESTION\njunk.example.org. IN AAAA\n" +
		"SECTION ANSWER\njunk.example.org. 300 IN AAAA 2001:db8:9::2\nENTRY_END\n" +
		scripted("TCP "+full, ok, "junk.example.org.", "AAAA", "junk.example.org. 300 IN AAAA 2001:db8:9::2")
	// No octet at all first, then the good answer; and one that never comes in time, which holds the whole of ldns-testns.
	empty := strings.NewReplacer("junk.example.org", "empty.example.org", "00 01 02\n", "").Replace(junk)
	slow := strings.Replace(scripted(full, ok, "slow.example.org.", "AAAA", "slow.example.org. 300 IN AAAA 2001:db8:9::3"),
		"ADJUST copy_id", "ADJUST copy_id packet_sleep=60", 1)
	data := junk + empty + slow + scripted("UDP "+full, "QR RD RA TC NOERROR", "big.example.org.", "AAAA") +
		scripted("TCP "+full, ok, "big.example.org.", "AAAA", big...) +
		scripted(full, "QR RD RA SERVFAIL", "broken.example.org.", "AAAA") +
		scripted(full, ok, "www.example.org.", "AAAA", "www.example.org. 300 IN AAAA 2001:db8:9::1") +
		scripted("opcode", "QR RD RA NXDOMAIN", "none.example.org.", "AAAA")
	if err := os.WriteFile(r.Path("upstream.data"), []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
	program(t, up, r.Path("upstream.log"), "ldns-testns", "-6", "-p", "5353", r.Path("upstream.data"))
	awake(t, up, "5353")
	n := host(t, r)
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"upstream without 0x20", []string{"www.example.org", "AAAA"}, "NOERROR 2001:db8:9::1\n"},
		{"three octets of junk first", []string{"junk.example.org", "AAAA"}, "NOERROR 2001:db8:9::2\n"},
		{"no octet first", []string{"empty.example.org", "AAAA"}, "NOERROR 2001:db8:9::2\n"},
		{"SERVFAIL", []string{"broken.example.org", "AAAA"}, "SERVFAIL "},
		{"SERVFAIL, remembered", []string{"broken.example.org", "AAAA"}, "SERVFAIL "},
		{"no such name", []string{"none.example.org", "AAAA"}, "NXDOMAIN "},
		{"alias", []string{"www.rack.example.net", "AAAA"}, "NOERROR r1n01.rack.example.net.\n2001:db8:1::101\n"},
		{"wildcard", []string{"any.thing.r1n01.rack.example.net", "AAAA"}, "NOERROR r1n01.rack.example.net.\n2001:db8:1::101\n"},
		{"SRV", []string{"_ssh._tcp.r1n01.rack.example.net", "SRV"}, "NOERROR 0 0 22 r1n01.rack.example.net.\n"},
		{"bootd itself", []string{"bootd.rack.example.net", "AAAA"}, "NOERROR 2001:db8:1::1\n"},
		{"EDNS version 1", []string{"+edns=1", "+noednsnegotiation", "r1n01.rack.example.net", "AAAA"}, "BADVERS "},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, dig(t, n, c.args...)); diff != "" {
				t.Errorf("dig (-want +got):\n%s", diff)
			}
		})
	}
	if got := dig(t, n, "big.example.org", "AAAA"); strings.Count(got, "\n") != 60 { // cut by UDP on both ways
		t.Errorf("%d lines of the long answer", strings.Count(got, "\n"))
	}
	got := run(t, n, "drill", "@2001:db8:1::1", "WWW.Example.org", "AAAA")
	if !strings.Contains(got, "2001:db8:9::1") || !strings.Contains(got, "\nWWW.Example.org.\t") {
		t.Errorf("drill:\n%s", got)
	}
	if err := os.WriteFile(r.Path("questions"), []byte("www.example.org AAAA\nr1n01.rack.example.net AAAA\nnone.example.org AAAA\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"udp", "tcp"} {
		got := run(t, n, "dnsperf", "-m", mode, "-s", "2001:db8:1::1", "-n", "300", "-d", r.Path("questions"))
		for _, want := range []string{"Queries completed:    900 (100.00%)", "NOERROR 600 (66.67%)", "NXDOMAIN 300 (33.33%)"} {
			if !strings.Contains(got, want) {
				t.Errorf("dnsperf over %s: no %q in\n%s", mode, want, got)
			}
		}
	}

	// A name that was forwarded is the inventory's as soon as that says so.
	text := strings.Replace(inventory, `5353"}`, `5353", records: {www.example.org: {aaaa: "2001:db8:1::80"}}}`, 1)
	if err := os.WriteFile(r.Path("inventory.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Daemon.Run(labtest.Context(t, patience), "reload"); err != nil {
		t.Fatal(err)
	}
	if got := dig(t, n, "www.example.org", "AAAA"); got != "NOERROR 2001:db8:1::80\n" {
		t.Errorf("after the reload: %q", got)
	}
	if got := dig(t, n, "+time=15", "slow.example.org", "AAAA"); got != "SERVFAIL " {
		t.Errorf("of an upstream that is silent: %q", got)
	}
	if got := dig(t, n, "r1n01.rack.example.net", "AAAA"); got != "NOERROR 2001:db8:1::101\n" {
		t.Errorf("our own name beside it: %q", got)
	}
}

// certificates writes a CA and a certificate of this name by it, made now.
func certificates(t *testing.T, r func(string) string, name string) {
	t.Helper()
	write := func(file, kind string, der []byte) {
		t.Helper()
		if err := os.WriteFile(r(file), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var parent *x509.Certificate
	var by *ecdsa.PrivateKey
	for _, c := range []*x509.Certificate{
		{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign},
		{DNSNames: []string{name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}},
	} {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		c.SerialNumber, c.NotBefore, c.NotAfter = bignum.NewInt(1), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		if parent == nil {
			parent, by = c, key
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		file := "server"
		if c.IsCA {
			file = "ca"
		}
		write(file+".pem", "CERTIFICATE", der)
		write(file+".key", "PRIVATE KEY", secret)
	}
}

// TestResolverTLS forwards to Debian's unbound over TLS: to the name of its certificate, and not to another one.
func TestResolverTLS(t *testing.T) {
	dir := t.TempDir()
	certificates(t, func(file string) string { return dir + "/" + file }, "dns.example.net")
	t.Setenv("SSL_CERT_FILE", dir+"/ca.pem")
	const inventory = `
dns: {upstreams: "tls://[2001:db8:1::53]#dns.example.net"}
defaults: {domain: rack.example.net}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: inventory, Files: loaders()})
	up := beside(t, r)
	conf := fmt.Sprintf(`server:
  interface: 2001:db8:1::53@853
  interface: 2001:db8:1::53@5353
  access-control: 2001:db8:1::/64 allow
  tls-service-key: "%[1]s/server.key"
  tls-service-pem: "%[1]s/server.pem"
  module-config: "iterator"
  username: ""
  chroot: ""
  directory: "%[1]s"
  pidfile: ""
  use-syslog: no
  local-zone: "example.org." static
  local-data: "www.example.org. 300 IN AAAA 2001:db8:9::1"
remote-control:
  control-enable: no
`, dir)
	if err := os.WriteFile(dir+"/unbound.conf", []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	program(t, up, r.Path("unbound.log"), "unbound", "-d", "-c", dir+"/unbound.conf")
	awake(t, up, "5353")
	n := host(t, r)
	if got := dig(t, n, "www.example.org", "AAAA"); got != "NOERROR 2001:db8:9::1\n" {
		t.Errorf("over TLS: %q", got)
	}
	text := strings.Replace(inventory, "#dns.example.net", "#other.example.net", 1)
	if err := os.WriteFile(r.Path("inventory.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	ctx := labtest.Context(t, patience)
	if _, err := r.Daemon.Run(ctx, "reload"); err != nil {
		t.Fatal(err)
	}
	if got := dig(t, n, "mail.example.org", "AAAA"); got != "SERVFAIL " {
		t.Errorf("of another name: %q", got)
	}
	out, _ := r.Daemon.Run(ctx, "doctor") // its status says that there are findings
	if !strings.Contains(string(out), "tls://[2001:db8:1::53]:853#other.example.net does not answer") {
		t.Errorf("doctor:\n%s", out)
	}
}
