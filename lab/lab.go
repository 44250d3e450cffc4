// Package lab builds networks of real machines out of nothing but namespaces
// and QEMU: one or more IPv6-only links, servers and clients on them, virtual
// machines that boot over them, and the evidence of what happened.
//
// Everything lives in a sandbox (Enter): namespaces for network, mounts and
// processes whose death takes all of it along, whatever way it comes. Nothing
// is attached to the host's network and there is no IPv4 anywhere, so no packet
// can leave the machine. The package knows nothing of how bootd decides; it
// runs the binary and reads its event stream.
package lab

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sync"
)

// Lab is one set of links, nodes and machines. Several may exist in one
// sandbox, one after another or side by side.
type Lab struct {
	// Dir holds the evidence: one file per console, capture and daemon.
	Dir string

	prefix string
	links  *netNS // where bridges and taps live, mute

	mu      sync.Mutex
	closers []func() error
	taps    int
	closed  bool
}

var safeName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,14}$`)

// New makes an empty lab whose evidence goes to dir, which is created. The
// name becomes part of the namespaces' names; two labs open at the same time
// need different ones.
func New(name, dir string) (*Lab, error) {
	if !safeName.MatchString(name) {
		return nil, fmt.Errorf("naming lab %q: want %s", name, safeName)
	}
	if !Inside() {
		return nil, errors.New("making a lab: not inside a sandbox (lab.Enter comes first)")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("resolving evidence directory: %w", err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making evidence directory: %w", err)
	}
	l := &Lab{Dir: dir, prefix: name}
	if l.links, err = l.newNS("links"); err != nil {
		return nil, err
	}
	// Bridges and taps stay mute: no link-local address, no RS, no MLD.
	settings := map[string]string{
		"net/ipv6/conf/all/disable_ipv6":     "1",
		"net/ipv6/conf/default/disable_ipv6": "1",
	}
	// A switch filters nothing. Where Docker has loaded br_netfilter, every frame would go through the kernel's packet filter.
	for _, call := range []string{"arptables", "iptables", "ip6tables"} {
		path := "net/bridge/bridge-nf-call-" + call
		if _, err := os.Stat("/proc/sys/" + path); err == nil {
			settings[path] = "0"
		}
	}
	if err = l.links.sysctl(settings); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// Path returns the path of an evidence file.
func (l *Lab) Path(file string) string { return filepath.Join(l.Dir, file) }

// onClose registers what Close undoes, last first.
func (l *Lab) onClose(f func() error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closers = append(l.closers, f)
}

// Close stops every process and removes every namespace of the lab, in the
// reverse order of their making. The evidence stays.
func (l *Lab) Close() error {
	l.mu.Lock()
	closers := l.closers
	l.closers, l.closed = nil, true
	l.mu.Unlock()
	var errs []error
	for i := len(closers) - 1; i >= 0; i-- {
		errs = append(errs, closers[i]())
	}
	return errors.Join(errs...)
}
