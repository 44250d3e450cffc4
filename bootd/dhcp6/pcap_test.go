package dhcp6

import (
	"encoding/binary"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bootd.internal/bootd/ident"
)

// captured is one UDP datagram to port 547 as it stood on the wire.
type captured struct {
	at      time.Time
	mac     ident.MAC
	src     netip.Addr
	payload []byte
}

// readCapture reads the client messages of a little-endian pcapng file of Ethernet frames with times in microseconds
// (the draft draft-ietf-opsawg-pcapng, sections 4.1 and 4.3).
func readCapture(t testing.TB, name string) []captured {
	t.Helper()
	const (
		sectionHeader = 0x0a0d0d0a
		packetBlock   = 6
	)
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	le := binary.LittleEndian
	if len(b) < 12 || le.Uint32(b) != sectionHeader || le.Uint32(b[8:]) != 0x1a2b3c4d {
		t.Fatalf("%s is no little-endian pcapng file", name)
	}
	var out []captured
	for len(b) >= 12 {
		kind, n := le.Uint32(b), le.Uint32(b[4:])
		block := b[:n]
		b = b[n:]
		if kind != packetBlock {
			continue
		}
		micros := int64(le.Uint32(block[12:]))<<32 | int64(le.Uint32(block[16:]))
		if c, ok := clientMessage(block[28 : 28+le.Uint32(block[20:])]); ok {
			c.at = time.UnixMicro(micros).UTC()
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		t.Fatalf("%s has no message to a DHCPv6 server", name)
	}
	return out
}

// clientMessage reads a frame that holds a UDP datagram to port 547.
func clientMessage(frame []byte) (captured, bool) {
	const ethernet, ip, udp = 14, 40, 8
	be := binary.BigEndian
	if len(frame) < ethernet+ip+udp || be.Uint16(frame[12:]) != 0x86dd || frame[ethernet+6] != 17 {
		return captured{}, false
	}
	head := frame[ethernet+ip:]
	if be.Uint16(head[2:]) != serverPort {
		return captured{}, false
	}
	return captured{
		mac:     ident.MAC(frame[6:12]),
		src:     netip.AddrFrom16([16]byte(frame[ethernet+8 : ethernet+24])),
		payload: head[udp:be.Uint16(head[4:])],
	}, true
}
