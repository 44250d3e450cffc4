package dhcp6

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/option"
	"bootd.internal/bootd/reason"
)

// opt is one option in wire form.
func opt(code dhcpv6.OptionCode, data ...byte) []byte {
	return append(head(nil, code, len(data)), data...)
}

// msg is a message of a type with options.
func msg(t address.Msg, options ...[]byte) []byte {
	return append([]byte{byte(t), 1, 2, 3}, bytes.Join(options, nil)...)
}

func clientID() []byte { return opt(dhcpv6.OptionClientID, []byte(node0())...) }

func ia(code dhcpv6.OptionCode, options ...[]byte) []byte {
	fixed := lenIANA
	if code == dhcpv6.OptionIATA {
		fixed = lenIATA
	}
	return opt(code, append(make([]byte, fixed), bytes.Join(options, nil)...)...)
}

// prefix is an IA Prefix option of a length, with options.
func prefix(bits byte, options ...[]byte) []byte {
	b := make([]byte, lenIAPrefix)
	b[8] = bits
	return opt(dhcpv6.OptionIAPrefix, append(b, bytes.Join(options, nil)...)...)
}

// relay wraps a message in a Relay-Forward.
func relay(hops byte, inner []byte, options ...[]byte) []byte {
	b := append([]byte{byte(dhcpv6.MessageTypeRelayForward), hops}, make([]byte, 32)...)
	b = append(b, bytes.Join(options, nil)...)
	if inner != nil {
		b = append(b, opt(dhcpv6.OptionRelayMsg, inner...)...)
	}
	return b
}

func relays(n int) []byte {
	b := msg(address.Solicit, clientID())
	for range n {
		b = relay(0, b)
	}
	return b
}

// loop is what a relay makes of a message that comes back to it again and again.
func loop(times int) []byte {
	b := msg(address.Solicit, clientID())
	for i := range times {
		b = relay(byte(i), b, opt(dhcpv6.OptionInterfaceID, 'x'))
	}
	return b
}

// bad is one datagram that gets no answer.
type bad struct {
	name string
	b    []byte
	want reason.Reason
}

// badInput is also where the fuzz targets begin.
func badInput() []bad {
	compressed := append([]byte{0xc0, 0}, bytes.Repeat([]byte{0xc0, 0}, 900)...)
	long := append([]byte{64}, make([]byte, 64)...)
	cases := []bad{
		{"nothing", nil, reason.Malformed},
		{"three octets", []byte{1, 0, 0}, reason.Malformed},
		{"DUID over 128 octets", msg(address.Solicit, opt(dhcpv6.OptionClientID, make([]byte, 131)...)), reason.BadClientID},
		{"DUID of its type only", msg(address.Solicit, opt(dhcpv6.OptionClientID, 0, 3)), reason.BadClientID},
		{"two Client Identifiers", msg(address.Solicit, clientID(), clientID()), reason.BadClientID},
		{"two Server Identifiers", msg(address.RequestMsg, clientID(), opt(dhcpv6.OptionServerID, 0, 3, 0), opt(dhcpv6.OptionServerID, 0, 3, 0)), reason.Malformed},
		{"empty Server Identifier", msg(address.RequestMsg, clientID(), opt(dhcpv6.OptionServerID)), reason.Malformed},
		{"length past the end", msg(address.Solicit, clientID(), []byte{0, 6, 0, 9, 0}), reason.Malformed},
		{"length past the end of an IA", msg(address.Solicit, ia(dhcpv6.OptionIANA, []byte{0, 5, 0, 99})), reason.Malformed},
		{"one trailing octet", msg(address.Solicit, clientID(), []byte{0}), reason.Malformed},
		{"two trailing octets", msg(address.Solicit, clientID(), []byte{0, 1}), reason.Malformed},
		{"three trailing octets", msg(address.Solicit, clientID(), []byte{0, 1, 0}), reason.Malformed},
		{"IA_NA of eleven octets", msg(address.Solicit, opt(dhcpv6.OptionIANA, make([]byte, 11)...)), reason.Malformed},
		{"IA_TA of three octets", msg(address.Solicit, opt(dhcpv6.OptionIATA, 0, 0, 0)), reason.Malformed},
		{"IA Address of 23 octets", msg(address.Solicit, ia(dhcpv6.OptionIANA, opt(dhcpv6.OptionIAAddr, make([]byte, 23)...))), reason.Malformed},
		{"IA Prefix of 24 octets", msg(address.Solicit, ia(dhcpv6.OptionIAPD, opt(dhcpv6.OptionIAPrefix, make([]byte, 24)...))), reason.Malformed},
		{"prefix length 200", msg(address.Solicit, ia(dhcpv6.OptionIAPD, prefix(200))), reason.Malformed},
		{"PD-exclude as long as its prefix", msg(address.Solicit, ia(dhcpv6.OptionIAPD, prefix(56, opt(dhcpv6.OptionPDExclude, 56, 0)))), reason.Malformed},
		{"PD-exclude shorter than its prefix", msg(address.Solicit, ia(dhcpv6.OptionIAPD, prefix(56, opt(dhcpv6.OptionPDExclude, 48, 0)))), reason.Malformed},
		{"PD-exclude without a prefix", msg(address.Solicit, ia(dhcpv6.OptionIAPD, prefix(56, opt(dhcpv6.OptionPDExclude, 64)))), reason.Malformed},
		{"PD-exclude in an address", msg(address.Solicit, ia(dhcpv6.OptionIANA, opt(dhcpv6.OptionIAAddr, append(make([]byte, 24), opt(dhcpv6.OptionPDExclude, 64, 0)...)...))), reason.Malformed},
		{"hundreds of IAs", msg(address.Solicit, bytes.Repeat(ia(dhcpv6.OptionIATA), 200)), reason.Oversized},
		{"nine IAs", msg(address.Solicit, bytes.Repeat(ia(dhcpv6.OptionIANA), 9)), reason.Oversized},
		{"seventeen addresses", msg(address.Solicit, ia(dhcpv6.OptionIANA, bytes.Repeat(opt(dhcpv6.OptionIAAddr, make([]byte, 24)...), 17))), reason.Oversized},
		{"an IA in an IA", msg(address.Solicit, ia(dhcpv6.OptionIANA, ia(dhcpv6.OptionIANA))), reason.Malformed},
		{"an IA in an address", msg(address.Solicit, ia(dhcpv6.OptionIANA, opt(dhcpv6.OptionIAAddr, append(make([]byte, 24), ia(dhcpv6.OptionIAPD)...)...))), reason.Malformed},
		{"64 KiB of ORO", msg(address.Solicit, opt(dhcpv6.OptionORO, make([]byte, 65000)...)), reason.Oversized},
		{"compression in a search list", msg(address.Solicit, opt(dhcpv6.OptionDomainSearchList, compressed...)), reason.HostileLabel},
		{"compression in an FQDN", msg(address.Solicit, opt(dhcpv6.OptionFQDN, append([]byte{0}, compressed...)...)), reason.HostileLabel},
		{"compression in an NTP server", msg(address.Solicit, opt(dhcpv6.OptionNTPServer, opt(subNTPName, compressed...)...)), reason.HostileLabel},
		{"compression in an IA", msg(address.Solicit, ia(dhcpv6.OptionIANA, opt(dhcpv6.OptionDomainSearchList, compressed...))), reason.HostileLabel},
		{"compression in an address", msg(address.Solicit, ia(dhcpv6.OptionIANA, opt(dhcpv6.OptionIAAddr, append(make([]byte, 24), opt(dhcpv6.OptionDomainSearchList, compressed[:9]...)...)...))), reason.HostileLabel},
		{"compression behind a relay", relay(0, msg(address.Solicit, opt(dhcpv6.OptionDomainSearchList, compressed[:9]...))), reason.HostileLabel},
		{"FQDN label of 64", msg(address.Solicit, opt(dhcpv6.OptionFQDN, append([]byte{0}, long...)...)), reason.HostileLabel},
		{"label past the end", msg(address.Solicit, opt(dhcpv6.OptionDomainSearchList, 9, 'x')), reason.HostileLabel},
		{"Relay-Forward", relays(1), reason.None},
		{"eight relay levels", relays(8), reason.None},
		{"nine relay levels", relays(9), reason.Oversized},
		{"thirty relay levels", relays(30), reason.Oversized},
		{"an unknown message in a Relay-Forward", relay(0, msg(36)), reason.UnknownMessage},
		{"two interface-ids", relay(0, msg(1), opt(dhcpv6.OptionInterfaceID, 1), opt(dhcpv6.OptionInterfaceID, 1)), reason.Malformed},
		{"two relay ports", relay(0, msg(1), opt(dhcpv6.OptionRelayPort, 1, 1), opt(dhcpv6.OptionRelayPort, 1, 1)), reason.Malformed},
		{"relay port of one octet", relay(0, msg(1), opt(dhcpv6.OptionRelayPort, 1)), reason.Malformed},
		{"remote-id without its enterprise", relay(0, msg(1), opt(dhcpv6.OptionRemoteID, 0, 0, 9)), reason.Malformed},
		{"two MACs", relay(0, msg(1), opt(dhcpv6.OptionClientLinkLayerAddr, 0, 1, 2, 0, 0, 0, 0, 1), opt(dhcpv6.OptionClientLinkLayerAddr, 0, 1, 2, 0, 0, 0, 0, 2)), reason.Malformed},
		{"junk in relay-supplied options", relay(0, msg(1), opt(dhcpv6.OptionRSOO, 0, 65, 0, 9, 1)), reason.Malformed},
		{"a loop of relays, the last time", loop(8), reason.None},
		{"a loop of relays", loop(9), reason.Oversized},
		{"a loop of relays that drop what they add", relay(8, msg(address.Solicit)), reason.Oversized},
		{"hop count 255", relay(255, msg(address.Solicit)), reason.Oversized},
		{"Relay-Forward without a message", relay(0, nil), reason.Malformed},
		{"Relay-Forward cut short", relay(0, nil)[:33], reason.Malformed},
		{"Relay-Forward with an empty message", relay(0, []byte{}), reason.Malformed},
		{"Relay-Forward with two messages", relay(0, msg(1), opt(dhcpv6.OptionRelayMsg, msg(1)...)), reason.Malformed},
		{"junk in a Relay Message", relay(0, []byte{1, 2, 3, 4, 0xff, 0xff, 0xff}), reason.Malformed},
		{"junk in a Relay Message in a Relay Message", relay(1, relay(0, []byte{12, 0, 0, 0, 0})), reason.Malformed},
		{"empty Client Identifier behind a relay", relay(0, msg(address.Solicit, opt(dhcpv6.OptionClientID))), reason.BadClientID},
		{"option 79 of 0 octets", relay(0, msg(1), opt(dhcpv6.OptionClientLinkLayerAddr)), reason.Malformed},
		{"option 79 of 17 octets", relay(0, msg(1), opt(dhcpv6.OptionClientLinkLayerAddr, make([]byte, 17)...)), reason.Malformed},
		{"option 79 of 200 octets", relay(0, msg(1), opt(dhcpv6.OptionClientLinkLayerAddr, make([]byte, 200)...)), reason.Malformed},
		{"Relay-Reply", []byte{13, 0, 0, 0, 0}, reason.NotForServers},
		{"Relay-Reply in a Relay-Forward", relay(0, []byte{13, 0, 0, 0}), reason.NotForServers},
		{"Advertise", msg(address.Advertise), reason.NotForServers},
		{"Reply", msg(address.ReplyMsg), reason.NotForServers},
		{"Reconfigure", msg(10), reason.NotForServers},
	}
	for _, m := range []address.Msg{1, 3, 4, 5, 6, 8, 9, 11} {
		cases = append(cases, bad{m.String() + " with an empty Client Identifier", msg(m, opt(dhcpv6.OptionClientID)), reason.BadClientID})
	}
	for _, m := range []address.Msg{0, 14, 20, 21, 36, 255} {
		cases = append(cases, bad{fmt.Sprintf("message type %d", m), msg(m), reason.UnknownMessage})
	}
	return cases
}

// TestBadInput: silence with a reason.
func TestBadInput(t *testing.T) {
	for _, c := range badInput() {
		if _, got := parse(c.b); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// odd is one option that real firmware sends, and what is read of it.
type odd struct {
	name string
	b    []byte
	want address.Request
}

func oddInput() []odd {
	vendor := func(data ...byte) []byte {
		return opt(dhcpv6.OptionVendorClass, append([]byte{0, 0, 1, 87}, data...)...)
	}
	return []odd{
		{"empty user class", opt(dhcpv6.OptionUserClass), address.Request{}},
		{"user class of one empty entry", opt(dhcpv6.OptionUserClass, 0, 0), address.Request{Classes: [][]byte{{}}}},
		{"user class without its length", opt(dhcpv6.OptionUserClass, []byte("iPXE")...), address.Request{Classes: [][]byte{[]byte("iPXE")}}},
		{"user class of one octet", opt(dhcpv6.OptionUserClass, 'x'), address.Request{Classes: [][]byte{{'x'}}}},
		{"user class as iPXE sends it", opt(dhcpv6.OptionUserClass, append([]byte{0, 4}, "iPXE"...)...), address.Request{Classes: [][]byte{[]byte("iPXE")}}},
		{"vendor class without data", vendor(), address.Request{}},
		{"vendor class without a whole number", opt(dhcpv6.OptionVendorClass, 0, 0), address.Request{}},
		{"vendor class without its length", vendor([]byte("PXEClient")...), address.Request{Vendor: "PXEClient"}},
		{"two vendor classes", append(vendor(append([]byte{0, 1}, 'x')...), vendor(append([]byte{0, 1}, 'y')...)...), address.Request{Vendor: "x"}},
		{"odd ORO", opt(dhcpv6.OptionORO, 0, 23, 0, 59, 7), address.Request{ORO: []uint16{23, 59}}},
		{"two OROs", append(opt(dhcpv6.OptionORO, 0, 23), opt(dhcpv6.OptionORO, 0, 59)...), address.Request{ORO: []uint16{23, 59}}},
		{"empty list of architectures", opt(dhcpv6.OptionClientArchType), address.Request{}},
		{"empty FQDN", opt(dhcpv6.OptionFQDN), address.Request{}},
		{"FQDN of flags only", opt(dhcpv6.OptionFQDN, 5), address.Request{FQDN: true, FQDNFlags: 5}},
		{"rapid commit with data", opt(dhcpv6.OptionRapidCommit, 1, 2), address.Request{RapidCommit: true}},
		{"unknown options", append(opt(9999, 1), opt(0)...), address.Request{}},
		{"an address in an IA_PD", ia(dhcpv6.OptionIAPD, opt(dhcpv6.OptionIAAddr, make([]byte, 24)...)), address.Request{IAs: []address.IA{{Kind: address.IAPD}}}},
		{"a prefix", ia(dhcpv6.OptionIAPD, prefix(56)), address.Request{IAs: []address.IA{{Kind: address.IAPD, Prefixes: []netip.Prefix{netip.MustParsePrefix("::/56")}}}}},
		{"a search list without its root", opt(dhcpv6.OptionDomainSearchList, 3, 'a', 'b', 'c'), address.Request{}},
	}
}

// TestOddInput: real firmware sends these, and gets an answer.
func TestOddInput(t *testing.T) {
	for _, c := range oddInput() {
		c.want.Msg, c.want.Client = address.Solicit, node0()
		got, why := parse(msg(address.Solicit, clientID(), c.b))
		if diff := cmp.Diff(packet{xid: [3]byte{1, 2, 3}, req: c.want}, got, compare()...); diff != "" || why != reason.None {
			t.Errorf("%s: %s %s", c.name, why, diff)
		}
	}
}

func compare() []cmp.Option {
	return []cmp.Option{cmp.AllowUnexported(packet{}, hop{}), cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{}), cmpopts.EquateEmpty()}
}

// TestEncodeFits: however much there is to say, a reply crosses every IPv6 link, and what must be said is there.
func TestEncodeFits(t *testing.T) {
	r := &address.Reply{Msg: address.ReplyMsg, Preference: -1, BootURL: "tftp://[2001:db8::1]/ipxe.efi"}
	for i := range maxIAs {
		r.IAs = append(r.IAs, address.IAReply{
			Kind: address.IANA, IAID: ident.IAID(i), Addrs: make([]address.Lease, 2),
			Status: &address.Status{Code: address.NoAddrsAvail, Text: "no address for this IA"},
		})
		for j := range r.IAs[i].Addrs {
			r.IAs[i].Addrs[j].Addr = netip.IPv6Loopback()
		}
	}
	for range 40 {
		r.DNS = append(r.DNS, netip.IPv6Loopback())
		r.Search = append(r.Search, "a-rather-long-domain-name.example.net")
	}
	big := ident.DUID(bytes.Repeat([]byte{1}, 130))
	b := encode(r, [3]byte{}, big, big)
	var got []dhcpv6.OptionCode
	why := eachOption(b[lenHeader:], func(code dhcpv6.OptionCode, _ []byte) reason.Reason {
		got = append(got, code)
		return reason.None
	})
	want := []dhcpv6.OptionCode{dhcpv6.OptionClientID, dhcpv6.OptionServerID, dhcpv6.OptionIANA, dhcpv6.OptionIANA, dhcpv6.OptionIANA, dhcpv6.OptionIANA, dhcpv6.OptionIANA, dhcpv6.OptionIANA, dhcpv6.OptionIANA, dhcpv6.OptionIANA, dhcpv6.OptionBootfileURL}
	if diff := cmp.Diff(want, got); diff != "" || why != reason.None || len(b) > maxReply {
		t.Errorf("%d octets, %s, %s", len(b), why, diff)
	}
}

// TestParseInto: nothing of one message is seen in the next that is read into its memory.
func TestParseInto(t *testing.T) {
	plain := msg(address.Solicit, clientID())
	full := msg(address.Solicit, clientID(), ia(dhcpv6.OptionIANA), opt(dhcpv6.OptionUserClass, 0, 4, 'i', 'P', 'X', 'E'),
		opt(dhcpv6.OptionClientArchType, 0, 7), opt(dhcpv6.OptionORO, 0, 59), opt(dhcpv6.OptionRapidCommit),
		opt(dhcpv6.OptionVendorClass, 0, 0, 1, 87, 0, 3, 'P', 'X', 'E'))
	first, _ := parse(full)
	if q := first.req; len(q.IAs) != 1 || len(q.Classes) != 1 || len(q.Arch) != 1 || len(q.ORO) != 1 || q.Vendor == "" {
		t.Fatalf("read %+v", q)
	}
	got, _ := parseInto(plain, first.req)
	want, _ := parse(plain)
	if diff := cmp.Diff(want.req, got.req, cmpopts.EquateComparable(netip.Addr{}), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("read into used memory: %s", diff)
	}
}

// TestEncodeLifetimes: what does not fit into 32 bits of seconds is for ever, not nothing.
func TestEncodeLifetimes(t *testing.T) {
	for d, want := range map[int64]uint32{-1: 0, 0: 0, 1: 1, 1<<32 - 1: 1<<32 - 1, 1 << 32: 1<<32 - 1, 1<<33 - 1: 1<<32 - 1} {
		if got := binary.BigEndian.Uint32(putSeconds(nil, 1e9*asDuration(d))); got != want {
			t.Errorf("%d seconds are written as %d", d, got)
		}
	}
}

// TestEncodeDomains leaves out what has no wire form.
func TestEncodeDomains(t *testing.T) {
	got := searchList([]string{"a.b.", "", ".", "x..y", "c", string(bytes.Repeat([]byte{'l'}, 64))}).ToBytes()
	if diff := cmp.Diff([]byte("\x01a\x01b\x00\x01c\x00"), got); diff != "" {
		t.Error(diff)
	}
}

// TestEncodeOptions: options from 256 on stand before the boot file, which firmware reads up to the first zero octet, and a
// reply with a boot file has 1024 octets of options at most; the least needed ones are left out.
func TestEncodeOptions(t *testing.T) {
	big := func(code uint16, n int) address.Option { return address.Option{Code: code, Data: make([]byte, n)} }
	r := &address.Reply{
		Msg: address.ReplyMsg, Preference: -1, HTTPClient: true, BootURL: "http://[2001:db8::1]/ipxe.efi",
		DNS: []netip.Addr{netip.IPv6Loopback()}, FQDN: "a.example.net", FQDNFlags: option.FlagS, Search: []string{"example.net"},
		Options: []address.Option{big(300, 10), big(103, 20), big(301, 0), big(17, 500), big(17, 500), big(41, 4)},
		IAs:     []address.IAReply{{Kind: address.IANA, Addrs: []address.Lease{{Addr: netip.IPv6Loopback()}}}},
	}
	codes := func(b []byte) (got []dhcpv6.OptionCode) {
		if why := eachOption(b[lenHeader:], func(code dhcpv6.OptionCode, _ []byte) reason.Reason {
			got = append(got, code)
			return reason.None
		}); why != reason.None {
			t.Error(why)
		}
		return got
	}
	b, left := encodeWhole(nil, r, [3]byte{}, node0(), node0())
	want := []dhcpv6.OptionCode{1, 2, 3, 300, 301, 16, 59, 23, 39, 103, 17, 41, 24}
	if diff := cmp.Diff(want, codes(b)); diff != "" || len(b) > lenHeader+maxOptions {
		t.Errorf("%d octets: %s", len(b), diff)
	}
	if diff := cmp.Diff([]uint16{17}, left); diff != "" {
		t.Error(diff)
	}
	r.BootURL, r.HTTPClient = "", false
	b, left = encodeWhole(nil, r, [3]byte{}, node0(), node0())
	if want = []dhcpv6.OptionCode{1, 2, 3, 300, 301, 23, 39, 103, 17, 17, 41, 24}; !cmp.Equal(want, codes(b)) || len(b) > maxReply || left != nil {
		t.Errorf("without a boot file: %d octets of %v, without %v", len(b), codes(b), left)
	}
}
