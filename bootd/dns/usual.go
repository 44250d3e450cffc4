package dns

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// maxUsual is how many records a usual answer has at most.
const maxUsual = 16

// usual is what there is to know of an answer like nearly all: one name's addresses, perhaps of another name that it leads to
// (CNAME), in octets that clients can be given as they are. The library would read and write each name of it anew.
type usual struct {
	// end is where its records end, before the OPT record.
	end int
	// names are where names stand that a pointer may lead to, the question's first: octets that are something else may change.
	names []span
	room  [4]span
	// places are those of the TTLs, ttl is the least.
	places [maxUsual]int
	n      int
	ttl    uint32
}

// span is the octets from one place up to another.
type span struct{ from, to int }

// readUsual walks over an answer, and reports false when the library has to look at it: for all else, and for whatever is wrong.
func readUsual(p []byte, u *usual) bool {
	const mask = 0xf<<11 | bitQR | bitTC | 0xf // opcode and response code are 0
	if len(p) < headerLen+5 || binary.BigEndian.Uint16(p[2:])&mask != bitQR || binary.BigEndian.Uint16(p[4:]) != 1 || p[8]|p[9]|p[10] != 0 {
		return false
	}
	u.names = u.room[:0]
	off, ok := u.name(p, headerLen)
	u.n = int(binary.BigEndian.Uint16(p[6:]))
	if !ok || !u.points(headerLen, off) || off+4 > len(p) || binary.BigEndian.Uint16(p[off+2:]) != dns.ClassINET || u.n > maxUsual {
		return false
	}
	asked := binary.BigEndian.Uint16(p[off:])
	answered := false
	u.ttl = 1<<31 - 1
	off += 4
	for i := range u.n {
		// Each record belongs to the name that was asked for, or to the one that this leads to by now, and says so by a pointer: so
		// the name comes back as the client wrote it.
		owner := u.names[len(u.names)-1].from
		if off+12 > len(p) || int(binary.BigEndian.Uint16(p[off:])) != 0xc000|owner || binary.BigEndian.Uint16(p[off+4:]) != dns.ClassINET {
			return false
		}
		typ := binary.BigEndian.Uint16(p[off+2:])
		u.places[i] = off + 6
		ttl := binary.BigEndian.Uint32(p[off+6:])
		if ttl > 1<<31-1 { // it counts as zero, also for clients
			return false
		}
		u.ttl = min(u.ttl, ttl)
		data := off + 12
		off = data + int(binary.BigEndian.Uint16(p[off+10:]))
		if off > len(p) || !u.data(p[:off], typ, data) {
			return false
		}
		answered = answered || typ == asked
	}
	u.end = off
	return answered && onlyOPT(p, off)
}

// points remembers a name.
func (u *usual) points(from, to int) bool {
	if len(u.names) == len(u.room) {
		return false
	}
	u.names = append(u.names, span{from, to})
	return true
}

// data checks the data of a record that ends where p does.
func (u *usual) data(p []byte, typ uint16, data int) bool {
	switch typ {
	case dns.TypeA:
		return len(p) == data+4
	case dns.TypeAAAA:
		return len(p) == data+16
	case dns.TypeCNAME:
		end, ok := u.name(p, data)
		return ok && end == len(p) && u.points(data, end)
	}
	return false
}

// name gives the end of a name whose pointers lead to names before it.
func (u *usual) name(p []byte, off int) (end int, ok bool) {
	size, here := 0, span{off, len(p)}
	for off < here.to {
		n := int(p[off])
		switch {
		case n >= 0xc0:
			if off+2 > here.to {
				return 0, false
			}
			if end == 0 {
				end = off + 2
			}
			off = (n&0x3f)<<8 | int(p[off+1])
			i := slices.IndexFunc(u.names, func(s span) bool { return s.from <= off && off < s.to })
			if i < 0 || off >= here.from {
				return 0, false
			}
			here = span{off, u.names[i].to}
			continue
		case n > 63:
			return 0, false
		}
		if size += 1 + n; size > maxName {
			return 0, false
		}
		if off += 1 + n; n == 0 {
			if end == 0 {
				end = off
			}
			return end, true
		}
	}
	return 0, false
}

// onlyOPT reports whether nothing is at the end but an OPT record, if that: one that says no more of the response code, and has no
// options but those whose data may be anything.
func onlyOPT(p []byte, off int) bool {
	if p[11] == 0 {
		return off == len(p)
	}
	if p[11] > 1 || off+11 > len(p) || p[off] != 0 || binary.BigEndian.Uint16(p[off+1:]) != typeOPT || p[off+5] != 0 ||
		off+11+int(binary.BigEndian.Uint16(p[off+9:])) != len(p) {
		return false
	}
	for off += 11; off+4 <= len(p); {
		if code := binary.BigEndian.Uint16(p[off:]); code != optionCookie && code != optionPadding {
			return false
		}
		off += 4 + int(binary.BigEndian.Uint16(p[off+2:]))
	}
	return off == len(p)
}

// keep makes a kept answer of it.
func (u *usual) keep(p []byte, now time.Time) *answer {
	wire := slices.Clone(p[:u.end])
	wire[10], wire[11] = 0, 0
	return &answer{
		wire: wire, ttls: slices.Clone(u.places[:u.n]), ad: binary.BigEndian.Uint16(p[2:])&bitAD != 0,
		made: now, life: min(maxLife, time.Duration(u.ttl)*time.Second),
	}
}
