package lab

import (
	"context"
	"fmt"
	"hash/fnv"
	"net"
	"net/netip"
	"os/exec"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Link is one Ethernet segment: a bridge without addresses, snooping or
// spanning tree, which forwards from the moment it is up.
type Link struct {
	lab  *Lab
	name string
	br   netlink.Link
}

// Link makes a segment. Its name is unique in the lab.
func (l *Lab) Link(name string) (*Link, error) {
	if !safeName.MatchString(name) {
		return nil, fmt.Errorf("naming link %q: want %s", name, safeName)
	}
	off := false
	attrs := netlink.NewLinkAttrs()
	attrs.Name = name
	br := &netlink.Bridge{LinkAttrs: attrs, MulticastSnooping: &off}
	if err := l.links.nl.LinkAdd(br); err != nil {
		return nil, fmt.Errorf("making link %s: %w", name, err)
	}
	if err := l.links.setUp(name); err != nil {
		return nil, err
	}
	return &Link{lab: l, name: name, br: br}, nil
}

// Node is a machine without hardware: a network namespace in which programs
// run. Its interfaces speak IPv6 only.
type Node struct {
	Name string

	lab *Lab
	ns  *netNS
}

// Node makes a machine without interfaces. It neither forwards nor listens to
// Router Advertisements until told so (Sysctl).
func (l *Lab) Node(name string) (*Node, error) {
	if !safeName.MatchString(name) {
		return nil, fmt.Errorf("naming node %q: want %s", name, safeName)
	}
	ns, err := l.newNS(name)
	if err != nil {
		return nil, err
	}
	return &Node{Name: name, lab: l, ns: ns}, nil
}

// Interface says how a node is attached to a link.
type Interface struct {
	Name string           // as the node sees it, for example eth1
	MAC  string           // empty: derived from the names
	Addr []netip.Prefix   // set without duplicate address detection
	Down bool             // leave it down: the test brings it up
	Self AddressGenerator // what the kernel adds by itself
}

// AddressGenerator says which addresses the kernel makes by itself.
type AddressGenerator int

const (
	// EUI64 is the kernel's default: a link-local address out of the MAC, and
	// addresses from Router Advertisements, if the node accepts those.
	EUI64 AddressGenerator = iota
	// NoAddress: only what Interface.Addr lists.
	NoAddress
)

// Attach gives the node an interface on the link.
func (n *Node) Attach(link *Link, in Interface) error {
	mac, err := n.mac(in)
	if err != nil {
		return err
	}
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.peerName(in.Name)
	attrs.MasterIndex = link.br.Attrs().Index
	veth := &netlink.Veth{
		LinkAttrs: attrs, PeerName: in.Name, PeerHardwareAddr: mac,
		PeerNamespace: netlink.NsFd(n.ns.handle),
	}
	if err := n.lab.links.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("attaching %s of %s to %s: %w", in.Name, n.Name, link.name, err)
	}
	if err := n.lab.links.setUp(attrs.Name); err != nil {
		return err
	}
	if err := n.ns.txChecksumOff(in.Name); err != nil {
		return err
	}
	return n.configure(in)
}

func (n *Node) configure(in Interface) error {
	conf := "net/ipv6/conf/" + in.Name + "/"
	settings := map[string]string{conf + "accept_ra": "0", conf + "dad_transmits": "1"}
	if in.Self == NoAddress {
		settings[conf+"addr_gen_mode"] = "1"
	}
	if err := n.ns.sysctl(settings); err != nil {
		return err
	}
	if in.Down {
		return nil
	}
	if err := n.ns.setUp(in.Name); err != nil {
		return err
	}
	for _, p := range in.Addr {
		if err := n.AddAddress(in.Name, p); err != nil {
			return err
		}
	}
	return nil
}

// AddAddress sets an address, usable at once.
func (n *Node) AddAddress(ifname string, p netip.Prefix) error {
	link, err := n.ns.nl.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("finding %s of %s: %w", ifname, n.Name, err)
	}
	addr := &netlink.Addr{
		IPNet: &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())},
		Flags: unix.IFA_F_NODAD,
	}
	if err := n.ns.nl.AddrAdd(link, addr); err != nil {
		return fmt.Errorf("adding %s to %s of %s: %w", p, ifname, n.Name, err)
	}
	return nil
}

// Uplink gives the node an interface with a default route behind it, and lets it
// forward: a machine that believes it can reach the rest of the world. Nobody is
// at the other end of the cable.
func (n *Node) Uplink(ifname string, addr netip.Prefix) error {
	attrs := netlink.NewLinkAttrs()
	attrs.Name = n.peerName(ifname)
	veth := &netlink.Veth{LinkAttrs: attrs, PeerName: ifname, PeerNamespace: netlink.NsFd(n.ns.handle)}
	if err := n.lab.links.nl.LinkAdd(veth); err != nil {
		return fmt.Errorf("making uplink %s of %s: %w", ifname, n.Name, err)
	}
	if err := n.lab.links.setUp(attrs.Name); err != nil {
		return err
	}
	if err := n.configure(Interface{Name: ifname, Addr: []netip.Prefix{addr}}); err != nil {
		return err
	}
	link, err := n.ns.nl.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("finding %s of %s: %w", ifname, n.Name, err)
	}
	route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: &net.IPNet{IP: net.IPv6zero, Mask: net.CIDRMask(0, 128)}}
	if err := n.ns.nl.RouteAdd(route); err != nil {
		return fmt.Errorf("adding a default route to %s: %w", n.Name, err)
	}
	return n.ns.sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1"})
}

// Sysctl writes kernel settings of the node, named by their path below
// /proc/sys ("net/ipv6/conf/eth0/accept_ra").
func (n *Node) Sysctl(settings map[string]string) error { return n.ns.sysctl(settings) }

// Do runs f on a thread inside the node: sockets that it opens belong to the
// node. It must not start processes or goroutines.
func (n *Node) Do(f func() error) error { return n.ns.do(f) }

// Command prepares a program to run in the node. When ctx ends it gets SIGTERM
// and, five seconds later, SIGKILL.
func (n *Node) Command(ctx context.Context, name string, args ...string) *exec.Cmd {
	return n.ns.command(ctx, name, args...)
}

// SetUp and SetDown switch an interface of the node.
func (n *Node) SetUp(ifname string) error { return n.ns.setUp(ifname) }

// SetDown is the opposite of SetUp; the kernel forgets its addresses.
func (n *Node) SetDown(ifname string) error {
	link, err := n.ns.nl.LinkByName(ifname)
	if err != nil {
		return fmt.Errorf("finding %s of %s: %w", ifname, n.Name, err)
	}
	if err := n.ns.nl.LinkSetDown(link); err != nil {
		return fmt.Errorf("setting %s of %s down: %w", ifname, n.Name, err)
	}
	return nil
}

// Addresses lists the IPv6 addresses of an interface that are past duplicate
// address detection.
func (n *Node) Addresses(ifname string) ([]netip.Prefix, error) {
	link, err := n.ns.nl.LinkByName(ifname)
	if err != nil {
		return nil, fmt.Errorf("finding %s of %s: %w", ifname, n.Name, err)
	}
	addrs, err := n.ns.nl.AddrList(link, unix.AF_INET6)
	if err != nil {
		return nil, fmt.Errorf("listing addresses of %s: %w", n.Name, err)
	}
	var out []netip.Prefix
	for _, a := range addrs {
		if a.Flags&unix.IFA_F_TENTATIVE != 0 {
			continue
		}
		ip, ok := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		if ok {
			out = append(out, netip.PrefixFrom(ip, bits))
		}
	}
	return out, nil
}

// mac returns the interface's address: the one asked for, or a locally
// administered one that the same lab gets every time.
func (n *Node) mac(in Interface) (net.HardwareAddr, error) {
	if in.MAC != "" {
		mac, err := net.ParseMAC(in.MAC)
		if err != nil {
			return nil, fmt.Errorf("parsing the MAC of %s: %w", n.Name, err)
		}
		return mac, nil
	}
	h := fnv.New32a()
	h.Write([]byte(n.Name + "/" + in.Name))
	s := h.Sum32()
	return net.HardwareAddr{0x52, 0x54, byte(s >> 24), byte(s >> 16), byte(s >> 8), byte(s)}, nil
}

// peerName names the bridge's end of a node's cable within the kernel's 15
// characters.
func (n *Node) peerName(ifname string) string {
	h := fnv.New32a()
	h.Write([]byte(n.Name + "/" + ifname))
	return fmt.Sprintf("v%08x", h.Sum32())
}
