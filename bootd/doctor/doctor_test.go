package doctor

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
)

const healthy = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
hosts:
  a: 52:54:00:aa:01:01
`

func input(t *testing.T, text string, change func(*Input)) Input {
	t.Helper()
	facts := sitetest.SmallFacts(t)
	facts.Forwarding, facts.DefaultRoute = true, true
	facts.Links[0].MTU = 1500
	in := Input{
		Snapshot: sitetest.Snapshot(t, text, facts), Running: true, Now: sitetest.Now(), Started: sitetest.Now().Add(-time.Hour),
		Kernel: Facts{
			Forwarding: true, DefaultRoute: true, NeighbourLimit: 1024,
			Links: []Link{
				{Name: "eth0", Up: true, MTU: 1500, AcceptRA: 2, Forwarding: true, Default: true},
				{Name: "eth1", Up: true, MTU: 1500, AcceptRA: 1, Forwarding: true},
			},
		},
	}
	if change != nil {
		change(&in)
	}
	return in
}

// TestExamine compares the whole of what is said.
func TestExamine(t *testing.T) {
	router := func(managed, other, held bool) heard.Foreign {
		return heard.Foreign{Last: sitetest.Now().Add(-5 * time.Second), Foreign: timeline.Foreign{
			Kind: timeline.OtherRouter, Link: "eth1", Addr: netip.MustParseAddr("fe80::1"), Lifetime: 30 * time.Minute,
			Managed: managed, Other: other, Held: held,
		}}
	}
	server := func(offers, held bool) heard.Foreign {
		return heard.Foreign{Last: sitetest.Now(), Foreign: timeline.Foreign{
			Kind: timeline.OtherServer, Link: "eth1", Addr: netip.MustParseAddr("fe80::9"), DUID: "\x00\x03\x00\x01abcdef", Offers: offers, Held: held,
		}}
	}
	foreign := func(f ...heard.Foreign) func(*Input) { return func(in *Input) { in.Foreign = f } }
	for _, c := range []struct {
		name, text string
		change     func(*Input)
		want       []string
	}{
		{name: "healthy", text: healthy},
		{name: "a router without flags", text: healthy, change: foreign(router(false, false, true)), want: []string{
			"error: the RA of fe80::1 on eth1 has M=0 O=0, router lifetime 30m0s (heard 5s ago) | iPXE will not ask DHCPv6 when it hears this one first: no boot script",
			"warning: bootd sends no advertisements on eth1, because fe80::1 was there first | machines know only what that router says: resolver, flags and prefix are its own",
		}},
		{name: "a router without M", text: healthy, change: foreign(router(false, true, false)), want: []string{
			"warning: the RA of fe80::1 on eth1 has M=0 O=1, router lifetime 30m0s (heard 5s ago) | iPXE asks DHCPv6 for options only, and Ubuntu's installer, which takes its address by DHCPv6, gets none",
		}},
		{name: "a router that contradicts", text: healthy, change: func(in *Input) {
			f := router(true, true, false)
			f.HopLimit, f.Lifetime, f.Nameservers = 32, 0, []netip.Addr{netip.MustParseAddr("2001:db8::53")}
			f.Prefixes = []timeline.ForeignPrefix{{Prefix: netip.MustParsePrefix("2001:db8:9::/64"), Autonomous: true, Valid: time.Hour}}
			in.Foreign = []heard.Foreign{f}
		}, want: []string{
			"warning: the RA of fe80::1 on eth1 has hop limit 32 where bootd says 64 | machines change their hop limit with each advertisement; with the lower one far hosts may be out of reach",
			"warning: the RA of fe80::1 on eth1 has the prefix 2001:db8:9::/64, which is none of rack1 | machines make addresses in it that neither DHCPv6 nor DNS of this site know, and may send from them",
			"warning: the RA of fe80::1 on eth1 has the resolver 2001:db8::53, which rack1 does not name | machines that ask it find no name of this site",
		}},
		{name: "the other router lacks what machines need", text: strings.Replace(healthy, "64\"}", "64\", router: other}", 1), change: foreign(router(true, true, false)), want: []string{
			"warning: the prefix 2001:db8:1::/64 is not advertised on eth1 by fe80::1 | iPXE's address out of it is a /128 without neighbours, and machines make no address in it",
			"warning: no resolver (RDNSS) is advertised on eth1 by fe80::1 | Debian's installer, and what has no DHCPv6, stops and asks for one",
		}},
		{name: "a router long ago", text: healthy, change: func(in *Input) {
			f := router(false, false, true)
			f.Last = f.Last.Add(-time.Hour)
			in.Foreign = []heard.Foreign{f}
		}},
		{name: "no other router", text: strings.Replace(healthy, "64\"}", "64\", router: other}", 1), want: []string{
			"error: the inventory says router: other, and no router advertises on eth1 | iPXE and Debian's installer wait for an advertisement and give up",
		}},
		{name: "another server", text: healthy, change: foreign(server(true, false)), want: []string{
			"error: the DHCPv6 server with DUID 00:03:00:01:61:62:63:64:65:66 (fe80::9) answers on eth1 (heard 0s ago) and offers addresses | iPXE takes the first offer it hears: with the other's it boots nothing",
		}},
		{name: "another server without addresses", text: healthy, change: foreign(server(false, false)), want: []string{
			"note: the DHCPv6 server with DUID 00:03:00:01:61:62:63:64:65:66 (fe80::9) answers on eth1 (heard 0s ago) and offers no address | ",
		}},
		{name: "a relay that nobody listed", text: healthy, change: func(in *Input) {
			f := server(false, false)
			f.Kind, f.Relay = timeline.OtherRelay, netip.MustParseAddr("2001:db8:9::1")
			in.Foreign = []heard.Foreign{f}
		}, want: []string{
			"warning: a relay at fe80::9 asks on eth1 for clients of the link 2001:db8:9::1 (heard 0s ago), and no network names it | machines behind it get no answer",
		}},
		{name: "a relay that sends from elsewhere", text: "defaults: {relay_from: \"2001:db8:f::11\"}\n" + strings.Replace(healthy, "64\"}", "64\"}\n  rack2: {relay: \"2001:db8:2::1\", prefix: \"2001:db8:2::/64\"}", 1), change: func(in *Input) {
			f := server(false, false)
			f.Kind, f.Relay, f.Network = timeline.OtherRelay, netip.MustParseAddr("2001:db8:2::1"), "rack2"
			allowed := f
			allowed.Addr = netip.MustParseAddr("2001:db8:f::11")
			in.Foreign = []heard.Foreign{f, allowed}
		}, want: []string{
			"warning: a relay at fe80::9 asks on eth1 for clients of the link 2001:db8:2::1 (heard 0s ago), and relay_from of rack2 does not hold its address | machines behind it get no answer",
		}},
		{name: "a network behind a relay that bootd does not advertise on", text: strings.Replace(healthy, "64\"}", "64\"}\n  rack2: {relay: \"2001:db8:2::1\", prefix: \"2001:db8:2::/64\"}", 1)},
		{name: "our flags", text: strings.Replace(healthy, "64\"}", "64\", ra: {managed: false, other: false, autonomous: false, on_link: false}}", 1), want: []string{
			"error: ra.managed and ra.other are both false | iPXE asks DHCPv6 for nothing at all: no boot script",
			"warning: ra.autonomous is false | Debian's installer gives its DHCPv6 address back and has none left to fetch its answers from",
			"warning: ra.on_link is false | iPXE's address is a /128: without an on-link prefix it has no neighbours",
		}},
		{name: "accept_ra", text: healthy, change: func(in *Input) { in.Kernel.Links[0].AcceptRA = 1 }, want: []string{
			"error: this machine forwards, and eth0 has accept_ra=1 | the kernel ignores advertisements there: the default route is missing, or is lost when it runs out",
		}},
		{name: "accept_ra does not matter to a static route", text: healthy, change: func(in *Input) {
			in.Kernel.Links[0].AcceptRA, in.Kernel.Links[0].Static = 1, true
		}},
		{name: "neighbours", text: healthy, change: func(in *Input) { in.Kernel.NeighbourLimit = 3 }, want: []string{
			"error: the kernel's neighbour table ends at 3 entries, and 1 hosts need about 4 | when a whole rack boots, connections fail at random (\"neighbour table overflow\" in the kernel's log)",
		}},
		{name: "MTU", text: healthy, change: func(in *Input) { in.Kernel.Links[0].MTU = 1400 }, want: []string{
			"warning: machines on eth1 send up to 1500 octets, and eth0 carries 1400 | where ICMPv6 Packet Too Big is filtered on the way, downloads stall",
		}},
		{name: "capability", text: healthy, change: func(in *Input) { in.Kernel.Missing = []string{"CAP_NET_RAW"} }, want: []string{
			"error: bootd has no CAP_NET_RAW | bootd cannot send router advertisements, hear other servers, or recognise machines by their frames",
		}},
		{name: "resolver", text: "serve: {forward: \"2001:db8::53\"}\n" + healthy, change: func(in *Input) {
			in.Resolvers = map[site.Upstream]string{{Transport: "udp", Addr: netip.MustParseAddrPort("[2001:db8::53]:53")}: "no answer in two seconds"}
		}, want: []string{
			"error: the resolver [2001:db8::53]:53 does not answer: no answer in two seconds | machines resolve no foreign names through it: mirrors by name are not found",
		}},
		{name: "what is known already", text: healthy, change: func(in *Input) {
			in.Problems = []site.Problem{{Network: "rack1", Msg: "eth1 is down: `ip link set eth1 up`"}}
			in.Faults, in.Tasks = []string{"files: linux is missing"}, []string{"ra on eth1 does not run: boom"}
		}, want: []string{
			"error: eth1 is down | ", "error: files: linux is missing | hosts that need it cannot be installed",
			"error: ra on eth1 does not run: boom | the link is served in part",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			r := Examine(input(t, c.text, c.change))
			for _, f := range r.Findings {
				got = append(got, string(f.Severity)+": "+f.Text+" | "+f.Consequence)
				if f.Do == "" && f.Severity != Note {
					t.Errorf("nothing to do about %q", f.Text)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if sick := len(got) > 0 && strings.HasPrefix(got[0], "error"); r.Sick() != sick {
				t.Errorf("sick: %v", r.Sick())
			}
		})
	}
}

func TestMissing(t *testing.T) {
	got := missing([]byte("Name:\tbootd\nCapEff:\t0000000000000400\n"))
	if diff := cmp.Diff([]string{"CAP_NET_ADMIN", "CAP_NET_RAW"}, got); diff != "" {
		t.Error(diff)
	}
}

// TestResolvers asks one that answers and one where nobody is.
func TestResolvers(t *testing.T) {
	c, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go func() {
		b := make([]byte, 512)
		n, from, err := c.ReadFromUDPAddrPort(b)
		if err != nil || n < 12 {
			return
		}
		b[2] |= 0x80
		_, _ = c.WriteToUDPAddrPort(b[:n], from) // who asked is gone: the test says so
	}()
	good := site.Upstream{Transport: "udp", Addr: c.LocalAddr().(*net.UDPAddr).AddrPort()}
	nobody := netip.MustParseAddrPort("[::1]:1")
	all := []site.Upstream{good}
	for _, transport := range []string{"udp", "tcp", "tls"} {
		all = append(all, site.Upstream{Transport: transport, Addr: nobody})
	}
	got := Resolvers(context.Background(), all)
	if len(got) != 3 || !strings.Contains(got[all[1]], "refused") || !strings.Contains(got[all[2]], "refused") || !strings.Contains(got[all[3]], "refused") {
		t.Errorf("got %v", got)
	}
}
