package dhcp6

import (
	"bytes"
	"encoding/hex"
	"net/netip"
	"testing"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site/sitetest"
)

// TestDirect: what the kernel does not take goes to the card that asked, in a frame; never to a relay, to an address that is
// not of the link, or to a card that is not known.
func TestDirect(t *testing.T) {
	link := sitetest.Link(t, 2, "eth1", "2001:db8::1/64")
	snap := sitetest.Snapshot(t, "networks:\n  rack1: {interface: eth1, prefix: \"2001:db8::/64\"}\n", sitetest.Facts(link))
	mac := ident.MAC{0x52, 0x54, 0, 0, 1, 0}
	wire := &cable{sent: make(chan []byte, 1), closed: make(chan struct{})}
	l := &lane{s: &Server{searches: map[int]*search{2: {frames: wire}}}, snap: snap}
	good := func() *item {
		return &item{
			d: datagram{
				link: 2, mac: mac, seen: true, from: netip.MustParseAddrPort("[fe80::5054:ff:fe00:100%eth1]:546"),
				dst: netip.MustParseAddr("ff02::1:2"),
			},
			out: sent{octets: []byte{7, 1, 2, 3}, port: 546},
		}
	}
	if !l.direct(good()) {
		t.Fatal("nothing was sent")
	}
	own := link.LinkLocal.As16()
	want := "60000000000c11ff" + hex.EncodeToString(own[:]) + "fe80000000000000505400fffe000100" + "02230222000c"
	got := <-wire.sent
	if !bytes.HasPrefix(got, unhex(t, want)) || !bytes.HasSuffix(got, []byte{7, 1, 2, 3}) || wire.to != mac {
		t.Errorf("sent %x to %s, want %s", got, wire.to, want)
	}
	pseudo := append(append([]byte{}, got[8:40]...), 0, 0, 0, 12, 0, 0, 0, protoUDP)
	if sum := checksum(append(pseudo, got[40:]...)); sum != 0 && sum != 0xffff {
		t.Errorf("checksum leaves %04x", sum)
	}
	for name, spoil := range map[string]func(*item){
		"a relay":             func(it *item) { it.p.hops = []hop{{}} },
		"not of the link":     func(it *item) { it.d.from = netip.MustParseAddrPort("[2001:db8::5]:546") },
		"a card unknown":      func(it *item) { it.d.seen = false },
		"a link without eyes": func(it *item) { it.d.link = 3 },
	} {
		it := good()
		spoil(it)
		if l.direct(it) {
			t.Errorf("%s: sent", name)
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
