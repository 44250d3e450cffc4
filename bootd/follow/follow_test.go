package follow

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"

	"github.com/google/go-cmp/cmp"
)

var one, two = netip.MustParsePrefix("2001:db8:0:3::/80"), netip.MustParsePrefix("2001:db8:9:3::/80")

type watcher struct{ events []string }

func (w *watcher) Observe(o timeline.Observation) {
	for _, e := range o.Events {
		w.events = append(w.events, string(e.Kind)+" "+e.Addr+" "+e.Detail)
	}
}

// bench has one follower whose command notes each of its runs, and fails while the file fail is there.
type bench struct {
	*Task
	t    *testing.T
	dir  string
	snap *site.Snapshot
	seen *watcher
	now  time.Time
}

func newBench(t *testing.T, f site.Follower) *bench {
	b := &bench{t: t, dir: t.TempDir(), seen: &watcher{}, now: time.Unix(1_000_000, 0)}
	f.Name = "docker"
	if f.File != "" {
		f.File = b.path(f.File)
	}
	b.file("run", "#!/bin/sh\necho \"$BOOTD_NAME $BOOTD_OLD_PREFIX $BOOTD_PREFIX\" >>"+b.path("ran")+"\n[ ! -e "+b.path("fail")+" ] || { echo no good; exit 1; }\n")
	if err := os.Chmod(b.path("run"), 0o755); err != nil {
		t.Fatal(err)
	}
	if f.Command == nil {
		f.Command = []string{b.path("run")}
	}
	f.Timeout = time.Minute
	b.snap = &site.Snapshot{Inventory: &inventory.Inventory{}, Followers: []site.Follower{f}}
	b.start(memory.New())
	return b
}

// start begins a new life with what the store has.
func (b *bench) start(s store.Store) {
	b.Task = New(Config{
		Snapshot: func() *site.Snapshot { return b.snap }, Changed: func(context.Context) <-chan struct{} { return nil },
		Render: func(_ *site.Snapshot, f site.Follower) ([]byte, error) {
			if f.Template == "broken" {
				return nil, errors.New("broken:1: no such key")
			}
			return []byte("allow " + f.Prefix.String() + ";\n"), nil
		},
		Store: s, Observer: b.seen, Now: func() time.Time { return b.now },
	})
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b *bench) file(name, text string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), []byte(text), 0o640); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) content(name string) string {
	text, err := os.ReadFile(b.path(name))
	if err != nil {
		return "none"
	}
	return string(text)
}

// give changes the follower's prefix, as a new snapshot does, and looks at all.
func (b *bench) give(p netip.Prefix) {
	b.snap.Followers[0].Prefix = p
	b.look()
}

func (b *bench) look() { b.all(b.t.Context()) }

// ran compares the runs of the command since last time, and forgets them.
func (b *bench) ran(want ...string) {
	b.t.Helper()
	var got []string
	if text := b.content("ran"); text != "none" {
		got = strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.t.Errorf("runs (-want +got):\n%s", diff)
	}
	_ = os.Remove(b.path("ran"))
}

// TestDocker: the file changes and the engine restarts once for each prefix; what was there stays beside it.
func TestDocker(t *testing.T) {
	b := newBench(t, site.Follower{File: "daemon.json", Merge: true})
	b.file("daemon.json", "{\n\t\"debug\": true\n}\n")
	b.look() // no prefix yet
	b.ran()
	b.give(one)
	b.look()
	b.ran("docker  2001:db8:0:3::/80")
	const first = "{\n\t\"debug\": true,\n\t\"fixed-cidr-v6\": \"2001:db8:0:3::/80\",\n\t\"ipv6\": true\n}\n"
	if diff := cmp.Diff(first, b.content("daemon.json")); diff != "" {
		t.Error(diff)
	}
	if got := b.content("daemon.json" + Before); got != "{\n\t\"debug\": true\n}\n" {
		t.Errorf("the copy is %q", got)
	}
	if info, err := os.Stat(b.path("daemon.json")); err != nil || info.Mode().Perm() != 0o640 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	b.start(b.cfg.Store)
	b.look()
	b.ran()
	b.give(two)
	b.look()
	b.ran("docker 2001:db8:0:3::/80 2001:db8:9:3::/80")
	b.give(netip.Prefix{}) // the upstream is gone: Docker goes on
	b.ran()
	want := []string{"followed 2001:db8:0:3::/80 docker", "followed 2001:db8:9:3::/80 docker"}
	if diff := cmp.Diff(want, b.seen.events); diff != "" {
		t.Error(diff)
	}
}

// TestRollBack: an engine that does not start with the new file starts with the old one; it is tried again later, less and less often.
func TestRollBack(t *testing.T) {
	for _, fresh := range []bool{false, true} {
		b := newBench(t, site.Follower{File: "daemon.json", Merge: true})
		old := "none"
		if !fresh {
			old = "{\"debug\": true}\n"
			b.file("daemon.json", old)
		}
		b.file("fail", "")
		b.give(one)
		b.ran("docker  2001:db8:0:3::/80", "docker 2001:db8:0:3::/80 ")
		if got := b.content("daemon.json"); got != old {
			t.Errorf("after a failure there is %q", got)
		}
		s := b.Status()[0]
		if !strings.Contains(s.Fault, `exit status 1: "no good"`) || !strings.Contains(s.Fault, "daemon.json is as it was before") || !strings.HasSuffix(s.Fault, "tried again after 30s") {
			t.Errorf("the fault is %q", s.Fault)
		}
		b.look()
		b.ran() // its time has not come
		b.now = b.now.Add(30 * time.Second)
		b.look()
		b.ran("docker  2001:db8:0:3::/80", "docker 2001:db8:0:3::/80 ")
		if got := b.runs["docker"].again.Sub(b.now); got != time.Minute {
			t.Errorf("the next try is in %s", got)
		}
		if len(b.seen.events) != 1 {
			t.Errorf("told %v", b.seen.events)
		}
		if err := os.Remove(b.path("fail")); err != nil {
			t.Fatal(err)
		}
		b.now = b.now.Add(time.Minute)
		b.look()
		b.ran("docker  2001:db8:0:3::/80")
		if s := b.Status()[0]; s.Fault != "" || s.Done != one {
			t.Errorf("%+v", s)
		}
	}
}

// TestCrash: between the file and the end of the command bootd is killed: the command is run again; one that fails then brings
// the old file back.
func TestCrash(t *testing.T) {
	b := newBench(t, site.Follower{File: "daemon.json", Merge: true})
	b.file("daemon.json", "{}\n")
	b.give(one)
	b.ran("docker  2001:db8:0:3::/80")
	if err := b.write(t.Context(), "docker", record{Prefix: one.String(), Old: two.String(), Pending: true}); err != nil {
		t.Fatal(err)
	}
	b.start(b.cfg.Store)
	b.file("fail", "")
	b.look()
	b.ran("docker 2001:db8:9:3::/80 2001:db8:0:3::/80", "docker 2001:db8:0:3::/80 2001:db8:9:3::/80")
	if got := b.content("daemon.json"); got != "{}\n" {
		t.Errorf("there is %q", got)
	}
}

// TestBroken: what cannot be read or is not there is left as it is, and nothing is run.
func TestBroken(t *testing.T) {
	for _, x := range []struct {
		name, fault string
		prepare     func(*bench)
	}{
		{"a daemon.json that is none", "daemon.json: line 2: invalid character '}' looking for beginning of object key string: it is left as it is; correct it", func(b *bench) {
			b.file("daemon.json", "{\"debug\": true,\n}\n")
		}},
		{"no directory", "is the program that reads daemon.json installed?", func(b *bench) { b.snap.Followers[0].File = b.path("none/daemon.json") }},
		{"no command", "is the program installed?", func(b *bench) { b.snap.Followers[0].Command = []string{"/nowhere/docker"} }},
		{"a directory", "is not a plain file", func(b *bench) { b.snap.Followers[0].File = b.dir }},
		{"a link to nothing", "link is a symbolic link to /nowhere/prefix, which is not there: make that file, or remove the link", func(b *bench) {
			b.snap.Followers[0].File = b.path("link")
			if err := os.Symlink("/nowhere/prefix", b.path("link")); err != nil {
				b.t.Fatal(err)
			}
		}},
		{"a template", "broken:1: no such key", func(b *bench) {
			b.snap.Followers[0].Merge, b.snap.Followers[0].Template = false, "broken"
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t, site.Follower{File: "daemon.json", Merge: true})
			x.prepare(b)
			before := b.content("daemon.json")
			b.give(one)
			b.look()
			b.ran()
			if got := b.content("daemon.json"); got != before {
				t.Errorf("there is %q", got)
			}
			if s := b.Status()[0]; !strings.Contains(s.Fault, x.fault) {
				t.Errorf("the fault is %q", s.Fault)
			}
			if len(b.seen.events) != 1 || !strings.HasPrefix(b.seen.events[0], "warning") {
				t.Errorf("told %v", b.seen.events)
			}
		})
	}
}

// TestHung: a command that hangs is killed, and what it was for is put back.
func TestHung(t *testing.T) {
	b := newBench(t, site.Follower{File: "prefix", Command: []string{"sleep", "1000"}})
	b.file("prefix", "old\n")
	b.snap.Followers[0].Timeout = 50 * time.Millisecond
	b.give(one)
	if s := b.Status()[0]; !strings.Contains(s.Fault, "running sleep: it hung, and was killed after 50ms") {
		t.Errorf("the fault is %q", s.Fault)
	}
	if got := b.content("prefix"); got != "old\n" {
		t.Errorf("there is %q", got)
	}
}

// TestOthers: a template, a file that holds the prefix, a command alone.
func TestOthers(t *testing.T) {
	b := newBench(t, site.Follower{File: "nginx.conf", Template: "nginx/prefix.conf"})
	b.give(one)
	b.look()
	b.ran("docker  2001:db8:0:3::/80")
	if got := b.content("nginx.conf"); got != "allow 2001:db8:0:3::/80;\n" {
		t.Errorf("there is %q", got)
	}
	b = newBench(t, site.Follower{File: "ipv6.prefix"})
	real := b.path("real")
	b.file("real", "")
	if err := os.Symlink(real, b.path("ipv6.prefix")); err != nil {
		t.Fatal(err)
	}
	b.give(one)
	b.ran("docker  2001:db8:0:3::/80")
	if got, err := os.Readlink(b.path("ipv6.prefix")); err != nil || got != real || b.content("real") != "2001:db8:0:3::/80\n" {
		t.Errorf("%s, %v, %q", got, err, b.content("real"))
	}
	b = newBench(t, site.Follower{})
	b.give(one)
	b.look()
	b.start(b.cfg.Store)
	b.look()
	b.ran("docker  2001:db8:0:3::/80")
	b.give(two)
	b.ran("docker 2001:db8:0:3::/80 2001:db8:9:3::/80")
}

// TestOldPrefix: what a command is told of as the old prefix is the one that it did well with, however often it failed since.
func TestOldPrefix(t *testing.T) {
	b := newBench(t, site.Follower{})
	b.give(one)
	b.ran("docker  2001:db8:0:3::/80")
	b.file("fail", "")
	b.give(two)
	b.ran("docker 2001:db8:0:3::/80 2001:db8:9:3::/80")
	b.now = b.now.Add(retryMin)
	b.look()
	b.ran("docker 2001:db8:0:3::/80 2001:db8:9:3::/80")
	b.start(b.cfg.Store)
	if err := os.Remove(b.path("fail")); err != nil {
		t.Fatal(err)
	}
	b.look()
	b.ran("docker 2001:db8:0:3::/80 2001:db8:9:3::/80")
}

// TestToldOnce: a file that cannot be written is told of once, and by its own name; nothing is left beside it.
func TestToldOnce(t *testing.T) {
	name := strings.Repeat("x", 250) // there is no room for the name of the copy
	b := newBench(t, site.Follower{File: name})
	b.file(name, "old\n")
	b.give(one)
	b.now = b.now.Add(retryMin)
	b.look()
	b.ran()
	want := []string{"warning 2001:db8:0:3::/80 docker: writing " + b.path(name) + Before + ": file name too long"}
	if diff := cmp.Diff(want, b.seen.events); diff != "" {
		t.Error(diff)
	}
	if left, err := filepath.Glob(b.path(".bootd-*")); err != nil || len(left) > 0 {
		t.Errorf("there is %v, %v", left, err)
	}
}
