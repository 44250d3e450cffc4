package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// stageEnv tells a re-executed program how deep in the sandbox it is.
const stageEnv = "BOOTD_LAB_STAGE"

const (
	stageInit   = "init"   // process 1 of the sandbox: mounts, reaps, waits
	stageInside = "inside" // the program itself
)

// ErrNeedsRoot is returned by Enter to a program that may not make namespaces.
// No user namespace is used instead: dhcpcd and tcpdump drop privileges, and
// QEMU needs /dev/net/tun.
var ErrNeedsRoot = errors.New("the lab needs root: it makes network, mount and process namespaces (run it through sudo)")

// Inside reports whether the program runs in a sandbox.
func Inside() bool { return os.Getenv(stageEnv) == stageInside }

// Enter moves the program into a sandbox by running it again, with the same
// arguments, environment, files and directory. In the outer process it does not
// return: it passes signals on, waits, and exits as the inner one did. In the
// inner process it returns nil. Call it before anything else.
//
// Inside, /run and /var/lib are empty and private, changes to /etc stay inside,
// /proc shows the sandbox's
// processes only, the network consists of lo; /tmp and the rest of the file
// system are the host's. When the inner process ends, or any of the outer ones
// is killed, everything that still runs inside is killed too.
func Enter() error {
	switch os.Getenv(stageEnv) {
	case stageInside:
		return nil
	case stageInit:
		os.Exit(initMain())
	}
	if os.Geteuid() != 0 {
		return ErrNeedsRoot
	}
	code, err := rerun(stageInit, syscall.CLONE_NEWNET|syscall.CLONE_NEWNS|syscall.CLONE_NEWPID)
	if err != nil {
		return fmt.Errorf("entering the sandbox: %w", err)
	}
	os.Exit(code)
	return nil
}

// rerun runs the program again at the given stage and returns its exit code.
func rerun(stage string, flags uintptr) (int, error) {
	// The kernel sends Pdeathsig when the parent's *thread* ends.
	runtime.LockOSThread()
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT)
	p, err := os.StartProcess("/proc/self/exe", os.Args, &os.ProcAttr{
		Env:   append(without(os.Environ(), stageEnv), stageEnv+"="+stage),
		Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
		Sys:   &syscall.SysProcAttr{Cloneflags: flags, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return 0, err
	}
	go func() {
		for s := range signals {
			_ = p.Signal(s) // it may have ended meanwhile: the loop below notices
		}
	}()
	return reap(p.Pid)
}

// reap waits for the process pid, and for every orphan on the way: process 1
// of a PID namespace inherits those.
func reap(pid int) (int, error) {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, fmt.Errorf("waiting for process %d: %w", pid, err)
		case got != pid:
		case ws.Exited():
			return ws.ExitStatus(), nil
		case ws.Signaled():
			return 128 + int(ws.Signal()), nil
		}
	}
}

// initMain is process 1 of the sandbox; its end is the end of all others.
func initMain() int {
	if err := furnish(); err != nil {
		fmt.Fprintln(os.Stderr, "lab: furnishing the sandbox:", err)
		return 1
	}
	code, err := rerun(stageInside, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, "lab: running inside the sandbox:", err)
		return 1
	}
	return code
}

// furnish gives the new namespaces their mounts and their loopback.
func furnish() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	for _, dir := range []string{"/run", "/var/lib"} {
		if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=0755"); err != nil {
			return fmt.Errorf("mounting an empty %s: %w", dir, err)
		}
	}
	if err := privateEtc(); err != nil {
		return err
	}
	for _, dir := range []string{"/run/netns", "/run/lock", "/var/lib/dhcp", "/var/lib/dhcpcd", "/var/lib/dhcpv6", "/var/lib/kea"} {
		if err := os.MkdirAll(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("furnishing: %w", err)
		}
	}
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("finding lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("setting lo up: %w", err)
	}
	return nil
}

// privateEtc lets clients write to /etc, which they like to (resolv.conf), and
// takes what they write away with the sandbox.
func privateEtc() error {
	const upper, work = "/run/etc/upper", "/run/etc/work"
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making /etc private: %w", err)
		}
	}
	err := unix.Mount("overlay", "/etc", "overlay", 0, "lowerdir=/etc,upperdir="+upper+",workdir="+work)
	if err != nil {
		return fmt.Errorf("making /etc private (an overlay, which this kernel refuses): %w", err)
	}
	return nil
}

// without returns env with every setting of name removed.
func without(env []string, name string) []string {
	kept := make([]string, 0, len(env)+1)
	for _, e := range env {
		if len(e) <= len(name) || e[:len(name)+1] != name+"=" {
			kept = append(kept, e)
		}
	}
	return kept
}
