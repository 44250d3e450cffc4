// Package prefix is arithmetic with IPv6 prefixes: how many fit, which they are, an address inside one.
//
// The package never looks at networks or leases.
package prefix

import (
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
	network, host := p.Masked().Addr().As16(), chance.As16()
	for i := range network {
		switch covered := p.Bits() - 8*i; {
		case covered <= 0:
			network[i] = host[i]
		case covered < 8:
			mask := byte(0xff) >> covered
			network[i] |= host[i] & mask
		}
	}
	a := netip.AddrFrom16(network)
	if a == p.Masked().Addr() && p.Bits() < 127 {
		return a.Next()
	}
	return a
}
