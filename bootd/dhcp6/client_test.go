package dhcp6

import (
	"encoding/binary"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
)

// encodeRequest writes the message that parse reads.
func encodeRequest(p packet) []byte {
	q := p.req
	b := []byte{byte(q.Msg), p.xid[0], p.xid[1], p.xid[2]}
	add := func(code uint16, data []byte) { b = append(option(b, code, len(data)), data...) }
	if q.Client != "" {
		add(optClientID, []byte(q.Client))
	}
	if q.Server != "" {
		add(optServerID, []byte(q.Server))
	}
	for _, ia := range q.IAs {
		code, v := iaHead(ia)
		for _, a := range ia.Addrs {
			v = append(append(option(v, optIAAddr, lenIAAddr), a.AsSlice()...), make([]byte, 8)...)
		}
		for _, x := range ia.Prefixes {
			v = append(append(option(v, optIAPrefix, lenIAPrefix), make([]byte, 8)...), byte(x.Bits()))
			v = append(v, x.Addr().AsSlice()...)
		}
		add(code, v)
	}
	if q.RapidCommit {
		add(optRapidCommit, nil)
	}
	if len(q.ORO) > 0 {
		add(optORO, putUint16s(q.ORO))
	}
	if len(q.Arch) > 0 {
		add(optClientArch, putUint16s(q.Arch))
	}
	if len(q.Classes) > 0 {
		var v []byte
		for _, c := range q.Classes {
			v = append(binary.BigEndian.AppendUint16(v, uint16(len(c))), c...)
		}
		add(optUserClass, v)
	}
	if q.Vendor != "" {
		v := binary.BigEndian.AppendUint32(nil, enterprise)
		add(optVendorClass, append(binary.BigEndian.AppendUint16(v, uint16(len(q.Vendor))), q.Vendor...))
	}
	return b
}

func iaHead(ia address.IA) (code uint16, v []byte) {
	v = binary.BigEndian.AppendUint32(nil, uint32(ia.IAID))
	switch ia.Kind {
	case address.IATA:
		return optIATA, v
	case address.IAPD:
		return optIAPD, append(v, make([]byte, 8)...)
	}
	return optIANA, append(v, make([]byte, 8)...)
}

func putUint16s(in []uint16) []byte {
	var v []byte
	for _, n := range in {
		v = binary.BigEndian.AppendUint16(v, n)
	}
	return v
}

func evidenceOf(d ident.DUID) []who.Evidence { return who.Client(d) }
