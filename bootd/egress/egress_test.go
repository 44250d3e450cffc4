package egress

import (
	"bytes"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"
)

// long is how long a test waits for what must come.
const long = 20 * time.Second

// echo sends every datagram back.
func echo(t *testing.T, at string) netip.AddrPort {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(at)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	go func() {
		buf := make([]byte, 8192)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = c.WriteToUDPAddrPort(buf[:n], from)
		}
	}()
	return c.LocalAddr().(*net.UDPAddr).AddrPort()
}

// got is what a socket was told.
type got struct {
	data []byte
	err  error
}

// start reads sockets until the test ends, which Close does.
func start(t *testing.T) *Sockets {
	t.Helper()
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Read(func() {}) }()
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(long):
			t.Error("Read does not end")
		}
	})
	return s
}

func open(t *testing.T, s *Sockets, to netip.AddrPort) (*Socket, chan got) {
	t.Helper()
	came := make(chan got, 100)
	c, err := s.Open(to, func(all [][]byte, err error) {
		for _, data := range all {
			came <- got{bytes.Clone(data), nil}
		}
		if err != nil {
			came <- got{nil, err}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return c, came
}

func next(t *testing.T, came chan got) got {
	t.Helper()
	select {
	case g := <-came:
		return g
	case <-time.After(long):
		t.Fatal("nothing comes")
		return got{}
	}
}

// TestSend: datagrams of all lengths arrive whole, over IPv6 and IPv4, however many leave together.
func TestSend(t *testing.T) {
	for _, at := range []string{"[::1]:0", "127.0.0.1:0"} {
		t.Run(at, func(t *testing.T) {
			c, came := open(t, start(t), echo(t, at))
			for _, sizes := range [][]int{
				{1}, {40, 40, 40}, {40, 40, 39, 40, 41, 41}, {1400, 1300, 1200}, {3000, 3000}, bytesOf(50, 3*Together+1),
			} {
				var all [][]byte
				for i, n := range sizes {
					all = append(all, bytes.Repeat([]byte{byte(i + 1)}, n))
				}
				if err := c.Send(all...); err != nil {
					t.Fatalf("%v: %v", sizes, err)
				}
				for i, want := range all {
					if g := next(t, came); g.err != nil || !bytes.Equal(g.data, want) {
						t.Errorf("%v: datagram %d is %d octets of %v, %v", sizes, i, len(g.data), g.data[:min(1, len(g.data))], g.err)
					}
				}
			}
		})
	}
}

func bytesOf(size, n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = size
	}
	return out
}

// TestNobodyListens: a port that is closed is told, and others are read on.
func TestNobodyListens(t *testing.T) {
	s := start(t)
	c, came := open(t, s, netip.MustParseAddrPort("[::1]:1"))
	good, coming := open(t, s, echo(t, "[::1]:0"))
	if err := c.Send([]byte("a"), []byte("b")); err != nil {
		t.Fatal(err)
	}
	if g := next(t, came); g.err == nil {
		t.Errorf("%q came", g.data)
	}
	if err := good.Send([]byte("c")); err != nil {
		t.Fatal(err)
	}
	if g := next(t, coming); string(g.data) != "c" {
		t.Errorf("%q came, %v", g.data, g.err)
	}
	good.Close()
	good.Close()
	if err := good.Send([]byte("d")); err == nil {
		t.Error("a closed socket sends")
	}
}

func TestOpenFails(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"[fe80::1%nosuchlink]:53", "[fe80::1%2147483647]:53"} {
		if _, err := s.Open(netip.MustParseAddrPort(to), nil); err == nil {
			t.Errorf("%s is opened", to)
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Open(netip.MustParseAddrPort("[::1]:53"), nil); err == nil {
		t.Error("opened after Close")
	}
}

func TestAlike(t *testing.T) {
	for _, tt := range []struct {
		sizes []int
		want  int
	}{
		{[]int{5}, 1}, {[]int{5, 6}, 1}, {[]int{5, 5, 5}, 3}, {[]int{5, 4, 4}, 2}, {[]int{5, 5, 6}, 2}, {bytesOf(5, Together+1), Together},
	} {
		var all [][]byte
		for _, n := range tt.sizes {
			all = append(all, make([]byte, n))
		}
		if n := alike(all); n != tt.want {
			t.Errorf("%v: %d, want %d", tt.sizes, n, tt.want)
		}
	}
}

// TestAnswersBeforeAnError: what came before an error is read before it is told, for the socket is given up then.
func TestAnswersBeforeAnError(t *testing.T) {
	s, err := New()
	if err != nil {
		t.Fatal(err)
	}
	server, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
	if err != nil {
		t.Fatal(err)
	}
	var told []string
	var c *Socket
	c, err = s.Open(server.LocalAddr().(*net.UDPAddr).AddrPort(), func(all [][]byte, err error) {
		for _, d := range all {
			told = append(told, string(d))
		}
		if err != nil {
			told = append(told, "error")
			_ = s.Close()
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Send([]byte("question")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 16)
	_, from, err := server.ReadFromUDPAddrPort(buf)
	if err == nil {
		_, err = server.WriteToUDPAddrPort([]byte("answer"), from)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = server.Close()
	_ = c.Send([]byte("to nobody"))
	if err := s.Read(func() {}); err != nil {
		t.Error(err)
	}
	if !slices.Equal(told, []string{"answer", "error"}) {
		t.Errorf("told %q", told)
	}
}
