package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"bootd.internal/bootd/decide/uplink"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

// TestGone: an upstream that leaves the inventory is given back where it said so, also when its link goes with it.
func TestGone(t *testing.T) {
	for _, c := range []struct {
		text     string
		linkGoes bool
		want     []byte
		lost     bool
	}{
		{"upstreams: {isp: {interface: eth0, release: true}}\n", false, []byte{1, 8}, true},
		{"upstreams: {isp: {interface: eth0, release: true}}\n", true, []byte{1, 8}, true},
		{"upstreams: {isp: {interface: eth0}}\n", false, []byte{1}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			h := newHome(t, memory.New(), c.text, serverOf("2001:db8:100::/48"))
			h.run(func(linkDown context.CancelFunc) {
				time.Sleep(10 * time.Second)
				h.load("upstreams: {other: {interface: eth9}}\n")
				if c.linkGoes {
					linkDown() // the word of the new inventory comes later
					synctest.Wait()
				}
				h.changed <- struct{}{}
				synctest.Wait()
				want(t, "messages", c.want, h.wire.types())
				pub, events := h.take()
				if !slices.Contains(pub[1:], "isp") || slices.Contains(events, "upstream-lost 2001:db8:100::/48 isp: released") != c.lost {
					t.Errorf("%q, %q", pub, events)
				}
			})
		})
	}
}

// keepBoth makes the store say that there are an address and a prefix.
func keepBoth(t *testing.T, h *home) {
	t.Helper()
	c := h.m.config(h.snap.Inventory.Upstreams[0])
	b, err := json.Marshal(uplink.Held{Server: them, Got: time.Now(), Bindings: []uplink.Binding{
		{IAID: c.Prefixes[0].IAID, Prefix: netip.MustParsePrefix("2001:db8:100::/48")},
		{IAID: *c.Address, Address: true, Prefix: netip.MustParsePrefix("2001:db8::5/128")},
	}})
	if err == nil {
		err = h.store.Update(t.Context(), func(store.View) []store.Op { return []store.Op{{Key: recordKey("isp"), Value: b}} })
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestAddressGoes: the address leaves the link with its upstream, with `address: true`, and when the upstream gets another link.
func TestAddressGoes(t *testing.T) {
	for _, text := range []string{
		"upstreams: {other: {interface: eth9}}\n",
		"upstreams: {isp: {interface: eth0}}\n",
		"upstreams: {isp: {interface: eth1, address: true}}\n",
	} {
		h := newHome(t, memory.New(), "upstreams: {isp: {interface: eth0, address: true}}\n", deaf)
		keepBoth(t, h)
		h.m.follow(t.Context())
		task, err := h.m.Link(site.Link{Name: "eth0", Index: 2})
		if err != nil {
			t.Fatal(err)
		}
		h.m.take(event{link: task, attach: true})
		_, events := h.take()
		want(t, "put", true, slices.Contains(events, "address 2001:db8::5 0s 0s"))
		h.load(text)
		h.m.follow(t.Context())
		_, events = h.take()
		want(t, "taken away by "+text, true, slices.Contains(events, "no address 2001:db8::5"))
	}
}

// full is a store that takes no writes.
type full struct{ store.Store }

var errFull = errors.New("no space left on device")

// Update implements store.Store.
func (full) Update(context.Context, func(store.View) []store.Op) error { return errFull }

// TestFullDisk: what was given is used, and people and hooks hear of its end, though nothing can be kept.
func TestFullDisk(t *testing.T) {
	h := newHome(t, memory.New(), "upstreams: {isp: {interface: eth0}}\n", deaf)
	h.m.cfg.Store, h.m.cfg.Observer, h.m.cfg.Publish = full{h.store}, quiet{h}, func(string, []site.Prefix) {}
	h.m.follow(t.Context())
	c := h.m.clients["isp"]
	c.machine = uplink.New(c.ask, uplink.Held{Server: them, Bindings: []uplink.Binding{
		{IAID: c.ask.Prefixes[0].IAID, Prefix: netip.MustParsePrefix("2001:db8:100::/48"), ValidUntil: time.Now().Add(time.Hour)},
	}})
	c.changed(time.Now(), uplink.Bound)
	c.do(time.Now(), c.machine.Tick(time.Now().Add(2*time.Hour), h.m.cfg.Rand))
	if _, events := h.take(); !slices.Contains(events, "upstream-lost 2001:db8:100::/48 isp: expired") {
		t.Errorf("%q", events)
	}
}

// TestHooksInTurn: hooks of a new inventory wait for those of the old one; what is left of an upstream is told.
func TestHooksInTurn(t *testing.T) {
	dir := t.TempDir()
	path := script(t, "while [ ! -e "+dir+"/go ]; do sleep 0.01; done; echo $reason >>"+dir+"/log\n")
	fast := script(t, "echo new $reason >>"+dir+"/log\n")
	text := func(hook string) string { return "upstreams: {isp: {interface: eth0, hooks: [" + hook + "]}}\n" }
	h := newHome(t, memory.New(), text(path), deaf)
	h.m.follow(t.Context())
	first := h.m.clients["isp"]
	first.hooks.add(call{reason: "BOUND6"})
	h.load(text(fast))
	h.m.follow(t.Context())
	second := h.m.clients["isp"]
	second.machine = uplink.New(second.ask, uplink.Held{Server: them, Bindings: []uplink.Binding{
		{IAID: second.ask.Prefixes[0].IAID, Prefix: netip.MustParsePrefix("2001:db8:100::/48")},
	}})
	h.load("upstreams: {other: {interface: eth9}}\n")
	h.m.follow(t.Context())
	select {
	case <-second.hooks.done:
		t.Error("the new hook did not wait")
	case <-time.After(200 * time.Millisecond): // long enough for one that does not
	}
	if err := os.WriteFile(filepath.Join(dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	<-second.hooks.done
	log, err := os.ReadFile(filepath.Join(dir, "log"))
	if err != nil || strings.Join(strings.Fields(string(log)), " ") != "BOUND6 new STOP6" {
		t.Errorf("%q, %v", log, err)
	}
}

// quiet is a home for which faults are no surprise.
type quiet struct{ *home }

// Observe implements Observer.
func (q quiet) Observe(o timeline.Observation) {
	o.Err = nil
	q.home.Observe(o)
}
