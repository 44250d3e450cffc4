// Package mirror lets machines inside a lab's sandbox use the Debian mirror of the machine that they run on, although
// the sandbox has no way out.
//
// Requests are made by the process outside: lab.Enter leaves it waiting there, in the network it was started in, and
// its goroutines go on. Outside, called before lab.Enter, starts one that answers HTTP on a Unix socket, which needs no
// network and is seen from both sides; Serve, called inside, passes connections on to it. So nothing has to be stopped:
// what makes the requests ends with the sandbox.
//
// The package never writes the mirror's name anywhere, never serves anything but dists and pool, and judges nothing:
// signatures and sums are apt's and the installer's to check.
package mirror

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"bootd.internal/lab"
)

// Env names the environment variable with the URL of a Debian mirror (the directory that holds dists and pool) to use
// in place of that of the machine's apt.
const Env = "BOOTD_TEST_MIRROR"

// socketEnv tells the program inside where the one outside listens.
const socketEnv = "BOOTD_LAB_MIRROR_SOCKET"

// socketName is how sockets in the temporary directory are called; the star is a random number.
const socketName = "bootd-mirror-*"

// Outside makes the machine's mirror available to the sandbox that lab.Enter is about to make. Inside it does nothing.
// It contacts nobody: a machine without a mirror finds out when something is asked for.
func Outside() error {
	if lab.Inside() || os.Getenv(socketEnv) != "" {
		return nil
	}
	removeStale()
	dir, err := os.MkdirTemp("", socketName)
	if err != nil {
		return fmt.Errorf("making a directory for the mirror's socket: %w", err)
	}
	socket := filepath.Join(dir, "socket")
	l, err := net.Listen("unix", socket)
	if err != nil {
		return fmt.Errorf("listening for the sandbox: %w", err)
	}
	files, err := Cache("mirror")
	if err != nil {
		return errors.Join(err, l.Close())
	}
	server := &http.Server{Handler: newProxy(files), ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = server.Serve(l) }() // until the process ends, which is when the sandbox does
	return os.Setenv(socketEnv, socket)
}

// removeStale removes the sockets of runs that ended without a chance to do so: nobody answers there.
func removeStale() {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), socketName, "socket"))
	for _, socket := range old {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
			continue
		}
		_ = os.RemoveAll(filepath.Dir(socket))
	}
}

// Cache returns a directory, made if need be, for what may be made anew at any time: NAME in bootd-lab below
// $XDG_CACHE_HOME or, where that is not set, below /var/cache.
func Cache(name string) (string, error) {
	root := os.Getenv("XDG_CACHE_HOME")
	if root == "" {
		root = "/var/cache"
	}
	dir := filepath.Join(root, "bootd-lab", name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making a cache directory: %w", err)
	}
	return dir, nil
}

// ErrNotOutside is returned by Serve in a sandbox whose program did not call Outside before lab.Enter.
var ErrNotOutside = errors.New("no mirror: mirror.Outside was not called before lab.Enter")

// Server is a mirror inside the sandbox.
type Server struct {
	addr     netip.AddrPort
	listener net.Listener
	socket   string
	work     sync.WaitGroup

	mu     sync.Mutex
	conns  map[net.Conn]bool // all that are open; nil when the server is closed
	closed bool
}

// Serve answers HTTP at addr, a port of 0 meaning any, as the machine's mirror does. do runs a function where the
// listening socket is to live: the Do of a lab.Node; nil is the caller's own network.
func Serve(do func(func() error) error, addr netip.AddrPort) (*Server, error) {
	s := &Server{socket: os.Getenv(socketEnv), conns: map[net.Conn]bool{}}
	if s.socket == "" {
		return nil, ErrNotOutside
	}
	if do == nil {
		do = func(f func() error) error { return f() }
	}
	err := do(func() (err error) {
		s.listener, err = (&net.ListenConfig{}).Listen(context.Background(), "tcp", addr.String())
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("serving the mirror at %s: %w", addr, err)
	}
	s.addr = s.listener.Addr().(*net.TCPAddr).AddrPort()
	s.work.Go(s.accept)
	return s, nil
}

// URL is the mirror's address, as apt wants it.
func (s *Server) URL() string {
	return "http://" + strings.TrimSuffix(s.addr.String(), ":80") + "/debian"
}

// Close ends the server and every connection.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closed = true
	for c := range s.conns {
		_ = c.Close()
	}
	s.mu.Unlock()
	s.work.Wait()
	return err
}

func (s *Server) accept() {
	for {
		in, err := s.listener.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("unix", s.socket)
		if err != nil {
			_ = in.Close() // the process outside is ending, and this one with it
			continue
		}
		if !s.keep(in, out) {
			return
		}
		s.work.Go(func() { s.relay(in, out) })
	}
}

// keep notes open connections, unless the server is closed.
func (s *Server) keep(conns ...net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range conns {
		if s.closed {
			_ = c.Close()
			continue
		}
		s.conns[c] = true
	}
	return !s.closed
}

// relay copies both ways until both sides have said all.
func (s *Server) relay(in, out net.Conn) {
	var both sync.WaitGroup
	both.Go(func() { pass(out, in) })
	pass(in, out)
	both.Wait()
	s.mu.Lock()
	delete(s.conns, in)
	delete(s.conns, out)
	s.mu.Unlock()
	_, _ = in.Close(), out.Close()
}

// pass copies until from is at its end, and tells to so. A side that breaks takes the other along.
func pass(to, from net.Conn) {
	if _, err := io.Copy(to, from); err != nil {
		_, _ = to.Close(), from.Close()
		return
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
