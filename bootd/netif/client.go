package netif

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/site"
)

// DHCPClient is the socket of a DHCPv6 client on one link: port 546 of its link-local address (RFC 8415 section 7.2), so that
// nothing but unicast on that link comes in, and clients of other links have theirs beside it.
type DHCPClient struct {
	conn   *net.UDPConn
	server netip.AddrPort
}

// OpenDHCPClient binds the socket. Errors: EADDRINUSE where another client runs on the link, EACCES without CAP_NET_BIND_SERVICE,
// EADDRNOTAVAIL where the link-local address has gone.
func OpenDHCPClient(ctx context.Context, link site.Link) (*DHCPClient, error) {
	at := netip.AddrPortFrom(link.LinkLocal.WithZone(link.Name), dhcpClientPort)
	pc, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp6", at.String())
	if err != nil {
		return nil, fmt.Errorf("DHCPv6 client on %s: %w", link.Name, err)
	}
	all := netip.AddrFrom16([16]byte{0: 0xff, 1: 0x02, 13: 1, 15: 2}) // All_DHCP_Relay_Agents_and_Servers (section 7.1)
	return &DHCPClient{conn: pc.(*net.UDPConn), server: netip.AddrPortFrom(all.WithZone(link.Name), dhcpServerPort)}, nil
}

// dhcpServerPort is where servers and relays listen (section 7.2).
const dhcpServerPort = 547

// Send sends a message to all servers and relays of the link.
func (c *DHCPClient) Send(b []byte) error {
	_, err := c.conn.WriteToUDPAddrPort(b, c.server)
	return err
}

// Read waits for a message and gives its sender, without zone. One longer than b is cut. Errors: net.ErrClosed after Close.
func (c *DHCPClient) Read(b []byte) (int, netip.Addr, error) {
	n, from, err := c.conn.ReadFromUDPAddrPort(b)
	return n, from.Addr().WithZone(""), err
}

// Close ends a Read that waits.
func (c *DHCPClient) Close() error { return c.conn.Close() }

// PutAddress sets an address on a link, or its lifetimes where it is there; zero: for ever (RFC 4862 section 5.5.4). It needs
// CAP_NET_ADMIN.
func PutAddress(link site.Link, a netip.Addr, preferred, valid time.Duration) error {
	return changeAddress("setting", link, a, func(h *netlink.Handle, l netlink.Link, x *netlink.Addr) error {
		x.Flags = unix.IFA_F_NOPREFIXROUTE // a /128 needs none, and the kernel would leave it behind
		x.PreferedLft, x.ValidLft = int(preferred/time.Second), int(valid/time.Second)
		return h.AddrReplace(l, x)
	})
}

// DeleteAddress takes an address from a link; one that is gone already is none to take.
func DeleteAddress(link site.Link, a netip.Addr) error {
	return changeAddress("removing", link, a, func(h *netlink.Handle, l netlink.Link, x *netlink.Addr) error {
		if err := h.AddrDel(l, x); !errors.Is(err, unix.EADDRNOTAVAIL) {
			return err
		}
		return nil
	})
}

func changeAddress(what string, link site.Link, a netip.Addr, change func(*netlink.Handle, netlink.Link, *netlink.Addr) error) error {
	h, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return fmt.Errorf("opening netlink: %w", err)
	}
	defer h.Close()
	l, err := h.LinkByIndex(link.Index)
	if err == nil {
		err = change(h, l, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(128, 128)}})
	}
	if err != nil {
		return fmt.Errorf("%s the address %s on %s: %w", what, a, link.Name, err)
	}
	return nil
}

// acceptRA is the kernel's setting of a link: 0 no router advertisement is heeded, 1 as long as the link does not forward,
// 2 always (ip-sysctl).
func acceptRA(ifname string) (path string, value int, err error) {
	if ifname == "" || ifname == "." || ifname == ".." || strings.ContainsRune(ifname, '/') {
		return "", 0, fmt.Errorf("reading accept_ra: %q is no interface name", ifname)
	}
	path = filepath.Join("/proc/sys/net/ipv6/conf", ifname, "accept_ra")
	b, err := os.ReadFile(path)
	if err != nil {
		return path, 0, fmt.Errorf("reading accept_ra: %w", err)
	}
	value, err = strconv.Atoi(strings.TrimSpace(string(b)))
	return path, value, err
}

// ErrRefused says that a setting of the kernel may not be written by us.
var ErrRefused = errors.New("the setting may not be written")

// KeepDefaultRoute makes a link heed router advertisements although it forwards: else the kernel drops the default route that it
// learned there. A link that heeds none at all is left alone: somebody else looks after it. ErrRefused: it has to be done, and we may not.
func KeepDefaultRoute(ifname string) (changed bool, err error) {
	forwards, err := Forwarding(ifname)
	if err != nil || !forwards {
		return false, err
	}
	path, value, err := acceptRA(ifname)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil || value != 1:
		return false, err
	}
	err = os.WriteFile(path, []byte("2"), 0)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, unix.EROFS) {
		return false, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return err == nil, err
}
