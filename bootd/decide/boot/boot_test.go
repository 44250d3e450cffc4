package boot_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/decide/who"
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

const localTail = `iseq ${platform} efi && exit 1 ||
isset ${local-drive} || set local-drive 0x80
sanboot --no-describe --drive ${local-drive} ||
exit 1
`

func TestNotArmed(t *testing.T) {
	w := newWorld(t)
	d := w.decide(w.fetch(mac1, "/boot.ipxe"))
	expect(t, d, `200 script local-disk host=r1n01 rule=frame-mac ops=0
script-fetched local-disk r1n01 52:54:00:aa:01:01: r1n01 is not armed`)
	want := "#!ipxe\necho bootd: r1n01 is not armed: booting the local disk\n" + localTail
	if diff := cmp.Diff(want, string(d.Body)); diff != "" {
		t.Error(diff)
	}
}

func TestUnknownMachine(t *testing.T) {
	w := newWorld(t)
	expect(t, w.decide(w.fetch(mac9, "/boot.ipxe")), `200 script unknown-host host= rule= ops=0
script-fetched unknown-host  52:54:00:aa:01:09: this machine (52:54:00:aa:01:09) is not in the inventory`)
}

func TestWrongNetwork(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n02")
	f := w.fetch(mac2, "/boot.ipxe")
	f.Network, _ = w.snap.Network("rack2")
	f.At.Link, f.At.Index = "eth2", 3
	expect(t, w.decide(f), `200 script wrong-network host= rule= ops=0
script-fetched wrong-network  52:54:00:aa:01:02: r1n02 is not listed for network rack2`)
}

func TestLife(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	script := w.decide(w.fetch(mac1, "/boot.ipxe"))
	expect(t, script, `200 script install host=r1n01 rule=frame-mac ops=7
script-fetched install r1n01 52:54:00:aa:01:01: attempt 1`)
	path := answersPath(t, script.Body)

	other := w.decide(w.fetch(mac2, path))
	expect(t, other, `403 answers token-other-host host=r1n02 rule=frame-mac ops=0
warning token-other-host r1n02 52:54:00:aa:01:02: a machine presented the answers token of another host`)
	if strings.Contains(string(other.Body), "r1n01") {
		t.Errorf("the refusal tells whose token it is: %s", other.Body)
	}

	answers := w.decide(w.fetch(mac1, path))
	expect(t, answers, `200 answers answered host=r1n01 rule=frame-mac ops=2
answers-fetched answered r1n01 52:54:00:aa:01:01: `)
	if strings.Contains(string(answers.Body), "0000000000000000bootd-") {
		t.Error("a placeholder is left in the answers")
	}
	call := urls(t, answers.Body)
	expect(t, w.decide(w.fetch(mac1, path)), "200 answers retransmit host=r1n01 rule=frame-mac ops=0")
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script already-fetched host=r1n01 rule=frame-mac ops=0
script-fetched already-fetched r1n01 52:54:00:aa:01:01: r1n01 was installed or tried to, and is not armed again`)

	f := w.fetch(mac1, call["progress"])
	f.Stage = "base\n"
	expect(t, w.decide(f), `200 callback callback host=r1n01 rule=frame-mac ops=0
progress callback r1n01 52:54:00:aa:01:01: "base\n"`)
	expect(t, w.decide(w.fetch(mac1, call["installed"])), `200 callback callback host=r1n01 rule=frame-mac ops=6
installed callback r1n01 52:54:00:aa:01:01: `)
	expect(t, w.decide(w.fetch(mac1, call["installed"])), "200 callback token-spent host=r1n01 rule=frame-mac ops=0")
	expect(t, w.decide(w.fetch(mac1, path)), "403 answers token-expired host=r1n01 rule=frame-mac ops=0")

	// The first boot calls from its link-local address: the global one is still tentative.
	f = w.fetch(mac1, call["first-boot"])
	f.At.Source = mac1.EUI64(netip.MustParsePrefix("fe80::/64"))
	f.Evidence = who.Source(f.At.Source)
	expect(t, w.decide(f), `200 callback callback host=r1n01 rule=eui64 ops=3
first-boot callback r1n01 52:54:00:aa:01:01: `)
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script local-disk host=r1n01 rule=frame-mac ops=0
script-fetched local-disk r1n01 52:54:00:aa:01:01: r1n01 is not armed`)
}

func TestInstallFails(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	answers := w.decide(w.fetch(mac1, answersPath(t, w.decide(w.fetch(mac1, "/boot.ipxe")).Body)))
	f := w.fetch(mac1, urls(t, answers.Body)["failed"])
	f.Why = "no disk matches serial=S6P"
	expect(t, w.decide(f), `200 callback callback host=r1n01 rule=frame-mac ops=7
install-failed callback r1n01 52:54:00:aa:01:01: "no disk matches serial=S6P"`)
	expect(t, w.decide(f), "403 callback token-unknown host=r1n01 rule=frame-mac ops=0")
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script local-disk host=r1n01 rule=frame-mac ops=0
script-fetched local-disk r1n01 52:54:00:aa:01:01: r1n01 is not armed`)
}

func TestRetriesKeepWhatWasRendered(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	first := w.decide(w.fetch(mac1, "/boot.ipxe"))
	w.tmpl = render.New(render.Layer(fstest.MapFS{
		"ipxe/debian.ipxe":     {Data: []byte("#!ipxe\nedited {{.URL.Answers}}\n")},
		"preseed/debian13.cfg": {Data: []byte("edited\n")},
	}, templates.FS()))
	second := w.decide(w.fetch(mac1, "/boot.ipxe"))
	a, b := answersPath(t, first.Body), answersPath(t, second.Body)
	if a == b {
		t.Error("both fetches got the same token")
	}
	if got := strings.ReplaceAll(string(second.Body), b, a); got != string(first.Body) {
		t.Errorf("the second script is another:\n%s", cmp.Diff(string(first.Body), got))
	}
	if d := w.decide(w.fetch(mac1, b)); strings.Contains(string(d.Body), "edited") {
		t.Errorf("the answers were edited: %s", d.Body)
	}
	third := w.fetch(mac1, "/boot.ipxe")
	expect(t, w.decide(third), `200 script already-fetched host=r1n01 rule=frame-mac ops=0
script-fetched already-fetched r1n01 52:54:00:aa:01:01: r1n01 was installed or tried to, and is not armed again`)
}

func TestAttemptsSpent(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	for range install.MaxAttempts {
		if d := w.decide(w.fetch(mac1, "/boot.ipxe")); d.Reason != reason.Install {
			t.Fatal(summary(d))
		}
	}
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script attempts-spent host=r1n01 rule=frame-mac ops=13
script-fetched attempts-spent r1n01 52:54:00:aa:01:01: r1n01 asked for its installer too often
install-failed attempts-spent r1n01 52:54:00:aa:01:01: the script was fetched too often without the answers`)
}

func TestArmRunsOut(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	w.now = w.now.Add(install.ArmFor)
	expect(t, w.decide(w.fetch(mac1, "/boot.ipxe")), `200 script arm-expired host=r1n01 rule=frame-mac ops=1
script-fetched arm-expired r1n01 52:54:00:aa:01:01: the arm of r1n01 ran out
arm-expired arm-expired r1n01 52:54:00:aa:01:01: `)
}

func TestAnotherMachineBehindTheCard(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	f := w.fetch(mac1, "/boot.ipxe")
	f.UUID = ident.UUID{1}
	w.decide(f)
	f.UUID = ident.UUID{2}
	expect(t, w.decide(f), `200 script arm-mismatch host=r1n01 rule=frame-mac ops=0
script-fetched arm-mismatch r1n01 52:54:00:aa:01:01: r1n01 is armed, but this is another machine (UUID, serial or MAC)
warning arm-mismatch r1n01 52:54:00:aa:01:01: armed is another machine: this one says MAC 52:54:00:aa:01:01, UUID 02000000-0000-0000-0000-000000000000, serial ""`)
}

func TestHead(t *testing.T) {
	w := newWorld(t)
	w.arm("r1n01")
	f := w.fetch(mac1, "/boot.ipxe")
	f.Head = true
	head := w.decide(f)
	expect(t, head, "200 script install host=r1n01 rule=frame-mac ops=0")
	f.Head = false
	if got := w.decide(f); len(got.Body) != len(head.Body) {
		t.Errorf("HEAD says %d octets, GET gives %d", len(head.Body), len(got.Body))
	}
}

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
		{Time: now, Adapter: "daemon", Kind: timeline.ArmExpired, Reason: reason.ArmExpired, Host: "r1n01"},
		{Time: now, Adapter: "daemon", Kind: timeline.InstallFailed, Host: "r1n01", Detail: "the arm ran out before the answers were fetched"},
	}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Error(diff)
	}
}

func TestParsePath(t *testing.T) {
	token := strings.Repeat("a", 32)
	for in, want := range map[string]boot.Path{
		"/boot.ipxe":                      {Kind: boot.Script},
		"//boot.ipxe":                     {Kind: boot.Script},
		"/boot.ipxe/":                     {Kind: boot.File, File: "boot.ipxe/"},
		"/x/boot.ipxe":                    {Kind: boot.File, File: "x/boot.ipxe"},
		"/autoexec.ipxe":                  {Kind: boot.Script, Autoexec: true},
		"/dir//grubx64.efi":               {Kind: boot.File, File: "dir/grubx64.efi"},
		"/":                               {Kind: boot.File},
		"":                                {Kind: boot.File},
		"*":                               {Kind: boot.File, File: "*"},
		"/../etc/passwd":                  {Kind: boot.File, File: "../etc/passwd"},
		"/t":                              {Kind: boot.Callback},
		"/t/" + token:                     {Kind: boot.Callback},
		"/t/" + token + "/preseed.cfg":    {Kind: boot.Answers, Token: token, Leaf: "preseed.cfg"},
		"//t//" + token + "//preseed.cfg": {Kind: boot.Answers, Token: token, Leaf: "preseed.cfg"},
		"/t/" + token + "/installed":      {Kind: boot.Callback, Token: token, Leaf: "installed"},
		"/t/" + token + "/first-boot":     {Kind: boot.Callback, Token: token, Leaf: "first-boot"},
		"/t/" + token + "/other":          {Kind: boot.Callback},
		"/t/" + token + "/installed/x":    {Kind: boot.Callback},
		"/t/../boot.ipxe":                 {Kind: boot.Callback},
		"/tx/file":                        {Kind: boot.File, File: "tx/file"},
	} {
		if diff := cmp.Diff(want, boot.ParsePath(in)); diff != "" {
			t.Errorf("%q: %s", in, diff)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/boot.ipxe", "//t//x/installed", "/t/x/preseed.cfg", "/a/../b", "/", "*", "/%2e%2e/x", "\x00/\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p := boot.ParsePath(s)
		switch {
		case p.Kind == boot.File && (p.Token != "" || p.Autoexec || strings.Contains(p.File, "//") || strings.HasPrefix(p.File, "/")):
			t.Fatalf("%q: %+v", s, p)
		case p.Kind != boot.File && p.File != "", (p.Token == "") != (p.Leaf == ""):
			t.Fatalf("%q: %+v", s, p)
		case strings.Contains(p.Token, "/"):
			t.Fatalf("%q: %+v", s, p)
		}
		if again := boot.ParsePath("/" + s); again != p && s != "" {
			t.Fatalf("%q: a leading slash makes %+v of %+v", s, again, p)
		}
	})
}
