// Package name answers one question: what is this name? Hosts of the inventory, the records beside them, this server and the
// reverse names of all are known here; everything else is another resolver's.
//
// bootd is authoritative for the names that it lists, not for the domain they are in: each listed name is a zone of its
// own, and any other name below the domain goes to the forwarder, since the rest of the domain (a mirror, a mail server)
// is usually somewhere else. Only where there is no forwarder is such a name denied.
//
// The package never sees octets, never caches and never asks anybody.
package name

import (
	"net/netip"
	"slices"
	"strings"

	"bootd.internal/bootd/prefix"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
)

// Type is a DNS record type (RFC 1035 section 3.2.2).
type Type uint16

// The types that are answered here, and those that are refused whole.
const (
	TypeA     Type = 1
	TypeNS    Type = 2
	TypeCNAME Type = 5
	TypeSOA   Type = 6
	TypePTR   Type = 12
	TypeHINFO Type = 13
	TypeTXT   Type = 16
	TypeAAAA  Type = 28
	TypeSRV   Type = 33
	typeIXFR  Type = 251
	typeAXFR  Type = 252
	TypeANY   Type = 255
)

// ClassIN is the Internet class, the only one that is served.
const ClassIN = 1

// RCode is a DNS response code (RFC 1035 section 4.1.1).
type RCode uint8

// The response codes of a decision.
const (
	NoError  RCode = 0
	NXDomain RCode = 3
	Refused  RCode = 5
)

// TTL is how long others may keep a local answer, in seconds: short, because an inventory that changes is served at once.
const TTL = 60

// Question is one question as it came, in any case, with its final dot.
type Question struct {
	Name  string
	Type  Type
	Class uint16
	// DNS64 is that of the network that asks; nil: none.
	DNS64 *site.DNS64
}

// Record is one resource record. Which of Addr, Target, Text and SRV is set follows from Type; SOA and HINFO have their fixed
// content.
type Record struct {
	Name   string
	Type   Type
	TTL    uint32
	Addr   netip.Addr
	Target string
	Text   string
	// SRV has its target in Target.
	Priority, Weight, Port uint16
	// Serial is a SOA's: the time of the snapshot.
	Serial uint32
}

// Answer is what follows from a Question.
type Answer struct {
	// Outcome names the host whose name it is, if any.
	reason.Outcome
	// Forward: the answer is another resolver's; all else is empty. Alias: it is that resolver's answer for this name, after a
	// CNAME that leads there.
	Forward   bool
	Alias     string
	RCode     RCode
	Records   []Record
	Authority []Record
}

// Leases is who holds which address just now; nil: nobody knows, and a name leads to every address of its host.
type Leases interface {
	// Held reports whether somebody holds an address. A card that names no network may appear on any: its name leads to where
	// it is, not to where it could be.
	Held(netip.Addr) bool
	// Of are the addresses of a holder, a card's host/nic: a machine keeps one that it was given although the inventory names
	// another by now.
	Of(holder string) []netip.Addr
	// Holder is who holds an address, empty: nobody.
	Holder(netip.Addr) string
}

// Decide answers a question from the snapshot, or says that somebody else has to.
func Decide(snap *site.Snapshot, held Leases, q Question) Answer {
	return decide(snap, held, q, maxChain)
}

// maxChain bounds aliases of aliases.
const maxChain = 8

func decide(snap *site.Snapshot, held Leases, q Question, chain int) Answer {
	switch {
	case q.Class != ClassIN, q.Type == typeAXFR, q.Type == typeIXFR, q.Type >= 128 && q.Type < TypeANY:
		// version.bind of class CHAOS tells strangers what to attack; 128 to 254 are questions about messages, not names.
		return Answer{Outcome: reason.Outcome{Reason: reason.Refused}, RCode: Refused}
	case q.Type == TypeANY:
		// RFC 8482 section 4.2, for any name: a large answer serves only those who forge its destination.
		return local("", Record{Name: q.Name, Type: TypeHINFO, TTL: 3600})
	}
	d := decider{snap: snap, held: held, q: q, chain: chain, name: strings.ToLower(strings.TrimSuffix(q.Name, "."))}
	if a, ok := d.forward(); ok {
		return a
	}
	if a, ok := d.named(); ok {
		return a
	}
	if a, ok := d.only(); ok {
		return a
	}
	if a, ok := d.reverse(); ok {
		return a
	}
	if a, ok := d.special(); ok {
		return a
	}
	if len(snap.DNS.Upstreams) == 0 {
		if zone, ok := d.ours(); ok {
			return d.deny(zone)
		}
	}
	return Answer{Forward: true}
}

type decider struct {
	snap *site.Snapshot
	held Leases
	q    Question
	// chain is how many aliases may still be followed.
	chain int
	// name is q.Name in lower case without its final dot.
	name string
}

// forward answers for hosts, their cards and this server.
func (d decider) forward() (Answer, bool) {
	rest := d.name
	for {
		label, domain, more := strings.Cut(rest, ".")
		if h, ok := d.snap.Host(label); ok && (rest == h.FQDN || rest == h.Name) {
			if addrs, ok := d.addresses(h, strings.TrimSuffix(d.name[:len(d.name)-len(rest)], ".")); ok {
				return d.positive(h.Name, addrs), true
			}
		}
		if !more {
			break
		}
		rest = domain
	}
	if addrs, ok := d.own(); ok {
		return d.positive("", addrs), true
	}
	return Answer{}, false
}

// addresses are those of a host, or of one of its cards when it has several and card names one. False: there is no such
// card.
func (d decider) addresses(h *site.Host, card string) ([]netip.Addr, bool) {
	found := card == ""
	var all []netip.Addr
	for _, n := range h.NICs {
		if card != "" && (len(h.NICs) < 2 || !strings.EqualFold(n.Name, card)) {
			continue
		}
		found = true
		roams := n.Network == nil && len(d.snap.Networks) > 1 && d.held != nil
		for _, net := range d.snap.Networks {
			for _, a := range n.Addresses(net.Name) {
				if !roams || d.held.Held(a) {
					all = append(all, a)
				}
			}
		}
		all = d.leased(all, n)
	}
	return all, found
}

// leased adds what a card holds besides.
func (d decider) leased(all []netip.Addr, n *site.NIC) []netip.Addr {
	if d.held == nil {
		return all
	}
	for _, a := range d.held.Of(n.Holder()) {
		if _, served := d.snap.NetworkOf(a); !served || slices.Contains(all, a) {
			continue
		}
		if _, reserved := d.snap.Holder(a); !reserved { // another host's by now
			all = append(all, a)
		}
	}
	return all
}

// own are the addresses of bootd.<domain>, which is this server unless a host of that name is listed.
func (d decider) own() ([]netip.Addr, bool) {
	domain, ok := strings.CutPrefix(d.name, "bootd.")
	if !ok {
		return nil, false
	}
	var all []netip.Addr
	found := false
	for _, n := range d.snap.Networks {
		if n.Domain == domain {
			found = true
			all = append(all, n.Servers...)
		}
	}
	return all, found
}

// positive answers for a name that exists: what has no record of the type is NOERROR without data, so that a client that
// asks for A first goes on to AAAA.
func (d decider) positive(host string, addrs []netip.Addr) Answer {
	a := local(host)
	n := d.snap.DNS.Names[d.name]
	if n == nil {
		n = &site.Name{}
	}
	switch d.q.Type {
	case TypeAAAA:
		a.Records = d.addrs(TypeAAAA, slices.Concat(addrs, n.AAAA, d.hashed(n, false)))
		if len(a.Records) == 0 && d.q.DNS64 != nil {
			a.Records = d.addrs(TypeAAAA, Synthesize(d.q.DNS64, slices.Concat(n.A, d.hashed(n, true))))
		}
	case TypeA:
		a.Records = d.addrs(TypeA, slices.Concat(n.A, d.hashed(n, true)))
	case TypeSOA:
		a.Records = []Record{d.soa(d.q.Name)}
	case TypeTXT:
		for _, s := range n.TXT {
			a.Records = append(a.Records, Record{Name: d.q.Name, Type: TypeTXT, TTL: TTL, Text: s})
		}
	case TypeSRV:
		for _, s := range n.SRV {
			a.Records = append(a.Records, Record{
				Name: d.q.Name, Type: TypeSRV, TTL: TTL, Priority: s.Priority, Weight: s.Weight, Port: s.Port, Target: s.Target + ".",
			})
		}
	}
	if len(a.Records) == 0 {
		a.Authority = []Record{d.soa(d.q.Name)}
	}
	return a
}

// hashed are the addresses of one family that the hash of the name asked for says, in prefixes that are this machine's as a whole.
func (d decider) hashed(n *site.Name, four bool) []netip.Addr {
	var all []netip.Addr
	for _, p := range n.Within {
		if p.Addr().Is4() == four {
			all = append(all, prefix.Named(p, strings.TrimSuffix(d.q.Name, ".")))
		}
	}
	return all
}

func (d decider) addrs(t Type, addrs []netip.Addr) []Record {
	var all []Record
	for _, addr := range addrs {
		all = append(all, Record{Name: d.q.Name, Type: t, TTL: TTL, Addr: addr})
	}
	return all
}

// named answers for names that are written beside the hosts, or lie below one with a wildcard (RFC 4592 section 3.3.1: what
// stands nearer hides it).
func (d decider) named() (Answer, bool) {
	if n := d.snap.DNS.Names[d.name]; n != nil {
		return d.at(n), true
	}
	rest := d.name
	for {
		_, parent, more := strings.Cut(rest, ".")
		if !more {
			return Answer{}, false
		}
		if n := d.snap.DNS.Names["*."+parent]; n != nil {
			d.name = "*." + parent
			return d.at(n), true
		}
		if d.snap.DNS.Names[parent] != nil || d.isHost(parent) {
			return Answer{}, false
		}
		rest = parent
	}
}

func (d decider) isHost(name string) bool {
	label, _, _ := strings.Cut(name, ".")
	h, ok := d.snap.Host(label)
	return ok && h.FQDN == name
}

// at answers from one entry; an alias is followed, here or by another resolver.
func (d decider) at(n *site.Name) Answer {
	if n.CNAME == "" {
		return d.positive(n.Host, nil)
	}
	return d.follow(n.Host, n.CNAME)
}

// follow answers with an alias and what it leads to.
func (d decider) follow(host, target string) Answer {
	cname := Record{Name: d.q.Name, Type: TypeCNAME, TTL: TTL, Target: target + "."}
	if d.q.Type == TypeCNAME || d.chain == 0 {
		return local(host, cname)
	}
	q := d.q
	q.Name = target + "."
	a := decide(d.snap, d.held, q, d.chain-1)
	switch {
	case a.Forward && a.Alias == "":
		a.Alias = q.Name
	case a.Forward: // two aliases before it leaves us: the last one is asked for
	default:
		a.Host = host
		a.Records = append([]Record{cname}, a.Records...)
	}
	return a
}

// reverse answers for the fixed addresses of hosts and for ours, and denies what lies in zones that must not leave a site.
func (d decider) reverse() (Answer, bool) {
	addr, ok := parseReverse(d.name)
	if ok {
		if n, found := d.snap.Holder(addr); found {
			return d.pointer(n.Host.Name, n.Host.FQDN), true
		}
		if h, found := d.leaseholder(addr); found {
			return d.pointer(h.Name, h.FQDN), true
		}
		for _, n := range d.snap.Networks {
			for _, own := range n.Servers {
				if own == addr {
					return d.pointer("", "bootd."+n.Domain), true
				}
			}
		}
	}
	if zone, private := privateZone(d.name); private {
		return d.deny(zone), true
	}
	if _, served := d.snap.NetworkOf(addr); ok && served && len(d.snap.DNS.Upstreams) == 0 {
		return d.deny(d.name), true
	}
	return Answer{}, false
}

// leaseholder is the host that holds an address which is not written for it.
func (d decider) leaseholder(addr netip.Addr) (*site.Host, bool) {
	if d.held == nil {
		return nil, false
	}
	name, _, ok := strings.Cut(d.held.Holder(addr), "/")
	if !ok {
		return nil, false
	}
	return d.snap.Host(name)
}

func (d decider) pointer(host, fqdn string) Answer {
	a := local(host)
	switch d.q.Type {
	case TypePTR:
		a.Records = []Record{{Name: d.q.Name, Type: TypePTR, TTL: TTL, Target: fqdn + "."}}
	case TypeSOA:
		a.Records = []Record{d.soa(d.q.Name)}
	default:
		a.Authority = []Record{d.soa(d.q.Name)}
	}
	return a
}

// special keeps names that mean nothing elsewhere on the site: RFC 6761, 7686, 8375, and ".internal" and ".local".
func (d decider) special() (Answer, bool) {
	if d.name == "localhost" || strings.HasSuffix(d.name, ".localhost") {
		return d.positive("", []netip.Addr{netip.IPv6Loopback()}), true
	}
	for _, zone := range [...]string{"internal", "local", "home.arpa", "invalid", "onion"} {
		if d.name == zone || strings.HasSuffix(d.name, "."+zone) {
			return d.deny(zone), true
		}
	}
	return Answer{}, false
}

// ours finds the inventory's domain that the name lies in.
func (d decider) ours() (string, bool) {
	best := ""
	consider := func(domain string) {
		if len(domain) > len(best) && (d.name == domain || strings.HasSuffix(d.name, "."+domain)) {
			best = domain
		}
	}
	for _, n := range d.snap.Networks {
		consider(n.Domain)
	}
	for _, h := range d.snap.Hosts {
		consider(h.Domain)
	}
	return best, best != ""
}

// deny says that the name does not exist; the apex of a zone does, without data.
func (d decider) deny(zone string) Answer {
	a := local("")
	a.Authority = []Record{d.soa(zone + ".")}
	if d.name == zone {
		if d.q.Type == TypeSOA {
			a.Records, a.Authority = a.Authority, nil
		}
		return a
	}
	a.RCode = NXDomain
	return a
}

func (d decider) soa(zone string) Record {
	return Record{Name: zone, Type: TypeSOA, TTL: TTL, Serial: uint32(d.snap.Made.Unix())}
}

func local(host string, records ...Record) Answer {
	return Answer{Outcome: reason.Outcome{Reason: reason.LocalName, Host: host}, Records: records}
}
