package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/site"
)

// fakeLinks is a LinkWatch whose links a test sets.
type fakeLinks struct {
	mu    sync.Mutex
	links []site.Link
	ch    chan struct{}
}

func (f *fakeLinks) Links() []site.Link {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.links
}

func (f *fakeLinks) Changed(context.Context) <-chan struct{} { return f.ch }

func (f *fakeLinks) set(links ...site.Link) {
	f.mu.Lock()
	f.links = links
	f.mu.Unlock()
	f.ch <- struct{}{}
}

type fakeTask struct {
	name  string
	run   func(context.Context) error
	ready chan struct{}
}

func (t fakeTask) String() string                { return t.name }
func (t fakeTask) Run(ctx context.Context) error { return t.run(ctx) }
func (t fakeTask) Ready() <-chan struct{}        { return t.ready }

func link(name string, index int) site.Link {
	return site.Link{Name: name, Index: index, Up: true, LinkLocal: netip.MustParseAddr("fe80::1")}
}

// diary notes what tasks did.
type diary struct {
	mu    sync.Mutex
	lines []string
}

func (j *diary) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, fmt.Sprintf(format, args...))
}

func (j *diary) take() []string {
	synctest.Wait()
	j.mu.Lock()
	defer j.mu.Unlock()
	out := j.lines
	j.lines = nil
	return out
}

func expect(t *testing.T, j *diary, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, j.take()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestEachLinkFollowsTheLinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := &fakeLinks{ch: make(chan struct{})}, &diary{}
		p := EachLink("ra", w, slog.New(slog.DiscardHandler), time.Now, func(l site.Link) (Task, error) {
			return fakeTask{name: "ra", run: func(ctx context.Context) error {
				j.note("start %s %d", l.Name, l.Index)
				<-ctx.Done()
				j.note("stop %s %d", l.Name, l.Index)
				return nil
			}}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		<-p.Ready()
		expect(t, j)
		w.set(link("eth1", 3))
		expect(t, j, "start eth1 3")
		down := link("eth2", 4)
		down.Up = false
		w.set(link("eth1", 3), down)
		expect(t, j)
		moved := link("eth1", 3)
		moved.Addrs = []netip.Prefix{netip.MustParsePrefix("2001:db8::1/64")}
		w.set(moved, down)
		expect(t, j) // an address is no reason to begin again
		w.set(link("eth1", 7), down)
		expect(t, j, "stop eth1 3", "start eth1 7")
		w.set(link("eth2", 4))
		if d := cmp.Diff(map[string]bool{"stop eth1 7": true, "start eth2 4": true}, set(j.take())); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		if got := p.Status(); len(got) != 1 || got[0].Link != "eth2" || !got[0].Running {
			t.Errorf("status %+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		expect(t, j, "stop eth2 4")
	})
}

func set(lines []string) map[string]bool {
	m := map[string]bool{}
	for _, l := range lines {
		m[l] = true
	}
	return m
}

func TestEachLinkTriesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, j := &fakeLinks{ch: make(chan struct{}), links: []site.Link{link("eth1", 3)}}, &diary{}
		begin := time.Now()
		tries := 0
		p := EachLink("ra", w, slog.New(slog.DiscardHandler), time.Now, func(site.Link) (Task, error) {
			tries++
			j.note("try at %v", time.Since(begin))
			if tries%2 == 0 {
				return nil, errors.New("binding: no such device")
			}
			return fakeTask{run: func(ctx context.Context) error {
				if tries < 5 {
					return errors.New("reading: network is down")
				}
				<-ctx.Done()
				return nil
			}}, nil
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		time.Sleep(1500 * time.Millisecond)
		expect(t, j, "try at 0s", "try at 1s")
		want := LinkStatus{Task: "ra", Link: "eth1", Since: begin.Add(time.Second), Error: "binding: no such device"}
		if d := cmp.Diff([]LinkStatus{want}, p.Status()); d != "" {
			t.Errorf("-want +got:\n%s", d)
		}
		time.Sleep(time.Minute)
		expect(t, j, "try at 3s", "try at 7s", "try at 15s")
		if got := p.Status(); len(got) != 1 || !got[0].Running {
			t.Errorf("status %+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestRunAllNamesTheOneThatFailed(t *testing.T) {
	waits := fakeTask{name: "dns", run: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	fails := fakeTask{name: "tftp", run: func(context.Context) error { return errors.New("reading: broken") }}
	ends := fakeTask{name: "http", run: func(context.Context) error { return nil }}
	for _, c := range []struct {
		tasks []Task
		want  string
	}{
		{[]Task{waits, fails}, "running tftp: reading: broken"},
		{[]Task{waits, ends}, "running http: it ended by itself"},
	} {
		err := runAll(t.Context(), c.tasks)
		if err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := runAll(ctx, []Task{waits}); err != nil {
		t.Errorf("a wanted end: %v", err)
	}
}

func TestRunAllLeavesBehindWhatDoesNotEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hangs := fakeTask{name: "tftp", run: func(context.Context) error { <-release; return nil }}
		ends := fakeTask{name: "dns", run: func(ctx context.Context) error { <-ctx.Done(); return nil }}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- runAll(ctx, []Task{hangs, ends}) }()
		synctest.Wait()
		cancel()
		if err, want := <-done, "stopping: after 10s still running: tftp"; err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		close(release)
	})
}

// TestEachLinkTriesAgainAtAChange: the clock is for what nobody tells us.
func TestEachLinkTriesAgainAtAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		links := &fakeLinks{ch: make(chan struct{}, 1), links: []site.Link{link("eth1", 2)}}
		j := &diary{}
		start := func(l site.Link) (Task, error) {
			return fakeTask{l.Name, func(context.Context) error { j.note("ran"); return errors.New("the link broke") }, nil}, nil
		}
		p := EachLink("ra", links, slog.New(slog.DiscardHandler), time.Now, start)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- p.Run(ctx) }()
		expect(t, j, "ran")
		time.Sleep(100 * time.Millisecond)
		links.set(link("eth1", 2)) // down and up again, as fast as that
		expect(t, j, "ran")
		time.Sleep(1999 * time.Millisecond)
		expect(t, j)
		time.Sleep(2 * time.Millisecond)
		expect(t, j, "ran")
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
