package dhcp6

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"testing"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/trace"
)

// TestRelayEvidence: who asks is what the relay next to the client says of its card, else the client's address there, and never
// what stands farther out of another's.
func TestRelayEvidence(t *testing.T) {
	stranger, broken := lladdr(ident.MAC{0x52, 0x54, 0, 0, 0xff, 1}), lladdr(ident.MAC{0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	for _, c := range []struct {
		name string
		b    []byte
		host string
		rule who.Kind
	}{
		{"the relay next to the client", forward(0, rack2, "fe80::1", anonymous(), lladdr(node2()), relayPort()), "node2", who.RelayMAC},
		{"it goes before the one farther out", forward(1, "::", "2001:db8:77::9", forward(0, rack2, "fe80::1", anonymous(), lladdr(node2())), stranger, relayPort()), "node2", who.RelayMAC},
		{"a stranger there, and a host farther out", forward(1, "::", "2001:db8:77::9", forward(0, rack2, "fe80::1", anonymous(), stranger), lladdr(node2()), relayPort()), "", 0},
		{"no card's address there", forward(1, "::", "2001:db8:77::9", forward(0, rack2, "fe80::1", anonymous(), broken), lladdr(node2()), relayPort()), "node2", who.RelayMAC},
		{"the client's own address", forward(0, rack2, ll, anonymous(), relayPort()), "node2", who.EUI64},
		{"the address of the relay itself", forward(1, "::", ll, forward(0, rack2, "fe80::1", anonymous()), relayPort()), "", 0},
	} {
		client, seen := startRacks(t, nil)
		if _, err := client.Write(c.b); err != nil {
			t.Fatal(err)
		}
		want := reason.Outcome{Reason: reason.UnknownHost, Network: "rack2"}
		if c.host != "" {
			want = reason.Outcome{Reason: reason.Answered, Network: "rack2", Host: c.host, Rule: c.rule.String()}
		}
		if o := seen.next(t); o.Outcome != want {
			t.Errorf("%s: observed %+v, want %+v", c.name, o.Outcome, want)
		}
	}
}

// relayedServer is a server that was never started, and a datagram with a relayed Solicit.
func relayedServer(cfg Config, from string) (*Server, *datagram) {
	return &Server{cfg: cfg, ports: ports{seed: maphash.MakeSeed()}}, &datagram{
		link: 2, from: netip.AddrPortFrom(netip.MustParseAddr(from), 547), dst: netip.MustParseAddr("2001:db8:1::1"),
		octets: forward(0, rack3, "fe80::1", anonymous()),
	}
}

// TestRelayVia: prefixes behind a relay are routed over it where it is a neighbour, and not at all where it is none.
func TestRelayVia(t *testing.T) {
	snap := sitetest.Snapshot(t, racks, sitetest.Facts(sitetest.Link(t, 2, "lo", "2001:db8:1::1/64")))
	for from, want := range map[string]string{
		"fe80::9%2": "fe80::9", "2001:db8:1::9": "2001:db8:1::9", "2001:db8:f::9": "invalid IP",
	} {
		s, d := relayedServer(Config{}, from)
		p, why := parse(d.octets)
		if why != reason.None || !s.relayed(d, &p, snap, sitetest.Now()) {
			t.Fatalf("from %s: %s, refused", from, why)
		}
		if got := p.req.At.Via.String(); got != want {
			t.Errorf("from %s over %s, want %s", from, got, want)
		}
	}
}

// TestRelaySenders: the kernel is asked for a relay's card once a second.
func TestRelaySenders(t *testing.T) {
	asked := 0
	s, d := relayedServer(Config{Neighbours: netiftest.Neighbours{MACFunc: func(int, netip.Addr) (ident.MAC, bool) {
		asked++
		return node2(), true
	}}}, "2001:db8:1::9")
	now := sitetest.Now()
	for i, want := range []int{1, 1, 2} {
		if m, ok := s.relaySender(d, now.Add(time.Duration(i)*senderLasts/2)); m != node2() || !ok || asked != want {
			t.Errorf("message %d: %s, %t, asked %d times, want %d", i, m, ok, asked, want)
		}
	}
	for i := range 2 * maxSenders {
		d.link = 10 + i
		s.relaySender(d, now)
		if len(s.senders.cards) > maxSenders {
			t.Fatalf("%d relays are remembered", len(s.senders.cards))
		}
	}
}

// TestRelayLimit: what unlisted machines take through all ports of one relay comes to an end, too, and another relay's go on; a
// place is free again some time later, and what is counted is bounded.
func TestRelayLimit(t *testing.T) {
	p := ports{}
	now := sitetest.Now()
	at := func(link string, id int) port { return port{netip.MustParseAddr(link), uint64(id)<<1 | 1} }
	took := address.Decision{Heard: &timeline.Machine{}, Ops: make([]store.Op, 1)}
	for i := range relayBurst {
		if a := at(rack2, i%8); !p.admit(a, now) {
			t.Fatalf("machine %d waits", i)
		}
		p.charge(at(rack2, i%8), took, now)
	}
	got := []bool{p.admit(at(rack2, 9), now), p.admit(at(rack3, 9), now), p.admit(at(rack2, 9), now.Add(relayEvery)), p.admit(at(rack2, 0), now.Add(relayEvery))}
	if want := []bool{false, true, true, true}; !slices.Equal(got, want) {
		t.Errorf("admitted %v, want %v", got, want)
	}
	p.charge(at(rack2, 9), address.Decision{Heard: took.Heard}, now) // nothing was written
	p.charge(at(rack2, 9), address.Decision{Ops: took.Ops}, now)     // a listed machine
	if _, counted := p.counts[at(rack2, 9)]; counted {
		t.Error("what took nothing is counted")
	}
	later := now.Add(time.Hour) // all that was taken long ago counts no more
	if p.charge(at(rack2, 0), took, later); p.counts[at(rack2, 0)].spent != 1 {
		t.Errorf("an hour later %d are counted", p.counts[at(rack2, 0)].spent)
	}
	for i := range 2 * maxPorts {
		p.charge(at(rack3, i), took, now)
		if len(p.counts) > maxPorts+1 {
			t.Fatalf("%d ports are counted", len(p.counts))
		}
	}
}

// shown is a Tracer that keeps what it sees.
type shown chan trace.Exchange

func (s shown) Wanted() bool           { return true }
func (s shown) Trace(x trace.Exchange) { s <- x }

// TestRelayRefusedIsShown: whoever looks at packets sees the refused ones.
func TestRelayRefusedIsShown(t *testing.T) {
	see := make(shown, 1)
	client, _ := startRacks(t, func(c *Config) { c.Tracer = see })
	b := forward(0, "2001:db8:9::1", ll, anonymous())
	if _, err := client.Write(b); err != nil {
		t.Fatal(err)
	}
	if x := <-see; x.Outcome.Reason != reason.UnconfiguredRelay || string(x.Query) != string(b) || len(x.Reply) > 0 {
		t.Errorf("shown %+v", x)
	}
}

// TestPassOn: of what several relays supply, and one of them twice, the client gets the first of the relay next to it.
func TestPassOn(t *testing.T) {
	erp := func(name byte) []byte { return opt(optERPLocalDomain, 1, name, 0) }
	inner, outer := hop{supplied: append(erp('a'), erp('b')...)}, hop{supplied: erp('c')}
	for _, c := range []struct {
		hops []hop
		oro  []uint16
		want []byte
	}{
		{[]hop{outer, inner}, []uint16{23, 65}, erp('a')},
		{[]hop{outer, {}}, []uint16{65}, erp('c')},
		{[]hop{outer, inner}, []uint16{23}, nil},
	} {
		if got := passOn(nil, c.hops, c.oro); string(got) != string(c.want) {
			t.Errorf("asked for %v: % x, want % x", c.oro, got, c.want)
		}
	}
}
