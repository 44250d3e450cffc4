package dhcp6

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/site"
)

// groups are what a server listens to (RFC 8415 section 7.1): All_DHCP_Relay_Agents_and_Servers, All_DHCP_Servers.
func groups() []netip.Addr {
	return []netip.Addr{netip.MustParseAddr("ff02::1:2"), netip.MustParseAddr("ff05::1:3")}
}

// Membership is the server's presence on one link, a task that lasts as long as the link. Server.Link makes one.
type Membership struct {
	server *Server
	link   site.Link
	ready  chan struct{}
}

// Link is the task that joins the groups on a link and leaves them at its end.
func (s *Server) Link(l site.Link) *Membership {
	return &Membership{server: s, link: l, ready: make(chan struct{})}
}

// String names the task.
func (m *Membership) String() string { return "dhcp6 on " + m.link.Name }

// Ready is closed when the groups are joined.
func (m *Membership) Ready() <-chan struct{} { return m.ready }

// Run joins the groups, waits for the end of ctx and leaves them. Errors: the interface is gone, or the kernel allows no
// more memberships.
func (m *Membership) Run(ctx context.Context) (err error) {
	ifi := &net.Interface{Index: m.link.Index}
	for _, g := range groups() {
		addr := &net.UDPAddr{IP: g.AsSlice()}
		e := m.server.group.JoinGroup(ifi, addr)
		if e != nil && !errors.Is(e, unix.EADDRINUSE) { // in use: joined already, on a link that came back
			return fmt.Errorf("joining %s on %s: %w", g, m.link.Name, e)
		}
		defer func() {
			e := m.server.group.LeaveGroup(ifi, addr)
			switch {
			case e == nil, errors.Is(e, net.ErrClosed), errors.Is(e, unix.EADDRNOTAVAIL), errors.Is(e, unix.ENODEV):
			default: // the link and the socket may be gone before their task
				err = errors.Join(err, fmt.Errorf("leaving %s on %s: %w", g, m.link.Name, e))
			}
		}()
	}
	if _, served := m.server.cfg.Snapshot().ServesLink(m.link.Name); served { // who else serves a transit link is none of ours
		stop := m.server.startSearch(m.link)
		defer stop()
	}
	close(m.ready)
	<-ctx.Done()
	return nil
}
