package http

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"github.com/google/go-cmp/cmp"
)

func TestBadRequests(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Stall = 3 * time.Second })
	for name, tc := range map[string][2]string{
		"garbage":          {"\x16\x03\x01\x02\x00\x01\r\n\r\n", "HTTP/1.1 400 "},
		"no host":          {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "},
		"OPTIONS *":        {"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 405 "},
		"CONNECT":          {"CONNECT x:1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 405 "},
		"absolute":         {"GET http://evil.example.net/ipxe.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 "},
		"huge header":      {"GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 64<<10) + "\r\n\r\n", "HTTP/1.1 431 "},
		"HTTP/1.0":         {"GET /ipxe.efi HTTP/1.0\r\n\r\n", "HTTP/1.0 200 "},
		"slow body":        {"POST /t/x/installed HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n", "HTTP/1.1 403 "},
		"slow headers":     {"GET / HTTP/1.1\r\nHost: x\r\n", ""},
		"many ranges":      {"GET /ipxe.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes=0-" + strings.Repeat(",0-", 500) + "\r\n\r\n", "HTTP/1.1 200 "},
		"bad escape":       {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/1.1 400 "},
		"query that lies":  {"GET /boot.ipxe?uuid=zz&serial=%00&mac=1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 "},
		"question of HEAD": {"HEAD /boot.ipxe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "HTTP/1.1 200 "},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := l.raw(tc[0])
			if tc[1] == "" && got != "" || !strings.HasPrefix(got, tc[1]) {
				t.Errorf("got %.200q, want %q", got, tc[1])
			}
		})
	}
}

func TestKeepAlive(t *testing.T) {
	l := newLab(t, nil)
	c, err := net.Dial("tcp6", strings.TrimPrefix(l.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for range 3 {
		if _, err := io.WriteString(c, "GET /ipxe.efi HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); err != nil || len(b) != 4000 {
			t.Fatal(len(b), err)
		}
	}
}

func TestForeignLink(t *testing.T) {
	l := newLab(t, nil)
	l.mu.Lock()
	l.index = 7
	l.mu.Unlock()
	l.arm("r1n01")
	for _, path := range []string{"/boot.ipxe", "/ipxe.efi"} {
		if got := l.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\n\r\n"); got != "" {
			t.Errorf("%s: %q", path, got)
		}
		if o := l.next(); o.Outcome.Reason != reason.NotServedLink || o.Message != "connection" || len(o.Events) > 0 {
			t.Errorf("%+v", o)
		}
	}
}

// TestLinkIsNoLongerServed takes a link out of service under a connection that stays.
func TestLinkIsNoLongerServed(t *testing.T) {
	var gone atomic.Bool
	l := newLab(t, func(c *Config) {
		snap := c.Snapshot()
		c.Snapshot = func() *site.Snapshot {
			if gone.Load() {
				return &site.Snapshot{}
			}
			return snap
		}
	})
	c, err := net.Dial("tcp6", strings.TrimPrefix(l.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for _, want := range []int{200, 403} {
		if _, err := io.WriteString(c, "GET /boot.ipxe HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != want {
			t.Errorf("got %d, %v, want %d", res.StatusCode, err, want)
		}
		l.next()
		gone.Store(true)
	}
}

func TestSlowReaderIsDropped(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Stall = 600 * time.Millisecond })
	write(t, filepath.Join(l.dir, "big"), make([]byte, 32<<20))
	c, err := net.Dial("tcp6", strings.TrimPrefix(l.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if o := l.next(); o.Outcome.Reason != reason.TimedOut || len(o.Events) != 0 {
		t.Errorf("observed %+v", o)
	}
}

func TestReaderThatGoesAway(t *testing.T) {
	l := newLab(t, nil)
	write(t, filepath.Join(l.dir, "big.efi"), make([]byte, 32<<20))
	c, err := net.Dial("tcp6", strings.TrimPrefix(l.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /big.efi HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(c, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	c.Close()
	if o := l.next(); o.Outcome.Reason != reason.Aborted || len(o.Events) != 0 {
		t.Errorf("observed %+v", o)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxPerPeer = 3 })
	var open []net.Conn
	for range 3 {
		c, err := net.Dial("tcp6", strings.TrimPrefix(l.base, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if _, err := io.WriteString(c, "GET /ipxe.efi HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		l.next()
		open = append(open, c)
	}
	if got := l.raw("GET /ipxe.efi HTTP/1.1\r\nHost: x\r\n\r\n"); got != "" {
		t.Errorf("a fourth connection got %.40q", got)
	}
	if o := l.next(); o.Outcome.Reason != reason.Overload {
		t.Errorf("observed %+v", o)
	}
	open[0].Close()
	for tries := 0; ; tries++ { // the server notices the end of the first in its own time
		if got := l.raw("GET /ipxe.efi HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"); strings.HasPrefix(got, "HTTP/1.1 200") {
			break
		} else if tries > 1000 {
			t.Fatal("the place was never given back")
		}
	}
}

// TestMachineWithManyAddresses: a card is counted, however many addresses it has; where it is not known, an address is.
func TestMachineWithManyAddresses(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxPerPeer = 2 })
	from := func(text string) *conn { return &conn{index: 2, source: netip.MustParseAddrPort(text)} }
	a, b := l.srv.counted(from("[2001:db8:1::a]:1")), l.srv.counted(from("[fe80::1%eth1]:2"))
	if want := (ingress.Machine{MAC: mac1}); a != want || b != want {
		t.Errorf("got %v and %v, want %v", a, b, want)
	}
	l.mu.Lock()
	l.mac = ident.MAC{}
	l.mu.Unlock()
	if got, want := l.srv.counted(from("[2001:db8:1::a]:1")), (ingress.Machine{Addr: netip.MustParseAddr("2001:db8:1::a")}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// sick is a store that cannot commit.
type sick struct {
	*memory.Engine
	err error
}

func (s sick) Update(ctx context.Context, fn func(store.View) []store.Op) error {
	var n int
	s.Read(func(v store.View) { n = len(fn(v)) })
	if n == 0 && errors.Is(s.err, store.ErrReadOnly) {
		return nil
	}
	return s.err
}

func TestStoreThatCannotCommit(t *testing.T) {
	for _, tc := range []struct {
		err  error
		want reason.Reason
		odd  bool
	}{
		{store.ErrReadOnly, reason.StoreReadOnly, false},
		{store.ErrUnknown, reason.StoreUnknown, false},
		{errors.New("on fire"), reason.StoreUnknown, true},
	} {
		t.Run(tc.err.Error(), func(t *testing.T) {
			l := newLab(t, nil)
			l.arm("r1n01")
			l.srv.cfg.Store = sick{l.store.(*memory.Engine), tc.err}
			res, body := l.do("GET", "/boot.ipxe")
			want := "#!ipxe\necho bootd: r1n01 is armed, but bootd cannot write down that it starts to install\n"
			if res.StatusCode != 200 || !strings.HasPrefix(body, want) {
				t.Errorf("%d %s", res.StatusCode, body)
			}
			if o := l.next(); o.Outcome.Reason != tc.want || (o.Err != nil) != tc.odd {
				t.Errorf("%+v", o)
			}
			l.as(mac2)
			if _, body := l.do("GET", "/boot.ipxe"); !strings.Contains(body, "r1n02 is not armed: booting the local disk") {
				t.Errorf("the host that is not armed got %s", body)
			}
		})
	}
}

func TestNoRandomness(t *testing.T) {
	l := newLab(t, func(c *Config) { c.Rand = strings.NewReader("short") })
	l.arm("r1n01")
	if res, body := l.do("GET", "/boot.ipxe"); res.StatusCode != 200 || strings.Contains(body, "kernel") {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if o := l.next(); o.Err == nil {
		t.Errorf("%+v", o)
	}
}

func TestVirtual(t *testing.T) {
	l := newLab(t, nil)
	at := site.Arrival{Link: "eth1", Index: 2, Source: netip.MustParseAddr("2001:db8:1::9"), Dest: netip.MustParseAddr("2001:db8:1::1")}
	b, ok := l.srv.Virtual(context.Background(), at, "autoexec.ipxe")
	if !ok || !bytes.Contains(b, []byte("chain http://[2001:db8:1::1]/boot.ipxe")) {
		t.Errorf("%t %s", ok, b)
	}
	if _, ok := l.srv.Virtual(context.Background(), at, "other"); ok {
		t.Error("another name is served")
	}
	at.Link = "eth9"
	if _, ok := l.srv.Virtual(context.Background(), at, "autoexec.ipxe"); ok {
		t.Error("another link is served")
	}
}

func TestPortInUse(t *testing.T) {
	l := newLab(t, nil)
	cfg := l.srv.cfg
	cfg.Port = int(l.srv.Addr().Port())
	_, err := New(cfg)
	want := fmt.Sprintf("opening HTTP socket: listen tcp6 [::]:%d: bind: address already in use", cfg.Port)
	if err == nil || err.Error() != want {
		t.Error(cmp.Diff(want, fmt.Sprint(err)))
	}
}

func TestManyAtOnce(t *testing.T) {
	l := newLab(t, func(c *Config) { c.MaxPerPeer = 200 })
	l.arm("r1n01")
	var wg sync.WaitGroup
	installs := make(chan string, 64)
	for range 64 {
		wg.Go(func() {
			res, err := noRedirect.Get(l.base + "/boot.ipxe")
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			b, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != 200 {
				t.Error(res.StatusCode, err)
			}
			if bytes.Contains(b, []byte("\nkernel ")) {
				installs <- string(b)
			}
		})
	}
	wg.Wait()
	if len(installs) != install.MaxAttempts {
		t.Errorf("%d of 64 requests at once got the installer, want %d", len(installs), install.MaxAttempts)
	}
}
