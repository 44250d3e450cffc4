package doctor

import (
	"cmp"
	"fmt"
	"slices"

	"bootd.internal/bootd/site"
)

// Facts is what the kernel says of this machine.
type Facts struct {
	// Missing are capabilities that the process lacks: CAP_NET_RAW, CAP_NET_BIND_SERVICE, CAP_NET_ADMIN.
	Missing []string
	// Forwarding is that of the whole machine.
	Forwarding, DefaultRoute bool
	// Links are all but the loopback.
	Links []Link
	// NeighbourLimit is gc_thresh3 of the neighbour table, 0: not known.
	NeighbourLimit int
}

// Link is one interface with what decides about its routes.
type Link struct {
	Name string
	Up   bool
	MTU  int
	// AcceptRA is the kernel's accept_ra: 0 never, 1 unless the machine forwards, 2 always; -1: not known.
	AcceptRA int
	// Forwarding is that of the interface; Default: a default route leads out of it; Static: one that no advertisement made.
	Forwarding, Default, Static bool
}

// perHost is how many entries of the neighbour table a machine takes: a link-local address, the leased one, and one or two
// of its own making.
const perHost = 4

const minMTU = 1280

// forwarding looks at the links that no network names: the upstreams.
func (x *examination) forwarding() {
	for _, l := range x.Kernel.Links {
		if _, served := x.Snapshot.ServesLink(l.Name); served || !l.Up || l.AcceptRA != 1 {
			continue
		}
		switch {
		case !x.Kernel.Forwarding && !l.Forwarding:
		case l.Default && !l.Static, !x.Kernel.DefaultRoute:
			x.add(Error, nil, fmt.Sprintf("this machine forwards, and %s has accept_ra=1", l.Name),
				"the kernel ignores advertisements there: the default route is missing, or is lost when it runs out",
				fmt.Sprintf("sysctl -w net.ipv6.conf.%s.accept_ra=2, and the same in /etc/sysctl.d", l.Name))
		}
	}
	if x.Kernel.Forwarding && !x.Kernel.DefaultRoute {
		x.add(Warning, nil, "this machine forwards, and has no default route", "bootd advertises router lifetime 0", "ip -6 route add default via ROUTER dev INTERFACE")
	}
}

func (x *examination) neighbours() {
	need := perHost * len(x.Snapshot.Hosts)
	limit := x.Kernel.NeighbourLimit
	if limit == 0 || need <= limit {
		return
	}
	x.add(Error, nil, fmt.Sprintf("the kernel's neighbour table ends at %d entries, and %d hosts need about %d", limit, len(x.Snapshot.Hosts), need),
		"when a whole rack boots, connections fail at random (\"neighbour table overflow\" in the kernel's log)",
		fmt.Sprintf("sysctl -w net.ipv6.neigh.default.gc_thresh3=%d net.ipv6.neigh.default.gc_thresh2=%d, and the same in /etc/sysctl.d", 2*need, need))
}

// mtu compares a served link with what it leads to.
func (x *examination) mtu(n *site.Network) {
	if n.Link == nil || n.Link.MTU == 0 {
		return
	}
	if n.Link.MTU < minMTU {
		x.add(Error, n, fmt.Sprintf("the MTU of %s is %d", n.Interface, n.Link.MTU), "IPv6 needs 1280 octets",
			fmt.Sprintf("ip link set %s mtu 1500", n.Interface))
		return
	}
	up, ok := x.upstream()
	said := cmp.Or(n.RA.MTU, n.Link.MTU)
	if ok && n.RouterSelf && up.MTU < said && up.MTU >= minMTU {
		x.add(Warning, n, fmt.Sprintf("machines on %s send up to %d octets, and %s carries %d", n.Interface, said, up.Name, up.MTU),
			"where ICMPv6 Packet Too Big is filtered on the way, downloads stall", fmt.Sprintf("write ra: {mtu: %d} for %s", up.MTU, n.Name))
	}
}

// upstream is the link with the default route.
func (x *examination) upstream() (Link, bool) {
	i := slices.IndexFunc(x.Kernel.Links, func(l Link) bool { return l.Default })
	if i < 0 {
		return Link{}, false
	}
	return x.Kernel.Links[i], true
}

// dig is the command that asks an upstream as bootd does.
func dig(u site.Upstream) string {
	how := map[string]string{"tcp": "+tcp ", "tls": "+tls-ca +tls-hostname=" + u.Name + " "}[u.Transport]
	return fmt.Sprintf("dig %s-p %d @%s . NS", how, u.Addr.Port(), u.Addr.Addr())
}

func (x *examination) resolvers() {
	for _, a := range x.Snapshot.DNS.Upstreams {
		if why, bad := x.Resolvers[a]; bad {
			x.add(Error, nil, fmt.Sprintf("the resolver %s does not answer: %s", a, why),
				"machines resolve no foreign names through it: mirrors by name are not found", "ask it yourself: "+dig(a))
		}
	}
}
