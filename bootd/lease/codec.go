package lease

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"bootd.internal/bootd/ident"
)

// codecVersion is the first octet of a record. Each DHCPv6 packet reads one or two bindings, so their form is a binary
// one: JSON took a fifth of a busy server's time.
const codecVersion = 1

var errRecord = errors.New("not a binding of this version")

// Encode gives the binding's record: version, then each field in the order of the type; texts, lists and octet strings
// behind their length as a uvarint, times as a varint of nanoseconds since 1970 (0: none).
func (b Binding) Encode() []byte {
	out := make([]byte, 0, 96)
	out = append(out, codecVersion, byte(b.State))
	out = appendText(out, b.Holder)
	out = appendText(out, b.Network)
	out = append(out, b.MAC[:]...)
	out = binary.AppendUvarint(out, uint64(len(b.Claims)))
	for _, c := range b.Claims {
		out = appendText(out, string(c.DUID))
		out = binary.BigEndian.AppendUint32(out, uint32(c.IAID))
	}
	out = appendTime(out, b.PreferredUntil)
	out = appendTime(out, b.ValidUntil)
	out = appendText(out, string(b.Via.AsSlice()))
	return appendText(out, b.Link)
}

// Decode reads a record that Encode wrote. An error means that the store holds something else under a lease's key.
func Decode(record []byte) (Binding, error) {
	r := reader{rest: string(record)} // copied once: the texts of the binding are parts of it
	if r.octet() != codecVersion {
		return Binding{}, fmt.Errorf("decoding binding: %w", errRecord)
	}
	var b Binding
	b.State = State(r.octet())
	b.Holder = r.text()
	b.Network = r.text()
	copy(b.MAC[:], r.take(uint64(len(b.MAC))))
	n := r.uvarint()
	if r.bad = r.bad || n > MaxClaims || b.State > Declined; !r.bad && n > 0 {
		b.Claims = make([]Claim, 0, n)
	}
	for range n {
		if r.bad {
			break
		}
		c := Claim{DUID: ident.DUID(r.text())}
		if raw := r.take(4); raw != "" {
			c.IAID = ident.IAID(raw[0])<<24 | ident.IAID(raw[1])<<16 | ident.IAID(raw[2])<<8 | ident.IAID(raw[3])
		}
		b.Claims = append(b.Claims, c)
	}
	b.PreferredUntil, b.ValidUntil = r.time(), r.time()
	via := r.text()
	var ok bool
	if b.Via, ok = netip.AddrFromSlice([]byte(via)); !ok && via != "" {
		r.bad = true
	}
	b.Link = r.text()
	if r.bad || len(r.rest) > 0 {
		return Binding{}, fmt.Errorf("decoding binding: %w", errRecord)
	}
	return b, nil
}

func appendText(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

func appendTime(out []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(out, 0)
	}
	return binary.AppendVarint(out, t.UnixNano())
}

// reader takes a record apart; bad stays true once something is missing.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) take(n uint64) string {
	if r.bad || uint64(len(r.rest)) < n {
		r.bad = true
		return ""
	}
	b := r.rest[:n]
	r.rest = r.rest[n:]
	return b
}

func (r *reader) octet() byte {
	if b := r.take(1); b != "" {
		return b[0]
	}
	return 0
}

func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.head())
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.rest = r.rest[n:]
	return v
}

// head is enough of the rest for one number.
func (r *reader) head() []byte {
	var b [binary.MaxVarintLen64]byte
	return b[:copy(b[:], r.rest)]
}

func (r *reader) text() string { return r.take(r.uvarint()) }

func (r *reader) time() time.Time {
	v, n := binary.Varint(r.head())
	if n <= 0 {
		r.bad = true
		return time.Time{}
	}
	r.rest = r.rest[n:]
	if v == 0 {
		return time.Time{}
	}
	return time.Unix(0, v).UTC()
}
