package http

import (
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
	"testing"
	"time"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/files"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
	"bootd.internal/templates"
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

// MAC is the card of all who ask; without one it is each one's own, as its address has it.
func (l *lab) MAC(_ int, a netip.Addr) (ident.MAC, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mac.Valid() {
		return ident.MACFromEUI64(a)
	}
	return l.mac, true
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
		Render: func(*site.Snapshot) *render.Set { return set }, Files: dir, Now: sitetest.Now, Rand: rand.Reader,
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
