// Package ident holds the names that a machine goes by on the wire: MAC, UUID, DUID and IAID. Each is parsed once
// into a comparable type that cannot be wrong.
//
// The package never decides whose name it is; decide/who does.
package ident

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// MAC is a 48-bit Ethernet address (EUI-48).
type MAC [6]byte

var (
	errMAC  = errors.New("not a MAC address of six octets, such as 52:54:00:aa:01:01")
	errUUID = errors.New("not a UUID, such as 00112233-4455-6677-8899-aabbccddeeff")
	errDUID = errors.New("not a DUID of 3 to 130 octets in hex, such as 00:03:00:01:52:54:00:aa:01:01")
)

// ParseMAC reads six octets in hex, separated by ":" or "-" or by nothing.
func ParseMAC(s string) (MAC, error) {
	var m MAC
	b, err := parseHex(s)
	if err != nil || len(b) != len(m) {
		return MAC{}, errMAC
	}
	copy(m[:], b)
	return m, nil
}

// MACFrom takes exactly six octets as they stand in a packet.
func MACFrom(b []byte) (MAC, bool) {
	var m MAC
	if len(b) != len(m) {
		return MAC{}, false
	}
	copy(m[:], b)
	return m, m.Valid()
}

// String is the lower-case form with colons.
func (m MAC) String() string {
	return fmt.Sprintf("%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4], m[5])
}

// Hyphens is the lower-case form with hyphens, as iPXE's :hexhyp and BOOTIF write it.
func (m MAC) Hyphens() string { return strings.ReplaceAll(m.String(), ":", "-") }

// Valid reports whether m can name one machine: not all zero, not a group address.
func (m MAC) Valid() bool { return m != MAC{} && m[0]&1 == 0 }

// MarshalText writes String.
func (m MAC) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads what ParseMAC reads; the empty text is the zero MAC.
func (m *MAC) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*m = MAC{}
		return nil
	}
	*m, err = ParseMAC(string(b))
	return err
}

// EUI64 gives the modified EUI-64 address of m inside a prefix of at most 64 bits (RFC 4291 appendix A).
func (m MAC) EUI64(p netip.Prefix) netip.Addr {
	a := p.Masked().Addr().As16()
	a[8], a[9], a[10], a[11] = m[0]^2, m[1], m[2], 0xff
	a[12], a[13], a[14], a[15] = 0xfe, m[3], m[4], m[5]
	return netip.AddrFrom16(a)
}

// MACFromEUI64 reads the MAC out of an address whose interface identifier is a modified EUI-64 (RFC 4291 appendix A).
func MACFromEUI64(a netip.Addr) (MAC, bool) {
	if !a.Is6() || a.Is4In6() {
		return MAC{}, false
	}
	b := a.As16()
	if b[11] != 0xff || b[12] != 0xfe {
		return MAC{}, false
	}
	m := MAC{b[8] ^ 2, b[9], b[10], b[13], b[14], b[15]}
	return m, m.Valid()
}

// UUID is a machine's SMBIOS UUID in RFC 4122 byte order, the order in which people write it.
type UUID [16]byte

// ParseUUID reads 32 hex digits, without hyphens or with those of RFC 4122 section 3.
func ParseUUID(s string) (UUID, error) {
	var u UUID
	if len(s) != 32 && (len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-') {
		return UUID{}, errUUID
	}
	b, err := hex.DecodeString(strings.ReplaceAll(s, "-", ""))
	if err != nil || len(b) != len(u) {
		return UUID{}, errUUID
	}
	copy(u[:], b)
	return u, nil
}

// String is the lower-case form with hyphens.
func (u UUID) String() string {
	return fmt.Sprintf("%x-%x-%x-%x-%x", u[0:4], u[4:6], u[6:8], u[8:10], u[10:16])
}

// Swapped is u with its first three fields in the other byte order: raw SMBIOS octets, which EDK2 puts into its DUID
// where iPXE puts RFC 4122 order.
func (u UUID) Swapped() UUID {
	s := u
	s[0], s[1], s[2], s[3] = u[3], u[2], u[1], u[0]
	s[4], s[5] = u[5], u[4]
	s[6], s[7] = u[7], u[6]
	return s
}

// Identifies reports whether u can name one machine: boards without a UUID carry all zeros or all ones.
func (u UUID) Identifies() bool {
	return u != UUID{} && u != UUID(bytes.Repeat([]byte{0xff}, 16))
}

// MarshalText writes String, and nothing for the zero UUID.
func (u UUID) MarshalText() ([]byte, error) {
	if u == (UUID{}) {
		return nil, nil
	}
	return []byte(u.String()), nil
}

// UnmarshalText reads what ParseUUID reads; the empty text is the zero UUID.
func (u *UUID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*u = UUID{}
		return nil
	}
	*u, err = ParseUUID(string(b))
	return err
}

// DUID is a DHCPv6 unique identifier, its two octets of type included, as raw octets (RFC 8415 section 11). The empty
// DUID means that there was none.
type DUID string

// DUID types of RFC 8415 section 11 and RFC 6355.
const (
	DUIDLLT  = 1
	DUIDEN   = 2
	DUIDLL   = 3
	DUIDUUID = 4
)

// DUIDFrom takes a DUID as it stands in a packet: 2 octets of type and 1 to 128 more (RFC 8415 section 11.1).
func DUIDFrom(b []byte) (DUID, bool) {
	if len(b) < 3 || len(b) > 130 {
		return "", false
	}
	return DUID(b), true
}

// ParseDUID reads hex octets separated by ":" or "-" or by nothing.
func ParseDUID(s string) (DUID, error) {
	b, err := parseHex(s)
	if err != nil {
		return "", errDUID
	}
	d, ok := DUIDFrom(b)
	if !ok {
		return "", errDUID
	}
	return d, nil
}

// NewDUIDUUID makes a DUID of type 4 from a UUID in RFC 4122 order (RFC 6355).
func NewDUIDUUID(u UUID) DUID { return DUID(append([]byte{0, DUIDUUID}, u[:]...)) }

// NewDUIDLL makes a DUID of type 3 for Ethernet.
func NewDUIDLL(m MAC) DUID { return DUID(append([]byte{0, DUIDLL, 0, 1}, m[:]...)) }

// Type is the DUID's first two octets, 0 when it is too short.
func (d DUID) Type() uint16 {
	if len(d) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16([]byte(d[:2]))
}

// MAC gives the Ethernet address inside a DUID-LL or DUID-LLT (hardware type 1).
func (d DUID) MAC() (MAC, bool) {
	switch {
	case d.Type() == DUIDLLT && len(d) == 14 && d[2:4] == "\x00\x01":
		return MACFrom([]byte(d[8:]))
	case d.Type() == DUIDLL && len(d) == 10 && d[2:4] == "\x00\x01":
		return MACFrom([]byte(d[4:]))
	}
	return MAC{}, false
}

// UUID gives the sixteen octets inside a DUID-UUID as they stand; the caller tries both byte orders.
func (d DUID) UUID() (UUID, bool) {
	if d.Type() != DUIDUUID || len(d) != 18 {
		return UUID{}, false
	}
	var u UUID
	copy(u[:], d[2:])
	return u, u.Identifies()
}

// String is lower-case hex with colons.
func (d DUID) String() string {
	const digits = "0123456789abcdef"
	b := make([]byte, 0, 3*len(d))
	for i := range len(d) {
		if i > 0 {
			b = append(b, ':')
		}
		b = append(b, digits[d[i]>>4], digits[d[i]&15])
	}
	return string(b)
}

// MarshalText writes String.
func (d DUID) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what ParseDUID reads; the empty text is the empty DUID.
func (d *DUID) UnmarshalText(b []byte) (err error) {
	if len(b) == 0 {
		*d = ""
		return nil
	}
	*d, err = ParseDUID(string(b))
	return err
}

// IAID names one identity association of one client (RFC 8415 section 12).
type IAID uint32

// String is the eight hex digits.
func (i IAID) String() string { return fmt.Sprintf("%08x", uint32(i)) }

// parseHex reads octets of two hex digits between separators of one kind, or hex digits without any.
func parseHex(s string) ([]byte, error) {
	if i := strings.IndexAny(s, ":-"); i >= 0 {
		parts := strings.Split(s, s[i:i+1])
		for _, part := range parts {
			if len(part) != 2 {
				return nil, hex.ErrLength
			}
		}
		s = strings.Join(parts, "")
	}
	return hex.DecodeString(s)
}
