package netns_test

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/option"
	"bootd.internal/bootd/trace"
	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

var update = flag.Bool("update", false, "write the golden texts anew; read each before committing")

// The same plain configuration, twice: one reservation, the same lifetimes, the same options.
const (
	besideInventory = `
defaults: {domain: rack.example.net}
networks:
  rack1:
    interface: eth1
    prefix: "2001:db8:1::/64"
    router: self
    nameservers: ["2001:db8::53"]
    search: [rack.example.net]
    information_refresh: 1h
    options:
      sip-server-addr: "2001:db8::5060"
      sntp-servers: "2001:db8::123"
      nis-domain-name: nis.example.net
      new-tzdb-timezone: Europe/Amsterdam
      sol-max-rt: 10m
      inf-max-rt: 10m
      v6-access-domain: access.example.net
      vendor-opts: {4491: {1: {hex: "0a0b"}}}
      lost-server: {value: lost.example.net, always: true}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`
	besideKea = `{"Dhcp6": {
		"interfaces-config": {"interfaces": ["eth0"], "re-detect": false},
		"lease-database": {"type": "memfile", "persist": false},
		"multi-threading": {"enable-multi-threading": false},
		"server-id": {"type": "LL", "htype": 1, "identifier": "525400000099", "persist": false},
		"preferred-lifetime": 43200, "valid-lifetime": 86400, "renew-timer": 21600, "rebind-timer": 34560,
		"option-data": [
			{"name": "dns-servers", "data": "2001:db8::53"}, {"name": "domain-search", "data": "rack.example.net"},
			{"name": "information-refresh-time", "data": "3600"},
			{"name": "sip-server-addr", "data": "2001:db8::5060"}, {"name": "sntp-servers", "data": "2001:db8::123"},
			{"name": "nis-domain-name", "data": "nis.example.net"}, {"name": "new-tzdb-timezone", "data": "Europe/Amsterdam"},
			{"name": "solmax-rt", "data": "600"}, {"name": "inf-max-rt", "data": "600"},
			{"name": "v6-access-domain", "data": "access.example.net"},
			{"name": "vendor-opts", "data": "4491"},
			{"space": "vendor-4491", "code": 1, "csv-format": false, "data": "0a0b", "always-send": true},
			{"code": 51, "name": "v6-lost", "data": "lost.example.net", "always-send": true}
		],
		"subnet6": [{"id": 1, "subnet": "2001:db8:1::/64", "interface": "eth0", "rapid-commit": true,
			"reservations": [{"duid": "00:03:00:01:52:54:00:aa:01:01", "ip-addresses": ["2001:db8:1::101"], "hostname": "r1n01.rack.example.net"}]}],
		"loggers": [{"name": "kea-dhcp6", "severity": "INFO", "output_options": [{"output": "stdout"}]}]}}`
)

// opt is one option in wire form.
func opt(code uint16, parts ...[]byte) []byte {
	data := slices.Concat(parts...)
	b := binary.BigEndian.AppendUint16(nil, code)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

func oro(codes ...uint16) []byte {
	var b []byte
	for _, c := range codes {
		b = binary.BigEndian.AppendUint16(b, c)
	}
	return opt(6, b)
}

// iana is an IA_NA of an IAID that names addresses.
func iana(id byte, addrs ...string) []byte {
	b := append([]byte{0, 0, 0, id}, make([]byte, 8)...)
	for _, a := range addrs {
		b = append(b, opt(5, netip.MustParseAddr(a).AsSlice(), make([]byte, 8))...)
	}
	return opt(3, b)
}

// besides is one message that both servers get, in this order.
type besides struct {
	name string
	kind byte
	// server: it names the server.
	server  bool
	options [][]byte
}

func besideCases() []besides {
	const own, foreign, off = "2001:db8:1::101", "2001:db8:1::999", "2001:db8:9::1"
	client := opt(1, []byte(ident.NewDUIDLL(ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1})))
	elapsed := opt(8, []byte{0, 0})
	with := func(more ...[]byte) [][]byte { return append([][]byte{client, elapsed}, more...) }
	all := oro(17, 22, 23, 24, 29, 31, 42, 57, 82, 83, 32)
	notOurs := opt(2, []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1})
	fqdn := func(flags byte) []byte { return opt(39, []byte{flags, 4, 'l', 'i', 'a', 'r', 0}) }
	return []besides{
		{"Solicit without ORO", 1, false, with(iana(7))},
		{"Solicit, ORO of names", 1, false, with(iana(7), oro(23, 24))},
		{"Solicit, ORO of everything", 1, false, with(iana(7), all)},
		{"Solicit, hint at its own address", 1, false, with(iana(7, own), oro(23))},
		{"Solicit, hint at another address", 1, false, with(iana(7, foreign), oro(23))},
		{"Solicit without IA", 1, false, with(oro(23))},
		{"Solicit with two IA_NA", 1, false, with(iana(7), iana(8))},
		{"Solicit with IA_TA", 1, false, with(opt(4, []byte{0, 0, 0, 9}))},
		{"Solicit with IA_PD", 1, false, with(opt(25, []byte{0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0}))},
		{"Solicit with a server identifier", 1, true, with(iana(7))},
		{"Solicit without a client identifier", 1, false, [][]byte{iana(7)}},
		{"Solicit, FQDN asked for", 1, false, with(iana(7), fqdn(1), oro(39))},
		{"Solicit, FQDN not asked for", 1, false, with(iana(7), fqdn(1))},
		{"Rebind of what was never leased", 6, false, with(iana(7, own))},
		{"Renew of what was never leased", 5, true, with(iana(7, own))},
		{"Solicit, rapid commit", 1, false, with(iana(7), opt(14), oro(23))},
		{"Request", 3, true, with(iana(7, own), oro(23, 24))},
		{"Request again", 3, true, with(iana(7, own), oro(23, 24))},
		{"Request, FQDN: the client wants to do it", 3, true, with(iana(7, own), fqdn(0), oro(39))},
		{"Request, FQDN: nobody shall do it", 3, true, with(iana(7, own), fqdn(4), oro(39))},
		{"Request of an address off link", 3, true, with(iana(7, off))},
		{"Request of another address", 3, true, with(iana(7, foreign))},
		{"Request of another server", 3, false, append(with(iana(7)), notOurs)},
		{"Request without a server identifier", 3, false, with(iana(7, own))},
		{"Renew", 5, true, with(iana(7, own), oro(23, 24))},
		{"Renew of another IAID", 5, true, with(iana(9, own))},
		{"Renew of another address", 5, true, with(iana(7, foreign))},
		{"Rebind", 6, false, with(iana(7, own), oro(23, 24))},
		{"Rebind of an address off link", 6, false, with(iana(7, off))},
		{"Confirm", 4, false, with(iana(7, own))},
		{"Confirm of an address off link", 4, false, with(iana(7, off))},
		{"Confirm without an address", 4, false, with(iana(7))},
		{"Information-request", 11, false, with(oro(23, 24))},
		{"Information-request, ORO of everything", 11, false, with(all)},
		{"Information-request without a client identifier", 11, false, [][]byte{elapsed, oro(23)}},
		{"Information-request that names the server", 11, true, with(oro(23))},
		{"Information-request with an IA", 11, false, with(iana(7), oro(23))},
		{"Release of another address", 8, true, with(iana(7, foreign))},
		{"Release of another IAID", 8, true, with(iana(9, own))},
		{"Release", 8, true, with(iana(7, own))},
		{"Release again", 8, true, with(iana(7, own))},
		{"Request after a Release", 3, true, with(iana(7, own))},
		{"Decline of another address", 9, true, with(iana(7, foreign))},
		{"Decline", 9, true, with(iana(7, own))},
		{"Solicit after a Decline", 1, false, with(iana(7))},
	}
}

// TestBesideKea sends the same messages to bootd and to Debian's Kea, both configured alike, and compares their answers option
// by option. docs/modules/dhcp6.md gives the reason of each difference.
func TestBesideKea(t *testing.T) {
	r := labtest.NewRack(t, labtest.RackConfig{Inventory: besideInventory})
	other(t, r, map[string]string{"kea.json": besideKea}, "DHCP6_STARTED", "kea-dhcp6", "-c", r.Path("kea.json"))
	n := r.Client(t, "asker", listedMAC)
	linkLocal(t, n)
	a := newAsker(t, r, n)
	docs, err := os.ReadFile("../../docs/modules/dhcp6.md")
	if err != nil {
		t.Fatal(err)
	}
	var report strings.Builder
	alike := 0
	for _, c := range besideCases() {
		ours, theirs := a.bootd(c), a.kea(c)
		reasoned := strings.Contains(string(docs), "| "+c.name+" |")
		if slices.Equal(ours, theirs) {
			alike++
			fmt.Fprintf(&report, "%s: alike\n", c.name)
			if reasoned {
				t.Errorf("docs/modules/dhcp6.md says that %q is answered otherwise than by Kea: it is not", c.name)
			}
			continue
		}
		fmt.Fprintf(&report, "%s:\n", c.name)
		for _, l := range theirs {
			if !slices.Contains(ours, l) {
				fmt.Fprintf(&report, "  Kea:   %s\n", l)
			}
		}
		for _, l := range ours {
			if !slices.Contains(theirs, l) {
				fmt.Fprintf(&report, "  bootd: %s\n", l)
			}
		}
		if !reasoned {
			t.Errorf("docs/modules/dhcp6.md gives no reason why %q is answered otherwise than by Kea", c.name)
		}
	}
	for _, want := range []string{fmt.Sprintf("sends %d messages", len(besideCases())), fmt.Sprintf("%d are answered alike", alike)} {
		if !strings.Contains(string(docs), want) {
			t.Errorf("docs/modules/dhcp6.md does not say: %s", want)
		}
	}
	const golden = "testdata/kea.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(report.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), report.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// asker speaks for a client, and hears Kea on its socket and bootd by its trace.
type asker struct {
	t          *testing.T
	conn       *net.UDPConn
	to         *net.UDPAddr
	traced     chan trace.Exchange
	ours, keas []byte // server identifiers
	xid        byte
}

func newAsker(t *testing.T, r *labtest.Rack, n *lab.Node) *asker {
	t.Helper()
	a := &asker{t: t, traced: make(chan trace.Exchange, 64), keas: []byte{0, 3, 0, 1, 0x52, 0x54, 0, 0, 0, 0x99}}
	err := n.Do(func() error {
		link, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		a.to = &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Port: 547, Zone: fmt.Sprint(link.Index)}
		a.conn, err = net.ListenUDP("udp6", &net.UDPAddr{Port: 546})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.conn.Close() })
	ctx := labtest.Context(t, 4*patience)
	begun, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		err := r.Daemon.API.Trace(ctx, "", func() error { close(begun); return nil }, func(x trace.Exchange) bool {
			a.traced <- x
			return true
		})
		if err != nil && ctx.Err() == nil {
			t.Errorf("the trace ended: %v", err)
		}
	}()
	t.Cleanup(func() { _ = r.Daemon.Stop(); <-ended })
	select {
	case <-begun:
	case <-ctx.Done():
		t.Fatal("the trace did not begin")
	}
	hello := a.hello()
	for b := hello.Reply[4:]; len(b) >= 4; {
		size := int(binary.BigEndian.Uint16(b[2:]))
		if binary.BigEndian.Uint16(b) == 2 {
			a.ours = b[4 : 4+size]
		}
		b = b[4+size:]
	}
	return a
}

// hello asks until bootd hears it: it may join the link's group a moment after it is ready.
func (a *asker) hello() trace.Exchange {
	a.t.Helper()
	again := time.NewTicker(time.Second)
	defer again.Stop()
	for deadline := time.After(patience); ; {
		a.send(besides{kind: 11, options: [][]byte{oro(23)}}, nil)
		select {
		case x := <-a.traced:
			if len(x.Reply) > 0 {
				return x
			}
		case <-again.C:
		case <-deadline:
			a.t.Fatalf("bootd did not answer within %s", patience)
		}
	}
}

// send gives the message with a transaction id of its own, which it returns.
func (a *asker) send(c besides, server []byte) []byte {
	a.t.Helper()
	a.xid++
	b := []byte{c.kind, 0xb0, 0x07, a.xid}
	for _, o := range c.options {
		b = append(b, o...)
	}
	if c.server {
		b = append(b, opt(2, server)...)
	}
	if _, err := a.conn.WriteToUDP(b, a.to); err != nil {
		a.t.Fatal(err)
	}
	return b[1:4]
}

// exchange is what bootd made of a message.
func (a *asker) exchange(c besides, server []byte) trace.Exchange {
	a.t.Helper()
	xid := a.send(c, server)
	for deadline := time.After(patience); ; {
		select {
		case x := <-a.traced:
			if slices.Equal(x.Query[1:4], xid) {
				return x
			}
		case <-deadline:
			a.t.Fatalf("%s: bootd did not hear it within %s", c.name, patience)
		}
	}
}

func (a *asker) bootd(c besides) []string {
	a.t.Helper()
	return lines(a.exchange(c, a.ours).Reply)
}

// kea sends a message, and one behind it that Kea certainly answers: it works in order.
func (a *asker) kea(c besides) []string {
	a.t.Helper()
	xid := a.send(c, a.keas)
	last := a.send(besides{kind: 11, options: [][]byte{oro(23)}}, nil)
	if err := a.conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		a.t.Fatal(err)
	}
	var answer []byte
	for b := make([]byte, 2000); ; {
		size, from, err := a.conn.ReadFromUDPAddrPort(b)
		if err != nil {
			a.t.Fatal(errors.Join(fmt.Errorf("%s: Kea", c.name), err))
		}
		if from.Addr().WithZone("") != netip.MustParseAddr("fe80::99") {
			continue
		}
		switch {
		case slices.Equal(b[1:4], xid):
			answer = slices.Clone(b[:size])
		case slices.Equal(b[1:4], last):
			return lines(answer)
		}
	}
}

// lines are an answer's options in order of code, without what must differ.
func lines(b []byte) []string {
	if len(b) == 0 {
		return []string{"silence"}
	}
	m := option.Read(b)
	out := []string{m.Name}
	var walk func(all []option.Field, path string)
	walk = func(all []option.Field, path string) {
		for _, f := range all {
			switch name := path + f.Name; f.Code {
			case 1, 2:
				out = append(out, name)
			case 7: // bootd's is 255, the document says why
			case 13: // the words for people are each server's own
				text, _, _ := strings.Cut(f.Value, " ")
				out = append(out, name+" "+text)
			default:
				out = append(out, strings.TrimSpace(name+" "+f.Value))
				walk(f.Options, name+"/")
			}
		}
	}
	slices.SortStableFunc(m.Options, func(a, b option.Field) int { return int(a.Code) - int(b.Code) })
	walk(m.Options, "")
	if m.Broken {
		out = append(out, "broken: "+hex.EncodeToString(b))
	}
	return out
}
