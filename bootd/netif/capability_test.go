package netif_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/netif/netiftest"
	"bootd.internal/bootd/site"
)

// withoutNetRaw runs f on a thread that has no CAP_NET_RAW; the thread ends with it.
func withoutNetRaw(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		err := unix.Capget(&head, &caps[0])
		if err == nil {
			caps[0].Effective &^= 1 << unix.CAP_NET_RAW
			err = unix.Capset(&head, &caps[0])
		}
		if err == nil {
			f()
		}
		done <- err
	}()
	must(t, <-done)
}

func TestWithoutNetRaw(t *testing.T) {
	netiftest.Kernel(t)
	var logged bytes.Buffer
	n, err := netif.NewNeighbours(slog.New(slog.NewTextHandler(&logged, nil)), time.Now)
	must(t, err)
	defer n.Close()
	lo := site.Link{Name: "lo", Index: 1}
	var first, second *netif.Listener
	var firstErr, secondErr, discoveryErr error
	withoutNetRaw(t, func() {
		first, firstErr = n.Listen(lo)
		second, secondErr = n.Listen(lo)
		_, discoveryErr = netif.ListenDiscovery(lo)
	})
	must(t, firstErr)
	must(t, secondErr)
	if got, want := strings.Count(logged.String(), "no CAP_NET_RAW"), 1; got != want {
		t.Errorf("said %d times, want %d:\n%s", got, want, &logged)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- first.Run(ctx) }()
	<-first.Ready()
	cancel()
	must(t, <-done)
	must(t, second.Close())
	if want := "router discovery on lo needs CAP_NET_RAW: opening packet socket: operation not permitted"; discoveryErr == nil || discoveryErr.Error() != want {
		t.Errorf("error %v, want %s", discoveryErr, want)
	}
}

func TestListenGone(t *testing.T) {
	netiftest.Kernel(t)
	n := newNeighbours(t)
	_, err := n.Listen(site.Link{Name: "gone", Index: 99999})
	if want := "listening for neighbours on gone: binding packet socket: no such device"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
	_, err = netif.ListenDiscovery(site.Link{Name: "gone", Index: 99999})
	if want := "router discovery on gone: binding packet socket: no such device"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func BenchmarkNeighbours(b *testing.B) {
	netiftest.Kernel(b)
	n, err := netif.NewNeighbours(slog.New(slog.DiscardHandler), time.Now)
	if err != nil {
		b.Fatal(err)
	}
	defer n.Close()
	unknown := netip.MustParseAddr("2001:db8::1")
	for b.Loop() {
		n.MAC(1, unknown)
	}
}
