package site

import (
	"crypto/sha256"
	"encoding/binary"
	"iter"
	"math"
	"net/netip"
	"slices"
	"strings"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
)

const (
	// PoolSlots is how many addresses of one prefix unlisted clients can have at most: it bounds what they can make the
	// store keep, whatever names they invent.
	PoolSlots = 65536
	// PoolTries bounds the slots that one client may look at.
	PoolTries = 256
)

// Pool is the addresses of one prefix that unlisted clients get. Where its ranges hold more than PoolSlots, as many are
// chosen in them, one in each of as many equal parts.
type Pool struct {
	Prefix Prefix
	// Size is how many of its addresses are for unlisted clients: those of hosts, of relays and our own are not counted.
	Size int

	secret [32]byte
	// ranges are in order, before tells how many addresses stand before each.
	ranges []inventory.Range
	before []uint64
	slots  uint64
	// part is the addresses for each slot.
	part uint64
}

func newPool(secret [32]byte, p Prefix, ranges []inventory.Range) *Pool {
	o := &Pool{Prefix: p, secret: secret, ranges: ranges}
	var sum uint64
	for _, r := range ranges {
		o.before = append(o.before, sum)
		if n := r.Size(); n < math.MaxUint64-sum {
			sum += n + 1
		} else { // a /64 and more: its last addresses are not needed
			sum = math.MaxUint64
		}
	}
	o.slots = min(sum, PoolSlots)
	if o.slots > 0 {
		o.part = sum / o.slots
	}
	return o
}

// String is the ranges, as people write them.
func (o *Pool) String() string {
	all := make([]string, len(o.ranges))
	for i, r := range o.ranges {
		all[i] = r.String()
	}
	return strings.Join(all, ", ")
}

// addr is the address of a slot.
func (o *Pool) addr(slot uint64) netip.Addr {
	at := slot * o.part
	if o.part > 1 {
		at += o.hash("slot", binary.BigEndian.AppendUint64(nil, slot)) % o.part
	}
	i := len(o.ranges) - 1
	for o.before[i] > at {
		i--
	}
	return o.ranges[i].At(at - o.before[i])
}

// Holds reports whether an address is one of the pool's, whoever has it.
func (o *Pool) Holds(a netip.Addr) bool {
	for i, r := range o.ranges {
		if at, ok := r.Index(a); ok {
			slot := (o.before[i] + at) / o.part
			return slot < o.slots && o.addr(slot) == a
		}
	}
	return false
}

// hash is F of RFC 7943 section 4.1, over the prefix, who asks and the secret.
func (o *Pool) hash(what string, of []byte) uint64 {
	in := make([]byte, 0, 96+len(of))
	in = append(in, o.secret[:]...)
	in = append(in, what...)
	a := o.Prefix.Masked().Addr().As16()
	in = append(in, a[:]...)
	in = append(in, byte(o.Prefix.Bits()))
	in = append(in, of...)
	sum := sha256.Sum256(in)
	return binary.BigEndian.Uint64(sum[:])
}

// path gives the pool's addresses in the order in which a client tries them: first the one of its card, so that a machine
// whose DUID is new at each boot finds its address again, then those of the client. The whole of a pool of PoolTries.
func (o *Pool) path(m ident.MAC, client []byte) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		if o.slots == 0 {
			return
		}
		if m.Valid() && !yield(o.addr(o.hash("mac", m[:])%o.slots)) {
			return
		}
		h := o.hash("client", client)
		slot, step := h%o.slots, o.step(h>>32)
		for range min(o.slots, PoolTries) {
			if !yield(o.addr(slot)) {
				return
			}
			slot = (slot + step) % o.slots
		}
	}
}

// step is one that leads through all slots.
func (o *Pool) step(h uint64) uint64 {
	step := 1 + h%o.slots
	for gcd(step, o.slots) != 1 {
		step++
	}
	return step
}

func gcd(a, b uint64) uint64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// PoolPath gives the addresses of a pool that an unlisted client may take, in its order: the same for the same client
// although the leases were lost (RFC 7943 section 4.1). m is its MAC, where it is known; client its DUID and IAID.
func (s *Snapshot) PoolPath(n *Network, o *Pool, m ident.MAC, client []byte) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
		for a := range o.path(m, client) {
			if s.mayBeGuest(n, o.Prefix.Prefix, a) && !yield(a) {
				return
			}
		}
	}
}

// PoolOf is the pool that a client whom nobody listed may have an address of; nil: it is none of a pool's, a host's, a relay's
// or our own.
func (s *Snapshot) PoolOf(n *Network, a netip.Addr) *Pool {
	for _, o := range n.Pools {
		if o.Prefix.Contains(a) {
			if o.Holds(a) && s.mayBeGuest(n, o.Prefix.Prefix, a) {
				return o
			}
			return nil
		}
	}
	return nil
}

// pools makes the pools of the networks that have them, and takes what nobody may have off their sizes.
func (r *resolver) pools() {
	for _, n := range r.snap.Networks {
		if n.Unknown != "pool" {
			continue
		}
		in := r.written[n.Name]
		for _, p := range n.Prefixes {
			ranges := in.Pool.In(p.Prefix)
			if !in.Pool.Set() && !in.Pool.None {
				ranges = []inventory.Range{inventory.DefaultPool(p.Prefix)}
			}
			if len(ranges) > 0 {
				o := newPool(r.snap.Secret, p, ranges)
				o.Size = int(o.slots)
				n.Pools = append(n.Pools, o)
				o.lessReserved()
			}
		}
		if n.Link != nil {
			for _, l := range n.Link.Addrs {
				n.less(l.Addr())
			}
		}
		for _, a := range n.Relays {
			if n.Link == nil || !n.Link.has(a) {
				n.less(a)
			}
		}
	}
	for _, h := range r.snap.Hosts {
		for _, c := range h.NICs {
			for name, addrs := range c.addrs {
				for _, a := range addrs {
					r.snap.index.networks[name].less(a)
				}
			}
		}
	}
}

func (n *Network) less(a netip.Addr) {
	for _, o := range n.Pools {
		o.less(a)
	}
}

func (o *Pool) less(a netip.Addr) {
	if o.Holds(a) {
		o.Size--
	}
}

// lessReserved takes the addresses off that no machine may have (inventory.Unusable). All are looked at only where one of the
// ranges begins or ends beside reserved identifiers: in one that goes far past them hardly one is a slot.
func (o *Pool) lessReserved() {
	near := func(r inventory.Range) bool {
		for _, a := range []netip.Addr{r.First, r.Last} {
			b := a.As16()
			if iid := [5]byte(b[8:13]); iid == [5]byte{0x02, 0x00, 0x5e, 0xff, 0xfe} || iid == [5]byte{0xfd, 0xff, 0xff, 0xff, 0xff} {
				return true
			}
		}
		return false
	}
	if !slices.ContainsFunc(o.ranges, near) {
		o.less(o.Prefix.Masked().Addr())
		return
	}
	for slot := range o.slots {
		if inventory.Unusable(o.Prefix.Prefix, o.addr(slot)) != "" {
			o.Size--
		}
	}
}
