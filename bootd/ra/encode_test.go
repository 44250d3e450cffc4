package ra

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/mdlayher/ndp"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
)

func sample() advert.RA {
	return advert.RA{
		Source: ident.MAC{0x52, 0x54, 0, 0, 0xff, 3}, HopLimit: 64, Managed: true, Other: true, Preference: "high",
		Lifetime: 1800 * time.Second, MTU: 1500,
		Prefixes: []advert.Prefix{{
			Prefix: netip.MustParsePrefix("2001:db8:1::/64"), OnLink: true, Autonomous: true,
			Valid: 7200 * time.Second, Preferred: 3600 * time.Second,
		}},
		Nameservers: []netip.Addr{netip.MustParseAddr("2001:db8:1::1")}, Search: []string{"example.net"},
		RDNSSLifetime: 180 * time.Second, DNSSLLifetime: 240 * time.Second, Room: 1500,
		ReachableTime: 30 * time.Second, RetransTimer: 1500 * time.Millisecond,
		Pref64: []site.Pref64{{Prefix: netip.MustParsePrefix("64:ff9b::/96"), Lifetime: 184 * time.Second}, {Prefix: netip.MustParsePrefix("2001:db8:6400::/40"), Lifetime: 65528 * time.Second}},
		Routes: []site.Route{
			{Prefix: netip.MustParsePrefix("::/0"), Lifetime: time.Minute, Preference: "low"},
			{Prefix: netip.MustParsePrefix("2001:db8:100::/48"), Lifetime: time.Hour, Preference: "high"},
			{Prefix: netip.MustParsePrefix("2001:db8:200::1/128"), Preference: "medium"},
		},
		CaptivePortal: "https://p.example/a",
	}
}

// The octets were read against RFC 4861 sections 4.2 and 4.6, RFC 4191 sections 2.2 and 2.3, RFC 8106
// section 5, RFC 8781 section 4 and RFC 8910 section 2.3.
func TestEncodeAdvertisement(t *testing.T) {
	got, err := encodeAdvertisement(sample(), routerLL, allNodes())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"60000000" + "00d8" + "3a" + "ff",
		"fe800000000000000000000000000001",
		"ff020000000000000000000000000001",
		"8600" + hex.EncodeToString(got[42:44]), // the checksum is checked below
		"40" + "c8" + "0708" + "00007530" + "000005dc",
		"0101" + "52540000ff03",
		"0501" + "0000" + "000005dc",
		"0304" + "40" + "c0" + "00001c20" + "00000e10" + "00000000" + "20010db8000100000000000000000000",
		"1903" + "0000" + "000000b4" + "20010db8000100000000000000000001",
		"2602" + "00b8" + "0064ff9b0000000000000000",
		"2602" + "fffc" + "20010db86400000000000000",
		"1801" + "00" + "18" + "0000003c",
		"1802" + "30" + "08" + "00000e10" + "20010db801000000",
		"1803" + "80" + "00" + "00000000" + "20010db8020000000000000000000001",
		"2503" + hex.EncodeToString([]byte("https://p.example/a")) + "000000",
		"1f03" + "0000" + "000000f0" + "07" + hex.EncodeToString([]byte("example")) + "03" + hex.EncodeToString([]byte("net")) + "00" + "000000",
	}
	if diff := cmp.Diff(strings.Join(want, ""), hex.EncodeToString(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// RFC 1071 arithmetic of its own, so that one mistake is not on both sides.
	sum := 0
	pseudo := append(append([]byte{}, got[8:40]...), 0, 0, 0, byte(len(got)-40), 0, 0, 0, 58)
	for i, v := range append(pseudo, got[40:]...) {
		sum += int(v) << (8 * (1 - i%2))
	}
	if sum%0xffff != 0 {
		t.Errorf("the checksum %x is wrong", got[42:44])
	}
}

func TestEncodeUnlikely(t *testing.T) {
	t.Run("least", func(t *testing.T) {
		got, err := encodeAdvertisement(advert.RA{Preference: "low"}, routerLL, allNodes())
		if err != nil {
			t.Fatal(err)
		}
		m, err := ndp.ParseMessage(got[40:])
		want := &ndp.RouterAdvertisement{RouterSelectionPreference: ndp.Low}
		if diff := cmp.Diff(want, m, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
	t.Run("most", func(t *testing.T) { // lists that go over many options, each as long as it gets
		ra := sample()
		var list []netip.Addr
		for i := range 60 {
			list = append(list, netip.MustParseAddr(fmt.Sprintf("2001:db8::%x", i+1)))
			ra.Search = append(ra.Search, strings.Repeat("x", 45)+"."+strings.Repeat("y", 45)+fmt.Sprint(i)+".example")
		}
		ra.Nameservers, ra.Search, ra.Room = list, append(ra.Search, strings.Repeat(strings.Repeat("z", 56)+".", 3)+strings.Repeat("z", 56)), 9000
		ra.CaptivePortal = "https://" + strings.Repeat("p", 232)
		got, err := encodeAdvertisement(ra, routerLL, allNodes())
		if err != nil {
			t.Fatal(err)
		}
		m, err := ndp.ParseMessage(got[40:])
		if err != nil {
			t.Fatal(err)
		}
		var servers []netip.Addr
		var names []string
		for _, o := range m.(*ndp.RouterAdvertisement).Options {
			switch o := o.(type) {
			case *ndp.RecursiveDNSServer:
				servers = append(servers, o.Servers...)
			case *ndp.DNSSearchList:
				names = append(names, o.DomainNames...)
			}
		}
		if diff := cmp.Diff(ra.Search, names); diff != "" || !slices.Equal(servers, list) {
			t.Errorf("%d resolvers, names (-want +got):\n%s", len(servers), diff)
		}
	})
	t.Run("too much", func(t *testing.T) {
		ra := sample()
		for range 40 {
			ra.Prefixes = append(ra.Prefixes, ra.Prefixes[0])
		}
		_, err := encodeAdvertisement(ra, routerLL, allNodes())
		if err == nil || err.Error() != "encoding RouterAdvertisement: 1536 octets do not fit 1500" {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a name that is no name", func(t *testing.T) {
		ra := sample()
		ra.Search = []string{"xn--\u00fc"}
		if _, err := encodeAdvertisement(ra, routerLL, allNodes()); err == nil {
			t.Error("no error")
		}
	})
}

func TestEncodeSolicitation(t *testing.T) {
	b, err := encodeSolicitation(clientLL, clientMAC)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rsIPXE, hex.EncodeToString(b)); diff != "" { // octet for octet what iPXE sends
		t.Errorf("(-want +got):\n%s", diff)
	}
	m, err := ndp.ParseMessage(b[40:])
	want := &ndp.RouterSolicitation{Options: []ndp.Option{
		&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: net.HardwareAddr(clientMAC[:])},
	}}
	if diff := cmp.Diff(want, m); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
