package netns_test

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// Messages and options of RFC 8415 that the comparison sends and reads; written by hand, so that what bootd's codec
// understands wrongly in both directions is still found.
const (
	msgSolicit, msgAdvertise, msgRequest, msgConfirm = 1, 2, 3, 4
	msgRenew, msgRebind, msgReply, msgRelease        = 5, 6, 7, 8
	msgDecline, msgInfoRequest                       = 9, 11

	codeClient, codeServer, codeIANA, codeIATA, codeIAAddr = 1, 2, 3, 4, 5
	codeORO, codePreference, codeElapsed                   = 6, 7, 8
	codeUserClass, codeBootURL, codeArch                   = 15, 59, 61
	codeStatus, codeRapid, codeIAPD, codeIAPrefix          = 13, 14, 25, 26
)

var msgNames = map[byte]string{
	msgSolicit: "Solicit", msgAdvertise: "Advertise", msgRequest: "Request", msgConfirm: "Confirm", msgRenew: "Renew",
	msgRebind: "Rebind", msgReply: "Reply", msgRelease: "Release", msgDecline: "Decline", msgInfoRequest: "Information-request",
}

var statusNames = map[uint16]string{
	0: "Success", 1: "UnspecFail", 2: "NoAddrsAvail", 3: "NoBinding", 4: "NotOnLink", 5: "UseMulticast", 6: "NoPrefixAvail",
}

func appendOption(b []byte, code uint16, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, code)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(data))), data...)
}

func eachOption(b []byte, fn func(code uint16, data []byte)) {
	for len(b) >= 4 {
		n := int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+n {
			return
		}
		fn(binary.BigEndian.Uint16(b), b[4:4+n])
		b = b[4+n:]
	}
}

// ia is an IA_NA, IA_TA or IA_PD of a question with what it names.
type ia struct {
	code  uint16
	id    uint32
	addr  netip.Addr
	named netip.Prefix
}

func (i ia) encode() []byte {
	b := binary.BigEndian.AppendUint32(nil, i.id)
	if i.code != codeIATA {
		b = append(b, make([]byte, 8)...)
	}
	if i.addr.IsValid() {
		b = appendOption(b, codeIAAddr, append(i.addr.AsSlice(), make([]byte, 8)...))
	}
	if i.named.IsValid() {
		v := append(make([]byte, 8), byte(i.named.Bits()))
		b = appendOption(b, codeIAPrefix, append(v, i.named.Addr().AsSlice()...))
	}
	return b
}

// question is one message of a client.
type question struct {
	kind   byte
	duid   []byte
	server []byte
	ias    []ia
	oro    []uint16
	rapid  bool
	// arch is the content of option 61, class one class of option 15.
	arch  []byte
	class string
}

func (q question) encode(xid uint32) []byte {
	b := []byte{q.kind, byte(xid >> 16), byte(xid >> 8), byte(xid)}
	if q.duid != nil {
		b = appendOption(b, codeClient, q.duid)
	}
	if q.server != nil {
		b = appendOption(b, codeServer, q.server)
	}
	for _, i := range q.ias {
		b = appendOption(b, i.code, i.encode())
	}
	b = appendOption(b, codeElapsed, []byte{0, 0})
	if len(q.oro) > 0 {
		var v []byte
		for _, c := range q.oro {
			v = binary.BigEndian.AppendUint16(v, c)
		}
		b = appendOption(b, codeORO, v)
	}
	if q.arch != nil {
		b = appendOption(b, codeArch, q.arch)
	}
	if q.class != "" {
		b = appendOption(b, codeUserClass, append([]byte{0, byte(len(q.class))}, q.class...))
	}
	if q.rapid {
		b = appendOption(b, codeRapid, nil)
	}
	return b
}

// reply is an answer, option by option, in words that do not depend on which server it is.
type reply struct {
	server []byte
	addrs  map[uint32]netip.Addr
	pd     map[uint32]netip.Prefix
	words  map[string]string
}

// read puts an answer into words. asked is the question that it answers.
func readReply(b []byte, asked question) reply {
	r := reply{addrs: map[uint32]netip.Addr{}, pd: map[uint32]netip.Prefix{}, words: map[string]string{"answer": msgNames[b[0]]}}
	eachOption(b[4:], func(code uint16, data []byte) {
		switch code {
		case codeClient:
			r.words["client-id"] = map[bool]string{true: "the client's", false: "another"}[string(data) == string(asked.duid)]
		case codeServer:
			r.server = append([]byte(nil), data...)
			r.words["server-id"] = "the server's"
		case codeIANA, codeIATA, codeIAPD:
			r.identity(code, data, asked)
		case codeStatus:
			r.words["status"] = statusWord(data)
		case codePreference:
			r.words["preference"] = fmt.Sprint(data[0])
		case codeBootURL:
			r.words["option 59"] = string(data)
		default:
			r.words[fmt.Sprintf("option %d", code)] = "0x" + hex.EncodeToString(data)
		}
	})
	return r
}

func statusWord(data []byte) string {
	if len(data) < 2 {
		return "short"
	}
	return statusNames[binary.BigEndian.Uint16(data)]
}

// The originals' reservation and pools.
var (
	caseReserved = netip.MustParseAddr("2001:db8::5054:ff:fed6:c2a9")
	casePool     = [2]netip.Addr{netip.MustParseAddr("2001:db8::100"), netip.MustParseAddr("2001:db8::ffff")}
	casePD       = []netip.Prefix{netip.MustParsePrefix("2001:db8:fff::/48"), netip.MustParsePrefix("2001:db8:0:100::/56")}
)

// identity puts an IA into words: addresses of a pool are alike, as each server picks its own.
func (r *reply) identity(code uint16, data []byte, asked question) {
	name := map[uint16]string{codeIANA: "IA_NA", codeIATA: "IA_TA", codeIAPD: "IA_PD"}[code]
	if len(data) < 4 {
		r.words[name] = "short"
		return
	}
	id := binary.BigEndian.Uint32(data)
	var named ia
	nth := 0
	for _, i := range asked.ias {
		if i.code == code && i.id == id {
			named = i
		}
		if i.code == code && i.id < id {
			nth++
		}
	}
	if nth > 0 {
		name = "second " + name
	}
	rest := data[4:]
	if code != codeIATA && len(rest) >= 8 {
		r.words[name+" T1"] = fmt.Sprint(whole(rest))
		r.words[name+" T2"] = fmt.Sprint(whole(rest[4:]))
		rest = rest[8:]
	}
	var given []string
	eachOption(rest, func(code uint16, data []byte) {
		switch {
		case code == codeStatus:
			r.words[name+" status"] = statusWord(data)
		case code == codeIAAddr && len(data) >= 24:
			a := netip.AddrFrom16([16]byte(data[:16]))
			valid := binary.BigEndian.Uint32(data[20:])
			if valid > 0 {
				r.addrs[id] = a
			}
			given = append(given, fmt.Sprintf("%s for %d/%d s", describe(a, named.addr), whole(data[16:]), whole(data[20:])))
		case code == codeIAPrefix && len(data) >= 25:
			p := netip.PrefixFrom(netip.AddrFrom16([16]byte(data[9:25])), int(data[8]))
			where := "a prefix of elsewhere"
			if slices.ContainsFunc(casePD, p.Overlaps) {
				where = fmt.Sprintf("a /%d of the pool", p.Bits())
			}
			if p == named.named {
				where += ", as named"
			}
			if binary.BigEndian.Uint32(data[4:]) > 0 {
				r.pd[id] = p
			}
			given = append(given, fmt.Sprintf("%s for %d/%d s", where, whole(data), whole(data[4:])))
		}
	})
	r.words[name] = strings.Join(given, " and ")
	if len(given) == 0 {
		r.words[name] = "empty"
	}
}

func describe(a, named netip.Addr) string {
	text := "an address of elsewhere"
	switch {
	case a == caseReserved:
		text = "the reserved address"
	case casePool[0].Compare(a) <= 0 && a.Compare(casePool[1]) <= 0:
		text = "an address of the pool"
	}
	if a == named {
		text += ", as named"
	}
	return text
}

// whole reads a time in seconds. dhcpd tells what is left of a lease: on a busy machine a second or two less than it gave.
func whole(b []byte) uint32 {
	v := binary.BigEndian.Uint32(b)
	if short := 10 - v%10; short <= 5 && v != 1<<32-1 {
		return v + short
	}
	return v
}
