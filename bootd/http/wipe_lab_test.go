package http

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/journal"
	"bootd.internal/bootd/timeline"
)

const head = `defaults: {domain: example.net, profile: debian13, disk: {serial: S6P}}
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
`

const (
	uuid1 = "564d0000-0000-4000-8000-000000000001"
	uuid2 = "564d0000-0000-4000-8000-000000000002"
)

const few = head + `  r1n01: {mac: 52:54:00:aa:01:01, serial: BOARD1, uuid: ` + uuid1 + `}
  r1n02: {mac: 52:54:00:aa:01:02, serial: BOARD2}
`

// plant is a lab whose store is a journal on disk, and whose time passes when a test says so.
type plant struct {
	*lab
	dir    string
	engine *journal.Engine
	time   sync.Mutex
	now    time.Time
	snap   *site.Snapshot
	orders int
}

func newPlant(t *testing.T, inventory string) *plant {
	t.Helper()
	p := &plant{dir: t.TempDir(), now: sitetest.Now()}
	p.list(t, inventory)
	p.start(t)
	t.Cleanup(func() { _ = p.engine.Close() })
	return p
}

// list serves another inventory.
func (p *plant) list(t *testing.T, inventory string) {
	t.Helper()
	snap := sitetest.Snapshot(t, inventory, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
	p.time.Lock()
	p.snap = snap
	p.time.Unlock()
}

// start begins to serve from the state on disk.
func (p *plant) start(t *testing.T) {
	t.Helper()
	var err error
	if p.engine, err = journal.Open(filepath.Join(p.dir, "store"), journal.Options{}); err != nil {
		t.Fatal(err)
	}
	p.lab = newLab(t, func(c *Config) {
		c.Store, c.Now = p.engine, p.clock
		c.Snapshot = func() *site.Snapshot {
			p.time.Lock()
			defer p.time.Unlock()
			return p.snap
		}
	})
}

// stop ends it, and restart begins anew with the state that change leaves.
func (p *plant) restart(change func(dir string)) {
	p.t.Helper()
	if err := p.engine.Close(); err != nil {
		p.t.Fatal(err)
	}
	change(p.dir)
	p.start(p.t)
}

func (p *plant) clock() time.Time {
	p.time.Lock()
	defer p.time.Unlock()
	return p.now
}

// jump sets the clock, without anything that happens meanwhile.
func (p *plant) jump(d time.Duration) {
	p.time.Lock()
	defer p.time.Unlock()
	p.now = p.now.Add(d)
}

// wait lets time pass as a bootd that runs sees it, and gives the events of that.
func (p *plant) wait(d time.Duration) []timeline.Event {
	p.t.Helper()
	var events []timeline.Event
	for step := install.WatchEvery; d > 0; d -= step {
		p.jump(min(d, step))
		events = append(events, p.tidy()...)
	}
	return events
}

func (p *plant) tidy() []timeline.Event {
	p.t.Helper()
	var events []timeline.Event
	p.update(func(v store.View) []store.Op {
		var ops []store.Op
		events = nil
		for _, h := range p.snap.Hosts {
			o, e := boot.Tidy(v, h.Name, p.clock())
			ops, events = append(ops, o...), append(events, e...)
		}
		return ops
	})
	return events
}

func (p *plant) update(fn func(store.View) []store.Op) {
	p.t.Helper()
	if err := p.engine.Update(context.Background(), fn); err != nil {
		p.t.Fatal(err)
	}
}

// order arms a host as a person does.
func (p *plant) order(host string, reinstall bool) error {
	p.t.Helper()
	h, _ := p.snap.Host(host)
	p.orders++
	w := install.Wish{ID: fmt.Sprintf("order-%d", p.orders), By: "ops", Reinstall: reinstall}
	var refused error
	p.update(func(v store.View) []store.Op {
		ops, err := install.Order(v, boot.Subject(h), w, p.clock())
		refused = err
		return ops
	})
	return refused
}

func (p *plant) mustOrder(host string) {
	p.t.Helper()
	if err := p.order(host, false); err != nil {
		p.t.Fatal(err)
	}
}

// get asks as the machine with a card, and gives the body with what was observed.
func (p *plant) get(m ident.MAC, path string) (int, string, timeline.Observation) {
	p.t.Helper()
	p.as(m)
	res, body := p.do(http.MethodGet, path)
	return res.StatusCode, body, p.next()
}

// installs lets a machine boot from the network, and gives the URL of its answers.
func (p *plant) installs(m ident.MAC) string {
	p.t.Helper()
	_, body, o := p.get(m, "/boot.ipxe")
	if o.Outcome.Reason != reason.Install {
		p.t.Fatalf("no installer (%s):\n%s", o.Outcome.Reason, body)
	}
	return between(p.t, body, "url=http://[2001:db8:1::1]", "?")
}

// local lets a machine boot from the network and fails unless it is sent to its disk.
func (p *plant) local(m ident.MAC, why reason.Reason, query string) []timeline.Event {
	p.t.Helper()
	status, body, o := p.get(m, "/boot.ipxe"+query)
	if o.Outcome.Reason != why {
		p.t.Errorf("sent to its disk because of %s, want %s", o.Outcome.Reason, why)
	}
	if status != http.StatusOK || !sendsToDisk(body) {
		p.t.Errorf("%d, and not to the local disk:\n%s", status, body)
	}
	return o.Events
}

func sendsToDisk(script string) bool {
	return strings.HasPrefix(script, "#!ipxe\n") && strings.HasSuffix(script, localDisk) &&
		!strings.Contains(script, "kernel ") && !strings.Contains(script, "/t/")
}

const localDisk = `iseq ${platform} efi && exit 1 ||
isset ${local-drive} || set local-drive 0x80
sanboot --no-describe --drive ${local-drive} ||
exit 1
`

// fetches lets the installer fetch its answers, and gives the callbacks by their leaf.
func (p *plant) fetches(m ident.MAC, path string) map[string]string {
	p.t.Helper()
	status, body, o := p.get(m, path)
	if status != http.StatusOK {
		p.t.Fatalf("answers: %d %s", status, o.Outcome.Reason)
	}
	urls := map[string]string{}
	for _, leaf := range []string{"installed", "first-boot", "progress", "failed"} {
		before, _, ok := strings.Cut(body, "/"+leaf+"'")
		if !ok {
			p.t.Fatalf("no %s URL in the answers", leaf)
		}
		urls[leaf] = before[strings.LastIndex(before, "/t/"):] + "/" + leaf
	}
	return urls
}

// calls makes a callback and checks what comes of it.
func (p *plant) calls(m ident.MAC, path string, status int, why reason.Reason) []timeline.Event {
	p.t.Helper()
	got, _, o := p.get(m, path)
	if got != status || o.Outcome.Reason != why {
		p.t.Errorf("callback: %d %s, want %d %s", got, o.Outcome.Reason, status, why)
	}
	return o.Events
}

// whole installs a host from its order to its first boot.
func (p *plant) whole(host string, m ident.MAC) {
	p.t.Helper()
	p.mustOrder(host)
	urls := p.fetches(m, p.installs(m))
	p.calls(m, urls["installed"], http.StatusOK, reason.Callback)
	p.calls(m, urls["first-boot"], http.StatusOK, reason.Callback)
}

// handles answers a request that seems to come from a card's own address, without a socket: loopback has one address.
func (p *plant) handles(m ident.MAC, path string) string {
	c := &conn{
		index: 2, source: netip.AddrPortFrom(m.EUI64(netip.MustParsePrefix("2001:db8:1::/64")), 1024),
		dest: netip.MustParseAddr("2001:db8:1::1"),
	}
	r := httptest.NewRequest(http.MethodGet, path, nil)
	w := httptest.NewRecorder()
	p.srv.handle(w, r.WithContext(context.WithValue(r.Context(), connKey{}, c)))
	return w.Body.String()
}

func (p *plant) stage(host string) install.Stage {
	p.t.Helper()
	var a install.Attempt
	var err error
	p.engine.Read(func(v store.View) { a, _, err = install.ReadAttempt(v, host) })
	if err != nil {
		p.t.Fatal(err)
	}
	return a.Stage
}

// size is how many octets the journal has.
func (p *plant) size() int64 {
	p.t.Helper()
	var n int64
	entries, err := os.ReadDir(filepath.Join(p.dir, "store"))
	if err != nil {
		p.t.Fatal(err)
	}
	for _, e := range entries {
		if st, err := e.Info(); err == nil {
			n += st.Size()
		}
	}
	return n
}

func kinds(events []timeline.Event) string {
	var b strings.Builder
	for _, e := range events {
		fmt.Fprintf(&b, "%s %s: %s\n", e.Host, e.Kind, e.Detail)
	}
	return b.String()
}
