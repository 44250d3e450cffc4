// Package prefix is arithmetic with IPv6 prefixes: how many fit, which they are, an address inside one.
//
// The package never looks at networks or leases.
package prefix

import (
	"crypto/sha256"
	"fmt"
	"iter"
	"math/big"
	"net/netip"
	"strings"
)

// Parse reads an IPv6 prefix without host bits; its errors name the remedy.
func Parse(s string) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(s)
	switch {
	case err != nil && !strings.Contains(s, "/"):
		return netip.Prefix{}, fmt.Errorf("%q has no length: write it as 2001:db8::/48", s)
	case err != nil:
		return netip.Prefix{}, fmt.Errorf("%q is not an IPv6 prefix, such as 2001:db8::/48", s)
	case !p.Addr().Is6() || p.Addr().Is4In6():
		return netip.Prefix{}, fmt.Errorf("%s is an IPv4 prefix: bootd knows IPv6 only", s)
	case p != p.Masked():
		return netip.Prefix{}, fmt.Errorf("%s has host bits set, did you mean %s?", s, p.Masked())
	}
	return p, nil
}

// Count is the number of prefixes of a length inside p.
func Count(p netip.Prefix, length int) (*big.Int, error) {
	if length < p.Bits() || length > 128 {
		return nil, fmt.Errorf("no /%d lies inside %s: want a length from %d to 128", length, p, p.Bits())
	}
	return new(big.Int).Lsh(big.NewInt(1), uint(length-p.Bits())), nil
}

// Split gives the prefixes of a length inside p in order; the length is one that Count accepts.
func Split(p netip.Prefix, length int) iter.Seq[netip.Prefix] {
	return func(yield func(netip.Prefix) bool) {
		for at, ok := p.Masked().Addr(), true; ok; at, ok = next(at, p, length) {
			if !yield(netip.PrefixFrom(at, length)) {
				return
			}
		}
	}
}

// next is the prefix of a length after the one at a, while it lies inside p.
func next(a netip.Addr, p netip.Prefix, length int) (netip.Addr, bool) {
	if length == 0 {
		return netip.Addr{}, false
	}
	b := a.As16()
	i := (length - 1) / 8
	carry := uint(1) << (7 - (length-1)%8)
	for ; i >= 0 && carry != 0; i-- {
		sum := uint(b[i]) + carry
		b[i], carry = byte(sum), sum>>8
	}
	to := netip.AddrFrom16(b)
	return to, carry == 0 && p.Contains(to)
}

// Address takes the network part of p and the rest of chance: a random address inside p. It is never the prefix's first,
// which every router on the link answers for (RFC 4291 section 2.6.1), where p has room for another.
func Address(p netip.Prefix, chance netip.Addr) netip.Addr {
	a := rest(p, chance)
	if a == p.Masked().Addr() && p.Bits() < 127 {
		return a.Next()
	}
	return a
}

// rest is the network part of p and the rest of a.
func rest(p netip.Prefix, a netip.Addr) netip.Addr {
	network, host := p.Masked().Addr().As16(), a.As16()
	for i := range network {
		switch covered := p.Bits() - 8*i; {
		case covered <= 0:
			network[i] = host[i]
		case covered < 8:
			mask := byte(0xff) >> covered
			network[i] |= host[i] & mask
		}
	}
	return netip.AddrFrom16(network)
}

// Named is the address inside p, of IPv6 or IPv4, that a name has: the network part of p, and as the rest the last bits of the
// name's hash. It depends on nothing else, so that every machine says the same at any time: SHA-256 of the name in lower case
// without a final dot; where the rest would be 0, of that hash again. Two names may have one address: in a /64 that takes
// billions of names, in a /28 five.
func Named(p netip.Prefix, name string) netip.Addr {
	hash := sha256.Sum256([]byte(strings.ToLower(name)))
	for {
		a := netip.AddrFrom16([16]byte(hash[16:]))
		if p.Addr().Is4() {
			a = named4(p, [4]byte(hash[28:]))
		} else {
			a = rest(p, a)
		}
		if a != p.Masked().Addr() || p.IsSingleIP() {
			return a
		}
		hash = sha256.Sum256(hash[:])
	}
}

func named4(p netip.Prefix, chance [4]byte) netip.Addr {
	network := p.Masked().Addr().As4()
	mask := ^uint32(0) >> p.Bits()
	for i := range network {
		network[i] |= chance[i] & byte(mask>>(24-8*i))
	}
	return netip.AddrFrom4(network)
}
