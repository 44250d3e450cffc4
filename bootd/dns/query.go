package dns

import (
	"encoding/binary"
	"errors"
	"strings"

	"bootd.internal/bootd/site"
)

const (
	headerLen = 12
	// maxQuery is the longest query that is looked at. A name has 255 octets and an OPT record with cookie, client subnet
	// and padding some hundreds.
	maxQuery = 4096
	// ednsSize is what is advertised and the largest answer over UDP: it fits the IPv6 minimum MTU (RFC 9715).
	ednsSize = 1232
	// plainSize is the largest answer over UDP to a client without EDNS (RFC 1035 section 4.2.1).
	plainSize = 512
	// maxName is the longest domain name in octets (RFC 1035 section 2.3.4).
	maxName = 255
)

// Header bits (RFC 1035 section 4.1.1, RFC 4035 section 3.2).
const (
	bitQR = 1 << 15
	bitAA = 1 << 10
	bitTC = 1 << 9
	bitRD = 1 << 8
	bitRA = 1 << 7
	bitAD = 1 << 5
	bitCD = 1 << 4
)

// Response codes that the adapter sends by itself.
const (
	codeFormErr  = 1
	codeServFail = 2
	codeNotImp   = 4
	codeRefused  = 5
	codeBadVers  = 16 // RFC 6891 section 6.1.3
)

// Record types that the adapter itself knows.
const (
	typeOPT = 41
)

var (
	// errSilent is what gets no answer at all: it is no query.
	errSilent = errors.New("no query")
	// errFormat is answered with FORMERR.
	errFormat = errors.New("malformed query")
	// errNotImplemented is answered with NOTIMP.
	errNotImplemented = errors.New("not a standard query")
)

// query is a client's question. It holds nothing of the packet's memory.
type query struct {
	id         uint16
	rd, ad, cd bool
	// name is the question's name as text, with its final dot, in the client's case.
	name       string
	typ, class uint16
	// question is the question section as it came, at most 259 octets.
	question []byte
	// edns: the client sent an OPT record.
	edns    bool
	version uint8
	do      bool
	size    uint16
	// cookie is the client's to us, if it sent one.
	cookie    [8]byte
	hasCookie bool
	// echo are the options of the answer: both cookies, and why it is as it is (prohibited: its sender may not ask).
	echo       []byte
	prohibited bool
	// dns64 makes the answer where there is none in IPv6; alias is whose answer it is instead, after a CNAME.
	dns64 *site.DNS64
	alias string
	// foreign is the edition of the inventory by which the name is not one of ours.
	foreign uint64
}

// key is what the cache and the forwarder know the question by.
func (q *query) key() string {
	id := ""
	if q.dns64 != nil {
		id = q.dns64.ID
	}
	if q.alias != "" {
		id = "alias " + q.alias + " " + id
	}
	return keyOf(q, id)
}

// parseQuery reads a query without the help of a library: a question has no compression and nothing beside an OPT record is
// of interest, so that a hostile packet costs one pass over its octets. With errFormat and errNotImplemented the query holds
// what could be read.
func parseQuery(p []byte) (query, error) {
	var q query
	if len(p) < headerLen || len(p) > maxQuery {
		return q, errSilent
	}
	q.id = binary.BigEndian.Uint16(p)
	flags := binary.BigEndian.Uint16(p[2:])
	if flags&bitQR != 0 {
		return q, errSilent
	}
	q.rd, q.ad, q.cd = flags&bitRD != 0, flags&bitAD != 0, flags&bitCD != 0
	if flags>>11&15 != 0 {
		return q, errNotImplemented
	}
	if binary.BigEndian.Uint16(p[4:]) != 1 {
		return q, errFormat
	}
	name, off, ok := readName(p, headerLen)
	if !ok || off+4 > len(p) {
		return q, errFormat
	}
	q.name = name
	q.typ, q.class = binary.BigEndian.Uint16(p[off:]), binary.BigEndian.Uint16(p[off+2:])
	q.question = append([]byte(nil), p[headerLen:off+4]...)
	if !q.additional(p, off+4) {
		q.edns = false
		return q, errFormat
	}
	return q, nil
}

// additional reads the OPT record. Records in the answer and authority sections have no place in a query.
func (q *query) additional(p []byte, off int) bool {
	count := int(binary.BigEndian.Uint16(p[10:]))
	if binary.BigEndian.Uint16(p[6:]) != 0 || binary.BigEndian.Uint16(p[8:]) != 0 || count > 2 || q.typ == typeOPT {
		return false
	}
	for range count {
		_, at, ok := readName(p, off)
		if !ok || at+10 > len(p) {
			return false
		}
		end := at + 10 + int(binary.BigEndian.Uint16(p[at+8:]))
		if end > len(p) {
			return false
		}
		if binary.BigEndian.Uint16(p[at:]) == typeOPT {
			if q.edns || p[off] != 0 || !q.options(p[at+10:end]) { // twice, or not at the root (RFC 6891 section 6.1.1)
				return false
			}
			q.edns = true
			q.size = binary.BigEndian.Uint16(p[at+2:])
			q.version = p[at+5]
			q.do = p[at+6]&0x80 != 0
		}
		off = end
	}
	return off == len(p)
}

// options reads the one that is of interest, a cookie (RFC 7873 section 5.2.1: 8 octets of the client, and 8 to 32 of ours or
// none).
func (q *query) options(p []byte) bool {
	for len(p) > 0 {
		if len(p) < 4 {
			return false
		}
		n := int(binary.BigEndian.Uint16(p[2:]))
		if 4+n > len(p) {
			return false
		}
		if binary.BigEndian.Uint16(p) == optionCookie && !q.hasCookie {
			if n != 8 && (n < 16 || n > 40) {
				return false
			}
			q.cookie, q.hasCookie = [8]byte(p[4:12]), true
		}
		p = p[4+n:]
	}
	return true
}

// readName reads an uncompressed name. Octets that text cannot hold are escaped (RFC 1035 section 5.1).
func readName(p []byte, off int) (name string, end int, ok bool) {
	var b strings.Builder
	start := off
	for off < len(p) && off-start < maxName {
		n := int(p[off])
		off++
		switch {
		case n == 0:
			if b.Len() == 0 {
				return ".", off, true
			}
			return b.String(), off, true
		case n > 63 || off+n > len(p): // a pointer, a reserved label type, or the packet's end
			return "", 0, false
		}
		for _, c := range p[off : off+n] {
			writeOctet(&b, c)
		}
		b.WriteByte('.')
		off += n
	}
	return "", 0, false
}

func writeOctet(b *strings.Builder, c byte) {
	switch {
	case c == '.' || c == '\\' || c == '"' || c == '(' || c == ')' || c == ';' || c == '@' || c == '$':
		b.WriteByte('\\')
		b.WriteByte(c)
	case c <= ' ' || c >= 0x7f:
		b.Write([]byte{'\\', '0' + c/100, '0' + c/10%10, '0' + c%10})
	default:
		b.WriteByte(c)
	}
}

// limit is how many octets an answer may have.
func (q *query) limit(tcp bool) int {
	switch {
	case tcp:
		return 65535
	case q.edns:
		return min(max(int(q.size), plainSize), ednsSize)
	}
	return plainSize
}

// lower turns the ASCII letters of a question into lower case, in place: what a cache compares. Length octets are below 64,
// so that no letter is among them.
func lower(question []byte) []byte {
	for i := range max(0, len(question)-4) {
		if c := question[i]; c >= 'A' && c <= 'Z' {
			question[i] = c + 'a' - 'A'
		}
	}
	return question
}
