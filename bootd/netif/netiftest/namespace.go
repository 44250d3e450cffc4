package netiftest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// inside marks a test binary that runs in a namespace of its own.
const inside = "BOOTD_TEST_NETNS"

// confDir holds the kernel's IPv6 settings of the namespace that the reading thread is in.
const confDir = "/proc/sys/net/ipv6/conf"

// Main runs the tests of a package in a fresh network namespace, by starting the test binary again inside one. Without
// root the tests run where they are, and those that call Kernel skip. Use it as the whole of TestMain.
func Main(m *testing.M) {
	if os.Geteuid() != 0 || os.Getenv(inside) != "" {
		os.Exit(m.Run())
	}
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Args[0] = os.Args[0]
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNET, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // Pdeathsig is about the thread that starts the child
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(exit.ExitCode())
	case err != nil:
		fmt.Fprintln(os.Stderr, "starting the tests in a network namespace:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// Kernel says that a test needs the kernel's real network, in the namespace that Main made: it skips where there is no
// root, and fails there when CI=true. The loopback interface is up afterwards.
func Kernel(t testing.TB) {
	t.Helper()
	if os.Getenv(inside) == "" {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test needs root, and in CI nothing may be left out")
		}
		t.Skip("this test needs root")
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Sysctl writes a setting below /proc/sys/net/ipv6/conf and puts the old value back after the test.
func Sysctl(t testing.TB, name, value string) {
	t.Helper()
	path := filepath.Join(confDir, name)
	old, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(path, []byte(value), 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(path, old, 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Error(err)
		}
	})
}

// Namespace is one more network namespace: the other end of a wire.
type Namespace struct {
	t    testing.TB
	file *os.File
	work chan func()
}

// NewNamespace makes a network namespace that lives as long as the test.
func NewNamespace(t testing.TB) *Namespace {
	t.Helper()
	n := &Namespace{t: t, work: make(chan func())}
	failed := make(chan error)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine and takes the namespace along
		err := unix.Unshare(unix.CLONE_NEWNET)
		if err == nil {
			n.file, err = os.Open("/proc/thread-self/ns/net")
		}
		failed <- err
		for f := range n.work {
			f()
		}
	}()
	err := <-failed
	t.Cleanup(func() {
		close(n.work)
		<-done
		if n.file != nil {
			n.file.Close()
		}
	})
	if err != nil {
		t.Fatal(fmt.Errorf("making a network namespace: %w", err))
	}
	return n
}

// Do runs f in the namespace: sockets that f opens and programs that it starts belong there. An error fails the test.
func (n *Namespace) Do(f func() error) {
	n.t.Helper()
	result := make(chan error)
	n.work <- func() { result <- f() }
	if err := <-result; err != nil {
		n.t.Fatal(err)
	}
}

// Veth makes a wire between a new interface called name here and one called peer in the namespace. Both are down. It
// goes with the test.
func (n *Namespace) Veth(name, peer string) {
	n.t.Helper()
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	v := &netlink.Veth{LinkAttrs: attrs, PeerName: peer, PeerNamespace: netlink.NsFd(n.file.Fd())}
	if err := netlink.LinkAdd(v); err != nil {
		n.t.Fatal(fmt.Errorf("adding %s: %w", name, err))
	}
	n.t.Cleanup(func() {
		l, err := netlink.LinkByName(name)
		if err == nil {
			err = netlink.LinkDel(l)
		}
		var gone netlink.LinkNotFoundError
		if err != nil && !errors.As(err, &gone) {
			n.t.Error(err)
		}
	})
}

// Sysctl writes a setting below /proc/sys/net/ipv6/conf of the namespace.
func (n *Namespace) Sysctl(name, value string) {
	n.t.Helper()
	n.Do(func() error { return os.WriteFile(filepath.Join(confDir, name), []byte(value), 0) })
}
