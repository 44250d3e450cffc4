package boot_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/templates"
	"github.com/google/go-cmp/cmp"
)

const inventory = `defaults: {domain: example.net, profile: debian13, disk: {serial: S6P}}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
  rack2: {interface: eth2, prefix: "2001:db8:2::/64"}
profiles:
  debian13:
    kernel: debian13/linux
    initrd: [debian13/initrd.gz]
    script: ipxe/debian.ipxe
    answers: preseed/debian13.cfg
    vars: {mirror: "http://mirror.example.net/debian"}
hosts:
  r1n01: 52:54:00:aa:01:01
  r1n02: {mac: 52:54:00:aa:01:02, network: rack1, address: "::102"}
`

var (
	mac1 = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}
	mac2 = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 2}
	mac9 = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 9}
)

// world is a site, a store and templates.
type world struct {
	t     *testing.T
	snap  *site.Snapshot
	store *memory.Engine
	tmpl  boot.Renderer
	now   time.Time
	seed  byte
}

func newWorld(t *testing.T) *world {
	facts := sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), sitetest.Link(t, 3, "eth2", "2001:db8:2::1/64"))
	return &world{
		t: t, snap: sitetest.Snapshot(t, inventory, facts), store: memory.New(), tmpl: render.New(templates.FS()), now: sitetest.Now(),
	}
}

// fetch is a request of the card m on network rack1 from its own EUI-64 address.
func (w *world) fetch(m ident.MAC, path string) boot.Fetch {
	n, _ := w.snap.Network("rack1")
	src := m.EUI64(netip.MustParsePrefix("2001:db8:1::/64"))
	return boot.Fetch{
		At:      site.Arrival{Link: "eth1", Index: 2, Source: src, Dest: n.Own},
		Network: n, Path: boot.ParsePath(path), Evidence: who.Frame(m),
	}
}

// decide decides and commits.
func (w *world) decide(f boot.Fetch) boot.Decision {
	w.t.Helper()
	var d boot.Decision
	w.seed++
	err := w.store.Update(context.Background(), func(v store.View) []store.Op {
		d = boot.Decide(w.snap, v, f, w.tmpl, w.now, [16]byte{w.seed})
		return d.Ops
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return d
}

func (w *world) arm(host string) {
	w.t.Helper()
	h, _ := w.snap.Host(host)
	err := w.store.Update(context.Background(), func(v store.View) []store.Op {
		ops, err := install.Order(v, boot.Subject(h), install.Wish{ID: "arm-" + host, By: "ops"}, w.now)
		if err != nil {
			w.t.Error(err)
		}
		return ops
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// answersPath takes the answers URL out of a script.
func answersPath(t *testing.T, script []byte) string {
	t.Helper()
	_, rest, ok := strings.Cut(string(script), "url=http://[2001:db8:1::1]")
	if !ok {
		t.Fatalf("no answers URL in\n%s", script)
	}
	path, _, _ := strings.Cut(rest, "?")
	return path
}

// urls takes the callbacks out of the answers, by leaf.
func urls(t *testing.T, answers []byte) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, leaf := range []string{"installed", "first-boot", "progress", "failed"} {
		before, _, ok := strings.Cut(string(answers), "/"+leaf+"'")
		if !ok {
			t.Fatalf("no %s URL in\n%s", leaf, answers)
		}
		found[leaf] = before[strings.LastIndex(before, "/t/"):] + "/" + leaf
	}
	return found
}

// summary is a decision without the texts.
func summary(d boot.Decision) string {
	s := fmt.Sprintf("%d %s %s host=%s rule=%s ops=%d", d.Status, d.Kind, d.Reason, d.Host, d.Rule, len(d.Ops))
	for _, e := range d.Events {
		s += fmt.Sprintf("\n%s %s %s %s: %s", e.Kind, e.Reason, e.Host, e.MAC, e.Detail)
	}
	return s
}

func expect(t *testing.T, d boot.Decision, want string) {
	t.Helper()
	if diff := cmp.Diff(want, summary(d)); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
}
