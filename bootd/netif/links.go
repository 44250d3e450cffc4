package netif

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
)

// unusable are the flags of an address that cannot be a source yet, or ever (RFC 4862 section 5.4).
const unusable = unix.IFA_F_TENTATIVE | unix.IFA_F_DADFAILED

// listLinks asks the kernel for all links and their IPv6 addresses, ordered by index.
func listLinks(h *netlink.Handle) ([]site.Link, error) {
	links, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("listing links: %w", err)
	}
	addrs, err := h.AddrList(nil, netlink.FAMILY_V6)
	if err != nil {
		return nil, fmt.Errorf("listing IPv6 addresses: %w", err)
	}
	out, now := make([]site.Link, 0, len(links)), time.Now()
	for _, l := range links {
		x := makeLink(l.Attrs(), addrs)
		x.Dynamic = deadlines(x, addrs, now)
		out = append(out, x)
	}
	slices.SortFunc(out, func(a, b site.Link) int { return cmp.Compare(a.Index, b.Index) })
	return out, nil
}

// makeLink joins a link with those of addrs that are its own and usable. Temporary addresses (RFC 8981) are left out:
// one of them in a boot URL would stop working. Deprecated addresses come last, static ones first, so that the choice
// of the first one is the same after every change.
func makeLink(a *netlink.LinkAttrs, addrs []netlink.Addr) site.Link {
	l := site.Link{
		Name: a.Name, Index: a.Index, MTU: a.MTU,
		Up: a.Flags&net.FlagUp != 0 && a.RawFlags&unix.IFF_RUNNING != 0,
	}
	if m, ok := ident.MACFrom(a.HardwareAddr); ok {
		l.MAC = m
	}
	mine := slices.DeleteFunc(slices.Clone(addrs), func(x netlink.Addr) bool {
		return x.LinkIndex != a.Index || x.IPNet == nil || x.Flags&unusable != 0
	})
	slices.SortStableFunc(mine, compareAddrs)
	for _, x := range mine {
		p, ok := prefixOf(x.IPNet)
		switch {
		case !ok:
		case p.Addr().IsLinkLocalUnicast():
			if !l.LinkLocal.IsValid() {
				l.LinkLocal = p.Addr()
			}
		case p.Addr().IsGlobalUnicast() && x.Flags&unix.IFA_F_TEMPORARY == 0:
			l.Addrs = append(l.Addrs, p)
		}
	}
	return l
}

// forever is the lifetime of an address that does not end (RFC 4861 section 4.6.2).
const forever = 1<<32 - 1

// deadlines are those of a link's addresses that end, in the order of its addresses.
func deadlines(l site.Link, addrs []netlink.Addr, now time.Time) []site.Prefix {
	var out []site.Prefix
	for _, p := range l.Addrs {
		for _, x := range addrs {
			if q, ok := prefixOf(x.IPNet); !ok || q != p || x.LinkIndex != l.Index || x.Flags&unix.IFA_F_PERMANENT != 0 || x.ValidLft >= forever {
				continue
			}
			until := func(left int) time.Time { return now.Add(time.Duration(left) * time.Second) }
			out = append(out, site.Prefix{Prefix: p, PreferredUntil: until(x.PreferedLft), ValidUntil: until(x.ValidLft)})
		}
	}
	return out
}

// equalPrefixes compares deadlines: is is the same as was where it is as far away as the kernel's whole seconds allow, or
// further by less than a quarter of what was left. A router that renews an address each minute is no news each minute.
func equalPrefixes(is, was site.Prefix) bool {
	near := func(is, was time.Time) bool {
		later := is.Sub(was)
		return later >= -2*time.Second && later <= max(2*time.Second, time.Until(was)/4)
	}
	return is.Prefix == was.Prefix && near(is.PreferredUntil, was.PreferredUntil) && near(is.ValidUntil, was.ValidUntil)
}

// compareAddrs puts the address that lives longest first.
func compareAddrs(a, b netlink.Addr) int {
	if c := cmp.Compare(a.Flags&unix.IFA_F_DEPRECATED, b.Flags&unix.IFA_F_DEPRECATED); c != 0 {
		return c
	}
	if c := cmp.Compare(b.Flags&unix.IFA_F_PERMANENT, a.Flags&unix.IFA_F_PERMANENT); c != 0 {
		return c
	}
	return slices.Compare(a.IP, b.IP)
}

// prefixOf keeps the host bits: 2001:db8:1::1/64 stays the address ::1.
func prefixOf(n *net.IPNet) (netip.Prefix, bool) {
	a, ok := netip.AddrFromSlice(n.IP)
	ones, bits := n.Mask.Size()
	if !ok || !a.Is6() || a.Is4In6() || bits != 128 {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(a, ones), true
}

// equalLinks compares what is, a, with what was, b.
func equalLinks(a, b []site.Link) bool {
	return slices.EqualFunc(a, b, func(x, y site.Link) bool {
		return x.Name == y.Name && x.Index == y.Index && x.MAC == y.MAC && x.MTU == y.MTU && x.Up == y.Up &&
			x.LinkLocal == y.LinkLocal && slices.Equal(x.Addrs, y.Addrs) &&
			slices.EqualFunc(x.Dynamic, y.Dynamic, equalPrefixes)
	})
}
