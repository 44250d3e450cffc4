package tftp

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"bootd.internal/bootd/files"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

type deaf struct{}

func (deaf) Observe(timeline.Observation) {}

// BenchmarkFetch sends 40 MB over loopback, as an initrd would be.
func BenchmarkFetch(b *testing.B) {
	const size = 40 << 20
	root := b.TempDir()
	if err := os.WriteFile(filepath.Join(root, "initrd"), content(size), 0o600); err != nil {
		b.Fatal(err)
	}
	dir, err := files.Open(root)
	if err != nil {
		b.Fatal(err)
	}
	defer dir.Close()
	s, err := New(Config{
		Snapshot: func() *site.Snapshot { return &site.Snapshot{} }, Observer: deaf{}, Now: time.Now, Files: dir,
		Listen: netip.AddrPortFrom(netip.IPv6Loopback(), 0),
	})
	if err != nil {
		b.Fatal(err)
	}
	stop := background(b, s)
	defer stop()
	for _, window := range []int{1, 4, 16} {
		b.Run(fmt.Sprint(window), func(b *testing.B) {
			b.SetBytes(size)
			for range b.N {
				if n, err := drain(s.Addr(), "initrd", window); n != size || err != nil {
					b.Fatalf("%d octets, %v", n, err)
				}
			}
		})
	}
}

// drain fetches a file as fast as it can and gives its size.
func drain(server netip.AddrPort, name string, window int) (int, error) {
	conn, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), 0)))
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return 0, err
	}
	rrq := fmt.Sprintf("\x00\x01%s\x00octet\x00blksize\x001428\x00windowsize\x00%d\x00", name, window)
	if _, err := conn.WriteToUDPAddrPort([]byte(rrq), server); err != nil {
		return 0, err
	}
	buf := make([]byte, 2048)
	octets := 0
	for next := uint16(0); ; {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return octets, err
		}
		block := uint16(buf[2])<<8 | uint16(buf[3])
		switch opcode(buf) {
		case opOACK:
			block = 0
		case opERROR:
			return octets, fmt.Errorf("received %q", buf[:n])
		}
		if block != next {
			continue
		}
		if next++; opcode(buf) == opDATA {
			octets += n - 4
		}
		last := opcode(buf) == opDATA && n < 1428+4
		if int(block)%window == 0 || last || block == 0 {
			if _, err := conn.WriteToUDPAddrPort(packACK(block), from); err != nil {
				return octets, err
			}
		}
		if last {
			return octets, nil
		}
	}
}
