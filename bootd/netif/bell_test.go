package netif

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestBell: it is silent while nobody waits, rings for what came meanwhile, and a Close ends the wait.
func TestBell(t *testing.T) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(unix.Close(pair[0]), unix.Close(pair[1])) }()
	here, far := pair[0], pair[1]
	b, err := newBell(here)
	if err != nil {
		t.Fatal(err)
	}
	send := func() {
		t.Helper()
		if err := unix.Send(far, []byte{1}, 0); err != nil {
			t.Fatal(err)
		}
	}
	// told reports whether the runtime would be woken now.
	told := func() bool {
		t.Helper()
		p := []unix.PollFd{{Fd: int32(b.file.Fd()), Events: unix.POLLIN}}
		n, err := unix.Poll(p, 0)
		if err := errors.Join(err, unix.SetNonblock(int(p[0].Fd), true)); err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	waits := func() <-chan error {
		ended := make(chan error, 1)
		go func() { ended <- b.wait(here) }()
		return ended
	}
	rings := func(what string, ended <-chan error, fails bool) {
		t.Helper()
		select {
		case err := <-ended:
			if (err != nil) != fails {
				t.Fatalf("%s: %v", what, err)
			}
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: nothing", what)
		}
	}
	first := waits()
	send()
	rings("a packet", first, false)
	for range 3 {
		send()
		if told() {
			t.Error("the runtime hears of a packet that nobody waits for")
		}
	}
	rings("packets that were left", waits(), false)
	var buf [8]byte
	for range 4 {
		if _, err := unix.Read(here, buf[:]); err != nil {
			t.Fatal(err)
		}
	}
	last := waits()
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	rings("closed", last, true)
}
