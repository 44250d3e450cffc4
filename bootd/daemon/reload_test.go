package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/journal"
	"bootd.internal/bootd/timeline/history"
)

// safeBuffer is a log that is read while it is written.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// running is a daemon without sockets over a directory with an inventory, on a machine with eth1.
type running struct {
	*Daemon
	dir string
	log *safeBuffer
}

func runs(t *testing.T, dir string) *running {
	t.Helper()
	out := &safeBuffer{}
	log := slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d := &Daemon{cfg: Config{Inventory: filepath.Join(dir, "inventory.yaml"), State: filepath.Join(dir, "state")}, log: log, now: sitetest.Now}
	inv, err := Load(d.cfg.Inventory)
	must(t, err)
	must(t, prepareState(d.cfg.State))
	d.store, err = journal.Open(filepath.Join(d.cfg.State, "store"), journal.Options{})
	must(t, err)
	d.onClose(d.store.Close)
	id, err := LoadIdentity(t.Context(), d.store, bytes.NewReader(bytes.Repeat([]byte{7}, 48)))
	must(t, err)
	d.history = history.Open(history.Config{Now: sitetest.Now, Log: log})
	d.onClose(func() error { d.history.Close(); return nil })
	d.metrics = NewMetrics("v1")
	d.watch = NewObserver(d.metrics, log, d.history, d.now)
	k := &fakeKernel{state: netif.State{Links: []site.Link{sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")}}}
	d.world = NewWorld(inv, k, id, log, d.now, d.history, d.metrics)
	d.openTemplates(inv)
	return &running{d, dir, out}
}

// events are kind and detail of all that happened.
func (r *running) events() []string {
	var out []string
	for _, e := range r.history.Events(history.Query{}) {
		out = append(out, strings.ReplaceAll(strings.TrimSpace(string(e.Kind)+" "+e.Detail), r.dir, "DIR"))
	}
	return out
}

const reloadInventory = `defaults: {domain: example.net, profile: own}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
profiles:
  own: {kernel: linux, initrd: initrd, script: own.ipxe, answers: own.cfg, vars: {word: one}}
hosts:
  r1n01: {mac: 52:54:00:aa:01:01, address: "::101"}
`

func reloadTree(t *testing.T) string {
	t.Helper()
	return writeTree(t, map[string]string{
		"inventory.yaml": reloadInventory, "files/linux": "", "files/initrd": "", "files/ipxe.efi": "",
		"templates/own.ipxe": "#!ipxe\necho {{.Vars.word}}\nkernel {{.Kernel}} answers={{.URL.Answers}}\nboot\n",
		"templates/own.cfg":  "word {{.Vars.word}}\n",
	})
}

// TestReloadIsWholeOrNotAtAll: each kind of fault leaves snapshot and templates in force, and says which line.
func TestReloadIsWholeOrNotAtAll(t *testing.T) {
	for _, c := range []struct{ name, file, text, want string }{
		{"inventory", "inventory.yaml", strings.Replace(reloadInventory, "r1n01:", "R1N01:", 1), "DIR/inventory.yaml:7:3: hosts.R1N01: a host name is in lower case, did you mean r1n01?"},
		{"no UTF-8", "inventory.yaml", reloadInventory + "# \xff\n", "DIR/inventory.yaml:8:3: not UTF-8: save the file as UTF-8"},
		{"missing variable", "templates/own.cfg", "\n{{.Vars.wrod}}\n", "own.cfg:2: vars.wrod is not set for r1n01 (set it in defaults, the network, the profile or the host)"},
		{"iPXE", "templates/own.ipxe", "#!ipxe\nkernel {{.Kernel}}\nboto\n", `own.ipxe:3: iPXE has no command "boto", did you mean goto? for r1n01`},
		{"template language", "templates/own.ipxe", "#!ipxe\n{{if}}\n", "own.ipxe:2: missing value for if for r1n01"},
		{"secret", "inventory.yaml", reloadInventory + "secrets: {a: {file: nowhere}}\n", "DIR/inventory.yaml:8:21: secrets.a: reading: open DIR/nowhere: no such file or directory: paths are relative to the inventory"},
		{"kernel", "inventory.yaml", strings.Replace(reloadInventory, "kernel: linux", "kernel: linus", 1), "files: linus is missing in DIR/files: it is the kernel of profile own, needed by r1n01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := runs(t, reloadTree(t))
			defer r.close()
			snap, set := r.world.Snapshot(), r.templates(r.world.Snapshot())
			write(t, c.text, r.dir, c.file)
			err := r.Reload(t.Context())
			if err == nil {
				t.Fatal("it was reloaded")
			}
			if got := strings.ReplaceAll(err.Error(), r.dir, "DIR"); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			if r.world.Snapshot() != snap || r.templates(r.world.Snapshot()) != set {
				t.Error("half of it is served")
			}
			if got := r.Health().Refused; got == nil || got.Error() != err.Error() || value(t, r.metrics, gaugeStale) != 1 {
				t.Errorf("status %v, gauge %v", got, value(t, r.metrics, gaugeStale))
			}
			all := r.events() // the detail of an event is cut after 200 octets
			if got := all[len(all)-1]; !strings.HasPrefix("warning inventory refused: "+c.want, got) || len(got) < 60 {
				t.Errorf("event %q", got)
			}
			if !strings.Contains(r.log.String(), strings.Trim(strconv.Quote(err.Error()), `"`)) {
				t.Errorf("the log does not say it:\n%s", r.log)
			}

			fresh := reloadTree(t)
			for _, name := range []string{"inventory.yaml", "templates/own.cfg", "templates/own.ipxe"} {
				text, err := readBounded(filepath.Join(fresh, name), maxInventory)
				must(t, err)
				write(t, string(text), r.dir, name)
			}
			if err := r.Reload(t.Context()); err != nil || r.Health().Refused != nil || value(t, r.metrics, gaugeStale) != 0 {
				t.Errorf("mended: %v, status %v", err, r.Health().Refused)
			}
			if got := r.events(); got[len(got)-1] != "reloaded 1 host" {
				t.Errorf("events %q", got)
			}
		})
	}
}

var mac1 = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}

// fetch is a request of r1n01 that counts.
func (r *running) fetch(t *testing.T, path string) boot.Decision {
	t.Helper()
	snap := r.world.Snapshot()
	n, _ := snap.Network("rack1")
	var d boot.Decision
	must(t, r.store.Update(t.Context(), func(v store.View) []store.Op {
		d = boot.Decide(snap, v, boot.Fetch{
			At:      site.Arrival{Link: "eth1", Index: 2, Source: mac1.EUI64(netip.MustParsePrefix("fe80::/64"))},
			Network: n, Path: boot.ParsePath(path), Evidence: who.Frame(mac1),
		}, r.templates(snap), r.now(), [16]byte{1})
		return d.Ops
	}))
	return d
}

// TestAHostInMidInstallKeepsWhatItBeganWith: edits of inventory and templates, a reload and a restart change nothing for
// it; the next installation has them.
func TestAHostInMidInstallKeepsWhatItBeganWith(t *testing.T) {
	r := runs(t, reloadTree(t))
	arm := func(reinstall bool, id string) {
		h, _ := r.world.Snapshot().Host("r1n01")
		must(t, r.store.Update(t.Context(), func(v store.View) []store.Op {
			ops, err := install.Order(v, boot.Subject(h), install.Wish{ID: id, Reinstall: reinstall}, r.now())
			must(t, err)
			return ops
		}))
	}
	arm(false, "first")
	began := r.fetch(t, "/boot.ipxe")
	if began.Reason != reason.Install || !strings.Contains(string(began.Body), "echo one\n") {
		t.Fatalf("%v: %s", began.Reason, began.Body)
	}
	write(t, strings.ReplaceAll(reloadInventory, "word: one", "word: two"), r.dir, "inventory.yaml")
	write(t, "#!ipxe\necho edited {{.Vars.word}}\nkernel {{.Kernel}} answers={{.URL.Answers}}\nboot\n", r.dir, "templates/own.ipxe")
	write(t, "edited {{.Vars.word}}\n", r.dir, "templates/own.cfg")
	must(t, r.Reload(t.Context()))
	must(t, r.close())
	r = runs(t, r.dir)
	defer r.close()

	again := r.fetch(t, "/boot.ipxe")
	if d := cmp.Diff(string(began.Body), string(again.Body)); d != "" {
		t.Errorf("the script changed under the host:\n%s", d)
	}
	_, path, _ := strings.Cut(string(again.Body), "answers=http://[2001:db8:1::1]")
	path, _, _ = strings.Cut(path, "\n")
	if a := r.fetch(t, path); a.Reason != reason.Answered || string(a.Body) != "word one\n" {
		t.Errorf("answers of %s: %v %q", path, a.Reason, a.Body)
	}
	arm(true, "second")
	if next := r.fetch(t, "/boot.ipxe"); !strings.Contains(string(next.Body), "echo edited two\n") {
		t.Errorf("the next installation: %s", next.Body)
	}
}

// TestFilesAreReadOnce: what a person's reload has read, the file watch does not read again; what changed since it does.
func TestFilesAreReadOnce(t *testing.T) {
	dir := reloadTree(t)
	r := runs(t, dir)
	defer r.close()
	r.files = r.newFileWatch(r.world.Snapshot().Inventory)
	times := func() int { return strings.Count(r.log.String(), "inventory reloaded") }
	write(t, inventoryOf(t, dir)+"# edited\n", dir, "inventory.yaml")
	must(t, r.Reload(t.Context()))
	r.files.check(t.Context(), nil)
	if n := times(); n != 1 {
		t.Errorf("read %d times:\n%s", n, r.log)
	}
	write(t, inventoryOf(t, dir)+"# again\n", dir, "inventory.yaml")
	r.files.check(t.Context(), nil)
	if n := times(); n != 2 {
		t.Errorf("read %d times, the edit included:\n%s", n, r.log)
	}
	must(t, r.Reload(t.Context()))
	if n := times(); n != 3 {
		t.Errorf("a person's reload did nothing:\n%s", r.log)
	}
}

func inventoryOf(t *testing.T, dir string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "inventory.yaml"))
	must(t, err)
	return string(text)
}

// TestNothingIsLostWhileReloading: every DHCPv6 message gets its answer and every script renders while inventory and
// templates change together, again and again. The template of one inventory does not fit the other.
func TestNothingIsLostWhileReloading(t *testing.T) {
	r := runs(t, reloadTree(t))
	defer r.close()
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	var asked [2]int
	clients.Go(func() {
		for ; ctx.Err() == nil; asked[0]++ {
			snap := r.world.Snapshot()
			var d address.Decision
			err := r.store.Update(t.Context(), func(v store.View) []store.Op {
				d = address.Decide(snap, v, address.Request{
					Msg: address.RequestMsg, Client: ident.NewDUIDLL(mac1), Evidence: who.Frame(mac1), Server: snap.ServerDUID,
					At:  site.Arrival{Link: "eth1", Index: 2, Source: mac1.EUI64(netip.MustParsePrefix("fe80::/64"))},
					IAs: []address.IA{{Kind: address.IANA, IAID: 7}},
				}, r.now())
				return d.Ops
			})
			if err != nil || d.Reply == nil || len(d.Reply.IAs) != 1 || len(d.Reply.IAs[0].Addrs) != 1 {
				t.Errorf("a request was lost: %v, %v", d.Reason, err)
				return
			}
		}
	})
	clients.Go(func() {
		for ; ctx.Err() == nil; asked[1]++ {
			snap := r.world.Snapshot()
			h, _ := snap.Host("r1n01")
			if err := lintHost(snap, r.templates(snap), h.Name); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range 50 {
		name := fmt.Sprintf("word%d", i)
		write(t, strings.ReplaceAll(reloadInventory, "word:", name+":"), r.dir, "inventory.yaml")
		for _, f := range []string{"own.ipxe", "own.cfg"} {
			text, err := readBounded(filepath.Join(r.dir, "templates", f), maxInventory)
			must(t, err)
			now := strings.NewReplacer(fmt.Sprintf(".word%d}", i-1), "."+name+"}", ".word}", "."+name+"}").Replace(string(text))
			write(t, now, r.dir, "templates", f)
		}
		must(t, r.Reload(ctx))
	}
	cancel()
	clients.Wait()
	if asked[0] == 0 || asked[1] == 0 {
		t.Errorf("nothing was asked: %v", asked)
	}
}
