package dhcp6

import (
	"fmt"
	"hash/maphash"
	"net/netip"
	"sync"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// relayed fills in where a message that came through relays belongs, and reports whether it may be decided. Who speaks for a
// link is what its network's `relay`, `relay_from` and `relay_hops` say, on a link that carries relays; the refusals that
// follow from it are observed here.
func (s *Server) relayed(d *datagram, p *packet, snap *site.Snapshot, now time.Time) bool {
	link := linkAddress(p.hops)
	l, carries := snap.Carries(d.link)
	peer := p.hops[len(p.hops)-1].peer.WithZone("")
	req := &p.req
	req.At = site.Arrival{Link: l.Name, Index: d.link, Source: peer, Dest: d.dst, Relay: link}
	if from := d.from.Addr().WithZone(""); from.IsLinkLocalUnicast() || l.Near(from) {
		req.At.Via = from
	}
	network, known := snap.Serves(req.At)
	why, foreign := reason.None, false
	switch {
	case !carries:
		why = reason.NotServedLink
	case !known:
		why, foreign = reason.UnconfiguredRelay, link.IsGlobalUnicast() && !link.IsLinkLocalUnicast()
	case impostor(snap, network, d, p.hops):
		why = reason.UnconfiguredRelay
	case !network.RelaysFrom(d.from.Addr().WithZone("")), network.RelayHops > 0 && len(p.hops) > network.RelayHops:
		why, foreign = reason.UnconfiguredRelay, true
	}
	if why != reason.None {
		o := timeline.Observation{
			Adapter: adapter, Message: req.Msg.String(), Outcome: reason.Outcome{Reason: why}, From: timeline.Sender{AddrPort: d.from},
		}
		if foreign {
			s.relays.note(&o, link, network, d, len(p.hops), l.Name, now)
		}
		s.cfg.Observer.Observe(o)
		s.trace(d, now, req.Client, o.Outcome, sent{})
		return false
	}
	for i := len(p.hops) - 1; i >= 0; i-- {
		if m := p.hops[i].mac; m.Valid() {
			req.Evidence = append(req.Evidence, who.Evidence{Kind: who.RelayMAC, MAC: m})
			break
		}
	}
	if h := portOf(p.hops); h != nil {
		at := site.Port{Relay: link, InterfaceID: string(h.interfaceID)}
		if len(h.remoteID) > lenEnterprise {
			at.RemoteID = string(h.remoteID[lenEnterprise:])
		}
		req.Evidence = append(req.Evidence, who.Evidence{Kind: who.RelayPort, Port: at})
	}
	req.Evidence = who.AppendEUI64(who.AppendClient(req.Evidence, req.Client), peer)
	if !s.ports.admit(s.ports.of(link, p.hops), now) {
		req.Hold = reason.RateLimited
	}
	return true
}

// impostor reports whether a Relay-Forward was made by a machine that is a client itself: one of our hosts sent it to us, or
// gave it to the relay of its own link, which then names another network around it. Else every machine could speak for any
// link.
func impostor(snap *site.Snapshot, network *site.Network, d *datagram, hops []hop) bool {
	if _, listed := snap.NIC(d.mac); d.seen && listed {
		return true
	}
	if _, held := snap.Holder(d.from.Addr().WithZone("")); held {
		return true
	}
	for _, h := range hops[:len(hops)-1] {
		if n, ok := snap.Serves(site.Arrival{Relay: h.link}); ok && n != network {
			return true
		}
		if n, ok := snap.NetworkOf(h.peer); ok && n != network {
			return true
		}
		if _, held := snap.Holder(h.peer); held {
			return true
		}
	}
	return false
}

const (
	// senderLasts is how long a relay's card is taken for granted: a rack that boots is thousands of messages of one relay, and
	// the kernel is asked for each relay once in that time.
	senderLasts = time.Second
	// maxSenders bounds the relays that are remembered; beyond it all of them are asked for again.
	maxSenders = 256
)

// relayed reports whether a datagram says that a relay sent it.
func (d *datagram) relayed() bool {
	return len(d.octets) > 0 && d.octets[0] == byte(dhcpv6.MessageTypeRelayForward)
}

// relaySender finds the card of a relay.
func (s *Server) relaySender(d *datagram, now time.Time) (ident.MAC, bool) {
	from := d.from.Addr().WithZone("")
	at := seat{d.link, from}
	c := &s.senders
	c.mu.Lock()
	known, ok := c.cards[at]
	c.mu.Unlock()
	if ok && now.Before(known.until) {
		return known.mac, known.seen
	}
	mac, seen := s.cfg.Neighbours.MAC(d.link, from)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cards == nil || len(c.cards) >= maxSenders {
		c.cards = map[seat]card{}
	}
	c.cards[at] = card{mac, seen, now.Add(senderLasts)}
	return mac, seen
}

// seat is where a relay sends from.
type seat struct {
	link int
	addr netip.Addr
}

// card is what the neighbours said of it; not seen: they did not know.
type card struct {
	mac   ident.MAC
	seen  bool
	until time.Time
}

// senders are the relays that were heard just now.
type senders struct {
	mu    sync.Mutex
	cards map[seat]card
}

const (
	// maxRelaysNoted bounds the relays that are told of and not listed; a flood of invented ones is not told of.
	maxRelaysNoted = 32
	// noteEvery is the time between two events of one of them.
	noteEvery = 10 * time.Minute
)

// book remembers which relays were told of that no network names, or that send from where its network's relays do not.
type book struct {
	mu    sync.Mutex
	noted map[stranger]time.Time
}

// stranger is a link that no network names, or a network's with the address that it was claimed from.
type stranger struct{ link, from netip.Addr }

// note adds to an observation what a person needs to list the relay. A network is given where one names the link.
func (b *book) note(o *timeline.Observation, link netip.Addr, network *site.Network, d *datagram, hops int, name string, now time.Time) {
	from := d.from.Addr().WithZone("")
	who, f := stranger{link: link}, &timeline.Foreign{Kind: timeline.OtherRelay, Link: name, Addr: from, MAC: d.mac, Relay: link}
	if network != nil {
		who.from, f.Network, o.Outcome.Network = from, network.Name, network.Name
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	last, known := b.noted[who]
	if !known && len(b.noted) >= maxRelaysNoted {
		for a, t := range b.noted {
			if now.Sub(t) > noteEvery {
				delete(b.noted, a)
			}
		}
		if len(b.noted) >= maxRelaysNoted {
			return
		}
	}
	o.Foreign = f
	if known && now.Sub(last) < noteEvery {
		return
	}
	if b.noted == nil {
		b.noted = map[stranger]time.Time{}
	}
	b.noted[who] = now
	detail := fmt.Sprintf("asks on %s; if it is yours, list it below networks: %s", name, site.RelayLine(link))
	switch {
	case network == nil:
	case network.RelaysFrom(from): // a machine behind it posed as a relay, or a switch is one
		detail = fmt.Sprintf("asks on %s for clients of %s through %d relays: relay_hops of %s is %d", name, link, hops, network.Name, network.RelayHops)
	default:
		detail = fmt.Sprintf("asks on %s for clients of %s; if it is yours, ", name, link)
		detail += network.RelayFromLine(from, maxDetail-len(detail))
	}
	o.Events = append(o.Events, timeline.Event{
		Kind: timeline.ForeignRelay, Reason: reason.UnconfiguredRelay, Network: f.Network, Addr: from.String(), Detail: detail,
	})
}

// maxDetail is what an event may say.
const maxDetail = 200

const (
	// What machines that nobody listed may take through one port of a relay, and through one relay, before they wait: a
	// rack of new machines boots in one go, each with three or four leases that are written.
	portBurst, portEvery   = 256, time.Second
	relayBurst, relayEvery = 1024, time.Second / 8
	// maxPorts bounds the ports that are counted; beyond it the count begins anew.
	maxPorts = 4096
)

// port is where a client is attached, as far as its relays say: a link, and the hash of interface-id and remote-id. The hash
// of no port is 0: it stands for the relay as a whole.
type port struct {
	link netip.Addr
	hash uint64
}

// of names the port of a message by the relay next to the client that gives an interface-id or remote-id.
func (p *ports) of(link netip.Addr, hops []hop) port {
	h := portOf(hops)
	if h == nil {
		return port{link, 1}
	}
	sum := maphash.Bytes(p.seed, append(append(append([]byte{}, h.interfaceID...), 0), h.remoteID...))
	return port{link, sum | 1}
}

// portOf is the relay next to the client that gives an interface-id or remote-id, nil where none does.
func portOf(hops []hop) *hop {
	for i := len(hops) - 1; i >= 0; i-- {
		if hops[i].interfaceID != nil || hops[i].remoteID != nil {
			return &hops[i]
		}
	}
	return nil
}

// ports counts what unlisted machines take behind relays, so that one port cannot use up the addresses of a rack, nor one
// rack our disk. Listed machines are bounded by the inventory.
type ports struct {
	// seed is of this process: nobody outside can choose ports that meet.
	seed maphash.Seed

	mu     sync.Mutex
	counts map[port]bucket
}

// bucket is full when spent has come down to zero; it comes down by one each interval.
type bucket struct {
	spent int
	since time.Time
}

func (b bucket) at(now time.Time, every time.Duration) bucket {
	n := int(now.Sub(b.since) / every)
	if n <= 0 {
		return b
	}
	if n >= b.spent {
		return bucket{since: now}
	}
	return bucket{b.spent - n, b.since.Add(time.Duration(n) * every)}
}

// admit reports whether an unlisted machine on a port may have something now.
func (p *ports) admit(at port, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[at].at(now, portEvery).spent < portBurst &&
		p.counts[port{link: at.link}].at(now, relayEvery).spent < relayBurst
}

// charge counts what a decision wrote for a machine that nobody listed.
func (p *ports) charge(at port, d address.Decision, now time.Time) {
	if d.Heard == nil || len(d.Ops) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.counts == nil || len(p.counts) >= maxPorts {
		p.counts = map[port]bucket{}
	}
	for _, k := range []struct {
		port
		every time.Duration
	}{{at, portEvery}, {port{link: at.link}, relayEvery}} {
		b, ok := p.counts[k.port]
		if !ok {
			b.since = now
		}
		b = b.at(now, k.every)
		b.spent++
		p.counts[k.port] = b
	}
}
