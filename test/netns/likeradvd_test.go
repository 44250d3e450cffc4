package netns_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv6"

	"bootd.internal/lab"
)

// TestImportedAdvertisesLikeRadvd solicits Debian's radvd with the configurations of cases 1 and 3 and with one of all that it can
// say, and bootd with what bootd import made of each, and compares the advertisements field by field. The differences are
// those of docs/migrating.md, each with its reason, and no other.
func TestImportedAdvertisesLikeRadvd(t *testing.T) {
	found := map[string]string{}
	for _, o := range []original{
		{name: "dhcpd", dir: "case1", conf: "dhcpd.conf", more: []string{"--radvd", "radvd.conf"}, prefix: "2001:db8::1/64"},
		{name: "dhcpd", dir: "case3", conf: "dhcpd.conf", more: []string{"--radvd", "radvd.conf"}, prefix: "2001:db8:0:1::1/64"},
		{name: "radvd", dir: "radvd-wire", conf: "radvd.conf", prefix: "2001:db8::1/64"},
	} {
		t.Run(o.dir, func(t *testing.T) {
			router := o
			router.run = (*both).radvd
			r := prepare(t, router)
			a, b := r.advertised(t, o.name), r.advertised(t, "bootd")
			for _, d := range differences(&reply{words: a}, &reply{words: b}) {
				found[d] = o.dir
			}
		})
	}
	listed(t, "radvd", found)
}

// radvd runs radvd until the test ends.
func (r *both) radvd(t *testing.T, n *lab.Node, _ string) {
	t.Helper()
	r.until(t, n, "version", "radvd", "-n", "-m", "stderr", "-d", "1", "-C", r.Path(r.dir+"/radvd.conf"), "-p", r.Path("radvd.pid"), "-u", "root")
}

// advertised solicits the router on a link and puts what it says into words.
func (r *both) advertised(t *testing.T, name string) map[string]string {
	t.Helper()
	n, err := r.Node("on" + name)
	if err != nil {
		t.Fatal(err)
	}
	err = n.Attach(r.links[name], lab.Interface{Name: "eth0", Self: lab.NoAddress, Addr: []netip.Prefix{netip.MustParsePrefix("fe80::c1/64")}})
	if err != nil {
		t.Fatal(err)
	}
	var conn *net.IPConn
	zone := ""
	err = n.Do(func() error {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		zone = fmt.Sprint(i.Index)
		if conn, err = net.ListenIP("ip6:ipv6-icmp", &net.IPAddr{IP: net.IPv6unspecified}); err != nil {
			return err
		}
		p := ipv6.NewPacketConn(conn)
		if err := p.SetMulticastHopLimit(255); err != nil {
			return err
		}
		return p.SetMulticastInterface(i)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := make([]byte, 2048)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		solicitation := []byte{133, 0, 0, 0, 0, 0, 0, 0}
		if _, err := conn.WriteToIP(solicitation, &net.IPAddr{IP: net.ParseIP("ff02::2"), Zone: zone}); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(4 * time.Second)); err != nil { // as a host solicits again
			t.Fatal(err)
		}
		for {
			size, err := conn.Read(b)
			if err != nil {
				break
			}
			if size >= 16 && b[0] == 134 {
				return advertisement(t, b[:size])
			}
		}
	}
	t.Fatalf("%s sends no advertisement", name)
	return nil
}

// advertisement puts a router advertisement (RFC 4861 section 4.2) into words, option by option.
func advertisement(t *testing.T, b []byte) map[string]string {
	t.Helper()
	seconds := func(b []byte) string {
		if n := binary.BigEndian.Uint32(b); n != 1<<32-1 {
			return fmt.Sprintf("%d s", n)
		}
		return "for ever"
	}
	words := map[string]string{
		"answer": "advertisement", "hop limit": fmt.Sprint(b[4]), "M": fmt.Sprint(b[5] >> 7), "O": fmt.Sprint(b[5] >> 6 & 1),
		"preference": fmt.Sprint(b[5] >> 3 & 3), "lifetime": fmt.Sprintf("%d s", binary.BigEndian.Uint16(b[6:])),
		"reachable time": fmt.Sprint(binary.BigEndian.Uint32(b[8:])), "retrans timer": fmt.Sprint(binary.BigEndian.Uint32(b[12:])),
	}
	for b = b[16:]; len(b) >= 8; {
		size := int(b[1]) * 8
		if size == 0 || size > len(b) {
			t.Fatalf("an option of %d octets in % x", size, b)
		}
		o := b[:size]
		b = b[size:]
		switch o[0] {
		case 1:
			words["link-layer address"] = "the router's"
		case 3:
			p := netip.PrefixFrom(netip.AddrFrom16([16]byte(o[16:32])), int(o[2]))
			words["prefix "+p.String()] = fmt.Sprintf("L=%d A=%d, %s, preferred %s", o[3]>>7, o[3]>>6&1, seconds(o[4:]), seconds(o[8:]))
		case 5:
			words["MTU"] = fmt.Sprint(binary.BigEndian.Uint32(o[4:]))
		case 24:
			var a [16]byte
			copy(a[:], o[8:])
			p := netip.PrefixFrom(netip.AddrFrom16(a), int(o[2]))
			words["route "+p.String()] = fmt.Sprintf("preference %d, %s", o[3]>>3&3, seconds(o[4:]))
		case 25:
			text := seconds(o[4:])
			for at := 8; at+16 <= size; at += 16 {
				text += " " + netip.AddrFrom16([16]byte(o[at:at+16])).String()
			}
			words["RDNSS"] = text
		case 31:
			words["DNSSL"] = seconds(o[4:]) + " 0x" + hex.EncodeToString(o[8:])
		default:
			words[fmt.Sprintf("option %d", o[0])] = "0x" + hex.EncodeToString(o)
		}
	}
	return words
}
