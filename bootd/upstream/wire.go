package upstream

import (
	"encoding/binary"
	"math"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/decide/uplink"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/option"
	"bootd.internal/bootd/reason"
)

// Options of the exchange (RFC 8415 section 21; RFC 3646; RFC 6603; RFC 7083).
const (
	optClientID    = 1
	optServerID    = 2
	optIANA        = 3
	optIAAddr      = 5
	optORO         = 6
	optPreference  = 7
	optElapsed     = 8
	optStatus      = 13
	optRapidCommit = 14
	optDNS         = 23
	optSearch      = 24
	optIAPD        = 25
	optIAPrefix    = 26
	optPDExclude   = 67
	optSolMaxRT    = 82
)

// Bounds on what a server may send; none comes near.
const (
	// maxDatagram is the most octets of one message.
	maxDatagram = 4096
	maxIAs      = 32
	maxLeases   = 64
	maxServers  = 8
	maxSearch   = 16
)

// asked are the options that a server gives only to those who ask (section 21.7).
func asked() []uint16 { return []uint16{optDNS, optSearch, optPDExclude, optSolMaxRT} }

// encode writes a message of ours.
func encode(m uplink.Message) []byte {
	b := []byte{byte(m.Type), m.XID[0], m.XID[1], m.XID[2]}
	b = put(b, optClientID, []byte(m.Client))
	if m.Server != "" {
		b = put(b, optServerID, []byte(m.Server))
	}
	hundredths := min(max(m.Elapsed, 0)/(10*time.Millisecond), math.MaxUint16)
	b = put(b, optElapsed, binary.BigEndian.AppendUint16(nil, uint16(hundredths)))
	if m.Type != uplink.Release {
		var codes []byte
		for _, c := range asked() {
			codes = binary.BigEndian.AppendUint16(codes, c)
		}
		b = put(b, optORO, codes)
	}
	if m.RapidCommit {
		b = put(b, optRapidCommit, nil)
	}
	for _, ia := range m.IAs {
		v := append(binary.BigEndian.AppendUint32(nil, uint32(ia.ID)), make([]byte, 8)...)
		code := uint16(optIAPD)
		if ia.Address {
			code = optIANA
		}
		for _, l := range ia.Leases {
			a := l.Prefix.Addr().As16()
			if ia.Address {
				v = put(v, optIAAddr, append(a[:], make([]byte, 8)...))
				continue
			}
			v = put(v, optIAPrefix, append(append(make([]byte, 8), byte(l.Prefix.Bits())), a[:]...))
		}
		b = put(b, code, v)
	}
	return b
}

func put(b []byte, code uint16, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}

// decode reads a message of a server. A reason other than None: it is ignored.
func decode(b []byte) (uplink.Message, reason.Reason) {
	switch {
	case len(b) > maxDatagram:
		return uplink.Message{}, reason.Oversized
	case len(b) < 4:
		return uplink.Message{}, reason.Malformed
	}
	d := decoder{m: uplink.Message{Type: uplink.Type(b[0]), XID: [3]byte(b[1:4])}}
	switch d.m.Type {
	case uplink.Advertise, uplink.Reply, uplink.Reconfigure:
	default:
		return d.m, reason.NotForClients
	}
	d.each(b[4:], d.message)
	return d.m, d.why
}

// decoder gathers one message; the first fault stays.
type decoder struct {
	m      uplink.Message
	leases int
	why    reason.Reason
}

func (d *decoder) fault(why reason.Reason) {
	if d.why == reason.None {
		d.why = why
	}
}

func (d *decoder) each(b []byte, take func(code uint16, data []byte)) {
	if !option.Each(b, func(code uint16, data []byte) {
		if d.why == reason.None {
			take(code, data)
		}
	}) {
		d.fault(reason.Malformed)
	}
}

func (d *decoder) message(code uint16, data []byte) {
	switch code {
	case optClientID:
		d.id(&d.m.Client, data, reason.BadClientID)
	case optServerID:
		d.id(&d.m.Server, data, reason.Malformed)
	case optPreference:
		if d.long(data, 1) {
			d.m.Preference = int(data[0])
		}
	case optStatus:
		if d.long(data, 2) {
			d.m.Status = uplink.Code(binary.BigEndian.Uint16(data))
		}
	case optRapidCommit:
		d.m.RapidCommit = true
	case optSolMaxRT:
		if d.long(data, 4) {
			d.m.SolMaxRT = seconds(data)
		}
	case optDNS:
		for ; len(data) >= 16 && len(d.m.Nameservers) < maxServers; data = data[16:] {
			d.m.Nameservers = append(d.m.Nameservers, netip.AddrFrom16([16]byte(data)))
		}
	case optSearch:
		d.search(data)
	case optIANA, optIAPD:
		d.ia(data, code == optIANA)
	}
}

// id reads a DUID that may be there once.
func (d *decoder) id(to *ident.DUID, data []byte, why reason.Reason) {
	id, ok := ident.DUIDFrom(data)
	if !ok || *to != "" {
		d.fault(why)
		return
	}
	*to = id
}

func (d *decoder) long(data []byte, n int) bool {
	if len(data) < n {
		d.fault(reason.Malformed)
	}
	return len(data) >= n
}

func seconds(b []byte) time.Duration { return time.Duration(binary.BigEndian.Uint32(b)) * time.Second }

func (d *decoder) ia(data []byte, address bool) {
	if !d.long(data, 12) {
		return
	}
	if len(d.m.IAs) >= maxIAs {
		d.fault(reason.Oversized)
		return
	}
	ia := uplink.IA{ID: ident.IAID(binary.BigEndian.Uint32(data)), Address: address, T1: seconds(data[4:]), T2: seconds(data[8:])}
	d.each(data[12:], func(code uint16, data []byte) {
		switch code {
		case optStatus:
			if d.long(data, 2) {
				ia.Status = uplink.Code(binary.BigEndian.Uint16(data))
			}
		case optIAAddr:
			if address && d.long(data, 24) {
				d.lease(&ia, uplink.Lease{
					Prefix:    netip.PrefixFrom(netip.AddrFrom16([16]byte(data)), 128),
					Preferred: seconds(data[16:]), Valid: seconds(data[20:]),
				}, data[24:])
			}
		case optIAPrefix:
			if !address && d.long(data, 25) {
				if data[8] > 128 {
					d.fault(reason.Malformed)
					return
				}
				p := netip.PrefixFrom(netip.AddrFrom16([16]byte(data[9:25])), int(data[8])).Masked() // bits behind the length mean nothing
				d.lease(&ia, uplink.Lease{Prefix: p, Preferred: seconds(data), Valid: seconds(data[4:])}, data[25:])
			}
		}
	})
	d.m.IAs = append(d.m.IAs, ia)
}

// lease takes a lease unless its own status says that it is none (section 21.13).
func (d *decoder) lease(ia *uplink.IA, l uplink.Lease, options []byte) {
	if d.leases++; d.leases > maxLeases {
		d.fault(reason.Oversized)
		return
	}
	failed := false
	d.each(options, func(code uint16, data []byte) {
		switch {
		case code == optStatus && d.long(data, 2):
			failed = failed || binary.BigEndian.Uint16(data) != 0
		case code == optPDExclude && !ia.Address:
			x, ok := excluded(l.Prefix, data)
			if !ok {
				d.fault(reason.Malformed)
			}
			l.Exclude = x
		}
	})
	if !failed {
		ia.Leases = append(ia.Leases, l)
	}
}

// excluded reads a PD-exclude (RFC 6603 section 4.2): a length, then the bits behind those of the prefix, from the left.
func excluded(p netip.Prefix, data []byte) (netip.Prefix, bool) {
	if len(data) < 2 || int(data[0]) <= p.Bits() || data[0] > 128 || len(data)-1 < (int(data[0])-p.Bits()+7)/8 {
		return netip.Prefix{}, false
	}
	a := p.Addr().As16()
	for i := range int(data[0]) - p.Bits() {
		if data[1+i/8]&(0x80>>(i%8)) != 0 {
			bit := p.Bits() + i
			a[bit/8] |= 0x80 >> (bit % 8)
		}
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), int(data[0])), true
}

// search reads domain names. Whoever sends compression or labels that are too long attacks (section 10); names that no resolver
// file could hold are left out, because hooks get them.
func (d *decoder) search(b []byte) {
	var labels []string
	for len(b) > 0 {
		n := int(b[0])
		if n > 63 || n > len(b)-1 {
			d.fault(reason.HostileLabel)
			return
		}
		if label := string(b[1 : 1+n]); n > 0 {
			labels = append(labels, label)
		} else if name := strings.Join(labels, "."); hostName(labels) && len(name) <= 253 {
			if len(d.m.Search) < maxSearch && !slices.Contains(d.m.Search, name) {
				d.m.Search = append(d.m.Search, name)
			}
			labels = nil
		} else {
			labels = nil
		}
		b = b[1+n:]
	}
}

func hostName(labels []string) bool {
	for _, l := range labels {
		for i := range len(l) {
			c := l[i]
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return len(labels) > 0
}
