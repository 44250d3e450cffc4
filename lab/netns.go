package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// netNS is a network namespace with a name that `ip netns exec` knows.
type netNS struct {
	name   string
	handle netns.NsHandle
	nl     *netlink.Handle
}

func (l *Lab) newNS(name string) (*netNS, error) {
	n := &netNS{name: l.prefix + "-" + name}
	err := onThread(func() error {
		var err error
		n.handle, err = netns.NewNamed(n.name)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("making network namespace %s: %w", n.name, err)
	}
	if n.nl, err = netlink.NewHandleAt(n.handle); err != nil {
		return nil, fmt.Errorf("opening netlink in %s: %w", n.name, err)
	}
	l.onClose(n.close)
	if err := n.setUp("lo"); err != nil {
		return nil, err
	}
	return n, nil
}

func (n *netNS) close() error {
	n.nl.Close()
	if err := errors.Join(n.handle.Close(), netns.DeleteNamed(n.name)); err != nil {
		return fmt.Errorf("removing network namespace %s: %w", n.name, err)
	}
	return nil
}

// onThread runs f on a thread of its own that ends with it, so that whatever
// namespace f leaves the thread in is nobody else's.
func onThread(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- f()
	}()
	return <-done
}

// do runs f with the calling thread in the namespace. Sockets opened there
// stay there; f must not start processes or goroutines.
func (n *netNS) do(f func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("entering network namespace %s: %w", n.name, err)
		}
		return f()
	})
}

// sysctl writes settings, named by their path below /proc/sys.
func (n *netNS) sysctl(settings map[string]string) error {
	return n.do(func() error {
		for path, value := range settings {
			if err := os.WriteFile(filepath.Join("/proc/sys", path), []byte(value), 0o644); err != nil {
				return fmt.Errorf("setting %s in %s: %w", path, n.name, err)
			}
		}
		return nil
	})
}

func (n *netNS) setUp(ifname string) error {
	link, err := n.nl.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("finding %s in %s: %w", ifname, n.name, err)
	}
	if err := n.nl.LinkSetUp(link); err != nil {
		return fmt.Errorf("setting %s up in %s: %w", ifname, n.name, err)
	}
	return nil
}

// command prepares a program that will run in the namespace. When ctx ends it
// gets SIGTERM, and five seconds later SIGKILL.
func (n *netNS) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", n.name, name}, args...)...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	// A process group of its own: Ctrl-C at the terminal is for the lab,
	// which then stops its programs in order.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// txChecksumOff makes the kernel fill in checksums itself. A veth leaves them
// to a card that is not there, and clients that read raw frames (dhclient,
// dhcpcd) drop what they get.
func (n *netNS) txChecksumOff(ifname string) error {
	return n.do(func() error {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening a socket in %s: %w", n.name, err)
		}
		defer unix.Close(fd)
		value := struct{ cmd, data uint32 }{unix.ETHTOOL_STXCSUM, 0}
		request := struct {
			name [unix.IFNAMSIZ]byte
			data unsafe.Pointer
			_    [16]byte
		}{data: unsafe.Pointer(&value)}
		copy(request.name[:unix.IFNAMSIZ-1], ifname)
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.SIOCETHTOOL, uintptr(unsafe.Pointer(&request)))
		if errno != 0 {
			return fmt.Errorf("turning off checksum offload on %s in %s: %w", ifname, n.name, errno)
		}
		return nil
	})
}
