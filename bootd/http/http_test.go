package http

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/files"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
	"bootd.internal/templates"
	"github.com/google/go-cmp/cmp"
)

const inventory = `defaults: {domain: example.net, profile: debian13, disk: {serial: S6P}}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  debian13:
    kernel: debian13/linux
    initrd: [debian13/initrd.gz]
    script: ipxe/debian.ipxe
    answers: preseed/debian13.cfg
    vars: {mirror: "http://mirror.example.net/debian"}
hosts:
  r1n01: 52:54:00:aa:01:01
  r1n02: 52:54:00:aa:01:02
`

var (
	mac1 = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}
	mac2 = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 2}
)

// lab is a server on loopback whose connections seem to come in on eth1 from the card mac.
type lab struct {
	t     *testing.T
	srv   *Server
	store store.Store
	base  string
	dir   string

	mu    sync.Mutex
	mac   ident.MAC
	index int
	seen  []timeline.Observation
	told  chan struct{}
}

func (l *lab) Observe(o timeline.Observation) {
	l.mu.Lock()
	l.seen = append(l.seen, o)
	l.mu.Unlock()
	l.told <- struct{}{}
}

func (l *lab) MAC(int, netip.Addr) (ident.MAC, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mac, l.mac.Valid()
}

// next waits for one observation.
func (l *lab) next() timeline.Observation {
	l.t.Helper()
	select {
	case <-l.told:
	case <-time.After(10 * time.Second):
		l.t.Fatal("nothing was observed")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.seen[0]
	l.seen = l.seen[1:]
	return o
}

func newLab(t *testing.T, change func(*Config)) *lab {
	t.Helper()
	l := &lab{t: t, store: memory.New(), dir: t.TempDir(), mac: mac1, index: 2, told: make(chan struct{}, 4096)}
	write(t, filepath.Join(l.dir, "ipxe.efi"), bytes.Repeat([]byte("efi!"), 1000))
	write(t, filepath.Join(l.dir, "debian13/linux"), bytes.Repeat([]byte("0123456789"), 300_000))
	write(t, filepath.Join(l.dir, "debian13/initrd.gz"), []byte("initrd"))
	write(t, filepath.Join(l.dir, "dir/grubx64.efi"), []byte("grub"))
	dir, err := files.Open(l.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	snap := sitetest.Snapshot(t, inventory, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
	set := render.New(templates.FS())
	cfg := Config{
		Snapshot: func() *site.Snapshot { return snap }, Store: l.store, Observer: l, Neighbours: l,
		Render: func() *render.Set { return set }, Files: dir, Now: sitetest.Now, Rand: rand.Reader,
	}
	if change != nil {
		change(&cfg)
	}
	l.store = cfg.Store
	if l.srv, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	l.srv.listener.index = func(*net.TCPConn) (int, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.index, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.srv.Run(ctx) }()
	<-l.srv.Ready()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with %v", err)
		}
	})
	l.base = fmt.Sprintf("http://[::1]:%d", l.srv.Addr().Port())
	return l
}

func write(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func (l *lab) as(m ident.MAC) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mac = m
}

// client never follows a redirect and never asks for gzip.
var noRedirect = http.Client{
	CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("a redirect") },
	Transport:     &http.Transport{DisableCompression: true, DisableKeepAlives: true},
}

// do makes a request and gives status, chosen headers and body in one text.
func (l *lab) do(method, path string, header ...string) (*http.Response, string) {
	l.t.Helper()
	req, err := http.NewRequest(method, l.base+path, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := noRedirect.Do(req)
	if err != nil {
		l.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	return res, string(body)
}

// raw writes octets and gives all that comes back.
func (l *lab) raw(text string) string {
	l.t.Helper()
	c, err := net.Dial("tcp6", strings.TrimPrefix(l.base, "http://"))
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		l.t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		l.t.Fatal(err)
	}
	b, _ := io.ReadAll(c) // a reset after an answer is an end too
	return string(b)
}

func (l *lab) arm(host string) {
	l.t.Helper()
	h, _ := l.srv.cfg.Snapshot().Host(host)
	err := l.store.Update(context.Background(), func(v store.View) []store.Op {
		ops, err := install.Order(v, boot.Subject(h), install.Wish{ID: "a1", By: "ops"}, sitetest.Now())
		if err != nil {
			l.t.Error(err)
		}
		return ops
	})
	if err != nil {
		l.t.Fatal(err)
	}
}

func TestFiles(t *testing.T) {
	l := newLab(t, nil)
	for _, tc := range []struct {
		name, method, path string
		header             []string
		status             int
		body               string
		want               map[string]string
		reason             reason.Reason
		event              timeline.Kind
	}{
		{"loader", "GET", "/ipxe.efi", nil, 200, strings.Repeat("efi!", 1000), map[string]string{"Content-Type": "application/efi", "Content-Length": "4000", "Accept-Ranges": "bytes", "Content-Encoding": ""}, reason.Answered, timeline.LoaderFetched},
		{"HEAD", "HEAD", "/ipxe.efi", nil, 200, "", map[string]string{"Content-Type": "application/efi", "Content-Length": "4000"}, reason.Answered, ""},
		{"two slashes", "GET", "/dir//grubx64.efi", nil, 200, "grub", map[string]string{"Content-Length": "4"}, reason.Answered, timeline.LoaderFetched},
		{"gzip is not ours", "GET", "/debian13/initrd.gz", []string{"Accept-Encoding", "gzip"}, 200, "initrd", map[string]string{"Content-Encoding": "", "Content-Type": "application/octet-stream"}, reason.Answered, timeline.FileFetched},
		{"range", "GET", "/ipxe.efi", []string{"Range", "bytes=2-5"}, 206, "i!ef", map[string]string{"Content-Range": "bytes 2-5/4000"}, reason.Answered, ""},
		{"range of another file", "GET", "/ipxe.efi", []string{"Range", "bytes=2-5", "If-Range", `"other"`}, 200, strings.Repeat("efi!", 1000), nil, reason.Answered, timeline.LoaderFetched},
		{"range past the end", "GET", "/ipxe.efi", []string{"Range", "bytes=4000-"}, 416, "invalid range: failed to overlap\n", map[string]string{"Content-Range": "bytes */4000"}, reason.Answered, ""},
		{"condition that fails", "GET", "/ipxe.efi", []string{"If-Match", `"other"`}, 412, "", nil, reason.Answered, ""},
		{"not there", "GET", "/revocations_sku.efi", nil, 404, "bootd: no such file\n", map[string]string{"Content-Length": "20"}, reason.NotFound, ""},
		{"directory", "GET", "/debian13/", nil, 404, "bootd: no such file\n", nil, reason.NotFound, ""},
		{"directory without slash", "GET", "/debian13", nil, 404, "bootd: no such file\n", nil, reason.NotFound, ""},
		{"root", "GET", "/", nil, 404, "bootd: no such file\n", nil, reason.NotFound, ""},
		{"up", "GET", "/%2e%2e/etc/passwd", nil, 404, "bootd: no such file\n", nil, reason.OutsideRoot, ""},
		{"up, slash encoded", "GET", "/..%2f..%2fetc%2fpasswd", nil, 404, "bootd: no such file\n", nil, reason.OutsideRoot, ""},
		{"up, encoded twice", "GET", "/%252e%252e/etc/passwd", nil, 404, "bootd: no such file\n", nil, reason.OutsideRoot, ""},
		{"NUL", "GET", "/ipxe.efi%00.txt", nil, 404, "bootd: no such file\n", nil, reason.OutsideRoot, ""},
		{"POST", "POST", "/ipxe.efi", nil, 405, "bootd: GET and HEAD are served here\n", map[string]string{"Allow": "GET, HEAD"}, reason.BadMethod, ""},
		{"PUT", "PUT", "/ipxe.efi", nil, 405, "bootd: GET and HEAD are served here\n", nil, reason.BadMethod, ""},
		{"POST of a script", "POST", "/boot.ipxe", nil, 405, "bootd: GET and HEAD are served here\n", nil, reason.BadMethod, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			l.t = t
			res, body := l.do(tc.method, tc.path, tc.header...)
			if res.StatusCode != tc.status || body != tc.body {
				t.Errorf("got %d %.60q, want %d %.60q", res.StatusCode, body, tc.status, tc.body)
			}
			for k, want := range tc.want {
				if got := res.Header.Get(k); got != want {
					t.Errorf("%s: %q, want %q", k, got, want)
				}
			}
			o := l.next()
			if o.Outcome.Reason != tc.reason || o.Err != nil {
				t.Errorf("observed %+v", o)
			}
			var event timeline.Kind
			for _, e := range o.Events {
				event = e.Kind
				if e.Host != "r1n01" || e.MAC != mac1 {
					t.Errorf("event of %q, %s", e.Host, e.MAC)
				}
			}
			if event != tc.event {
				t.Errorf("event %q, want %q", event, tc.event)
			}
		})
	}
}

func TestResumeWithETag(t *testing.T) {
	l := newLab(t, nil)
	head, _ := l.do("HEAD", "/debian13/linux")
	tag := head.Header.Get("ETag")
	res, body := l.do("GET", "/debian13/linux", "Range", "bytes=2999995-", "If-Range", tag, "If-Match", tag)
	if res.StatusCode != 206 || body != "56789" || res.Header.Get("Content-Range") != "bytes 2999995-2999999/3000000" {
		t.Errorf("got %d %q %v", res.StatusCode, body, res.Header)
	}
}

func TestSymlinkOutOfRoot(t *testing.T) {
	l := newLab(t, nil)
	secret := filepath.Join(t.TempDir(), "secret")
	write(t, secret, []byte("secret"))
	if err := os.Symlink(secret, filepath.Join(l.dir, "link")); err != nil {
		t.Fatal(err)
	}
	res, body := l.do("GET", "/link")
	if res.StatusCode != 404 || body != "bootd: no such file\n" || l.next().Outcome.Reason != reason.OutsideRoot {
		t.Errorf("got %d %q", res.StatusCode, body)
	}
}

func TestHostHeaderChangesNothing(t *testing.T) {
	l := newLab(t, nil)
	l.arm("r1n01")
	for _, host := range []string{"[2001:db8:1::1]", "[2001:db8:1::1]:80", "evil.example.net", ""} {
		got := l.raw("GET /boot.ipxe HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(got, "HTTP/1.1 200 OK\r\n") || strings.Contains(got, "evil") {
			t.Errorf("host %q: %s", host, got)
		}
	}
}

func TestLifeOverHTTP(t *testing.T) {
	l := newLab(t, nil)
	res, body := l.do("GET", "/boot.ipxe")
	if res.StatusCode != 200 || !strings.Contains(body, "r1n01 is not armed: booting the local disk") {
		t.Fatalf("%d %s", res.StatusCode, body)
	}
	if o := l.next(); o.Outcome != (reason.Outcome{Reason: reason.LocalDisk, Host: "r1n01", Network: "rack1", Rule: "frame-mac"}) || o.Message != "script" {
		t.Errorf("%+v", o)
	}
	l.arm("r1n01")
	_, script := l.do("GET", "/boot.ipxe?uuid=00112233-4455-6677-8899-aabbccddeeff")
	if o := l.next(); o.Outcome.Reason != reason.Install || o.Events[0].Kind != timeline.ScriptFetched {
		t.Errorf("%+v", o)
	}
	if !strings.Contains(script, "kernel http://[2001:db8:1::1]/debian13/linux initrd=initrd0 auto=true") {
		t.Fatal(script)
	}
	path := between(t, script, "url=http://[2001:db8:1::1]", "?")
	token := strings.Split(path, "/")[2]

	l.as(mac2)
	if res, body := l.do("GET", path); res.StatusCode != 403 || body != "bootd: not yours\n" {
		t.Errorf("another host got %d %s", res.StatusCode, body)
	}
	if o := l.next(); o.Outcome.Reason != reason.TokenOtherHost || o.Outcome.Host != "r1n02" {
		t.Errorf("%+v", o)
	}
	l.as(mac1)
	head, _ := l.do("HEAD", path)
	l.next()
	answersRes, answers := l.do("GET", path+"?uuid=00112233-4455-6677-8899-aabbccddeeff")
	if o := l.next(); o.Outcome.Reason != reason.Answered || o.Message != "answers" || len(o.Events) != 1 || o.Events[0].Kind != timeline.AnswersServed {
		t.Errorf("%+v", o)
	}
	if head.StatusCode != 200 || answersRes.StatusCode != 200 || answersRes.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD %d, GET %d %v", head.StatusCode, answersRes.StatusCode, answersRes.Header)
	}
	installed := between(t, answers, "tell 'http://[2001:db8:1::1]", "'")
	installed = "/t/" + strings.Split(installed, "/")[2] + "/installed"
	first := between(t, answers, "#|url='http://[2001:db8:1::1]", "'")
	for _, step := range []struct {
		method, path string
		status       int
		reason       reason.Reason
		event        timeline.Kind
	}{
		{"GET", strings.Replace(installed, "installed", "progress?stage=base", 1), 200, reason.Callback, timeline.Progress},
		{"POST", installed, 200, reason.Callback, timeline.Installed},
		{"GET", installed, 200, reason.TokenSpent, ""},
		{"GET", first, 200, reason.Callback, timeline.FirstBoot},
		{"GET", path, 403, reason.TokenExpired, ""},
		{"GET", "/t/" + strings.Repeat("0", 32) + "/installed", 403, reason.TokenUnknown, ""},
		{"GET", "/t/" + token + "/other", 404, reason.NotFound, ""},
		{"GET", "/t/" + token, 404, reason.NotFound, ""},
	} {
		res, _ := l.do(step.method, step.path)
		o := l.next()
		var event timeline.Kind
		if len(o.Events) > 0 {
			event = o.Events[0].Kind
		}
		if res.StatusCode != step.status || o.Outcome.Reason != step.reason || event != step.event {
			t.Errorf("%s %s: %d %s %q, want %d %s %q", step.method, step.path, res.StatusCode, o.Outcome.Reason, event, step.status, step.reason, step.event)
		}
		if strings.Contains(fmt.Sprintf("%+v", o), token) || strings.Contains(fmt.Sprintf("%+v", o), strings.Split(first, "/")[2]) {
			t.Errorf("a token is in %+v", o)
		}
	}
}

func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, rest, ok := strings.Cut(s, before)
	got, _, ok2 := strings.Cut(rest, after)
	if !ok || !ok2 {
		t.Fatalf("%q and %q not found in\n%s", before, after, s)
	}
	return got
}

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
