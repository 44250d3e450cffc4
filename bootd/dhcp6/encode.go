package dhcp6

import (
	"encoding/binary"
	"math"
	"strings"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
)

// maxReply is the most octets that a reply may have: it fits the smallest IPv6 MTU with its headers (RFC 8200 section 5).
const maxReply = 1232

// Options that only a server writes.
const (
	optPreference  = 7  // RFC 8415 section 21.8
	optStatus      = 13 // section 21.13
	optDNSServers  = 23 // RFC 3646 section 3
	optInfoRefresh = 32 // RFC 8415 section 21.23
	optBootfileURL = 59 // RFC 5970 section 3.1
	optSolMaxRT    = 82 // RFC 8415 section 21.24
	optInfMaxRT    = 83 // section 21.25
)

// enterprise is the number that UEFI writes into option 16 (Intel's).
const enterprise = 343

// encode writes a reply to one client. Options that would make it longer than maxReply are left out, the least needed
// ones first: a search list before DNS servers before the boot file.
//
// Option 59 stands before options with a code below 256: UEFI HTTP boot reads it as a C string that the high octet of the
// next code ends.
func encode(r *address.Reply, xid [3]byte, client, server ident.DUID) []byte {
	b := make(message, 0, 256)
	b = append(b, byte(r.Msg), xid[0], xid[1], xid[2])
	if client != "" {
		b.add(optClientID, []byte(client))
	}
	b.add(optServerID, []byte(server))
	if r.Status != nil {
		b.add(optStatus, status(r.Status))
	}
	if r.RapidCommit {
		b.add(optRapidCommit, nil)
	}
	if r.Preference >= 0 {
		b.add(optPreference, []byte{byte(min(r.Preference, math.MaxUint8))})
	}
	for _, ia := range r.IAs {
		b.ia(ia)
	}
	if r.HTTPClient { // a class of ten octets, counted: sixteen in all, the least that firmware looks at
		v := binary.BigEndian.AppendUint32(nil, enterprise)
		b.add(optVendorClass, append(binary.BigEndian.AppendUint16(v, 10), "HTTPClient"...))
	}
	if r.BootURL != "" {
		b.add(optBootfileURL, []byte(r.BootURL))
	}
	if len(r.DNS) > 0 {
		var v []byte
		for _, a := range r.DNS {
			v = append(v, a.AsSlice()...)
		}
		b.add(optDNSServers, v)
	}
	b.seconds(optSolMaxRT, r.SolMaxRT)
	b.seconds(optInfMaxRT, r.InfMaxRT)
	b.seconds(optInfoRefresh, r.InfoRefresh)
	if v := domains(r.Search); len(v) > 0 {
		b.add(optDomainList, v)
	}
	return b
}

// message is a reply that grows.
type message []byte

// add appends an option if it still fits.
func (b *message) add(code uint16, data []byte) {
	if len(*b)+4+len(data) > maxReply {
		return
	}
	*b = append(option(*b, code, len(data)), data...)
}

func (b *message) seconds(code uint16, d time.Duration) {
	if d > 0 {
		b.add(code, appendSeconds(nil, d))
	}
}

func (b *message) ia(ia address.IAReply) {
	code := uint16(optIANA)
	v := binary.BigEndian.AppendUint32(nil, uint32(ia.IAID))
	switch ia.Kind {
	case address.IATA:
		code = optIATA
	case address.IAPD:
		code = optIAPD
		fallthrough
	default:
		v = appendSeconds(appendSeconds(v, ia.T1), ia.T2)
	}
	for _, l := range ia.Addrs {
		v = append(option(v, optIAAddr, lenIAAddr), l.Addr.AsSlice()...)
		v = appendSeconds(appendSeconds(v, l.Preferred), l.Valid)
	}
	if ia.Status != nil {
		s := status(ia.Status)
		v = append(option(v, optStatus, len(s)), s...)
	}
	b.add(code, v)
}

// option appends the header of an option.
func option(b []byte, code uint16, n int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, code), uint16(n))
}

func status(s *address.Status) []byte {
	return append(binary.BigEndian.AppendUint16(nil, s.Code), s.Text...)
}

// appendSeconds writes a duration in 32 bits of seconds; what does not fit becomes all ones, for ever (RFC 8415 section
// 7.7), instead of beginning again at zero.
func appendSeconds(b []byte, d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(min(max(d/time.Second, 0), math.MaxUint32)))
}

// domains writes a search list without compression (RFC 8415 section 10). A name that has no wire form is left out.
func domains(names []string) []byte {
	var out []byte
	for _, name := range names {
		v := make([]byte, 0, len(name)+2)
		for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
			if label == "" || len(label) >= maxLabel {
				v = nil
				break
			}
			v = append(append(v, byte(len(label))), label...)
		}
		if len(v) > 0 && len(v) < 255 {
			out = append(append(out, v...), 0)
		}
	}
	return out
}
