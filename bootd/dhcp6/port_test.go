package dhcp6

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
)

// TestPortReservation: a host that is named by its place in the rack is whoever is plugged in there, whatever card or DUID it
// shows, but for a card that is listed itself.
func TestPortReservation(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	snap := sitetest.Snapshot(t, racks+`  node7: {port: {relay: "2001:db8:2::1", interface_id: p7}, address: "2001:db8:2::7"}
  node8: {port: {relay: "2001:db8:2::1", interface_id: "0x7038", remote_id: line 8}, address: "2001:db8:2::8"}
  node9: {port: {relay: "2001:db8:2::1", remote_id: line 8}, address: "2001:db8:2::9"}
`, sitetest.Facts(sitetest.Link(t, lo.Index, "lo", "2001:db8:1::1/64")))
	client, seen := startRacks(t, func(c *Config) { c.Snapshot = func() *site.Snapshot { return snap } })
	at := func(id string) []byte { return opt(dhcpv6.OptionInterfaceID, []byte(id)...) }
	line := func(id string) []byte { return opt(dhcpv6.OptionRemoteID, append([]byte{0, 0, 0, 9}, id...)...) }
	stranger := lladdr(ident.MAC{0x52, 0x54, 0, 0, 0xff, 1})
	for _, c := range []struct {
		name       string
		link       string
		options    [][]byte
		host, addr string
		rule       string
	}{
		{"its port", rack2, [][]byte{at("p7")}, "node7", "2001:db8:2::7", who.RelayPort.String()},
		{"its port, and a card that nobody listed", rack2, [][]byte{at("p7"), stranger}, "node7", "2001:db8:2::7", who.RelayPort.String()},
		{"its port, and a card that is listed", rack2, [][]byte{at("p7"), lladdr(node2())}, "node2", "2001:db8:2::200", who.RelayMAC.String()},
		{"both identifiers before one", rack2, [][]byte{at("p8"), line("line 8")}, "node8", "2001:db8:2::8", who.RelayPort.String()},
		{"one identifier, whatever the other", rack2, [][]byte{at("p5"), line("line 8")}, "node9", "2001:db8:2::9", who.RelayPort.String()},
		{"the other alone", rack2, [][]byte{line("line 8")}, "node9", "2001:db8:2::9", who.RelayPort.String()},
		{"one of two", rack2, [][]byte{at("p8"), line("line 1")}, "", "", ""},
		{"no port", rack2, nil, "", "", ""},
		{"the port of another relay", "2001:db8:2::2", [][]byte{at("p7")}, "", "", ""},
	} {
		if _, err := client.Write(forward(0, c.link, "fe80::1", anonymous(), append(c.options, relayPort())...)); err != nil {
			t.Fatal(err)
		}
		o := seen.next(t)
		want := reason.Outcome{Reason: reason.UnknownHost, Network: "rack2"}
		if c.host != "" {
			want = reason.Outcome{Reason: reason.Answered, Host: c.host, Network: "rack2", Rule: c.rule}
		}
		if o.Outcome != want {
			t.Errorf("%s: observed %+v, want %+v", c.name, o.Outcome, want)
		}
		if c.host == "" {
			continue
		}
		b := make([]byte, 1500)
		n, err := client.Read(b)
		if err != nil || !bytes.Contains(b[:n], netip.MustParseAddr(c.addr).AsSlice()) {
			t.Errorf("%s: answered % x, %v", c.name, b[:n], err)
		}
	}
}
