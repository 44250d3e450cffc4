package dhcp6

import (
	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
)

// putPrefix appends an IA Prefix option (RFC 8415 section 21.22), with what is to be left out of it (RFC 6603 section 4.2):
// the bits of the excluded prefix behind those of the delegated one, from the left.
func putPrefix(b []byte, l address.PrefixLease) []byte {
	v := putSeconds(putSeconds(make([]byte, 0, lenIAPrefix), l.Preferred), l.Valid)
	a := l.Prefix.Addr().As16()
	v = append(append(v, byte(l.Prefix.Bits())), a[:]...)
	if from, to := l.Prefix.Bits(), l.Exclude.Bits(); l.Exclude.IsValid() && to > from {
		x := l.Exclude.Addr().As16()
		o := make([]byte, 1+(to-from+7)/8)
		o[0] = byte(to)
		for i := range to - from {
			bit := from + i
			if x[bit/8]&(0x80>>(bit%8)) != 0 {
				o[1+i/8] |= 0x80 >> (i % 8)
			}
		}
		v = putOption(v, dhcpv6.OptionPDExclude, o)
	}
	return putOption(b, dhcpv6.OptionIAPrefix, v)
}
