package ingress

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"github.com/google/go-cmp/cmp"
)

var loopback = netip.AddrPortFrom(netip.IPv6Unspecified(), 0)

// socket is a Conn on the loopback.
func socket(t *testing.T) *Conn {
	t.Helper()
	c, err := Listen(loopback)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// patient gives a client's socket twenty seconds.
func patient(t *testing.T, client *net.UDPConn, err error) *net.UDPConn {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return client
}

// connected is a client's socket that speaks to c, unconnected one that only listens.
func connected(t *testing.T, c *Conn) *net.UDPConn {
	t.Helper()
	client, err := net.DialUDP("udp6", nil, &net.UDPAddr{IP: net.IPv6loopback, Port: int(c.LocalAddr().Port())})
	return patient(t, client, err)
}

func unconnected(t *testing.T) *net.UDPConn {
	t.Helper()
	client, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	return patient(t, client, err)
}

func TestReadWrite(t *testing.T) {
	c := socket(t)
	client := connected(t, c)
	for _, msg := range []string{"short", "longer than the buffer of the server"} {
		if _, err := client.Write([]byte(msg)); err != nil {
			t.Fatal(err)
		}
	}
	buf := make([]byte, 16)
	n, p, err := c.Read(buf)
	want := Peer{Addr: client.LocalAddr().(*net.UDPAddr).AddrPort(), Local: netip.IPv6Loopback(), Index: loopbackIndex}
	if err != nil || string(buf[:n]) != "short" || p != want {
		t.Errorf("read %q from %v, %v; want %v", buf[:n], p, err, want)
	}
	if err := c.Write([]byte("answer"), p); err != nil {
		t.Fatal(err)
	}
	if n, err := client.Read(buf); err != nil || string(buf[:n]) != "answer" {
		t.Errorf("client read %q, %v", buf[:n], err)
	}
	if _, _, err := c.Read(buf); !errors.Is(err, ErrTruncated) {
		t.Errorf("long datagram: %v, want %v", err, ErrTruncated)
	}
	a, err := p.Answer()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got := a.LocalAddr().(*net.UDPAddr).AddrPort().Addr(); got != netip.IPv6Loopback() {
		t.Errorf("answers from %v", got)
	}
	c.Close()
	if _, _, err := c.Read(buf); !errors.Is(err, net.ErrClosed) {
		t.Errorf("read after close: %v", err)
	}
}

func TestTCPIndex(t *testing.T) {
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err := net.Dial("tcp6", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := TCPIndex(c.(*net.TCPConn)); got != loopbackIndex || err != nil {
		t.Errorf("came in on %d, %v; want %d", got, err, loopbackIndex)
	}
}

func TestServed(t *testing.T) {
	prefix := site.Prefix{Prefix: netip.MustParsePrefix("2001:db8:1::/64")}
	rack := &site.Network{Name: "rack1", Link: &site.Link{Name: "eth1", Index: 7}, Prefixes: []site.Prefix{prefix}}
	absent := &site.Network{Name: "rack2"}
	snap := &site.Snapshot{Networks: []*site.Network{absent, rack}}
	host, self := netip.MustParseAddr("2001:db8:1::10"), netip.MustParseAddr("2001:db8:1::1")
	tests := []struct {
		name   string
		snap   *site.Snapshot
		index  int
		source netip.Addr
		at     site.Arrival
		net    *site.Network
		why    reason.Reason
	}{
		{"served", snap, 7, host, site.Arrival{Link: "eth1", Index: 7, Source: host, Dest: self}, rack, reason.None},
		{
			"link-local", snap, 7, netip.MustParseAddr("fe80::1%eth1"),
			site.Arrival{Link: "eth1", Index: 7, Source: netip.MustParseAddr("fe80::1"), Dest: self},
			rack, reason.None,
		},
		{"itself", snap, 1, host, site.Arrival{Link: "lo", Index: 1, Source: host, Dest: self}, rack, reason.None},
		{"other link, forged source", snap, 2, host, site.Arrival{Index: 2, Source: host, Dest: self}, nil, reason.NotServedLink},
		{"nothing known yet", nil, 7, host, site.Arrival{Index: 7, Source: host, Dest: self}, nil, reason.NotServedLink},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			at, n, why := Served(tt.snap, tt.index, tt.source, self)
			if diff := cmp.Diff(tt.at, at, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Error(diff)
			}
			if n != tt.net || why != tt.why {
				t.Errorf("network %v, reason %v; want %v, %v", n, why, tt.net, tt.why)
			}
		})
	}
	for addr, want := range map[string]bool{"2001:db8:1::10": true, "fe80::1": true, "::1": true, "2001:db8:9::1": false} {
		if got := Local(snap, netip.MustParseAddr(addr)); got != want {
			t.Errorf("Local(%s) is %v", addr, got)
		}
	}
}
