package option

import (
	"encoding/hex"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRegistry: in order, without doubles, and every option that a person may write has a form.
func TestRegistry(t *testing.T) {
	if !slices.IsSortedFunc(registry, func(a, b Def) int { return int(a.Code) - int(b.Code) }) {
		t.Error("the registry is not in order of code")
	}
	names, codes := map[string]bool{}, map[uint16]bool{}
	for _, d := range registry {
		if names[d.Name] || codes[d.Code] {
			t.Errorf("%s (%d) is there twice", d.Name, d.Code)
		}
		names[d.Name], codes[d.Code] = true, true
		if d.Kind > DNR && d.Instead == "" {
			t.Errorf("%s stands in messages only, and nothing says what to write instead", d.Name)
		}
		if got, ok := ByCode(d.Code); !ok || got != d {
			t.Errorf("option %d is not found", d.Code)
		}
		if got, ok := ByName(d.Name); !ok || got != d {
			t.Errorf("option %s is not found", d.Name)
		}
	}
}

// TestOctets writes each form as its RFC does, and reads it back.
func TestOctets(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	const one, two = "20010db8000000000000000000000001", "20010db8000000000000000000000002"
	name, ok := PutName("dns.example.net.")
	if !ok {
		t.Fatal("a plain name has no wire form")
	}
	for _, c := range []struct {
		code uint16
		data []byte
		hex  string
		text string
	}{
		{22, PutAddrs([]netip.Addr{a, b}), one + two, "2001:db8::1, 2001:db8::2"},
		{51, name, "03646e73076578616d706c65036e657400", "dns.example.net"},
		{21, PutNames([]string{"a.b", "c"}), "0161016200016300", "a.b, c"},
		{56, PutNTP([]string{"2001:db8::1", "ff05::101", "t.example"}), "00010010" + one + "00020010" + "ff050000000000000000000000000101" + "0003000b" + "0174076578616d706c6500", "2001:db8::1, ff05::101, t.example"},
		{82, PutSeconds(300), "0000012c", "5m"},
		{136, PutURIs([]string{"https://a/"}), "000a" + hex.EncodeToString([]byte("https://a/")), `"https://a/"`},
		{17, PutVendor(343, []Sub{{1, []byte{10, 11}}}), "00000157" + "000100020a0b", "enterprise 343, 1: 0a0b"},
		{144, PutResolver(Resolver{Priority: 1, Name: "d.net"}), "0001" + "0007" + "0164036e657400", "priority 1, d.net"},
		{
			144, PutResolver(Resolver{Priority: 2, Name: "d.net", Addrs: []netip.Addr{a}, ALPN: []string{"h2", "dot"}, Port: 8443, Path: "/q{?dns}"}),
			"0002" + "0007" + "0164036e657400" + "0010" + one + "00010007" + "02683203646f74" + "0003000220fb" + "00070008" + hex.EncodeToString([]byte("/q{?dns}")),
			`priority 2, d.net, 2001:db8::1, alpn h2 dot, port 8443, path "/q{?dns}"`,
		},
		{103, []byte("https://p/"), hex.EncodeToString([]byte("https://p/")), `"https://p/"`},
		{7, []byte{255}, "ff", "255"},
		{234, []byte{1, 2}, "0102", "0102"},
	} {
		if got := hex.EncodeToString(c.data); got != c.hex {
			t.Errorf("option %d is written %s, want %s", c.code, got, c.hex)
		}
		if got := Value(c.code, c.data); got != c.text {
			t.Errorf("option %d reads %s, want %s", c.code, got, c.text)
		}
	}
	for _, bad := range []string{"", ".", "a..b", strings.Repeat("x", 64), strings.Repeat("abcdefg.", 32) + "x"} {
		if got, ok := PutName(bad); ok {
			t.Errorf("%q is written %x", bad, got)
		}
	}
	if got := PutNames([]string{"a", strings.Repeat("x", 64), "b"}); string(got) != "\x01a\x00\x01b\x00" {
		t.Errorf("a name without wire form leaves %x", got)
	}
}

// TestReadMessage reads a relayed Solicit with everything that clients send.
func TestReadMessage(t *testing.T) {
	octets := func(s string) []byte {
		b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	opt := func(code uint16, s string) []byte { return put(nil, code, octets(s)) }
	address := opt(5, "20010db8000000000000000000000001 00000e10 ffffffff"+hex.EncodeToString(opt(13, "0004 6e6f")))
	solicit := slices.Concat(
		octets("01 0a0b0c"), opt(1, "0003 0001 525400aa0101"), opt(8, "0065"), opt(3, "00000007 00000000 00000001"+hex.EncodeToString(address)),
		opt(6, "0017 003b 00ea"), opt(39, "01 03 613162"), opt(61, "0007"), opt(62, "010300"), opt(15, "0004 69505845"),
		opt(16, "00000157 0001 78"), opt(14, ""), opt(23, "00"), opt(234, ""),
	)
	relayed := slices.Concat(octets("0c 01"), make([]byte, 32), opt(79, "0001 525400aa0101"), put(nil, 9, solicit))
	hops := uint8(1)
	want := Message{
		Type: 12, Name: "Relay-forward", Hops: &hops, Link: "::", Peer: "::",
		Options: []Field{
			{Code: 79, Name: "client-linklayer-addr", Value: "52:54:00:aa:01:01 (hardware type 1)"},
			{Code: 9, Name: "relay-msg", Message: &Message{
				Type: 1, Name: "Solicit", XID: "0a0b0c",
				Options: []Field{
					{Code: 1, Name: "client-id", Value: "00:03:00:01:52:54:00:aa:01:01"},
					{Code: 8, Name: "elapsed-time", Value: "1.01s"},
					{Code: 3, Name: "ia-na", Value: "iaid 00000007, T1 0s, T2 1s", Options: []Field{
						{Code: 5, Name: "iaaddr", Value: "2001:db8::1, preferred 1h, valid infinite", Options: []Field{
							{Code: 13, Name: "status-code", Value: `NotOnLink "no"`},
						}},
					}},
					{Code: 6, Name: "oro", Value: "dns-servers, bootfile-url, 234"},
					{Code: 39, Name: "client-fqdn", Value: "flags S, a1b (not whole)"},
					{Code: 61, Name: "client-arch-type", Value: "7"},
					{Code: 62, Name: "nii", Value: "type 1, version 3.0"},
					{Code: 15, Name: "user-class", Value: `"iPXE"`},
					{Code: 16, Name: "vendor-class", Value: `enterprise 343, "x"`},
					{Code: 14, Name: "rapid-commit"},
					{Code: 23, Name: "dns-servers", Value: "00"},
					{Code: 234, Name: "option-234", Value: "(empty)"},
				},
			}},
		},
	}
	if diff := cmp.Diff(want, Read(relayed)); diff != "" {
		t.Error(diff)
	}
	for _, cut := range [][]byte{nil, {1}, solicit[:len(solicit)-1], relayed[:33]} {
		if m := Read(cut); !m.Broken {
			t.Errorf("%x reads as whole: %+v", cut, m)
		}
	}
}

// FuzzRead: whatever comes, there is no panic, and nothing that a terminal would obey.
func FuzzRead(f *testing.F) {
	f.Add([]byte{1, 0, 0, 0, 0, 39, 0, 3, 0, 1, 27})
	f.Add([]byte{12, 0, 0, 0})
	f.Add(put([]byte{7, 1, 2, 3}, 144, PutResolver(Resolver{Priority: 1, Name: "d.net", Addrs: []netip.Addr{netip.IPv6Loopback()}, ALPN: []string{"h2"}})))
	deep := []byte{1, 2, 3, 4}
	for range 40 {
		deep = put(append([]byte{12, 0}, make([]byte, 32)...), 9, deep)
	}
	f.Add(deep)
	f.Fuzz(func(t *testing.T, b []byte) {
		var look func([]Field)
		look = func(all []Field) {
			for _, x := range all {
				if strings.ContainsFunc(x.Value, func(r rune) bool { return r < ' ' || r == 0x7f }) {
					t.Errorf("%s holds a control character: %q", x.Name, x.Value)
				}
				look(x.Options)
				if x.Message != nil {
					look(x.Message.Options)
				}
			}
		}
		look(Read(b).Options)
	})
}
