package daemon

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// port is a socket that an adapter needs.
type port struct {
	proto  string // udp or tcp
	number int
	use    string
}

// explain adds to an error of binding a port what is in the way and what to do.
func (p port) explain(proc string, err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Net != "" { // DNS has a port of each kind
		p.proto = strings.TrimRight(op.Net, "46")
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE):
		who := "another process"
		if owner := portOwner(proc, p.proto, p.number); owner != "" {
			who = owner
		}
		return fmt.Errorf("%s: %s port %d is in use by %s: stop it, or keep it off IPv6: %w", p.use, p.proto, p.number, who, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: %s port %d may not be bound: run as root, or give bootd CAP_NET_BIND_SERVICE: %w", p.use, p.proto, p.number, err)
	}
	return capability(p.use, err)
}

// capability adds to a refused operation what it takes.
func capability(use string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EACCES):
		return fmt.Errorf("%s: the kernel refuses it: run as root, or give bootd CAP_NET_RAW, CAP_NET_ADMIN and CAP_NET_BIND_SERVICE: %w", use, err)
	}
	return fmt.Errorf("%s: %w", use, err)
}

// portOwner names the process that holds a port, as far as /proc tells, as "named (process 412)"; else it is empty.
func portOwner(proc, proto string, number int) string {
	inodes := map[string]bool{}
	for _, family := range []string{"6", ""} {
		collectInodes(filepath.Join(proc, "net", proto+family), number, inodes)
	}
	if len(inodes) == 0 {
		return ""
	}
	entries, err := os.ReadDir(proc)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err != nil || !holds(filepath.Join(proc, e.Name(), "fd"), inodes) {
			continue
		}
		name, err := os.ReadFile(filepath.Join(proc, e.Name(), "comm"))
		if err != nil {
			return "process " + e.Name()
		}
		return fmt.Sprintf("%s (process %s)", strings.TrimSpace(string(name)), e.Name())
	}
	return ""
}

// collectInodes reads the sockets of one table of /proc/net that are bound to a port (proc(5): local_address is the
// second column, the inode the tenth; state 0A is TCP's LISTEN).
func collectInodes(table string, number int, into map[string]bool) {
	f, err := os.Open(table)
	if err != nil {
		return
	}
	defer f.Close()
	want := fmt.Sprintf(":%04X", number)
	for in := bufio.NewScanner(f); in.Scan(); {
		col := strings.Fields(in.Text())
		if len(col) < 10 || !strings.HasSuffix(col[1], want) {
			continue
		}
		if strings.HasPrefix(filepath.Base(table), "tcp") && col[3] != "0A" {
			continue
		}
		into[col[9]] = true
	}
}

func holds(dir string, inodes map[string]bool) bool {
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, fd := range fds {
		target, err := os.Readlink(filepath.Join(dir, fd.Name()))
		if err != nil {
			continue
		}
		if inode, ok := strings.CutPrefix(target, "socket:["); ok && inodes[strings.TrimSuffix(inode, "]")] {
			return true
		}
	}
	return false
}
