package dhcp6

import (
	"encoding/binary"

	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
)

// head appends the header of an option. Tests write messages by hand: what the codec writes, it surely reads.
func head(b []byte, code dhcpv6.OptionCode, n int) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, uint16(code)), uint16(n))
}

// encodeRequest writes the message that parse reads.
func encodeRequest(p packet) []byte {
	q := p.req
	b := []byte{byte(q.Msg), p.xid[0], p.xid[1], p.xid[2]}
	add := func(code dhcpv6.OptionCode, data []byte) { b = append(head(b, code, len(data)), data...) }
	if q.Client != "" {
		add(dhcpv6.OptionClientID, []byte(q.Client))
	}
	if q.Server != "" {
		add(dhcpv6.OptionServerID, []byte(q.Server))
	}
	for _, ia := range q.IAs {
		code, v := iaHead(ia)
		for _, a := range ia.Addrs {
			v = append(append(head(v, dhcpv6.OptionIAAddr, lenIAAddr), a.AsSlice()...), make([]byte, 8)...)
		}
		for _, x := range ia.Prefixes {
			v = append(append(head(v, dhcpv6.OptionIAPrefix, lenIAPrefix), make([]byte, 8)...), byte(x.Bits()))
			v = append(v, x.Addr().AsSlice()...)
		}
		add(code, v)
	}
	if q.RapidCommit {
		add(dhcpv6.OptionRapidCommit, nil)
	}
	if q.FQDN {
		add(dhcpv6.OptionFQDN, []byte{q.FQDNFlags})
	}
	if len(q.ORO) > 0 {
		add(dhcpv6.OptionORO, putUint16s(q.ORO))
	}
	if len(q.Arch) > 0 {
		add(dhcpv6.OptionClientArchType, putUint16s(q.Arch))
	}
	if len(q.Classes) > 0 {
		var v []byte
		for _, c := range q.Classes {
			v = append(binary.BigEndian.AppendUint16(v, uint16(len(c))), c...)
		}
		add(dhcpv6.OptionUserClass, v)
	}
	if q.Vendor != "" {
		v := binary.BigEndian.AppendUint32(nil, enterprise)
		add(dhcpv6.OptionVendorClass, append(binary.BigEndian.AppendUint16(v, uint16(len(q.Vendor))), q.Vendor...))
	}
	return b
}

func iaHead(ia address.IA) (code dhcpv6.OptionCode, v []byte) {
	v = binary.BigEndian.AppendUint32(nil, uint32(ia.IAID))
	switch ia.Kind {
	case address.IATA:
		return dhcpv6.OptionIATA, v
	case address.IAPD:
		return dhcpv6.OptionIAPD, append(v, make([]byte, 8)...)
	}
	return dhcpv6.OptionIANA, append(v, make([]byte, 8)...)
}

func putUint16s(in []uint16) []byte {
	var v []byte
	for _, n := range in {
		v = binary.BigEndian.AppendUint16(v, n)
	}
	return v
}

func evidenceOf(d ident.DUID) []who.Evidence { return who.Client(d) }
