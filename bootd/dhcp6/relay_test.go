package dhcp6

import (
	"bytes"
	"hash/maphash"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

const (
	rack2 = "2001:db8:2::1"
	rack3 = "2001:db8:3::1"
	ll    = "fe80::5054:ff:fe00:200"
)

// racks are rack1 on loopback and two behind relays; node2 has a reserved address in rack2, rack3 takes anybody.
const racks = `networks:
  rack1: {interface: lo, prefix: "2001:db8:1::/64"}
  rack2: {relay: ["2001:db8:2::1", "2001:db8:2::2"], prefix: "2001:db8:2::/64"}
  rack3: {relay: "2001:db8:3::1", prefix: "2001:db8:3::/64", unknown: discover}
hosts:
  node1: {mac: "52:54:00:00:01:00", address: "2001:db8:1::100"}
  node2: {mac: "52:54:00:00:02:00", address: "2001:db8:2::200"}
`

func node2() ident.MAC { return ident.MAC{0x52, 0x54, 0, 0, 2, 0} }

// forward wraps a message as a relay does.
func forward(hops byte, link, peer string, inner []byte, options ...[]byte) []byte {
	b := []byte{byte(dhcpv6.MessageTypeRelayForward), hops}
	b = append(b, netip.MustParseAddr(link).AsSlice()...)
	b = append(b, netip.MustParseAddr(peer).AsSlice()...)
	b = append(b, bytes.Join(options, nil)...)
	return append(b, opt(dhcpv6.OptionRelayMsg, inner...)...)
}

func relayPort() []byte { return opt(dhcpv6.OptionRelayPort, 0, 0) }

func lladdr(m ident.MAC) []byte {
	return opt(dhcpv6.OptionClientLinkLayerAddr, append([]byte{0, 1}, m[:]...)...)
}

// anonymous is a Solicit whose DUID says nothing of its card.
func anonymous() []byte {
	return msg(address.Solicit, opt(dhcpv6.OptionClientID, 0, 2, 0, 0, 0, 9, 1), ia(dhcpv6.OptionIANA), opt(dhcpv6.OptionORO, 0, 23, 0, 65))
}

// startRacks serves racks on a port of loopback.
func startRacks(t testing.TB, change func(*Config)) (net.Conn, recorder) {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	snap := sitetest.Snapshot(t, racks, sitetest.Facts(sitetest.Link(t, lo.Index, "lo", "2001:db8:1::1/64")))
	client, seen, _ := start(t, memory.New(), func(c *Config) {
		c.Snapshot = func() *site.Snapshot { return snap }
		if change != nil {
			change(c)
		}
	})
	return client, seen
}

// TestRelayReply compares a whole Relay-Reply through two relays: hop counts, addresses, interface-ids, relay ports, and what
// the relay next to the client supplies.
func TestRelayReply(t *testing.T) {
	client, seen := startRacks(t, nil)
	supplied := opt(dhcpv6.OptionRSOO, bytes.Join([][]byte{opt(dhcpv6.OptionERPLocalDomainName, 1, 'x', 0), opt(dhcpv6.OptionDNSRecursiveNameServer, make([]byte, 16)...)}, nil)...)
	inner := forward(0, rack2, ll, anonymous(), opt(dhcpv6.OptionInterfaceID, 'p', '7'), lladdr(node2()), supplied,
		opt(dhcpv6.OptionRemoteID, 0, 0, 0, 9, 'r'), opt(dhcpv6.OptionRelayAgentSubscriberID, 's'))
	got := ask(t, client, forward(1, "::", "2001:db8:77::9", inner, opt(dhcpv6.OptionInterfaceID), opt(dhcpv6.OptionRelayPort, 2, 35)))

	o := seen.next(t)
	want := reason.Outcome{Reason: reason.Answered, Host: "node2", Network: "rack2", Rule: who.RelayMAC.String()}
	if o.Outcome != want || o.MAC != node2() {
		t.Errorf("observed %+v", o)
	}
	outer, inner := unwrap(t, got)
	if diff := cmp.Diff(without(forward(1, "::", "2001:db8:77::9", nil, opt(dhcpv6.OptionInterfaceID), opt(dhcpv6.OptionRelayPort, 2, 35))), outer[1:]); diff != "" || outer[0] != 13 {
		t.Errorf("outer Relay-Reply of type %d: %s", outer[0], diff)
	}
	middle, reply := unwrap(t, inner)
	if diff := cmp.Diff(without(forward(0, rack2, ll, nil, opt(dhcpv6.OptionInterfaceID, 'p', '7'))), middle[1:]); diff != "" || middle[0] != 13 {
		t.Errorf("inner Relay-Reply of type %d: %s", middle[0], diff)
	}
	if reply[0] != byte(address.Advertise) || !bytes.Contains(reply, netip.MustParseAddr("2001:db8:2::200").AsSlice()) {
		t.Errorf("the client gets % x", reply)
	}
	var dns, erp int
	eachOption(reply[lenHeader:], func(code dhcpv6.OptionCode, data []byte) reason.Reason {
		switch {
		case code == dhcpv6.OptionERPLocalDomainName && string(data) == "\x01x\x00":
			erp++
		case code == dhcpv6.OptionDNSRecursiveNameServer && bytes.Equal(data, netip.MustParseAddr("2001:db8:1::1").AsSlice()):
			dns++
		}
		return reason.None
	})
	if dns != 1 || erp != 1 {
		t.Errorf("%d resolvers of ours, %d supplied domains", dns, erp)
	}
}

// without is a Relay-Forward around nothing, without its type and the head of its Relay Message.
func without(b []byte) []byte { return b[1 : len(b)-4] }

// unwrap takes the Relay Message, which stands last, out of a Relay-Reply.
func unwrap(t testing.TB, b []byte) (rest, inner []byte) {
	t.Helper()
	if len(b) < lenRelayHeader {
		t.Fatalf("% x is no Relay-Reply", b)
	}
	eachOption(b[lenRelayHeader:], func(code dhcpv6.OptionCode, data []byte) reason.Reason {
		if code == dhcpv6.OptionRelayMsg {
			inner = data
		}
		return reason.None
	})
	return b[:len(b)-len(inner)-4], inner
}

// TestRelayEightHops goes all the way and comes all the way back; the first relay is a switch, which names no link.
func TestRelayEightHops(t *testing.T) {
	client, seen := startRacks(t, nil)
	b := forward(0, "::", ll, anonymous(), opt(dhcpv6.OptionInterfaceID, 'e'), lladdr(node2()))
	b = forward(1, rack2, ll, b, opt(dhcpv6.OptionInterfaceID, 'f'))
	for i := byte(2); i < 8; i++ {
		b = forward(i, "::", "2001:db8:77::9", b, relayPort())
	}
	b = ask(t, client, b)
	if o := seen.next(t); o.Outcome.Network != "rack2" || o.Outcome.Reason != reason.Answered {
		t.Errorf("observed %+v", o)
	}
	for i := range 8 {
		if b[0] != 13 || b[1] != byte(7-i) {
			t.Fatalf("level %d: type %d, hop count %d", i, b[0], b[1])
		}
		_, b = unwrap(t, b)
	}
	if b[0] != byte(address.Advertise) {
		t.Errorf("the client gets a message of type %d", b[0])
	}
}

// TestTwoRelaysOnOneLink: each that forwards gets its own answer.
func TestTwoRelaysOnOneLink(t *testing.T) {
	client, seen := startRacks(t, nil)
	for _, link := range []string{rack2, "2001:db8:2::2"} {
		got := ask(t, client, forward(0, link, ll, anonymous(), relayPort()))
		if o := seen.next(t); o.Outcome.Network != "rack2" || got[0] != 13 || !bytes.Equal(got[2:18], netip.MustParseAddr(link).AsSlice()) {
			t.Errorf("%s: observed %+v, answered % x", link, o, got)
		}
	}
}

// TestTwoRelaysForwardOne: what one client says comes through two relays of its link, also by one link-address: each relay gets
// an answer, they say the same, and one lease is written.
func TestTwoRelaysForwardOne(t *testing.T) {
	client, seen := startRacks(t, nil)
	inner := msg(address.Solicit, opt(dhcpv6.OptionClientID, []byte(ident.NewDUIDLL(node2()))...), ia(dhcpv6.OptionIANA), opt(dhcpv6.OptionRapidCommit))
	var said []byte
	for i, link := range []string{rack2, "2001:db8:2::2", rack2} {
		id := opt(dhcpv6.OptionInterfaceID, byte(i))
		_, reply := unwrap(t, ask(t, client, forward(0, link, ll, inner, id, relayPort())))
		want := reason.Changed
		if i > 0 {
			want = reason.Retransmit
		}
		if o := seen.next(t); o.Outcome.Reason != want || o.Outcome.Host != "node2" {
			t.Errorf("by relay %d: observed %+v", i, o)
		}
		if i == 0 {
			said = reply
		}
		if diff := cmp.Diff(said, reply); diff != "" || len(reply) == 0 || reply[0] != byte(address.ReplyMsg) {
			t.Errorf("by relay %d the client hears % x: %s", i, reply, diff)
		}
	}
}

// TestRelayRefused: silence, each with its reason and, where a person can do something, the line to paste.
func TestRelayRefused(t *testing.T) {
	listed := func(int, netip.Addr) (ident.MAC, bool) { return ident.MAC{0x52, 0x54, 0, 0, 1, 0}, true }
	for _, c := range []struct {
		name string
		b    []byte
		mac  func(int, netip.Addr) (ident.MAC, bool)
		want reason.Reason
		line string
	}{
		{"a link-address of no network", forward(0, "2001:db8:9::1", ll, anonymous(), relayPort()), nil, reason.UnconfiguredRelay, `rack: {relay: "2001:db8:9::1", prefix: "2001:db8:9::/64"}`},
		{"no link-address at all", forward(0, "::", ll, anonymous()), nil, reason.UnconfiguredRelay, ""},
		{"a link-local link-address", forward(0, "fe80::1", ll, anonymous()), nil, reason.UnconfiguredRelay, ""},
		{"a multicast link-address", forward(0, "ff02::1", ll, anonymous()), nil, reason.UnconfiguredRelay, ""},
		{"a listed machine speaks for another rack", forward(0, rack2, ll, anonymous()), listed, reason.UnconfiguredRelay, ""},
		{"a machine of rack3 speaks for rack2 through its relay", forward(1, rack3, ll, forward(0, rack2, ll, anonymous(), lladdr(node2()))), nil, reason.UnconfiguredRelay, ""},
		{"the same, from its global address", forward(1, "::", "2001:db8:3::77", forward(0, rack2, ll, anonymous())), nil, reason.UnconfiguredRelay, ""},
		{"a loop: hop count 8", forward(8, rack2, ll, anonymous()), nil, reason.Oversized, ""},
		{"a reply of ours that came back", wrap([]hop{{link: netip.MustParseAddr(rack2), peer: netip.MustParseAddr(ll)}}, anonymous()), nil, reason.NotForServers, ""},
	} {
		client, seen := startRacks(t, func(cfg *Config) { cfg.Neighbours = netiftest.Neighbours{MACFunc: c.mac} })
		if _, err := client.Write(c.b); err != nil {
			t.Fatal(err)
		}
		o := seen.next(t)
		if o.Outcome.Reason != c.want || o.Err != nil {
			t.Errorf("%s: observed %+v", c.name, o)
		}
		told := o.Foreign != nil && len(o.Events) == 1 && strings.HasSuffix(o.Events[0].Detail, c.line)
		if told != (c.line != "") {
			t.Errorf("%s: told %+v %+v", c.name, o.Foreign, o.Events)
		}
	}
}

// TestRelayOnAnotherLink: where the inventory says on which link relays come in, they come in on no other.
func TestRelayOnAnotherLink(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	facts := sitetest.Facts(sitetest.Link(t, lo.Index, "lo", "2001:db8:1::1/64"), sitetest.Link(t, lo.Index+9, "eth9", "2001:db8:f::1/64"))
	snap := sitetest.Snapshot(t, "serve: {transit: eth9}\n"+racks, facts)
	client, seen := startRacks(t, func(c *Config) { c.Snapshot = func() *site.Snapshot { return snap } })
	if _, err := client.Write(forward(0, rack2, ll, anonymous())); err != nil {
		t.Fatal(err)
	}
	if o := seen.next(t); o.Outcome.Reason != reason.NotServedLink || o.Foreign != nil {
		t.Errorf("observed %+v", o)
	}
}

// TestRelayFrom: a relay that sends from where its network's relays do not is refused, and told of with the line that lists it;
// defaults hold where the network says nothing. The sender is ::1.
func TestRelayFrom(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	facts := sitetest.Facts(sitetest.Link(t, lo.Index, "lo", "2001:db8:1::1/64"))
	nested := forward(1, "::", "2001:db8:f::12", forward(0, rack2, ll, anonymous(), lladdr(node2())), relayPort())
	plain := forward(0, rack2, ll, anonymous(), lladdr(node2()), relayPort())
	for _, c := range []struct {
		name, defaults, network string
		b                       []byte
		want                    string
	}{
		{"the relay itself", "", `"::1"`, plain, ""},
		{"a relay that another relay is before", "", `["2001:db8:f::/64", "::1/128"]`, nested, ""},
		{"anybody, against the defaults", `"2001:db8:f::11"`, `"::/0"`, plain, ""},
		{"the network's own, against the defaults", `"2001:db8:f::11"`, `"::1"`, plain, ""},
		{"somebody else", "", `"2001:db8:f::11"`, plain, `write below networks.rack2: relay_from: ["2001:db8:f::11", "::1"]`},
		{"somebody else, nested", "", `["2001:db8:f::12", "fe80::/10"]`, nested, `write below networks.rack2: relay_from: ["2001:db8:f::12", "fe80::/10", "::1"]`},
		{"the defaults", `"2001:db8:f::/64"`, "", plain, `write below defaults: relay_from: ["2001:db8:f::/64", "::1"]`},
	} {
		text := racks
		if c.network != "" {
			text = strings.Replace(text, `prefix: "2001:db8:2::/64"`, `prefix: "2001:db8:2::/64", relay_from: `+c.network, 1)
		}
		if c.defaults != "" {
			text = "defaults: {relay_from: " + c.defaults + "}\n" + text
		}
		snap := sitetest.Snapshot(t, text, facts)
		client, seen := startRacks(t, func(cfg *Config) { cfg.Snapshot = func() *site.Snapshot { return snap } })
		for i := range 2 {
			if _, err := client.Write(c.b); err != nil {
				t.Fatal(err)
			}
			o := seen.next(t)
			if o.Outcome.Network != "rack2" || (o.Outcome.Reason == reason.Answered) != (c.want == "") {
				t.Errorf("%s: observed %+v", c.name, o)
			}
			if c.want == "" {
				continue
			}
			if o.Outcome.Reason != reason.UnconfiguredRelay || o.Foreign == nil || o.Foreign.Network != "rack2" || len(o.Events) != 1-i {
				t.Errorf("%s: observed %+v, told %+v", c.name, o, o.Foreign)
			}
			for _, e := range o.Events {
				if want := "asks on lo for clients of 2001:db8:2::1; if it is yours, " + c.want; e.Detail != want || e.Addr != "::1" || e.Network != "rack2" {
					t.Errorf("%s: told %+v, want %s", c.name, e, want)
				}
			}
		}
	}
}

// TestRelayHops: a Relay-Forward that a machine makes itself is one relay too many behind the relay of its link.
func TestRelayHops(t *testing.T) {
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	facts := sitetest.Facts(sitetest.Link(t, lo.Index, "lo", "2001:db8:1::1/64"))
	plain := forward(0, rack2, ll, anonymous(), lladdr(node2()), relayPort())
	forged := forward(1, rack2, "fe80::bad", forward(0, "::", ll, anonymous(), lladdr(node2()), relayPort()), relayPort())
	for _, c := range []struct {
		name, defaults, network string
		b                       []byte
		want                    string
	}{
		{"one of one", "", "1", plain, ""},
		{"two of one", "", "1", forged, "asks on lo for clients of 2001:db8:2::1 through 2 relays: relay_hops of rack2 is 1"},
		{"two of one, by defaults", "1", "", forged, "asks on lo for clients of 2001:db8:2::1 through 2 relays: relay_hops of rack2 is 1"},
		{"two of two", "1", "2", forged, ""},
		{"as many as come", "", "", forged, ""},
	} {
		text := racks
		if c.network != "" {
			text = strings.Replace(text, `prefix: "2001:db8:2::/64"`, `prefix: "2001:db8:2::/64", relay_hops: `+c.network, 1)
		}
		if c.defaults != "" {
			text = "defaults: {relay_hops: " + c.defaults + "}\n" + text
		}
		snap := sitetest.Snapshot(t, text, facts)
		client, seen := startRacks(t, func(cfg *Config) { cfg.Snapshot = func() *site.Snapshot { return snap } })
		if _, err := client.Write(c.b); err != nil {
			t.Fatal(err)
		}
		o := seen.next(t)
		if c.want == "" {
			if o.Outcome.Reason != reason.Answered || o.Outcome.Host != "node2" {
				t.Errorf("%s: observed %+v", c.name, o)
			}
			continue
		}
		if o.Outcome.Reason != reason.UnconfiguredRelay || len(o.Events) != 1 || o.Events[0].Detail != c.want {
			t.Errorf("%s: observed %+v", c.name, o)
		}
	}
}

// TestRelayFlood: relays that are made up are told of within bounds, and each only now and then.
func TestRelayFlood(t *testing.T) {
	var b book
	now := sitetest.Now()
	d := &datagram{from: netip.MustParseAddrPort("[fe80::9%lo]:547")}
	at := func(i int) (o timeline.Observation) {
		b.note(&o, netip.AddrFrom16([16]byte{0x20, 1, 14: byte(i >> 8), 15: byte(i)}), nil, d, 1, "lo", now)
		return o
	}
	for i := range 1000 {
		if o := at(i); (o.Foreign != nil) != (i < maxRelaysNoted) || len(o.Events) != 0 != (i < maxRelaysNoted) {
			t.Fatalf("relay %d: %+v", i, o)
		}
	}
	if o := at(0); o.Foreign == nil || len(o.Events) != 0 {
		t.Errorf("the same again: %+v", o)
	}
	now = now.Add(noteEvery + time.Second)
	if o := at(5000); o.Foreign == nil || len(o.Events) != 1 {
		t.Errorf("another one when the flood is over: %+v", o)
	}
}

// TestPortLimit: what unlisted machines take through one port comes to an end, and the other ports go on.
func TestPortLimit(t *testing.T) {
	client, seen := startRacks(t, nil)
	send := func(portID, i int) reason.Reason {
		duid := opt(dhcpv6.OptionClientID, 0, 2, 0, 0, 0, 9, byte(portID), byte(i>>8), byte(i))
		inner := msg(address.Solicit, duid, ia(dhcpv6.OptionIANA), opt(dhcpv6.OptionRapidCommit))
		if _, err := client.Write(forward(0, rack3, "fe80::1", inner, opt(dhcpv6.OptionInterfaceID, byte(portID)), relayPort())); err != nil {
			t.Fatal(err)
		}
		return seen.next(t).Outcome.Reason
	}
	for i := range portBurst {
		if got := send(1, i); got != reason.Changed {
			t.Fatalf("client %d: %s", i, got)
		}
	}
	if got := send(1, portBurst); got != reason.RateLimited {
		t.Errorf("one more: %s", got)
	}
	if got := send(2, 0); got != reason.Changed {
		t.Errorf("another port: %s", got)
	}
}

// TestPortLimitOfBatch: what waits for the disk counts already.
func TestPortLimitOfBatch(t *testing.T) {
	snap := sitetest.Snapshot(t, racks, sitetest.Facts(sitetest.Link(t, 2, "lo", "2001:db8:1::1/64")))
	s := &Server{cfg: Config{Store: memory.New(), Neighbours: netiftest.Neighbours{}}, ports: ports{seed: maphash.MakeSeed()}}
	l := &lane{s: s, snap: snap, start: sitetest.Now()}
	held := 0
	for i := range 2 * portBurst {
		inner := msg(address.Solicit, opt(dhcpv6.OptionClientID, 0, 2, 0, 0, 0, 9, byte(i>>8), byte(i)), ia(dhcpv6.OptionIANA), opt(dhcpv6.OptionRapidCommit))
		it := &item{d: datagram{link: 2, from: netip.MustParseAddrPort("[2001:db8:1::9]:547"), dst: netip.MustParseAddr("2001:db8:1::1")}}
		it.rooms = l.rooms(it)
		it.d.octets = forward(0, rack3, "fe80::1", inner, opt(dhcpv6.OptionInterfaceID, 1))
		if !l.begin(it) {
			t.Fatal("nothing was decided")
		}
		if it.decision.Outcome.Reason == reason.RateLimited {
			held++
		}
	}
	if held != portBurst {
		t.Errorf("%d were held back, want %d", held, portBurst)
	}
}

// TestPortsForget: a bucket empties again, and a clock that was set back opens none.
func TestPortsForget(t *testing.T) {
	p := ports{counts: map[port]bucket{}}
	now := sitetest.Now()
	at := port{netip.MustParseAddr(rack3), 7}
	p.counts[at] = bucket{portBurst, now}
	got := []bool{p.admit(at, now), p.admit(at, now.Add(portEvery)), p.admit(at, now.Add(-time.Hour))}
	if diff := cmp.Diff([]bool{false, true, false}, got); diff != "" {
		t.Error(diff)
	}
}

// FuzzRelay: what was read of relays goes back in replies that are well formed at every level.
func FuzzRelay(f *testing.F) {
	f.Add(relays(8))
	f.Add(relays(30))
	f.Add(relay(255, msg(address.Solicit)))
	f.Add(loop(8))
	f.Add(loop(9))
	f.Add(forward(8, rack2, ll, anonymous()))
	f.Add(forward(1, rack2, rack2, forward(0, "2001:db8:2::2", ll, anonymous(), relayPort()), relayPort()))
	f.Add(relay(1, relay(0, []byte{12, 0, 0, 0, 0})))
	f.Add(relay(0, msg(1), opt(dhcpv6.OptionRelayMsg, msg(1)...)))
	for _, n := range []int{0, 8, 17, 200} {
		f.Add(relay(0, msg(1), opt(dhcpv6.OptionClientLinkLayerAddr, make([]byte, n)...)))
	}
	f.Add(wrap([]hop{{}}, msg(1)))
	f.Add(forward(1, "::", "2001:db8:77::9", forward(0, rack2, ll, anonymous(), opt(dhcpv6.OptionInterfaceID, 'p')), opt(dhcpv6.OptionRelayPort, 2, 35)))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, why := parse(b)
		if why != reason.None {
			return
		}
		out := wrap(p.hops, passOn(msg(address.ReplyMsg), p.hops, []uint16{65}))
		for _, h := range p.hops {
			if len(out) < lenRelayHeader || out[0] != 13 || out[1] != h.count || !bytes.Equal(out[2:18], h.link.AsSlice()) {
				t.Fatalf("Relay-Reply % x to %+v", out, h)
			}
			_, out = unwrap(t, out)
		}
		if len(out) < lenHeader || out[0] != byte(address.ReplyMsg) {
			t.Errorf("the client gets % x", out)
		}
	})
}

// TestTraceTransit: what relays forward is shown with the link that it came in on, which is no network's.
func TestTraceTransit(t *testing.T) {
	core := sitetest.Link(t, 7, "core", "2001:db8:e::1/64", "2001:db8:f::1/64")
	snap := sitetest.Snapshot(t, "serve: {transit: core}\nnetworks: {rack2: {relay: \"2001:db8:2::1\", prefix: \"2001:db8:2::/64\"}}\n", sitetest.Facts(core))
	for _, c := range []struct {
		from, dst, want string
		link            int
	}{
		{"2001:db8:f::9", "2001:db8:e::1", "core 2001:db8:e::1", 7},
		{"2001:db8:f::9", "ff05::1:3", "core 2001:db8:f::1", 7},
		{"fe80::9", "ff02::1:2", "core " + core.LinkLocal.String(), 7},
		{"2001:db8:f::9", "2001:db8:e::1", " invalid IP", 8},
	} {
		d := &datagram{from: netip.AddrPortFrom(netip.MustParseAddr(c.from), 547), dst: netip.MustParseAddr(c.dst), link: c.link}
		name, mac, from := seenOn(snap, d)
		if got := name + " " + from.String(); got != c.want || mac.Valid() != (name != "") {
			t.Errorf("from %s to %s: %s, %s", c.from, c.dst, got, mac)
		}
	}
}
