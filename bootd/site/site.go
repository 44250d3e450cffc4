// Package site joins the inventory with the facts of the machine into one immutable Snapshot, from which everything
// that bootd says on the wire is taken, so that its parts cannot contradict each other.
//
// The package never opens a socket or reads a clock; facts and time are arguments.
package site

import (
	"fmt"
	"net/netip"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
)

// Link is one network interface of this machine as it is now.
type Link struct {
	Name  string
	Index int
	MAC   ident.MAC
	MTU   int
	Up    bool
	// LinkLocal is usable: its duplicate address detection is over.
	LinkLocal netip.Addr
	// Addrs are the usable global and unique-local addresses with their prefix length.
	Addrs []netip.Prefix
	// Dynamic are those of Addrs that end unless somebody renews them, with their deadlines.
	Dynamic []Prefix
}

// Facts is what the machine and its durable state add to the inventory.
type Facts struct {
	Links []Link
	// Delegated are the prefixes that upstreams gave us, by upstream.
	Delegated map[string][]Prefix
	// Advertised are the prefixes that hosts were told of and may still have addresses in.
	Advertised []Advertised
	// Secret keys the RFC 7943 hash of addresses that nobody wrote down.
	Secret [32]byte
	// ServerDUID never changes.
	ServerDUID ident.DUID
	// Forwarding and DefaultRoute decide whether we may call ourselves a default router.
	Forwarding, DefaultRoute bool
}

// Prefix is a prefix with its deadlines; zero times: static.
type Prefix struct {
	netip.Prefix
	PreferredUntil, ValidUntil time.Time
	// Exclude, where it is valid, is the part of a delegated prefix that belongs to the link which it came over (RFC 6603).
	Exclude netip.Prefix
}

// Snapshot is what bootd knows, whole and immutable. Swap it, never change it.
type Snapshot struct {
	Inventory  *inventory.Inventory
	Made       time.Time
	ServerDUID ident.DUID
	Secret     [32]byte
	Networks   []*Network
	Hosts      []*Host
	// Delegated are the prefixes that upstreams gave us and that are valid, by upstream; none overlaps another of its upstream.
	Delegated map[string][]Prefix
	Profiles  map[string]*Profile
	// AnyIP are the prefixes that are this machine's as a whole, in the order of the inventory.
	AnyIP []AnyIP
	// Followers are the programs that are told of a prefix, in the order of the inventory.
	Followers []Follower
	// DNS is how names are resolved that are not the site's own.
	DNS      DNS
	HTTPPort int
	// Transit are the interfaces that relays and the hosts behind them come in on, TransitLinks those of them that exist;
	// where none is named, they come in on the links of the networks.
	Transit      []string
	TransitLinks []Link
	// Files and Templates are directories as the inventory names them: relative ones are relative to its file.
	Files, Templates string
	// Metrics is where Prometheus metrics are served; the zero AddrPort: nowhere.
	Metrics netip.AddrPort
	// Phones is nil where the inventory knows no phones: nothing of theirs is served then.
	Phones *Phones
	// Loaders by architecture name (bios, x86, x86_64, arm, arm64): a path below the files directory.
	Loaders map[string]string

	index index
}

// DNS is what the resolver knows besides the names of hosts.
type DNS struct {
	Upstreams []Upstream
	// Access are prefixes that may ask besides those of the networks.
	Access []netip.Prefix
	// Cache is the most that kept answers may take, in octets; Stale how long they are kept after their time.
	Cache int
	Stale time.Duration
	// ClientLimit and UpstreamLimit bound what waits, of one machine and for one upstream.
	ClientLimit, UpstreamLimit int
	// Names are those beside the hosts' own, in lower case without final dot; the first label may be *.
	Names map[string]*Name
}

// Name is what stands at one name.
type Name struct {
	// Host is whose name it is, if any.
	Host    string
	A, AAAA []netip.Addr
	TXT     []string
	SRV     []inventory.SRV
	// CNAME stands alone.
	CNAME string
	// Within are prefixes of both families in each of which the name that is asked for has the address of its hash.
	Within []netip.Prefix
}

// DNS64 is how machines of a network reach those that have nothing but IPv4 (RFC 6147).
type DNS64 struct {
	Prefix netip.Prefix
	// Exclude are AAAA records that count as none, Skip IPv4 addresses that are given none.
	Exclude, Skip []netip.Prefix
	// ID tells one DNS64 from another: answers of one are never given to machines of another.
	ID string
}

// Upstream is a resolver that questions go to.
type Upstream = inventory.Upstream

// Network is one network as it is served now.
type Network struct {
	Name string
	// Interface is the link that the inventory names, "" for a network that is behind relays alone; Link is nil while it
	// does not exist.
	Interface string
	Link      *Link
	// Relays are the link-addresses that relays name for the network.
	Relays []netip.Addr
	// RelayFrom are the addresses that they send from; none: any. RelayFromIn is the section that says so.
	RelayFrom   []netip.Prefix
	RelayFromIn string
	// RelayHops is how many relays a message may come through; 0: as many as the protocol lets.
	RelayHops int
	Prefixes  []Prefix
	// Ours are the addresses that bootd itself puts on the link, in those of Prefixes that come out of an upstream's.
	Ours []Prefix
	// Stale are prefixes that the network had before: no host gets an address in them any more, and those that have one are told
	// to take another (RFC 9096 section 3.5).
	Stale []Stale
	// Delegate are the prefixes out of which clients get some of their own.
	Delegate []Delegation
	// Auto: Prefixes are those of the interface's addresses, beside those that the inventory names.
	Auto bool
	// Own is our address that boot URLs and DNS point to; invalid while the link has none inside a prefix.
	Own netip.Addr
	// Servers are our addresses on this network, Own first.
	Servers []netip.Addr
	// Nameservers are what clients are told: the inventory's, else Own.
	Nameservers []netip.Addr
	Domain      string
	// Search is the inventory's, else Domain.
	Search []string
	// DNS64 is nil where there is none.
	DNS64   *DNS64
	NTP     []string
	Unknown string
	// Preferred and Valid are the lifetimes of leases; T1 and T2 are 0: 0.5 and 0.8 of Preferred.
	Preferred, Valid, T1, T2 time.Duration
	// InformationRefresh is after how long clients without a lease ask again; 0: half of Preferred.
	InformationRefresh time.Duration
	// Origins are where what clients are told comes from, by key; what is not there follows from something else.
	Origins map[string]Origin
	// Options are the network's DHCPv6 options in order of code; a host's own go before them (Told, Find).
	Options []Option
	// RouterSelf: we send RAs. RouterWritten: somebody wrote `router:`, so another router or server on the link is known
	// and holds nothing of ours back.
	RouterSelf, RouterWritten bool
	RA                        RA
	// Pools are what clients get whom nobody listed, with unknown: pool; one for each prefix at most.
	Pools []*Pool
}

// Port is a place that machines are plugged into, as the relay there tells it: its link-address, its Interface-Id (RFC 8415
// section 21.18) and the Remote-ID without its enterprise number (RFC 4649 section 3), in octets.
type Port struct {
	Relay                 netip.Addr
	InterfaceID, RemoteID string
}

// String quotes what the relay says.
func (p Port) String() string {
	text := p.Relay.String()
	if p.InterfaceID != "" {
		text += fmt.Sprintf(" interface-id %q", p.InterfaceID)
	}
	if p.RemoteID != "" {
		text += fmt.Sprintf(" remote-id %q", p.RemoteID)
	}
	return text
}

// Host is one listed machine with its cascade resolved.
type Host struct {
	Name string
	// FQDN is name.domain, without a final dot.
	FQDN   string
	Domain string
	NICs   []*NIC
	// Delegated are the prefixes that the inventory keeps for the host.
	Delegated []netip.Prefix
	UUID      ident.UUID
	DUIDs     []ident.DUID
	Port      Port
	Serial    string
	Protected bool
	// Preferred and Valid are lifetimes of its own; 0: those of the network.
	Preferred, Valid time.Duration
	// Profile is nil where none is set: such a host cannot be armed.
	Profile    *Profile
	Loader     string
	Disk       inventory.Disk
	HasDisk    bool
	Users      []inventory.User
	Packages   []string
	NTP        []string
	Locale     string
	Language   string
	Country    string
	Keyboard   string
	Timezone   string
	Addressing string
	KernelArgs string
	Console    string
	// Vars: string, int, bool or []string.
	Vars map[string]any
	// Options are those that the host and its profile say, in order of code.
	Options []Option
	// Phone is nil for a host that is none.
	Phone *Phone
	// Origins say which section and line set each value, by key path relative to the host ("domain", "vars.mirror").
	Origins map[string]Origin
}

// Origin is where a value was set: a section ("defaults", "networks.rack1", "profiles.x", "hosts.y", "built in") and its
// place; a built-in value has no place.
type Origin struct {
	From string
	Pos  inventory.Pos
}

// NIC is one network card of a host.
type NIC struct {
	Host *Host
	Name string
	MAC  ident.MAC
	// Network is nil: the NIC is served wherever it appears.
	Network *Network
	// addrs are the reserved or computed addresses by network name; given is the first that the inventory gives.
	addrs map[string][]netip.Addr
	given netip.Addr
}

// Main is the address that a person knows the NIC by: the first that the inventory gives, else the first of all on the first
// of these networks where it has one; invalid where it has none yet.
func (n *NIC) Main(networks []*Network) netip.Addr {
	if n.given.IsValid() {
		return n.given
	}
	for _, net := range networks {
		if a := n.addrs[net.Name]; len(a) > 0 {
			return a[0]
		}
	}
	return netip.Addr{}
}

// Holder is the name of the NIC's leases: host/nic.
func (n *NIC) Holder() string { return n.Host.Name + "/" + n.Name }

// Addresses are the NIC's fixed addresses on a network, first the one that its names point to; none when the NIC does not
// belong there or the network has no prefix yet.
func (n *NIC) Addresses(network string) []netip.Addr { return n.addrs[network] }

// Profile is what hosts are installed with.
type Profile struct {
	Name            string
	Kernel          string
	Initrd          []string
	Script, Answers string
}

// Arrival is where a packet or request came in and went to.
type Arrival struct {
	// Link is the interface's name, Index its number.
	Link  string
	Index int
	// Source and Dest are without zone.
	Source, Dest netip.Addr
	// Via is the next hop on Link that leads to the sender: itself, or the relay that it is behind; invalid where that one is
	// no neighbour.
	Via netip.Addr
	// Relay is the link-address that names the network, of the relay next to the client that names any; of a request
	// from behind a router the first relay of its network. Invalid on link.
	Relay netip.Addr
}

// Problem is something that stops part of a site from working: what, where and what to do. It never stops the rest.
type Problem struct {
	// Network or Host names what suffers, as far as known.
	Network, Host string
	Pos           inventory.Pos
	Msg           string
}
