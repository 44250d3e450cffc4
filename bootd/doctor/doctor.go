// Package doctor finds what keeps machines from booting although bootd runs: other routers and DHCPv6 servers, flags that
// stop a client, forwarding, limits of the kernel, resolvers that do not answer. Each finding says what follows from it and
// what to do.
//
// Examine is pure; facts are gathered by Kernel and Resolvers. The package never changes anything.
package doctor

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// Severity orders findings.
type Severity string

// The severities: with an Error some machine does not boot, with a Warning some may not, a Note is to know.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// Finding is one thing that was found.
type Finding struct {
	Severity Severity `json:"severity"`
	Network  string   `json:"network,omitempty"`
	Link     string   `json:"link,omitempty"`
	// Text is what is, Consequence what follows from it, Do what to do.
	Text        string `json:"text"`
	Consequence string `json:"consequence,omitempty"`
	Do          string `json:"do,omitempty"`
}

// Report is all that was found, the worst first.
type Report struct {
	// Running is false where the daemon was not asked: what it hears on the wire is not known then.
	Running  bool      `json:"running"`
	Findings []Finding `json:"findings"`
}

// Sick reports whether there is an Error among the findings.
func (r Report) Sick() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == Error })
}

// Input is what is looked at.
type Input struct {
	Snapshot *site.Snapshot
	// Problems are those of the site, Faults those of templates and files, Tasks the per-link tasks that do not run.
	Problems []site.Problem
	Faults   []string
	Tasks    []string
	Kernel   Facts
	// Foreign are the routers and servers that were heard; Running: somebody listened since Started.
	Foreign []heard.Foreign
	Running bool
	Started time.Time
	// Resolvers are the upstreams that did not answer, with the reason.
	Resolvers map[site.Upstream]string
	Now       time.Time
}

// listened is how long bootd must have run before silence of a router means something.
const listened = 30 * time.Second

// stale is how long ago another router or server may have spoken and still count: the longest interval between two
// advertisements (RFC 4861 section 6.2.1).
const stale = 30 * time.Minute

type examination struct {
	Input
	found []Finding
}

// Examine looks at everything.
func Examine(in Input) Report {
	x := &examination{Input: in}
	x.site()
	x.capabilities()
	x.relays()
	for _, n := range in.Snapshot.Networks {
		if n.Interface == "" { // its link is another router's
			continue
		}
		x.routers(n)
		x.servers(n)
		x.flags(n)
		x.mtu(n)
	}
	x.forwarding()
	x.neighbours()
	x.resolvers()
	rank := map[Severity]int{Error: 0, Warning: 1, Note: 2}
	slices.SortStableFunc(x.found, func(a, b Finding) int { return cmp.Compare(rank[a.Severity], rank[b.Severity]) })
	if x.found == nil {
		x.found = []Finding{}
	}
	return Report{Running: in.Running, Findings: x.found}
}

func (x *examination) add(s Severity, n *site.Network, text, consequence, do string) {
	f := Finding{Severity: s, Text: text, Consequence: consequence, Do: do}
	if n != nil {
		f.Network, f.Link = n.Name, n.Interface
	}
	x.found = append(x.found, f)
}

// site says what is known already.
func (x *examination) site() {
	for _, p := range x.Problems {
		n, _ := x.Snapshot.Network(p.Network)
		text, do, _ := strings.Cut(p.Msg, ": ")
		if p.Host != "" {
			text = p.Host + ": " + text
		}
		x.add(Error, n, text, "", do)
	}
	for _, f := range x.Faults {
		x.add(Error, nil, f, "hosts that need it cannot be installed", "bootd check names all of them")
	}
	for _, t := range x.Tasks {
		x.add(Error, nil, t, "the link is served in part", "it is tried again by itself; bootd status says when it works")
	}
}

func (x *examination) capabilities() {
	for _, c := range x.Kernel.Missing {
		s, consequence := Error, map[string]string{
			"CAP_NET_RAW":          "bootd cannot send router advertisements, hear other servers, or recognise machines by their frames",
			"CAP_NET_BIND_SERVICE": "bootd cannot take the ports of DHCPv6, DNS, TFTP and HTTP",
			"CAP_NET_ADMIN":        "receive buffers stay at the system's limit: a rack that gets its power back may have to ask twice",
		}[c]
		if c == "CAP_NET_ADMIN" {
			s = Note
		}
		x.add(s, nil, "bootd has no "+c, consequence, "start it by its systemd unit, as root, or give the binary that capability (setcap)")
	}
}

// maxRouters and maxConflicts bound what is told of one link's other routers, and of one of them: a flood of advertisements would
// bury all else.
const maxRouters, maxConflicts = 8, 8

// conflicts names what else contradicts us in another router's advertisement; of flags and default routers more is said beside.
func (x *examination) conflicts(n *site.Network, f heard.Foreign) {
	told := 0
	for _, c := range advert.Conflicts(n, advert.Decide(x.Snapshot, n.Interface, x.Now).RA, f.Foreign) {
		switch c.Kind {
		case advert.Managed, advert.Other, advert.DefaultRouter:
			if !f.Managed || c.Kind == advert.DefaultRouter {
				continue
			}
		}
		if told++; told > maxConflicts {
			continue
		}
		x.add(Warning, n, fmt.Sprintf("the RA of %s on %s has %s", f.Addr, n.Interface, c.What), c.Consequence,
			"let both say the same, or switch one of them off")
	}
	if told > maxConflicts {
		x.add(Warning, n, fmt.Sprintf("the RA of %s on %s contradicts bootd in %d more things", f.Addr, n.Interface, told-maxConflicts),
			"machines take prefixes, routes and resolvers of both", "switch one of them off")
	}
}

// lacks names what the routers of a link that bootd leaves to them do not tell machines.
func (x *examination) lacks(n *site.Network, all []heard.Foreign) {
	if n.RouterSelf || len(all) == 0 {
		return
	}
	told := make([]timeline.Foreign, len(all))
	for i, f := range all {
		told[i] = f.Foreign
	}
	for _, c := range advert.Lacks(n, told) {
		x.add(Warning, n, fmt.Sprintf("%s on %s by %s", c.What, n.Interface, all[0].Addr), c.Consequence,
			"let that router say it, or switch its advertisements off and write router: self for "+n.Name)
	}
}

// routers compares who advertises on a link with who should.
func (x *examination) routers(n *site.Network) {
	all := x.on(n, timeline.OtherRouter)
	for i, f := range all {
		if i == maxRouters {
			x.add(Error, n, fmt.Sprintf("%d more routers advertise on %s", len(all)-i, n.Interface),
				"somebody floods the link: machines fill their tables with routers and prefixes that lead nowhere",
				"find the port that they come from, and switch on RA Guard (RFC 6105)")
			break
		}
		text := fmt.Sprintf("the RA of %s on %s has M=%d O=%d, router lifetime %s (heard %s ago)", f.Addr, n.Interface,
			bit(f.Managed), bit(f.Other), f.Lifetime, x.Now.Sub(f.Last).Round(time.Second))
		do := "set M and O on that router (radvd: AdvManagedFlag on; AdvOtherConfigFlag on), or switch its advertisements off and write router: self for " + n.Name
		switch {
		case !f.Managed && !f.Other:
			x.add(Error, n, text, "iPXE will not ask DHCPv6 when it hears this one first: no boot script", do)
		case !f.Managed:
			x.add(Warning, n, text, "iPXE asks DHCPv6 for options only, and Ubuntu's installer, which takes its address by DHCPv6, gets none", do)
		case !f.Held && n.RouterSelf && f.Lifetime > 0:
			x.add(Warning, n, text, "two routers advertise on this link: machines may send their traffic to either", "write router: other for "+n.Name+" if that one routes, or switch it off")
		}
		x.conflicts(n, f)
		if f.Held {
			x.add(Warning, n, fmt.Sprintf("bootd sends no advertisements on %s, because %s was there first", n.Interface, f.Addr),
				"machines know only what that router says: resolver, flags and prefix are its own",
				"write router: other for "+n.Name+" if that is meant, router: self if bootd shall advertise")
		}
	}
	x.lacks(n, all)
	if !n.RouterSelf && len(all) == 0 && x.Running && x.Now.Sub(x.Started) > listened && n.Link != nil && n.Link.Up {
		x.add(Error, n, "the inventory says router: other, and no router advertises on "+n.Interface,
			"iPXE and Debian's installer wait for an advertisement and give up", "switch that router's advertisements on (M=1 O=1), or write router: self")
	}
}

func (x *examination) servers(n *site.Network) {
	for _, f := range x.on(n, timeline.OtherServer) {
		text := fmt.Sprintf("the DHCPv6 server with DUID %s (%s) answers on %s (heard %s ago)", f.DUID, f.Addr, n.Interface,
			x.Now.Sub(f.Last).Round(time.Second))
		switch {
		case f.Overheard:
			x.add(Warning, n, fmt.Sprintf("a DHCPv6 server with DUID %s serves machines on %s: one took its offer %s ago", f.DUID, n.Interface,
				x.Now.Sub(f.Last).Round(time.Second)),
				"it answers machines that it knows: those boot what it says, or nothing", "take them out of its configuration, or switch it off on this link")
		case !f.Offers:
			x.add(Note, n, text+" and offers no address", "", "")
		case f.Held && !n.RouterWritten:
			x.add(Error, n, text+" and offers addresses",
				"iPXE takes the first offer it hears, and may boot nothing; machines that are not listed get nothing from bootd meanwhile",
				"switch it off, or write router: for "+n.Name+" when it is meant to be there")
		default:
			x.add(Error, n, text+" and offers addresses", "iPXE takes the first offer it hears: with the other's it boots nothing",
				"switch it off on this link, or let it ignore machines that boot")
		}
	}
}

// relays are those that no network names, and those that send from where its network's relays do not.
func (x *examination) relays() {
	for _, f := range x.Foreign {
		if f.Kind != timeline.OtherRelay || x.Now.Sub(f.Last) > stale {
			continue
		}
		what := fmt.Sprintf("a relay at %s asks on %s for clients of the link %s (heard %s ago), and ", f.Addr, f.Link, f.Relay, x.Now.Sub(f.Last).Round(time.Second))
		const then = "machines behind it get no answer"
		switch n, known := x.Snapshot.Serves(site.Arrival{Relay: f.Relay}); {
		case !known:
			x.add(Warning, nil, what+"no network names it", then, "if it is yours, list it below networks: "+site.RelayLine(f.Relay))
		case !n.RelaysFrom(f.Addr):
			x.add(Warning, n, what+"relay_from of "+n.Name+" does not hold its address", then, "if it is yours, "+n.RelayFromLine(f.Addr, maxLine))
		}
	}
}

// maxLine is how long a line to paste may be.
const maxLine = 1000

// on are those that were heard on a network's link lately.
func (x *examination) on(n *site.Network, kind timeline.ForeignKind) []heard.Foreign {
	return slices.DeleteFunc(slices.Clone(x.Foreign), func(f heard.Foreign) bool {
		return f.Kind != kind || f.Link != n.Interface || x.Now.Sub(f.Last) > stale
	})
}

// flags looks at what bootd itself advertises.
func (x *examination) flags(n *site.Network) {
	if !n.RouterSelf {
		return
	}
	ra := n.RA
	switch {
	case !ra.Managed && !ra.Other:
		x.add(Error, n, "ra.managed and ra.other are both false", "iPXE asks DHCPv6 for nothing at all: no boot script", "leave both true")
	case !ra.Managed:
		x.add(Warning, n, "ra.managed is false", "Ubuntu's installer takes its address by DHCPv6 and gets none", "leave it true")
	}
	if !ra.Autonomous {
		x.add(Warning, n, "ra.autonomous is false", "Debian's installer gives its DHCPv6 address back and has none left to fetch its answers from", "leave it true, with a /64")
	}
	if !ra.OnLink {
		x.add(Warning, n, "ra.on_link is false", "iPXE's address is a /128: without an on-link prefix it has no neighbours", "leave it true")
	}
	if n.Link == nil {
		return // what follows from that is no finding of its own
	}
	for _, left := range advert.Decide(x.Snapshot, n.Interface, x.Now).Left {
		x.add(Warning, n, left, "no machine is told of it by an advertisement", "shorten the lists, or raise the MTU of "+n.Interface)
	}
	if len(n.Nameservers) == 0 {
		x.add(Warning, n, "no resolver is advertised", "Debian's installer stops and asks for one", "give "+n.Interface+" an address inside the prefix, or set nameservers")
	}
	if ra.Lifetime == 0 {
		x.add(Warning, n, "bootd is no default router on "+n.Interface+" (router lifetime 0)",
			"machines have no way out of the link, and Debian's installer stops and asks for a gateway", x.why())
	}
}

// why is what keeps bootd from being a default router.
func (x *examination) why() string {
	switch {
	case !x.Kernel.Forwarding:
		return "if this machine is to route: sysctl -w net.ipv6.conf.all.forwarding=1, with accept_ra=2 on the upstream interface; else let a router advertise, and write router: other"
	case !x.Kernel.DefaultRoute:
		return "give this machine a default route: ip -6 route add default via ROUTER dev INTERFACE"
	}
	return "ra.lifetime is 0: leave it out"
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}
