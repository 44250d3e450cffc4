package ra

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

var (
	clientMAC = ident.MAC{0x52, 0x54, 0, 0, 1, 0}
	clientLL  = netip.MustParseAddr("fe80::5054:ff:fe00:100")
	routerLL  = netip.MustParseAddr("fe80::1")
)

// Solicitations as real machines sent them, without the Ethernet header.
const (
	rsOVMF = "6000000000083aff" + "00000000000000000000000000000000" + "ff020000000000000000000000000002" +
		"85007bb800000000" // OVMF 2022.11, address still tentative
	rsIPXE = "6000000000103aff" + "fe80000000000000505400fffe000100" + "ff020000000000000000000000000002" +
		"8500d885000000000101525400000100" // iPXE of 2019
	rsInstaller = "6000000000103aff" + "fe80000000000000505400fffe000103" + "ff020000000000000000000000000002" +
		"8500d87f000000000101525400000103" // Debian installer's kernel
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

// ip puts an ICMPv6 message (its checksum field is filled in) behind an IPv6 header.
func ip(src netip.Addr, msg ...byte) []byte {
	b := make([]byte, headerLen)
	b[0], b[6], b[7] = 6<<4, protoICMPv6, hopLimit
	binary.BigEndian.PutUint16(b[4:], uint16(len(msg)))
	s, d := src.As16(), allRouters().As16()
	copy(b[8:], s[:])
	copy(b[24:], d[:])
	if len(msg) >= 4 {
		binary.BigEndian.PutUint16(msg[2:], netif.Checksum(b, msg))
	}
	return append(b, msg...)
}

func rs(options ...byte) []byte { return append([]byte{133, 0, 0, 0, 0, 0, 0, 0}, options...) }

// advertisement is another router's: M, no O, lifetime in seconds.
func advertisement(lifetime uint16, options ...byte) []byte {
	b := []byte{134, 0, 0, 0, 64, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	binary.BigEndian.PutUint16(b[6:], lifetime)
	return append(b, options...)
}

// whole is an advertisement with all that is read.
func whole() []byte {
	b := advertisement(60)
	binary.BigEndian.PutUint32(b[8:], 30_000)
	binary.BigEndian.PutUint32(b[12:], 1500)
	for _, o := range []string{
		"0304" + "40" + "c0" + "00001c20" + "00000e10" + "00000000" + "20010db8000900000000000000000001",
		"0501" + "0000" + "00000578",
		"1905" + "0000" + "000000b4" + "20010db8000000000000000000000053" + "20010db8000000000000000000000054",
	} {
		b = append(b, unhex(o)...)
	}
	return b
}

func with(b []byte, at int, v byte) []byte {
	b[at] = v
	return b
}

// fragment is a solicitation in a packet that is the first of a fragmented one.
func fragment() []byte {
	b := append(ip(clientLL)[:headerLen:headerLen], append([]byte{58, 0, 0, 1, 0, 0, 0, 7}, rs()...)...)
	b[5], b[6] = byte(len(b)-headerLen), protoFragment
	return b
}

func TestParse(t *testing.T) {
	solicits := func(src netip.Addr) packet { return packet{kind: 133, src: src, from: clientMAC} }
	slla := []byte{1, 1, 0x52, 0x54, 0, 0, 1, 0}
	any6 := netip.IPv6Unspecified()
	said := func(change func(*timeline.Foreign)) packet {
		f := timeline.Foreign{Kind: timeline.OtherRouter, Addr: routerLL, MAC: clientMAC, Managed: true, HopLimit: 64}
		change(&f)
		return packet{kind: 134, src: routerLL, from: clientMAC, said: f}
	}
	nothing := said(func(*timeline.Foreign) {})
	tests := []struct {
		name string
		in   []byte
		want packet
		r    reason.Reason
	}{
		{"OVMF", unhex(rsOVMF), solicits(any6), reason.None},
		{"iPXE", unhex(rsIPXE), solicits(clientLL), reason.None},
		{"Debian installer", unhex(rsInstaller), solicits(netip.MustParseAddr("fe80::5054:ff:fe00:103")), reason.None},
		{"from a global address", ip(netip.MustParseAddr("2001:db8::1"), rs()...), solicits(netip.MustParseAddr("2001:db8::1")), reason.None},
		{"unknown option", ip(clientLL, rs(14, 1, 1, 2, 3, 4, 5, 6)...), solicits(clientLL), reason.None},
		{"padding of a short frame", append(unhex(rsOVMF), 0, 0, 0, 0), solicits(any6), reason.None},
		{"another router", ip(routerLL, advertisement(1800)...), said(func(f *timeline.Foreign) { f.Lifetime = 30 * time.Minute }), reason.None},
		{"all that another router says", ip(routerLL, whole()...), said(func(f *timeline.Foreign) {
			f.Lifetime, f.ReachableTime, f.RetransTimer, f.MTU = time.Minute, 30*time.Second, 1500*time.Millisecond, 1400
			f.Prefixes = []timeline.ForeignPrefix{{
				Prefix: netip.MustParsePrefix("2001:db8:9::/64"), OnLink: true, Autonomous: true, Valid: 2 * time.Hour, Preferred: time.Hour,
			}}
			f.Nameservers = []netip.Addr{netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("2001:db8::54")}
		}), reason.None},
		{"a prefix of 3 units", ip(routerLL, advertisement(0, append([]byte{3, 3, 64, 0xc0}, make([]byte, 20)...)...)...), nothing, reason.None},
		{"a prefix of 200 bits", ip(routerLL, advertisement(0, append([]byte{3, 4, 200, 0xc0}, make([]byte, 28)...)...)...), nothing, reason.None},
		{"an MTU of 2 units", ip(routerLL, advertisement(0, append([]byte{5, 2}, make([]byte, 14)...)...)...), nothing, reason.None},
		{"RDNSS without a resolver", ip(routerLL, advertisement(0, 25, 1, 0, 0, 0, 0, 0, 9)...), nothing, reason.None},
		{"RDNSS taken back", ip(routerLL, advertisement(0, append([]byte{25, 3}, make([]byte, 22)...)...)...), nothing, reason.None},
		{"DNSSL with a pointer loop", ip(routerLL, advertisement(0, 31, 2, 0, 0, 0, 0, 0, 9, 0xc0, 8, 0xc0, 8, 0xc0, 8, 0xc0, 8)...), nothing, reason.None},

		{"nothing", nil, packet{from: clientMAC}, reason.Malformed},
		{"half a header", make([]byte, 39), packet{from: clientMAC}, reason.Malformed},
		{"IPv4", with(unhex(rsOVMF), 0, 0x45), packet{from: clientMAC}, reason.Malformed},
		{"payload past the end", with(unhex(rsOVMF), 5, 9), packet{from: clientMAC}, reason.Malformed},
		{"seven octets", ip(clientLL, rs()[:7]...), packet{src: clientLL, from: clientMAC}, reason.Malformed},
		{"no message", ip(clientLL), packet{src: clientLL, from: clientMAC}, reason.Malformed},
		{"hop limit 64", with(unhex(rsOVMF), 7, 64), solicits(any6), reason.BadHopLimit},
		{"bad checksum", with(unhex(rsOVMF), 42, 0), solicits(any6), reason.Malformed},
		{"code 1", ip(clientLL, with(rs(), 1, 1)...), solicits(clientLL), reason.Malformed},
		{"option of length 0", ip(clientLL, rs(1, 0, 0, 0, 0, 0, 0, 0)...), solicits(clientLL), reason.Malformed},
		{"option past the end", ip(clientLL, rs(1, 2, 0, 0, 0, 0, 0, 0)...), solicits(clientLL), reason.Malformed},
		{"one octet of an option", ip(clientLL, rs(1)...), solicits(clientLL), reason.Malformed},
		{"fragment", fragment(), solicits(clientLL), reason.Malformed},
		{":: with link-layer address", ip(any6, rs(slla...)...), solicits(any6), reason.BadSource},
		{"from a group", ip(netip.MustParseAddr("ff02::1"), rs()...), solicits(netip.MustParseAddr("ff02::1")), reason.BadSource},
		{"neighbour solicitation", ip(clientLL, with(rs(make([]byte, 16)...), 0, 135)...), packet{kind: 135, src: clientLL, from: clientMAC}, reason.Malformed},
		{"UDP", with(unhex(rsOVMF), 6, 17), packet{src: any6, from: clientMAC}, reason.Malformed},
		{"short advertisement", ip(routerLL, advertisement(1800)[:15]...), packet{kind: 134, src: routerLL, from: clientMAC}, reason.Malformed},
		{"advertisement with option of length 0", ip(routerLL, advertisement(1800, 25, 0)...), packet{kind: 134, src: routerLL, from: clientMAC}, reason.Malformed},
		{
			"advertisement from a global address", ip(netip.MustParseAddr("2001:db8::1"), advertisement(1800)...),
			packet{kind: 134, src: netip.MustParseAddr("2001:db8::1"), from: clientMAC},
			reason.BadSource,
		},
		{
			// CVE-2020-16898: the second resolver is half there. The lifetime is not 0: else nothing of it is read anyway.
			"RDNSS of even length", ip(routerLL, advertisement(0, append([]byte{25, 4, 0, 0, 0, 0, 0, 9}, make([]byte, 24)...)...)...),
			nothing, reason.None,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, r := parse(tt.in, clientMAC)
			if diff := cmp.Diff(tt.want, got, cmp.AllowUnexported(packet{}), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" || r != tt.r {
				t.Errorf("reason %v, want %v (-want +got):\n%s", r, tt.r, diff)
			}
		})
	}
	if _, r := parse(unhex(rsIPXE), ident.MAC{0x33, 0x33, 0, 0, 0, 1}); r != reason.BadSource {
		t.Errorf("a frame from a group: %v, want %v", r, reason.BadSource)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{rsOVMF, rsIPXE, rsInstaller} {
		f.Add(unhex(s))
	}
	f.Add(ip(routerLL, advertisement(1800, 3, 4, 64, 0xc0)...))
	f.Add(ip(routerLL, advertisement(1800, append([]byte{31, 2, 0, 0, 0, 0, 0, 9}, strings.Repeat("\xc0\x00", 4)...)...)...))
	f.Add(ip(clientLL, rs(1, 0)...))
	f.Add(ip(routerLL, whole()...))
	f.Add(ip(routerLL, advertisement(0, append([]byte{25, 4, 0, 0, 0, 0, 0, 9}, make([]byte, 24)...)...)...))
	f.Add(ip(routerLL, advertisement(0, append([]byte{3, 4, 200, 0xc0}, make([]byte, 28)...)...)...))
	f.Add(ip(routerLL, advertisement(0, append([]byte{3, 3, 64, 0xc0}, make([]byte, 20)...)...)...))
	f.Add(ip(routerLL, advertisement(0, append([]byte{5, 2}, make([]byte, 14)...)...)...))
	f.Add(ip(routerLL, advertisement(0, append([]byte{25, 255}, make([]byte, 2038)...)...)...))
	f.Add(with(unhex(rsOVMF), 7, 64))
	f.Add(fragment())
	f.Add(ip(netip.IPv6Unspecified(), rs(1, 1, 0x52, 0x54, 0, 0, 1, 0)...))
	f.Add(ip(clientLL, rs()[:7]...))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, r := parse(b, clientMAC)
		if r != reason.None {
			return
		}
		// What passes keeps the rules of RFC 4861 section 6.1.
		if len(b) < headerLen+solicitationLen || b[7] != hopLimit || b[6] != protoICMPv6 || p.src.IsMulticast() {
			t.Errorf("passed: %x", b)
		}
		if p.kind == typeAdvertisement && !p.src.IsLinkLocalUnicast() {
			t.Errorf("an advertisement from %v passed", p.src)
		}
		if len(p.said.Prefixes) > maxListed || len(p.said.Nameservers) > maxListed {
			t.Errorf("%d prefixes, %d resolvers are kept", len(p.said.Prefixes), len(p.said.Nameservers))
		}
		for _, x := range p.said.Prefixes {
			if !x.Prefix.IsValid() || x.Prefix != x.Prefix.Masked() {
				t.Errorf("prefix %v", x.Prefix)
			}
		}
	})
}
