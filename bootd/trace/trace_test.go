package trace

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
)

func card(n byte) ident.MAC { return ident.MAC{0x52, 0x54, 0, 0xaa, 1, n} }

func exchange(host string, m ident.MAC) Exchange {
	return Exchange{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.UTC), Link: "eth1", Client: netip.MustParseAddrPort("[fe80::5]:1546"),
		Server: netip.MustParseAddr("ff02::1:2"), MAC: m, ServerMAC: card(1), DUID: ident.NewDUIDLL(m), Query: []byte{1, 2, 3, 4},
		Reply: []byte{2, 2, 3, 4, 5}, From: netip.MustParseAddr("fe80::1"), To: 546, Took: 2 * time.Millisecond,
		Outcome: reason.Outcome{Reason: reason.Answered, Host: host, Network: "rack1", Rule: "frame-mac"},
	}
}

// TestFilters: each reader gets what it asked for.
func TestFilters(t *testing.T) {
	var h Hub
	if h.Wanted() {
		t.Error("a hub that nobody looks at wants exchanges")
	}
	for _, c := range []struct {
		name string
		f    Filter
		want []string
	}{
		{"all", Filter{}, []string{"a", "b", ""}},
		{"a host", Filter{Host: "b"}, []string{"b"}},
		{"a MAC", Filter{MAC: card(5)}, []string{"a"}},
		{"a DUID", Filter{DUID: ident.NewDUIDLL(card(6))}, []string{"b"}},
		{"nobody", Filter{Host: "c"}, nil},
	} {
		r, err := h.Open(c.f)
		if err != nil || !h.Wanted() {
			t.Fatalf("%v, wanted %t", err, h.Wanted())
		}
		h.Trace(exchange("a", card(5)))
		h.Trace(exchange("b", card(6)))
		h.Trace(exchange("", card(7)))
		r.Close()
		r.Close() // a second time changes nothing
		var got []string
		for len(r.Exchanges()) > 0 {
			got = append(got, (<-r.Exchanges()).Host)
		}
		if diff := cmp.Diff(c.want, got); diff != "" || h.Wanted() {
			t.Errorf("%s: %s, wanted %t", c.name, diff, h.Wanted())
		}
	}
}

// TestSlowReader: whoever does not read holds up nobody, and is told what was lost.
func TestSlowReader(t *testing.T) {
	var h Hub
	slow, err := h.Open(Filter{})
	if err != nil {
		t.Fatal(err)
	}
	for range backlog + 7 {
		h.Trace(exchange("a", card(5)))
	}
	if got := <-slow.Exchanges(); got.Lost != 0 {
		t.Errorf("the first was kept, and says that %d were lost", got.Lost)
	}
	h.Trace(exchange("a", card(5)))
	for range backlog - 1 {
		<-slow.Exchanges()
	}
	if got := <-slow.Exchanges(); got.Lost != 7 {
		t.Errorf("%d were lost, want 7", got.Lost)
	}
	for range backlog + 3 {
		h.Trace(exchange("a", card(5)))
	}
	if n := slow.Lost(); n != 3 {
		t.Errorf("%d were lost at the end, want 3", n)
	}
	if n := slow.Lost(); n != 0 {
		t.Errorf("%d are counted twice", n)
	}
}

// TestReadersAreBounded, and may come and go while exchanges are traced.
func TestReadersAreBounded(t *testing.T) {
	var h Hub
	var all sync.WaitGroup
	for range maxReaders {
		all.Go(func() {
			r, err := h.Open(Filter{})
			if err != nil {
				t.Error(err)
				return
			}
			for range 100 {
				h.Trace(exchange("a", card(5)))
			}
			defer r.Close()
			<-r.Exchanges()
		})
	}
	all.Wait()
	for range maxReaders {
		if _, err := h.Open(Filter{}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := h.Open(Filter{}); !errors.Is(err, ErrTooMany) {
		t.Errorf("one too many: %v", err)
	}
}

// TestNobodyLooks: what the hot path pays is no allocation.
func TestNobodyLooks(t *testing.T) {
	var h Hub
	if n := testing.AllocsPerRun(100, func() {
		if h.Wanted() {
			t.Error("wanted")
		}
	}); n != 0 {
		t.Errorf("%f allocations", n)
	}
}

func TestJSON(t *testing.T) {
	var h Hub
	r, err := h.Open(Filter{})
	if err != nil {
		t.Fatal(err)
	}
	h.Trace(exchange("a", card(5)))
	want := <-r.Exchanges()
	text, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var got Exchange
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want.Outcome = reason.Outcome{} // its parts are told
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" || got.Host != "a" || got.Reason != reason.Answered {
		t.Errorf("%s: %s", text, diff)
	}
}

// TestCapture: both frames, with checksums that add up and the addresses that were on the wire. tcpdump reads a capture in
// test/netns.
func TestCapture(t *testing.T) {
	b := exchange("a", card(5)).Capture()
	var frames [][]byte
	for len(b) > 0 {
		n := binary.LittleEndian.Uint32(b[8:])
		frames = append(frames, b[16:16+n])
		b = b[16+n:]
	}
	if len(frames) != 2 {
		t.Fatalf("%d frames", len(frames))
	}
	for i, want := range []struct {
		to, from ident.MAC
		src, dst string
		ports    [2]uint16
		payload  []byte
	}{
		{ident.MAC{0x33, 0x33, 0, 1, 0, 2}, card(5), "fe80::5", "ff02::1:2", [2]uint16{1546, 547}, []byte{1, 2, 3, 4}},
		{card(5), card(1), "fe80::1", "fe80::5", [2]uint16{547, 546}, []byte{2, 2, 3, 4, 5}},
	} {
		f := frames[i]
		if ident.MAC(f[:6]) != want.to || ident.MAC(f[6:12]) != want.from || f[12] != 0x86 || f[13] != 0xdd {
			t.Errorf("frame %d: Ethernet header %x", i, f[:14])
		}
		ip := f[14:]
		src, dst := netip.AddrFrom16([16]byte(ip[8:24])), netip.AddrFrom16([16]byte(ip[24:40]))
		udp := ip[40:]
		if src.String() != want.src || dst.String() != want.dst || int(binary.BigEndian.Uint16(ip[4:])) != len(udp) {
			t.Errorf("frame %d: from %s to %s, %d octets", i, src, dst, len(udp))
		}
		if ports := [2]uint16{binary.BigEndian.Uint16(udp), binary.BigEndian.Uint16(udp[2:])}; ports != want.ports {
			t.Errorf("frame %d: ports %v", i, ports)
		}
		if diff := cmp.Diff(want.payload, udp[8:]); diff != "" {
			t.Errorf("frame %d: %s", i, diff)
		}
		sum := add(add(uint32(len(udp)+protoUDP), ip[8:40]), udp)
		for sum > 0xffff {
			sum = sum>>16 + sum&0xffff
		}
		if sum != 0xffff {
			t.Errorf("frame %d: the checksum leaves %04x", i, sum)
		}
	}
	if b := (Exchange{Client: netip.MustParseAddrPort("[::]:0"), Server: netip.IPv6Unspecified()}).Capture(); len(b) != 16+ethernet+ipv6Header+udpHeader {
		t.Errorf("silence is captured in %d octets", len(b))
	}
}
