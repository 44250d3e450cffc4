package inventory

import (
	"encoding/hex"
	"net/netip"
	"strings"

	"gopkg.in/yaml.v3"
)

// Port is the key `port:` of a host: the place in a rack that it is plugged into, as the relay there tells it.
type Port struct {
	Pos Pos
	// Relay is the relay's link-address.
	Relay Value[netip.Addr]
	// InterfaceID is the content of option 18 (RFC 8415 section 21.18), RemoteID that of option 37 without its enterprise number
	// (RFC 4649 section 3), in octets; unset: whatever it is.
	InterfaceID, RemoteID Value[string]
}

var portFields = []field[Port]{
	{name: "relay", set: put(func(t *Port) *Value[netip.Addr] { return &t.Relay }, (*parser).unicast)},
	{name: "interface_id", set: put(func(t *Port) *Value[string] { return &t.InterfaceID }, (*parser).portID)},
	{name: "remote_id", set: put(func(t *Port) *Value[string] { return &t.RemoteID }, (*parser).portID)},
}

// portID reads text, or octets in hex behind 0x.
func (p *parser) portID(v value) (string, bool) {
	text, ok := p.text(v)
	if !ok {
		return "", false
	}
	digits, is := strings.CutPrefix(text, "0x")
	if !is {
		return text, true
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) == 0 {
		p.bad(v, "%q is no hex: write 0x and two digits for each octet, or text", shorten(text))
		return "", false
	}
	return string(b), true
}

// port reads a host's port.
func (p *parser) port(v value) (Port, bool) {
	t := Port{Pos: keep(p, v, "").Pos}
	before := len(p.faults)
	if v.node.Kind != yaml.MappingNode {
		p.bad(v, "wants the relay and what it says of the port: {relay: \"2001:db8:2::1\", interface_id: ge-0/0/7}, got %s", describe(v.node))
		return t, false
	}
	walk(p, v, portFields, &t)
	switch {
	case len(p.faults) > before:
	case !t.Relay.Set():
		p.bad(v, "has no relay: write the link-address that it puts into its messages")
	case !t.InterfaceID.Set() && !t.RemoteID.Set():
		p.bad(v, "names no port: write interface_id or remote_id, as the relay sends it (bootd trace shows it)")
	}
	return t, len(p.faults) == before
}

// ports finds hosts on one port, and ports of relays that no network names.
func (c *checker) ports() {
	relays := map[netip.Addr]bool{}
	for i := range c.inv.Networks {
		for _, a := range c.inv.Networks[i].Relays {
			relays[a.V] = true
		}
	}
	type place struct {
		relay                 netip.Addr
		interfaceID, remoteID string
	}
	seen := map[place]*Host{}
	for i := range c.inv.Hosts {
		h := &c.inv.Hosts[i]
		if !h.Port.Relay.Set() {
			continue
		}
		if !relays[h.Port.Relay.V] {
			c.badAt(h.Port.Relay.Pos, "%s is the relay of no network", h.Port.Relay.V)
			continue
		}
		at := place{h.Port.Relay.V, h.Port.InterfaceID.V, h.Port.RemoteID.V}
		if first := seen[at]; first != nil {
			c.badAt(h.Port.Pos, "is already the port of hosts.%s (line %d)", first.Name, first.Port.Pos.Line)
			continue
		}
		seen[at] = h
	}
}
