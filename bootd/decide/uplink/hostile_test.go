package uplink

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"
)

// TestRestless: a server that gives another prefix each time and wants to be asked again at once makes us neither send nor hold without bound.
func TestRestless(t *testing.T) {
	for _, l := range []Lease{
		{Valid: time.Second},
		{Preferred: time.Second, Valid: time.Second},
		{Preferred: time.Second, Valid: Forever},
		{Preferred: Forever, Valid: Forever},
	} {
		n := uint16(0)
		s := newSim(t, config(48, 56), Held{}, func(m Message) []Message {
			typ := Reply
			if m.Type == Solicit {
				typ = Advertise
			}
			a := reply(m, typ)
			for i := range a.IAs {
				a.IAs[i].T1, a.IAs[i].T2 = time.Second, time.Second
				n++ // 8 prefixes in turn
				b := [16]byte{0: 0x20, 1: 1}
				binary.BigEndian.PutUint16(b[4:], n%8)
				l.Prefix = netip.PrefixFrom(netip.AddrFrom16(b), 48)
				a.IAs[i].Leases = []Lease{l}
			}
			return []Message{a}
		})
		s.attach()
		s.until(10 * time.Minute)
		most := 600
		if l.Valid == Forever {
			most = 600/5 + 10 // leastRenew is 5 s
		}
		if len(s.at) > most {
			t.Errorf("%d messages in ten minutes of %+v", len(s.at), l)
		}
		if held := len(s.m.Held().Bindings); held > 8 {
			t.Errorf("%d prefixes are held", held)
		}
	}
}
