package netif

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/site"
)

const (
	// settle is how long a burst of notifications is collected: an interface that comes up sends a dozen.
	settle = 50 * time.Millisecond
	// listTries bounds how often a listing that changes under our hands is begun again at once.
	listTries = 5
	// notifyBuffer is the receive buffer for notifications in octets.
	notifyBuffer = 1 << 20
)

// State is what the kernel says of this machine's place in the network.
type State struct {
	Links []site.Link
	// Forwarding is net.ipv6.conf.all.forwarding.
	Forwarding bool
	// DefaultRoute is true where the main table has one for IPv6.
	DefaultRoute bool
}

// Watch follows links, their IPv6 addresses, forwarding and the default route. It is a task: Run must run for changes
// to be seen; what New found is there before.
type Watch struct {
	handle *netlink.Handle
	notify *os.File
	log    *slog.Logger
	ready  chan struct{}

	mu          sync.Mutex
	state       State
	subscribers map[chan struct{}]struct{}
}

// NewWatch subscribes to the kernel's notifications and then takes the first list, so that no change is lost in
// between. It needs no privilege. Errors: netlink is not available.
func NewWatch(log *slog.Logger) (*Watch, error) {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	f, err := openNotify()
	if err != nil {
		h.Close()
		return nil, err
	}
	w := &Watch{
		handle: h, notify: f, log: log, ready: make(chan struct{}), subscribers: make(map[chan struct{}]struct{}),
	}
	w.state, err = w.list()
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return w, nil
}

// openNotify opens a socket that hears of links, IPv6 addresses, routes and forwarding.
func openNotify() (*os.File, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("opening netlink: %w", err)
	}
	f := os.NewFile(uintptr(fd), "netlink")
	// A smaller buffer only means more overflows, and those are survived: the error does not matter.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, notifyBuffer)
	groups := uint32(0)
	for _, g := range []uint{
		unix.RTNLGRP_LINK, unix.RTNLGRP_IPV6_IFADDR, unix.RTNLGRP_IPV6_ROUTE, unix.RTNLGRP_IPV6_NETCONF,
	} {
		groups |= 1 << (g - 1)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		return nil, errors.Join(fmt.Errorf("subscribing to link changes: %w", err), f.Close())
	}
	return f, nil
}

// Links are the links as last seen, ordered by index. The caller may keep them.
func (w *Watch) Links() []site.Link { return w.State().Links }

// State is all that was last seen. The caller may keep it.
func (w *Watch) State() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state
	s.Links = slices.Clone(s.Links)
	return s
}

// Changed gives a channel that gets a value after each change of State; changes that nobody has taken yet become one.
// It is closed when ctx ends.
func (w *Watch) Changed(ctx context.Context) <-chan struct{} {
	ch := make(chan struct{}, 1)
	w.mu.Lock()
	w.subscribers[ch] = struct{}{}
	w.mu.Unlock()
	context.AfterFunc(ctx, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.subscribers, ch)
		close(ch)
	})
	return ch
}

// String names the task.
func (w *Watch) String() string { return "link watch" }

// Ready is closed as soon as changes are followed.
func (w *Watch) Ready() <-chan struct{} { return w.ready }

// Close frees the sockets of a Watch that was not run; Run does it by itself.
func (w *Watch) Close() error {
	w.handle.Close()
	return w.notify.Close()
}

// Run follows the kernel until ctx ends; it returns nil then, and an error when notifications stop for good. It runs
// once.
func (w *Watch) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, w.Close()) }()
	stop := context.AfterFunc(ctx, func() { _ = w.notify.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	close(w.ready)
	for {
		if err := w.wait(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		w.refresh()
	}
}

// wait returns when something may have changed and the burst has settled, or when ctx has ended.
func (w *Watch) wait(ctx context.Context) error {
	buf := make([]byte, 1<<16)
	var until time.Time // zero: nothing of interest yet
	for ctx.Err() == nil {
		if err := w.notify.SetReadDeadline(until); err != nil {
			return fmt.Errorf("waiting for link changes: %w", err)
		}
		if ctx.Err() != nil { // its deadline may have been set before ours replaced it
			return nil
		}
		n, err := w.notify.Read(buf)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case errors.Is(err, unix.ENOBUFS):
			w.log.Debug("link changes overflowed, listing anew")
		case err != nil:
			return fmt.Errorf("waiting for link changes: %w", err)
		case !matters(buf[:n]):
			continue
		}
		if until.IsZero() {
			until = time.Now().Add(settle)
		}
	}
	return nil
}

// matters reports whether a batch of notifications can change State: everything does, but of routes only the default
// route. What cannot be read matters.
func matters(b []byte) bool {
	msgs, err := syscall.ParseNetlinkMessage(b)
	if err != nil {
		return true
	}
	return slices.ContainsFunc(msgs, func(m syscall.NetlinkMessage) bool {
		route := m.Header.Type == unix.RTM_NEWROUTE || m.Header.Type == unix.RTM_DELROUTE
		return !route || len(m.Data) < unix.SizeofRtMsg || m.Data[1] == 0 // rtm_dst_len
	})
}

// refresh lists anew and tells the subscribers when something is different. When the list fails the old one stays.
func (w *Watch) refresh() {
	s, err := w.list()
	if err != nil {
		w.log.Error("listing links failed, the old list stays", "error", err)
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	same := equalLinks(s.Links, w.state.Links) && s.Forwarding == w.state.Forwarding &&
		s.DefaultRoute == w.state.DefaultRoute
	if same {
		return
	}
	w.state = s
	for ch := range w.subscribers {
		select {
		case ch <- struct{}{}:
		default: // a change that was not taken yet stands for this one as well
		}
	}
}

// list asks the kernel; a list that changed while it was read is asked for again.
func (w *Watch) list() (s State, err error) {
	for range listTries {
		s.Links, err = listLinks(w.handle)
		if err == nil {
			s.DefaultRoute, err = defaultRoute(w.handle)
		}
		if !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return State{}, err
	}
	s.Forwarding, err = Forwarding("all")
	return s, err
}
