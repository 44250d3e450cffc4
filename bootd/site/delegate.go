package site

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/inventory"
)

// Delegation is a prefix of which clients get parts of one length (RFC 8415 section 6.3).
type Delegation struct {
	Pool   netip.Prefix
	Length int
	// PreferredUntil and ValidUntil are those of the upstream's prefix that the pool is out of; zero: it is written out.
	PreferredUntil, ValidUntil time.Time
	// exclude are given to nobody, in order of address.
	exclude []netip.Prefix
}

// delegation is the pool that an entry stands for; false: it is out of a prefix that has not come, or is about to end.
func (r *resolver) delegation(network string, in inventory.Delegation) (Delegation, bool) {
	if !in.From.Set() {
		return newDelegation(in), true
	}
	p, ok := r.derive(network, in.From, true)
	if !ok || p.deprecated(r.now) || !r.claim(network, "", in.From, claimed{prefix: p.Prefix, what: "a pool of " + network, pool: true}) {
		return Delegation{}, false
	}
	d := Delegation{Pool: p.Prefix, Length: in.Length.V, PreferredUntil: p.PreferredUntil, ValidUntil: p.ValidUntil}
	if p.Exclude.IsValid() {
		d.exclude = []netip.Prefix{p.Exclude}
	}
	return d, true
}

func newDelegation(in inventory.Delegation) Delegation {
	d := Delegation{Pool: in.Pool.V, Length: in.Length.V}
	for _, p := range in.Exclude {
		d.exclude = append(d.exclude, p.V)
	}
	return d
}

// String is what is given, and what is not.
func (d Delegation) String() string {
	text := fmt.Sprintf("/%d", d.Length)
	for _, p := range d.exclude {
		text += ", without " + p.String()
	}
	return text
}

// Parts is how many parts the pool has, a power of two.
func (d Delegation) Parts() uint64 { return 1 << (d.Length - d.Pool.Bits()) }

// At is part i.
func (d Delegation) At(i uint64) netip.Prefix {
	a := d.Pool.Addr().As16()
	high := binary.BigEndian.Uint64(a[:8]) | i<<(64-d.Length)
	binary.BigEndian.PutUint64(a[:8], high)
	return netip.PrefixFrom(netip.AddrFrom16(a), d.Length)
}

// Has reports whether a prefix is one of the parts.
func (d Delegation) Has(p netip.Prefix) bool {
	return p.Bits() == d.Length && d.Pool.Contains(p.Addr()) && p.Masked() == p
}

// Excluded says what a part must leave out: never: the part is given to nobody. out, where it is valid, is the one prefix
// inside the part that its holder leaves out (RFC 6603).
func (d Delegation) Excluded(p netip.Prefix) (out netip.Prefix, never bool) {
	for _, x := range d.exclude {
		switch {
		case !x.Overlaps(p):
		case x.Bits() <= p.Bits() || out.IsValid(): // only one can be said
			return netip.Prefix{}, true
		default:
			out = x
		}
	}
	return out, false
}

// Kept is a prefix that the inventory keeps for a host.
type Kept struct {
	Prefix netip.Prefix
	Host   *Host
}

func (s *Snapshot) sortKept() {
	slices.SortFunc(s.index.kept, func(a, b Kept) int { return a.Prefix.Addr().Compare(b.Prefix.Addr()) })
}

// KeptWithin finds a host's prefix that shares addresses with p.
func (s *Snapshot) KeptWithin(p netip.Prefix) (Kept, bool) {
	all := s.index.kept
	i, _ := slices.BinarySearchFunc(all, p.Addr(), func(k Kept, a netip.Addr) int { return k.Prefix.Addr().Compare(a) })
	for _, j := range []int{i - 1, i} {
		if j >= 0 && j < len(all) && all[j].Prefix.Overlaps(p) {
			return all[j], true
		}
	}
	return Kept{}, false
}

// delegateTries bounds the parts that one client may look at.
const delegateTries = 4096

// DelegatePath gives the parts of a pool that a client may take, in its order, which follows from prefix, client and secret
// (RFC 7943 section 4.1): the same client comes to the same part although the leases were lost. It passes every part of a pool
// once, if there are no more than delegateTries.
func (s *Snapshot) DelegatePath(d Delegation, client []byte) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		a := d.Pool.Addr().As16()
		sum := sha256.Sum256(bytes.Join([][]byte{s.Secret[:], a[:], {byte(d.Pool.Bits()), byte(d.Length)}, client}, nil))
		at, step := binary.BigEndian.Uint64(sum[:8]), binary.BigEndian.Uint64(sum[8:])|1 // odd: it meets every part
		for range min(d.Parts(), delegateTries) {
			if !yield(d.At(at % d.Parts())) {
				return
			}
			at += step
		}
	}
}
