package boot_test

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
	"bootd.internal/templates"
	"github.com/google/go-cmp/cmp"
)

func TestTemplateError(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	w.tmpl = render.New(render.Layer(fstest.MapFS{"preseed/debian13.cfg": {Data: []byte("a\n{{.Vars.nosuch}}\n")}}, templates.FS()))
	d := w.decide(w.fetch(mac1, "/boot.ipxe"))
	const why = "r1n01 is armed, but preseed/debian13.cfg:2: vars.nosuch is not set for r1n01 (set it in defaults, the network, the profile or the host)"
	expect(t, d, "200 script template-error host=r1n01 rule=frame-mac ops=0\nscript-fetched template-error r1n01 52:54:00:aa:01:01: "+why)
	want := "#!ipxe\necho bootd: " + why + "\necho bootd: booting the local disk in one minute\nsleep 60 ||\n" + localTail
	if diff := cmp.Diff(want, string(d.Body)); diff != "" {
		t.Error(diff)
	}
	// The attempt was not spent: with the template repaired the host installs.
	w.tmpl = render.New(templates.FS())
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script install host=r1n01 rule=frame-mac ops=7
script-fetched install r1n01 52:54:00:aa:01:01: attempt 1`)
}

func TestBrokenLocalTemplateStillBootsTheDisk(t *testing.T) {
	w := newWorld(t)
	w.tmpl = render.New(fstest.MapFS{"ipxe/local.ipxe": {Data: []byte("{{.Nonsense}}")}})
	d := w.decide(w.fetch(mac1, "/boot.ipxe"))
	want := "#!ipxe\necho bootd: the templates of bootd cannot be rendered: booting the local disk\n" + localTail
	if diff := cmp.Diff(want, string(d.Body)); diff != "" {
		t.Error(diff)
	}
}

func TestLostState(t *testing.T) {
	for name, op := range map[string]store.Op{
		"arm":     {Key: install.ArmKey("r1n01"), Value: []byte("\x00\x01")},
		"attempt": {Key: install.AttemptKey("r1n01"), Value: []byte("[]")},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.arm("r1n01")
			if err := w.store.Update(context.Background(), func(store.View) []store.Op { return []store.Op{op} }); err != nil {
				t.Fatal(err)
			}
			if d := w.decide(w.fetch(mac1, "/boot.ipxe")); d.Reason != reason.LocalDisk || len(d.Events) != 2 || d.Events[1].Kind != timeline.Warning {
				t.Error(summary(d))
			}
		})
	}
}

func TestAnswersLost(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	path := answersPath(t, w.decide(w.fetch(mac1, "/boot.ipxe")).Body)
	err := w.store.Update(context.Background(), func(store.View) (ops []store.Op) {
		for k := range w.store.Scan(store.TableBlob, "") {
			ops = append(ops, store.Op{Key: k})
		}
		return ops
	})
	if err != nil {
		t.Fatal(err)
	}
	expect(t, w.decide(w.fetch(mac1, path)), "404 answers not-found host=r1n01 rule=frame-mac ops=0")
}

func TestUnsaved(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	f := w.fetch(mac1, "/boot.ipxe")
	var d boot.Decision
	w.store.Read(func(v store.View) { d = boot.Decide(w.snap, v, f, w.tmpl, w.now, [16]byte{1}) })
	got := boot.Unsaved(d, reason.StoreReadOnly, w.tmpl)
	expect(t, got, `200 script store-read-only host=r1n01 rule=frame-mac ops=0
script-fetched store-read-only r1n01 52:54:00:aa:01:01: attempt 1`)
	want := "#!ipxe\necho bootd: r1n01 is armed, but bootd cannot write down that it starts to install\n" +
		"echo bootd: booting the local disk in one minute\nsleep 60 ||\n" + localTail
	if diff := cmp.Diff(want, string(got.Body)); diff != "" {
		t.Error(diff)
	}
	local := w.decide(w.fetch(mac2, "/boot.ipxe"))
	if diff := cmp.Diff(summary(local), summary(boot.Unsaved(local, reason.StoreReadOnly, w.tmpl))); diff != "" {
		t.Error(diff)
	}
	answers := w.decide(w.fetch(mac1, answersPath(t, w.decide(f).Body)))
	expect(t, boot.Unsaved(answers, reason.StoreUnknown, w.tmpl), "503 answers store-unknown host=r1n01 rule=frame-mac ops=0")
}

func TestAutoexec(t *testing.T) {
	w := newWorld(t)
	d := w.decide(w.fetch(mac1, "/autoexec.ipxe"))
	expect(t, d, `200 script boot-script host=r1n01 rule=frame-mac ops=0
script-offered boot-script r1n01 52:54:00:aa:01:01: autoexec.ipxe`)
	if !strings.Contains(string(d.Body), "\nchain http://[2001:db8:1::1]/boot.ipxe?uuid=${uuid}&serial=${serial:uristring} || exit 1\n") {
		t.Errorf("%s", d.Body)
	}
}

func TestOwnLoopback(t *testing.T) {
	w := newWorld(t)
	f := w.fetch(mac1, "/boot.ipxe")
	f.Network = nil
	expect(t, w.decide(f), "403 script not-served-link host= rule= ops=0")
}

func TestTidy(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	w.decide(w.fetch(mac1, "/boot.ipxe"))
	var events []timeline.Event
	w.store.Read(func(v store.View) { _, events = boot.Tidy(v, "r1n01", w.now.Add(install.ArmFor)) })
	now := w.now.Add(install.ArmFor)
	want := []timeline.Event{
		{Time: now, Adapter: "daemon", Kind: timeline.ArmExpired, Reason: reason.ArmExpired, Host: "r1n01", Detail: "the arm ran out"},
		{Time: now, Adapter: "daemon", Kind: timeline.InstallFailed, Host: "r1n01", Detail: "the arm ran out, before the answers were fetched"},
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Error(diff)
	}
}
