package dhcp6

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/journal"
	"bootd.internal/bootd/timeline"
)

// mute is an Observer that forgets.
type mute struct{}

func (mute) Observe(timeline.Observation) {}

// BenchmarkSocket is four-message exchanges over the socket, 64 outstanding, each of a claim that was never seen, with a
// store that syncs each lease to disk before the Reply.
func BenchmarkSocket(b *testing.B) {
	netiftest.Kernel(b)
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		b.Fatal(err)
	}
	const outstanding, hosts = 64, 6400
	var text strings.Builder
	text.WriteString("networks:\n  rack1: {interface: lo, prefix: \"2001:db8::/64\"}\nhosts:\n")
	for i := range hosts {
		fmt.Fprintf(&text, "  h%d: \"52:54:00:01:%02x:%02x\"\n", i, i>>8, i&255)
	}
	snap := sitetest.Snapshot(b, text.String(), sitetest.Facts(sitetest.Link(b, lo.Index, "lo", "2001:db8::1/64")))
	engine, err := journal.Open(b.TempDir(), journal.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { engine.Close() })
	server, err := listen(Config{
		Snapshot: func() *site.Snapshot { return snap }, Store: engine, Observer: mute{}, Neighbours: netiftest.Neighbours{}, Now: time.Now,
	}, 0)
	if err != nil {
		b.Fatal(err)
	}
	run(b, server)
	to := fmt.Sprintf("[::1]:%d", server.conn.LocalAddr().(*net.UDPAddr).Port)
	var next atomic.Int64
	var workers sync.WaitGroup
	b.ResetTimer()
	for range outstanding {
		workers.Go(func() {
			c, err := net.Dial("udp6", to)
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				host := n % hosts
				q := address.Request{
					Msg: address.Solicit, Client: ident.NewDUIDLL(ident.MAC{0x52, 0x54, 0, 1, byte(host >> 8), byte(host)}),
					IAs: []address.IA{{Kind: address.IANA, IAID: ident.IAID(n)}},
				}
				exchange(b, c, q, address.Advertise)
				q.Msg, q.Server = address.RequestMsg, snap.ServerDUID
				exchange(b, c, q, address.ReplyMsg)
			}
		})
	}
	workers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "exchanges/s")
}

func exchange(b *testing.B, c net.Conn, q address.Request, want address.Msg) {
	in := make([]byte, 1500)
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(encodeRequest(packet{req: q})); err != nil {
		b.Error(err)
		return
	}
	if n, err := c.Read(in); err != nil || n == 0 || in[0] != byte(want) {
		b.Errorf("%d octets, type %d, error %v", n, in[0], err)
	}
}

// BenchmarkParse reads what OVMF sends.
func BenchmarkParse(b *testing.B) {
	payload := readCapture(b, "ovmf2022-pxe6-pref255-then-ipxe.pcap")[1].payload
	b.ReportAllocs()
	for b.Loop() {
		parse(payload)
	}
}

// BenchmarkEncode writes what UEFI HTTP boot gets.
func BenchmarkEncode(b *testing.B) {
	r, duid := bootReply(), node0()
	b.ReportAllocs()
	for b.Loop() {
		encode(r, [3]byte{1, 2, 3}, duid, duid)
	}
}

func bootReply() *address.Reply {
	return &address.Reply{
		Msg: address.ReplyMsg, Preference: 255, HTTPClient: true, BootURL: "http://[2001:db8::1]/boot/ipxe.efi",
		IAs: []address.IAReply{{
			Kind: address.IANA, IAID: 7, T1: 6 * time.Hour, T2: 9 * time.Hour,
			Addrs: []address.Lease{{Addr: netip.MustParseAddr("2001:db8::100"), Preferred: 12 * time.Hour, Valid: 24 * time.Hour}},
		}},
		DNS: []netip.Addr{netip.MustParseAddr("2001:db8::1")}, Search: []string{"boot.example"},
		SolMaxRT: time.Minute, InfMaxRT: time.Minute,
	}
}
