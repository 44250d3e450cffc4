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
				drain(b, s.Addr(), window)
			}
		})
	}
}

// drain fetches the file as fast as it can.
func drain(b *testing.B, server netip.AddrPort, window int) {
	b.Helper()
	conn, err := net.ListenUDP("udp6", net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.IPv6Loopback(), 0)))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	rrq := fmt.Sprintf("\x00\x01initrd\x00octet\x00blksize\x001428\x00windowsize\x00%d\x00", window)
	if _, err := conn.WriteToUDPAddrPort([]byte(rrq), server); err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 2048)
	for next := uint16(0); ; {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			b.Fatal(err)
		}
		block := uint16(buf[2])<<8 | uint16(buf[3])
		if opcode(buf) == opOACK {
			block = 0
		}
		if block != next {
			continue
		}
		next++
		last := opcode(buf) == opDATA && n < 1428+4
		if int(block)%window == 0 || last || block == 0 {
			if _, err := conn.WriteToUDPAddrPort(packACK(block), from); err != nil {
				b.Fatal(err)
			}
		}
		if last {
			return
		}
	}
}
