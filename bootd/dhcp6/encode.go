package dhcp6

import (
	"encoding/binary"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv6"
	"github.com/insomniacslk/dhcp/iana"
	"github.com/insomniacslk/dhcp/rfc1035label"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/option"
)

// maxReply is the most octets that a reply may have: it fits the smallest IPv6 MTU with its headers (RFC 8200 section 5).
const maxReply = 1232

// enterprise is the number that UEFI writes into option 16 (Intel's).
const enterprise = 343

// maxOptions is the most octets of options that a boot loader finds again: UEFI hands it 1024 of the reply.
const maxOptions = 1024

// encode writes a reply to one client. Where it would be longer than maxReply, or its options than a boot loader can read,
// the least needed ones are left out. In order of need: what the exchange itself is made of, the boot file, DNS servers, the
// client's name, options of the inventory that are always sent, those that the client asks for in its order, limits of
// retransmission, search list.
//
// Option 59 stands before options with a code below 256: UEFI HTTP boot reads it as a C string that the high octet of the
// next code ends.
func encode(r *address.Reply, xid [3]byte, client, server ident.DUID) []byte {
	b, _ := encodeWhole(nil, r, xid, client, server)
	return b
}

// encodeWhole is encode into a buffer of no octets, and the codes of what was left out.
func encodeWhole(into []byte, r *address.Reply, xid [3]byte, client, server ident.DUID) (octets []byte, left []uint16) {
	b := message{octets: into, most: maxReply}
	b.octets = append(slices.Grow(b.octets, 256), byte(r.Msg), xid[0], xid[1], xid[2])
	if client != "" { // a DUID is opaque (RFC 8415 section 11): the library has no type for a broken one
		b.add(dhcpv6.OptionClientID, []byte(client))
	}
	b.add(dhcpv6.OptionServerID, []byte(server))
	if r.Status != nil {
		b.add(dhcpv6.OptionStatusCode, status(r.Status).ToBytes())
	}
	if r.RapidCommit {
		b.add(dhcpv6.OptionRapidCommit, nil)
	}
	if r.Preference >= 0 {
		b.add(dhcpv6.OptionPreference, dhcpv6.OptPreference(uint8(min(r.Preference, math.MaxUint8))).ToBytes())
	}
	for _, ia := range r.IAs {
		b.ia(ia)
	}
	b.high = len(b.octets)
	if r.HTTPClient { // a class of ten octets, counted: sixteen in all, the least that firmware looks at
		v := dhcpv6.OptVendorClass{EnterpriseNumber: enterprise, Data: [][]byte{[]byte("HTTPClient")}}
		b.add(v.Code(), v.ToBytes())
	}
	if r.BootURL != "" {
		b.add(dhcpv6.OptionBootfileURL, []byte(r.BootURL))
		b.most = lenHeader + maxOptions
	}
	if len(r.DNS) > 0 {
		b.add(dhcpv6.OptionDNSRecursiveNameServer, dhcpv6.OptDNS(ips(r.DNS)...).ToBytes())
	}
	if r.FQDN != "" {
		if name, ok := option.PutName(r.FQDN); ok {
			b.add(dhcpv6.OptionFQDN, append([]byte{r.FQDNFlags}, name...))
		}
	}
	for _, o := range r.Options {
		b.add(dhcpv6.OptionCode(o.Code), o.Data)
	}
	b.seconds(dhcpv6.OptionSolMaxRT, r.SolMaxRT)
	b.seconds(dhcpv6.OptionInfMaxRT, r.InfMaxRT)
	b.seconds(dhcpv6.OptionInformationRefreshTime, r.InfoRefresh)
	if len(r.Search) > 0 {
		if l := searchList(r.Search); len(l.Labels) > 0 {
			b.add(dhcpv6.OptionDomainSearchList, l.ToBytes())
		}
	}
	return b.octets, b.left
}

// message is a reply that grows up to most octets.
type message struct {
	octets []byte
	most   int
	// high is where options with a code from 256 stand: before the boot file; 0: not yet known.
	high int
	// left are the codes of options that did not fit.
	left []uint16
}

// add appends an option if it still fits.
func (b *message) add(code dhcpv6.OptionCode, data []byte) {
	switch {
	case len(b.octets)+4+len(data) > b.most:
		b.left = append(b.left, uint16(code))
	case code > math.MaxUint8 && b.high > 0:
		o := putOption(nil, code, data)
		b.octets = slices.Insert(b.octets, b.high, o...)
		b.high += len(o)
	default:
		b.octets = putOption(b.octets, code, data)
	}
}

func (b *message) seconds(code dhcpv6.OptionCode, d time.Duration) {
	if d > 0 {
		b.add(code, putSeconds(nil, d))
	}
}

func (b *message) ia(ia address.IAReply) {
	code := dhcpv6.OptionIANA
	v := binary.BigEndian.AppendUint32(make([]byte, 0, lenIANA+4+lenIAAddr), uint32(ia.IAID))
	switch ia.Kind {
	case address.IATA:
		code = dhcpv6.OptionIATA
	case address.IAPD:
		code = dhcpv6.OptionIAPD
		fallthrough
	default:
		v = putSeconds(putSeconds(v, ia.T1), ia.T2)
	}
	for _, l := range ia.Addrs { // RFC 8415 section 21.6
		v = putHead(v, dhcpv6.OptionIAAddr, lenIAAddr)
		v = append(v, l.Addr.AsSlice()...)
		v = putSeconds(putSeconds(v, l.Preferred), l.Valid)
	}
	for _, l := range ia.Prefixes {
		v = putPrefix(v, l)
	}
	if ia.Status != nil {
		v = putOption(v, dhcpv6.OptionStatusCode, status(ia.Status).ToBytes())
	}
	b.add(code, v)
}

// putOption appends an option.
func putOption(b []byte, code dhcpv6.OptionCode, data []byte) []byte {
	return append(putHead(b, code, len(data)), data...)
}

// putHead appends what stands before the n octets of an option.
func putHead(b []byte, code dhcpv6.OptionCode, n int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, uint16(code)), uint16(n))
}

func status(s *address.Status) dhcpv6.Option {
	return &dhcpv6.OptStatusCode{StatusCode: iana.StatusCode(s.Code), StatusMessage: s.Text}
}

func ips(addrs []netip.Addr) []net.IP {
	out := make([]net.IP, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, a.AsSlice())
	}
	return out
}

// putSeconds appends a lifetime in whole seconds. What 32 bits of them do not hold becomes all ones, for ever (RFC 8415 section
// 7.7).
func putSeconds(b []byte, d time.Duration) []byte {
	return binary.BigEndian.AppendUint32(b, uint32(min(max(d, 0), math.MaxUint32*time.Second)/time.Second))
}

// searchList leaves out the names that have no wire form: the library would write them all the same.
func searchList(names []string) *rfc1035label.Labels {
	l := rfc1035label.Labels{Labels: make([]string, 0, len(names))}
	for _, name := range names {
		if name = strings.TrimSuffix(name, "."); hasWireForm(name) {
			l.Labels = append(l.Labels, name)
		}
	}
	return &l
}

// hasWireForm: labels of 1 to 63 octets, 255 in all (RFC 1035 section 3.1).
func hasWireForm(name string) bool {
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) >= maxLabel {
			return false
		}
	}
	return len(name)+2 <= 255
}
