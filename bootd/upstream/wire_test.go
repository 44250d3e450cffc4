package upstream

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/uplink"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
)

const (
	us   = ident.DUID("\x00\x03\x00\x01\x52\x54\x00\xaa\x01\x01")
	them = ident.DUID("\x00\x03\x00\x01\x52\x54\x00\x00\x00\x01")
)

func samePrefix() cmp.Option {
	return cmp.Options{
		cmp.Comparer(func(a, b netip.Prefix) bool { return a == b }), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	}
}

// TestEncode compares the octets of a message with those that RFC 8415 and RFC 6603 draw.
func TestEncode(t *testing.T) {
	got := encode(uplink.Message{
		Type: uplink.Solicit, XID: [3]byte{1, 2, 3}, Client: us, RapidCommit: true, Elapsed: 1500 * time.Millisecond,
		IAs: []uplink.IA{
			{ID: 0xabcdef01, Leases: []uplink.Lease{{Prefix: netip.MustParsePrefix("::/48")}}},
			{ID: 7, Address: true, Leases: []uplink.Lease{{Prefix: netip.MustParsePrefix("2001:db8::5/128")}}},
		},
	})
	want := strings.Join([]string{
		"01 010203", "0001 000a 00030001525400aa0101", "0008 0002 0096", "0006 0008 0017 0018 0043 0052", "000e 0000",
		"0019 0029 abcdef01 00000000 00000000", "001a 0019 00000000 00000000 30 00000000000000000000000000000000",
		"0003 0028 00000007 00000000 00000000", "0005 0018 20010db8000000000000000000000005 00000000 00000000",
	}, "")
	if diff := cmp.Diff(strings.ReplaceAll(want, " ", ""), hex.EncodeToString(got)); diff != "" {
		t.Error(diff)
	}
	got = encode(uplink.Message{Type: uplink.Release, Client: us, Server: them, Elapsed: time.Hour, IAs: []uplink.IA{{ID: 1}}})
	want = "08000000" + "0001000a00030001525400aa0101" + "0002000a00030001525400000001" + "00080002ffff" + "0019000c000000010000000000000000"
	if diff := cmp.Diff(want, hex.EncodeToString(got)); diff != "" {
		t.Errorf("a Release asks for no options, and the elapsed time has 16 bits: %s", diff)
	}
}

// opts builds a message of a server.
func opts(typ byte, options ...[]byte) []byte {
	return append([]byte{typ, 1, 2, 3}, slices.Concat(options...)...)
}

func o(code uint16, parts ...[]byte) []byte { return put(nil, code, slices.Concat(parts...)) }

func u32(n ...uint32) []byte {
	var b []byte
	for _, x := range n {
		b = append(b, byte(x>>24), byte(x>>16), byte(x>>8), byte(x))
	}
	return b
}

func pd(id uint32, options ...[]byte) []byte {
	return o(optIAPD, append([][]byte{u32(id, 10, 20)}, options...)...)
}

func iaprefix(p string, options ...[]byte) []byte {
	x := netip.MustParsePrefix(p)
	return o(optIAPrefix, append([][]byte{u32(30, 40), {byte(x.Bits())}, x.Addr().AsSlice()}, options...)...)
}

// whole is a Reply in which everything stands that is read.
func whole() []byte {
	return opts(7,
		o(optClientID, []byte(us)), o(optServerID, []byte(them)), o(optPreference, []byte{9}), o(optStatus, []byte{0, 0}, []byte("fine")),
		o(optRapidCommit), o(optSolMaxRT, u32(60)), o(optDNS, netip.MustParseAddr("2001:db8::53").AsSlice(), netip.MustParseAddr("2001:db8::54").AsSlice()),
		o(optSearch, []byte("\x07example\x03net\x00\x01b\x07example\x03net\x00")),
		pd(1, iaprefix("2001:db8:100::5/48", o(optPDExclude, []byte{64, 0xab, 0xcd}))),
		pd(2, o(optStatus, []byte{0, 6}, []byte("none"))),
		pd(3, iaprefix("2001:db8:200::/56", o(optStatus, []byte{0, 6}))),
		o(optIANA, u32(4, 0, 0), o(optIAAddr, netip.MustParseAddr("2001:db8:f::5").AsSlice(), u32(0xffffffff, 0xffffffff))),
	)
}

func TestDecode(t *testing.T) {
	got, why := decode(whole())
	want := uplink.Message{
		Type: uplink.Reply, XID: [3]byte{1, 2, 3}, Client: us, Server: them, Preference: 9, RapidCommit: true, SolMaxRT: time.Minute,
		Nameservers: []netip.Addr{netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("2001:db8::54")},
		Search:      []string{"example.net", "b.example.net"},
		IAs: []uplink.IA{
			{ID: 1, T1: 10 * time.Second, T2: 20 * time.Second, Leases: []uplink.Lease{{
				Prefix: netip.MustParsePrefix("2001:db8:100::/48"), Exclude: netip.MustParsePrefix("2001:db8:100:abcd::/64"),
				Preferred: 30 * time.Second, Valid: 40 * time.Second,
			}}},
			{ID: 2, T1: 10 * time.Second, T2: 20 * time.Second, Status: uplink.NoPrefixAvail},
			{ID: 3, T1: 10 * time.Second, T2: 20 * time.Second},
			{ID: 4, Address: true, Leases: []uplink.Lease{{
				Prefix: netip.MustParsePrefix("2001:db8:f::5/128"), Preferred: uplink.Forever, Valid: uplink.Forever,
			}}},
		},
	}
	if diff := cmp.Diff(want, got, samePrefix()); why != reason.None || diff != "" {
		t.Errorf("%s: %s", why, diff)
	}
}

// hostile are Replies that no server sends; each is ignored with its reason.
func hostile() map[string]struct {
	octets []byte
	want   reason.Reason
} {
	ids := slices.Concat(o(optClientID, []byte(us)), o(optServerID, []byte(them)))
	type c = struct {
		octets []byte
		want   reason.Reason
	}
	many := func(n int, b []byte) []byte { return bytes.Repeat(b, n) }
	return map[string]c{
		"nothing":                    {nil, reason.Malformed},
		"three octets":               {[]byte{7, 1, 2}, reason.Malformed},
		"a client's message":         {opts(1, ids), reason.NotForClients},
		"a relay's message":          {opts(13, ids), reason.NotForClients},
		"an unknown message":         {opts(200, ids), reason.NotForClients},
		"64 KB":                      {opts(7, ids, o(250, make([]byte, 60_000))), reason.Oversized},
		"a length past the end":      {append(opts(7, ids), 0, 25, 0, 200, 1), reason.Malformed},
		"trailing octets":            {append(opts(7, ids), 0, 1), reason.Malformed},
		"two client identifiers":     {opts(7, ids, o(optClientID, []byte(us))), reason.BadClientID},
		"an empty client":            {opts(7, o(optClientID)), reason.BadClientID},
		"a client of 200 octets":     {opts(7, o(optClientID, make([]byte, 200))), reason.BadClientID},
		"two server identifiers":     {opts(7, ids, o(optServerID, []byte(us))), reason.Malformed},
		"an empty preference":        {opts(7, ids, o(optPreference)), reason.Malformed},
		"half a status":              {opts(7, ids, o(optStatus, []byte{0})), reason.Malformed},
		"half an IA":                 {opts(7, ids, o(optIAPD, make([]byte, 11))), reason.Malformed},
		"half a prefix":              {opts(7, ids, pd(1, o(optIAPrefix, make([]byte, 24)))), reason.Malformed},
		"a prefix of /200":           {opts(7, ids, pd(1, o(optIAPrefix, make([]byte, 8), []byte{200}, make([]byte, 16)))), reason.Malformed},
		"an exclude that is no part": {opts(7, ids, pd(1, iaprefix("2001:db8::/48", o(optPDExclude, []byte{48, 0})))), reason.Malformed},
		"an exclude cut short":       {opts(7, ids, pd(1, iaprefix("2001:db8::/48", o(optPDExclude, []byte{64, 0})))), reason.Malformed},
		"an exclude of /255":         {opts(7, ids, pd(1, iaprefix("2001:db8::/48", o(optPDExclude, []byte{255, 0, 0})))), reason.Malformed},
		"an IA cut short inside":     {opts(7, ids, o(optIAPD, u32(1, 0, 0), []byte{0, 26, 0})), reason.Malformed},
		"forty IAs":                  {opts(7, ids, many(40, pd(1))), reason.Oversized},
		"seventy prefixes":           {opts(7, ids, many(14, pd(1, many(5, iaprefix("2001:db8::/48"))))), reason.Oversized},
		"a compression pointer":      {opts(7, ids, o(optSearch, []byte{0xc0, 0})), reason.HostileLabel},
		"a label past the end":       {opts(7, ids, o(optSearch, []byte{9, 'a'})), reason.HostileLabel},
	}
}

func TestHostile(t *testing.T) {
	for name, c := range hostile() {
		if _, why := decode(c.octets); why != c.want {
			t.Errorf("%s: %s, want %s", name, why, c.want)
		}
	}
	// What would mean something in a hook's environment is left out.
	m, why := decode(opts(7, o(optSearch, []byte("\x03a;b\x00\x04$(x)\x00\x02ok\x03net\x00\x03a\nb\x00\x00"))))
	if why != reason.None || !slices.Equal(m.Search, []string{"ok.net"}) {
		t.Errorf("%s: %q", why, m.Search)
	}
}

// FuzzDecode: whatever comes, nothing panics, and what is held afterwards is inside its bounds.
func FuzzDecode(f *testing.F) {
	f.Add(whole())
	for _, c := range hostile() {
		if len(c.octets) < 5000 {
			f.Add(c.octets)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		msg, why := decode(b)
		if why != reason.None {
			return
		}
		now, r := time.Unix(1e9, 0), rand.New(rand.NewPCG(1, 1))
		id := ident.IAID(4)
		m := uplink.New(uplink.Config{Client: us, RapidCommit: true, Prefixes: []uplink.Wanted{{IAID: 1}, {IAID: 2}, {IAID: 3}}, Address: &id}, uplink.Held{})
		m.Attach(now, r)
		now = now.Add(time.Second)
		for _, out := range m.Tick(now, r).Send {
			msg.XID, msg.Client = out.XID, us
			m.Receive(now, netip.MustParseAddr("fe80::1"), msg, r)
		}
		held := m.Held()
		for _, x := range held.Bindings {
			if x.Prefix.Masked() != x.Prefix || !x.ValidUntil.IsZero() && !now.Before(x.ValidUntil) || x.Exclude.IsValid() && (!x.Prefix.Contains(x.Exclude.Addr()) || x.Exclude.Bits() <= x.Prefix.Bits()) {
				t.Errorf("held %+v", x)
			}
		}
		if len(held.Bindings) > 32 || len(held.Search) > maxSearch || len(held.Nameservers) > maxServers {
			t.Errorf("held %+v", held)
		}
	})
}
