package tftp

import (
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Opcodes of RFC 1350 section 5 and RFC 2347.
const (
	opRRQ   = 1
	opWRQ   = 2
	opDATA  = 3
	opACK   = 4
	opERROR = 5
	opOACK  = 6
)

// Error codes of RFC 1350 section 5 and RFC 2347.
const (
	codeUndefined  = 0
	codeNotFound   = 1
	codeAccess     = 2
	codeIllegal    = 4
	codeUnknownTID = 5
	codeOption     = 8
)

const (
	// defaultBlock is the octets of a block when nothing was negotiated (RFC 1350 section 2).
	defaultBlock = 512
	// maxBlock leaves room for a tunnel's header on an Ethernet of 1500 octets: 40 IPv6 + 8 UDP + 4 TFTP + 20 spare.
	maxBlock = 1428
	// overhead is IPv6, UDP and TFTP headers in front of a block.
	overhead = 40 + 8 + 4
	// maxWindow bounds what a transfer keeps in memory and what a lost block costs (RFC 7440 section 3 allows 65535).
	maxWindow = 16
	// maxTimeout is the longest retransmission interval that is agreed to, in seconds (RFC 2349 allows 255): a longer one
	// would hold a transfer's place for too long.
	maxTimeout = 30
	// maxOptions is more than any client sends; five are defined.
	maxOptions = 16
)

var (
	errShort     = errors.New("packet too short")
	errNotNUL    = errors.New("name, mode or option without its final zero octet")
	errOdd       = errors.New("option without a value")
	errMode      = errors.New("neither octet nor netascii")
	errDuplicate = errors.New("option given twice")
	errOptions   = errors.New("too many options")
)

// request is a read or write request as a client sent it.
type request struct {
	op   uint16
	name string
	// mode is lower case.
	mode string
	opts []option
}

// option keeps the client's spelling of its name, which the answer repeats.
type option struct{ name, value string }

// opcode reads the first two octets, 0 when there are none.
func opcode(p []byte) uint16 {
	if len(p) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(p)
}

// message names an opcode for metrics.
func message(op uint16) string {
	names := [...]string{"other", "RRQ", "WRQ", "DATA", "ACK", "ERROR", "OACK"}
	if int(op) < len(names) {
		return names[op]
	}
	return names[0]
}

// parseRequest reads an RRQ or WRQ (RFC 1350 section 5, RFC 2347).
func parseRequest(p []byte) (request, error) {
	r := request{op: opcode(p)}
	if len(p) < 4 {
		return r, errShort
	}
	if p[len(p)-1] != 0 {
		return r, errNotNUL
	}
	parts := strings.Split(string(p[2:len(p)-1]), "\x00")
	if len(parts) < 2 {
		return r, errNotNUL
	}
	r.name, r.mode = parts[0], strings.ToLower(parts[1])
	if r.mode != "octet" && r.mode != "netascii" {
		return r, errMode
	}
	parts = parts[2:]
	switch {
	case len(parts)%2 != 0:
		return r, errOdd
	case len(parts) > 2*maxOptions:
		return r, errOptions
	}
	seen := map[string]bool{}
	for i := 0; i < len(parts); i += 2 {
		key := strings.ToLower(parts[i])
		if seen[key] {
			return r, errDuplicate
		}
		seen[key] = true
		r.opts = append(r.opts, option{name: parts[i], value: parts[i+1]})
	}
	return r, nil
}

// terms is what client and server agreed on.
type terms struct {
	block, window int
	// interval is how long to wait for an acknowledgement; zero: not agreed.
	interval time.Duration
	// oack lists the options to acknowledge; none: no OACK is sent.
	oack []option
}

// negotiate answers a request's options. What is unknown or out of range is left out of the answer, which RFC 2347 has a
// client take for a refusal. A negative size is not known (netascii changes it on the way). Blocks below 512 octets are
// refused: the engine does not cut them, and no client was seen that asks for them.
func negotiate(opts []option, size int64, mtu int) terms {
	limit := maxBlock
	if mtu > 0 {
		limit = max(defaultBlock, min(limit, mtu-overhead))
	}
	t := terms{block: defaultBlock, window: 1}
	for _, o := range opts {
		n, err := strconv.ParseUint(o.value, 10, 32)
		if err != nil {
			continue
		}
		switch key := strings.ToLower(o.name); {
		case key == "blksize" && n >= defaultBlock && n <= 65464: // RFC 2348
			t.block = min(int(n), limit)
			o.value = strconv.Itoa(t.block)
		case key == "tsize" && size >= 0: // RFC 2349
			o.value = strconv.FormatInt(size, 10)
		case key == "timeout" && n >= 1 && n <= maxTimeout: // RFC 2349; the value stays as it was
			t.interval = time.Duration(n) * time.Second
		case key == "windowsize" && n >= 1 && n <= 65535: // RFC 7440
			t.window = min(int(n), maxWindow)
			o.value = strconv.Itoa(t.window)
		default:
			continue
		}
		t.oack = append(t.oack, o)
	}
	return t
}

// packOACK writes an option acknowledgement (RFC 2347).
func packOACK(opts []option) []byte {
	p := []byte{0, opOACK}
	for _, o := range opts {
		p = append(append(p, o.name...), 0)
		p = append(append(p, o.value...), 0)
	}
	return p
}

// packERROR writes an ERROR packet. Text is for a person at a console and never holds a path of ours.
func packERROR(code uint16, text string) []byte {
	p := binary.BigEndian.AppendUint16([]byte{0, opERROR}, code)
	return append(append(p, text...), 0)
}

// packACK writes an acknowledgement.
func packACK(block uint16) []byte {
	return binary.BigEndian.AppendUint16([]byte{0, opACK}, block)
}
