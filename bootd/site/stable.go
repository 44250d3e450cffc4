package site

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
)

// stable is the address of a card inside a prefix that nobody wrote down (RFC 7943 section 4.1): a hash over prefix, MAC,
// counter and secret. The same arguments give the same address for good; another counter is taken when one is in use.
func stable(secret [32]byte, p netip.Prefix, m ident.MAC, counter uint32) netip.Addr {
	p = p.Masked()
	a := p.Addr().As16()
	in := make([]byte, 0, len(secret)+len(a)+1+len(m)+4)
	in = append(in, secret[:]...)
	in = append(in, a[:]...)
	in = append(in, byte(p.Bits()))
	in = append(in, m[:]...)
	in = binary.BigEndian.AppendUint32(in, counter)
	sum := sha256.Sum256(in)
	iid := [16]byte{}
	copy(iid[8:], sum[:8]) // 64 bits are plenty, and leave the subnet bits of a shorter prefix zero
	bits := inventory.HostBits(p, netip.AddrFrom16(iid)).As16()
	for i := range a {
		a[i] |= bits[i]
	}
	return netip.AddrFrom16(a)
}

// tries bounds the counters: two hashes on a /64 never meet in practice, on a /120 they do all the time.
func tries(p netip.Prefix) uint32 {
	if p.Bits() > 112 {
		return 1024
	}
	return 16
}

// card is a NIC with what the inventory reserves for it.
type card struct {
	*NIC
	written *inventory.NIC
}

// seed is what the card's computed addresses are made from: its MAC, or a group address, which no card has, made of the
// names of a host that lists no MAC.
func (n *NIC) seed() ident.MAC {
	if n.MAC.Valid() {
		return n.MAC
	}
	in := n.Host.UUID[:]
	switch {
	case len(n.Host.DUIDs) > 0:
		in = []byte(n.Host.DUIDs[0])
	case !n.Host.UUID.Identifies():
		in = []byte(n.Host.Port.String())
	}
	sum := sha256.Sum256(in)
	return ident.MAC{1, 'h', sum[0], sum[1], sum[2], sum[3]}
}

// placing is one address of one card that is still to be computed.
type placing struct {
	nic     *NIC
	network *Network
	prefix  netip.Prefix
	addr    netip.Addr
}

// addresses gives every card its fixed addresses on every network where it may appear: reserved ones first, and one computed
// for each prefix in which it has none. Computed ones are placed in the order of the MACs, so that the order of the file does
// not matter, and those of prev before new ones.
func (r *resolver) addresses() {
	own := map[netip.Addr]string{}
	for _, l := range r.facts.Links {
		for _, a := range l.Addrs {
			own[a.Addr()] = l.Name
		}
	}
	cards := r.cards()
	for _, c := range cards {
		for _, n := range r.where(c.NIC) {
			r.reserve(c, n, own)
		}
	}
	r.compute(cards, own)
}

func (r *resolver) cards() []card {
	cards := make([]card, 0, len(r.inv.Hosts))
	for i, h := range r.snap.Hosts {
		for k, n := range h.NICs {
			cards = append(cards, card{n, &r.inv.Hosts[i].NICs[k]})
		}
	}
	slices.SortStableFunc(cards, func(a, b card) int {
		x, y := a.seed(), b.seed()
		return bytes.Compare(x[:], y[:])
	})
	return cards
}

// where lists the networks on which a card may appear.
func (r *resolver) where(n *NIC) []*Network {
	if n.Network != nil {
		return []*Network{n.Network}
	}
	return r.snap.Networks
}

// usable lists a network's prefixes that are valid now, those still preferred first.
func (r *resolver) usable(n *Network) []Prefix {
	var now, last []Prefix
	for _, p := range n.Prefixes {
		switch {
		case !p.valid(r.now):
		case p.deprecated(r.now):
			last = append(last, p)
		default:
			now = append(now, p)
		}
	}
	return append(now, last...)
}

func (r *resolver) reserve(c card, n *Network, own map[netip.Addr]string) {
	for _, p := range r.usable(n) {
		for _, v := range c.written.Addresses {
			a, ok := v.V, p.Contains(v.V)
			if inventory.IsSuffix(v.V) {
				a, ok = inventory.Join(p.Prefix, v.V)
			}
			if !ok || inventory.Unusable(p.Prefix, a) != "" {
				continue
			}
			if link, ours := own[a]; ours {
				r.problem(n.Name, c.Host.Name, v.Pos, "%s is our own address on %s: give the host another one", a, link)
				continue
			}
			if slices.Contains(n.Relays, a) {
				r.problem(n.Name, c.Host.Name, v.Pos, "%s is the address of the relay of %s: give the host another one", a, n.Name)
				continue
			}
			c.addrs[n.Name] = append(c.addrs[n.Name], a)
			if !c.given.IsValid() {
				c.given = a
			}
			r.snap.index.byAddr[a] = c.NIC
		}
	}
}

// compute places the addresses that nobody wrote down.
func (r *resolver) compute(cards []card, own map[netip.Addr]string) {
	free := func(p netip.Prefix, a netip.Addr) bool {
		_, used := r.snap.index.byAddr[a]
		_, ours := own[a]
		return !used && !ours && inventory.Unusable(p, a) == ""
	}
	var places []placing
	for _, c := range cards {
		for _, n := range r.where(c.NIC) {
			for _, p := range r.usable(n) {
				if slices.ContainsFunc(c.addrs[n.Name], p.Contains) {
					continue
				}
				w := placing{nic: c.NIC, network: n, prefix: p.Prefix}
				if old := r.before(w); old.IsValid() && free(p.Prefix, old) {
					w.addr = old
					r.snap.index.byAddr[old] = c.NIC
				}
				places = append(places, w)
			}
		}
	}
	for _, w := range places {
		for k := uint32(0); !w.addr.IsValid() && k < tries(w.prefix); k++ {
			if a := stable(r.snap.Secret, w.prefix, w.nic.seed(), k); free(w.prefix, a) {
				w.addr = a
			}
		}
		if !w.addr.IsValid() {
			r.problem(w.network.Name, w.nic.Host.Name, inventory.Pos{}, "no address is left in %s for %s", w.prefix, w.nic.Holder())
			continue
		}
		w.nic.addrs[w.network.Name] = append(w.nic.addrs[w.network.Name], w.addr)
		r.snap.index.byAddr[w.addr] = w.nic
	}
}

// before is the computed address that prev had in this place. One that was reserved then is not kept: after a restart it would
// be another.
func (r *resolver) before(w placing) netip.Addr {
	if r.prev == nil || r.prev.Secret != r.snap.Secret {
		return netip.Addr{}
	}
	old, ok := r.prev.NIC(w.nic.MAC)
	if !ok {
		return netip.Addr{}
	}
	for _, a := range old.addrs[w.network.Name] {
		if !w.prefix.Contains(a) {
			continue
		}
		for k := range tries(w.prefix) {
			if stable(r.snap.Secret, w.prefix, w.nic.MAC, k) == a {
				return a
			}
		}
	}
	return netip.Addr{}
}
