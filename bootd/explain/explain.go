// Package explain answers "why" for people: who a name, MAC, DUID, UUID or address is, which addresses and boot files that
// machine would get now, whether it would be installed, and which line of the inventory set each value. It asks the same
// decisions that the adapters ask.
//
// The package never changes anything and opens nothing.
package explain

import (
	"fmt"
	"iter"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// Kind is what a query was read as.
type Kind string

// The kinds of queries.
const (
	ByHost    Kind = "host"
	ByMAC     Kind = "mac"
	ByUUID    Kind = "uuid"
	ByDUID    Kind = "duid"
	ByAddress Kind = "address"
	// BySuffix is an address without its prefix that is somebody's, or nobody's, on several networks.
	BySuffix Kind = "suffix"
)

// Report is everything that there is to say.
type Report struct {
	Query string `json:"query"`
	Kind  Kind   `json:"kind"`
	// Host is empty when nobody listed it; Reason then says what it gets.
	Host   string        `json:"host,omitempty"`
	NIC    string        `json:"nic,omitempty"`
	Rule   string        `json:"rule,omitempty"`
	Reason reason.Reason `json:"reason,omitempty"`
	// Notes are sentences for people.
	Notes     []string  `json:"notes,omitempty"`
	Addresses []Address `json:"addresses,omitempty"`
	Boot      []Boot    `json:"boot,omitempty"`
	Install   *Install  `json:"install,omitempty"`
	Learned   []Learned `json:"learned,omitempty"`
	Values    []Value   `json:"values,omitempty"`
	// Outcomes are the last answers and silences of its cards, oldest first: of packets that were dropped, too.
	Outcomes []heard.Outcome `json:"outcomes,omitempty"`
	// Recent are the newest events, oldest first.
	Recent []timeline.Event `json:"recent,omitempty"`
}

// Address is one address of a card on a network.
type Address struct {
	NIC     string `json:"nic"`
	MAC     string `json:"mac"`
	Network string `json:"network"`
	// Address is empty while the network has no prefix, or where it is computed and the daemon was not asked.
	Address string `json:"address,omitempty"`
	// Lease says how the store has it: bound until when, resting, declined, or none; empty: nobody was asked.
	Lease string `json:"lease,omitempty"`
	// Place is the line that gives the address; empty: bootd computes it.
	Place string `json:"place,omitempty"`
}

// Boot is what one kind of client would be told to boot on a network.
type Boot struct {
	Network string        `json:"network"`
	Client  string        `json:"client"`
	URL     string        `json:"url,omitempty"`
	Reason  reason.Reason `json:"reason"`
}

// Install is what the host's next boot script would be.
type Install struct {
	Reason reason.Reason `json:"reason"`
	// ArmedUntil is zero while the host is not armed.
	ArmedUntil time.Time     `json:"armed_until,omitzero"`
	By         string        `json:"by,omitempty"`
	Attempt    install.Stage `json:"attempt,omitempty"`
	Why        string        `json:"why,omitempty"`
}

// Learned is a name that the machine went by: Kind is uuid or duid.
type Learned struct {
	Kind  Kind   `json:"kind"`
	Value string `json:"value"`
}

// Value is one value of the cascade and the place that set it.
type Value struct {
	Key   string `json:"key"`
	Value string `json:"value"`
	// From is the section, or "built in"; Place is file:line:column.
	From  string `json:"from"`
	Place string `json:"place,omitempty"`
}

// Source is where an answer comes from. View and Events are nil without a running daemon.
type Source struct {
	// NoSecret: the snapshot was made without the server's secret, so computed addresses in it mean nothing.
	NoSecret bool
	Snapshot *site.Snapshot
	View     store.View
	// Leases are all records of store.TableLease; nil: nobody was asked.
	Leases iter.Seq2[store.Key, []byte]
	Events func(host string, mac ident.MAC) []timeline.Event
	// Outcomes are those of one card; nil: nobody was asked.
	Outcomes func(ident.MAC) []heard.Outcome
	Now      time.Time
}

// Explain answers one query; the error says what a query may be.
func Explain(src Source, query string) (Report, error) {
	query = strings.TrimSpace(query)
	r := Report{Query: query}
	x := explainer{Source: src, r: &r}
	if x.View == nil {
		x.View = empty{}
	}
	host, nic, err := x.find(query)
	if err != nil {
		return Report{}, err
	}
	if host == nil {
		return r, nil
	}
	x.about(host, nic)
	return r, nil
}

type explainer struct {
	Source
	r *Report
}

// find reads the query and says whom it names.
func (x explainer) find(q string) (*site.Host, *site.NIC, error) {
	if h, nic, ok := x.byName(q); ok {
		x.r.Kind, x.r.Rule = ByHost, "name"
		return h, nic, nil
	}
	if m, err := ident.ParseMAC(q); err == nil {
		x.r.Kind = ByMAC
		return x.match(who.Frame(m), fmt.Sprintf("a machine whose frames come from %s", m))
	}
	if a, err := netip.ParseAddr(q); err == nil {
		x.r.Kind = ByAddress
		if a.Is6() && !a.Is4In6() && inventory.IsSuffix(a) {
			return x.bySuffix(a)
		}
		return x.byAddress(a.WithZone(""))
	}
	if p, err := netip.ParsePrefix(q); err == nil && p.Addr().Is6() {
		x.r.Kind = ByAddress
		if h, ok := x.keptFor(p.Masked()); ok {
			return h, nil, nil
		}
		x.note("the inventory keeps it for nobody; bootd leases --prefixes lists what clients have")
		return nil, nil, nil
	}
	if u, err := ident.ParseUUID(q); err == nil {
		x.r.Kind = ByUUID
		return x.match(who.Client(ident.NewDUIDUUID(u)), fmt.Sprintf("a machine that names the UUID %s and shows no MAC", u))
	}
	if d, err := ident.ParseDUID(q); err == nil {
		x.r.Kind = ByDUID
		return x.match(who.Client(d), "a client with this DUID")
	}
	if h, _, ok := x.byName(strings.Split(q, "/")[0]); ok {
		var cards []string
		for _, n := range h.NICs {
			cards = append(cards, n.Holder())
		}
		return nil, nil, fmt.Errorf("%q is no card of %s: it has %s", q, h.Name, strings.Join(cards, ", "))
	}
	return nil, nil, fmt.Errorf("%q is no host of %s, and neither a MAC, a DUID, a UUID nor an IPv6 address or prefix", q, x.Snapshot.Inventory.File)
}

func (x explainer) byName(q string) (*site.Host, *site.NIC, bool) {
	name, card, hasCard := strings.Cut(q, "/")
	for _, h := range x.Snapshot.Hosts {
		if h.Name != name && !strings.EqualFold(h.FQDN, strings.TrimSuffix(name, ".")) {
			continue
		}
		if !hasCard {
			return h, nil, true
		}
		for _, n := range h.NICs {
			if n.Name == card {
				return h, n, true
			}
		}
	}
	return nil, nil, false
}

// match asks the same code that the adapters ask.
func (x explainer) match(ev []who.Evidence, what string) (*site.Host, *site.NIC, error) {
	m := who.Identify(x.Snapshot, x.View, nil, ev)
	x.r.Rule, x.r.Reason = m.Rule.String(), m.Reason
	if m.Host == nil {
		x.unlisted(m, ev, what)
		return nil, nil, nil
	}
	return m.Host, m.NIC, nil
}

func (x explainer) byAddress(a netip.Addr) (*site.Host, *site.NIC, error) {
	if !a.Is6() || a.Is4In6() {
		return nil, nil, fmt.Errorf("%s is not an IPv6 address", a)
	}
	n, inside := x.Snapshot.NetworkOf(a)
	if inside {
		x.note("%s lies in network %s (%s)", a, n.Name, n.Where())
		if a == n.Own {
			x.note("it is bootd's own address there")
			return nil, nil, nil
		}
		if x.Snapshot.PoolOf(n, a) != nil {
			x.note("it is one of the pool of %s", n.Name)
		}
	}
	if text, ok := x.lease(a); ok {
		x.note("lease: %s", text)
	}
	if nic, ok := x.Snapshot.Holder(a); ok {
		x.r.Rule = "reserved"
		return nic.Host, nic, nil
	}
	if !inside {
		if h, ok := x.keptFor(netip.PrefixFrom(a, a.BitLen())); ok {
			return h, nil, nil
		}
	}
	h, nic, err := x.match(who.Source(a), fmt.Sprintf("a machine that speaks from %s", a))
	if h == nil && err == nil && !inside {
		x.note("no network's prefix holds it")
	}
	return h, nic, err
}

func (x explainer) lease(a netip.Addr) (string, bool) { return x.leaseOf(lease.Key(a)) }

func (x explainer) leaseOf(k store.Key) (string, bool) {
	raw, ok := x.View.Peek(k)
	if !ok {
		return "", false
	}
	b, err := lease.Decode(raw)
	if err != nil {
		return "cannot be read: " + err.Error(), true
	}
	claims := "1 claim"
	if n := len(b.Claims); n != 1 {
		claims = fmt.Sprintf("%d claims", n)
	}
	return fmt.Sprintf("%s by %s until %s, %s", b.State, b.Holder, b.ValidUntil.UTC().Format(time.RFC3339), claims), true
}

// keptFor finds the host whose delegated prefix holds p, or lies in it.
func (x explainer) keptFor(p netip.Prefix) (*site.Host, bool) {
	k, ok := x.Snapshot.KeptWithin(p)
	if !ok {
		return nil, false
	}
	x.r.Rule = "reserved"
	if k.Prefix != p {
		x.note("%s is kept for %s", k.Prefix, k.Host.Name)
	}
	return k.Host, true
}

// delegated lists the prefixes that the inventory keeps for a host.
func (x explainer) delegated(h *site.Host) {
	for _, p := range h.Delegated {
		text, ok := x.leaseOf(lease.PrefixKey(p))
		if !ok && !x.NoSecret {
			text = "none"
		}
		out := Address{NIC: "prefix", Address: p.String(), Lease: text, Place: "out of an upstream's"}
		for _, w := range x.Snapshot.Inventory.Hosts {
			for _, v := range w.Delegate {
				if w.Name == h.Name && v.V == p {
					out.Place = linePlace(x.Snapshot.Inventory.File, v.Pos)
				}
			}
		}
		x.r.Addresses = append(x.r.Addresses, out)
	}
}

// about says everything of a host.
func (x explainer) about(h *site.Host, only *site.NIC) {
	x.r.Host = h.Name
	if only != nil {
		x.r.NIC = only.Name
	}
	for _, nic := range h.NICs {
		if only == nil || nic == only {
			x.card(nic)
			x.outcomes(nic.MAC)
		}
	}
	x.delegated(h)
	x.booting(h, only)
	if h.Phone == nil {
		x.installing(h)
	}
	if raw, ok := x.View.Peek(who.LearnedKey(h.Name)); ok {
		if l, err := who.DecodeLearned(raw); err == nil {
			for _, u := range l.UUIDs {
				x.r.Learned = append(x.r.Learned, Learned{ByUUID, u.String()})
			}
			for _, d := range l.DUIDs {
				x.r.Learned = append(x.r.Learned, Learned{ByDUID, d.String()})
			}
		}
	}
	x.r.Values = values(x.Snapshot.Inventory.File, h)
	x.options(h, only)
	if x.Events != nil {
		x.r.Recent = x.Events(h.Name, ident.MAC{})
	}
}

// networks are those that a card may appear on.
func (x explainer) networks(nic *site.NIC) []*site.Network {
	if nic.Network != nil {
		return []*site.Network{nic.Network}
	}
	return x.Snapshot.Networks
}

func (x explainer) card(nic *site.NIC) {
	mac := "" // who is known by UUID, DUID or port may list none
	if nic.MAC.Valid() {
		mac = nic.MAC.String()
	}
	for _, n := range x.networks(nic) {
		addrs := nic.Addresses(n.Name)
		if x.NoSecret && len(written(x.Snapshot.Inventory, nic)) == 0 {
			addrs = nil
			x.note("%s has no written address: bootd computes it from the MAC and its own secret (ask the running daemon)", nic.Holder())
		}
		if len(addrs) == 0 {
			x.r.Addresses = append(x.r.Addresses, Address{NIC: nic.Name, MAC: mac, Network: n.Name})
		}
		for _, a := range addrs {
			text, ok := x.lease(a)
			if !ok && !x.NoSecret {
				text = "none"
			}
			x.r.Addresses = append(x.r.Addresses, Address{
				NIC: nic.Name, MAC: mac, Network: n.Name, Address: a.String(), Lease: text,
				Place: x.wrote(nic, n, a),
			})
		}
	}
}

// written are the addresses that somebody wrote for the card.
func written(inv *inventory.Inventory, nic *site.NIC) []inventory.Value[netip.Addr] {
	for _, h := range inv.Hosts {
		if h.Name != nic.Host.Name {
			continue
		}
		for _, c := range h.NICs {
			if c.Name == nic.Name {
				return c.Addresses
			}
		}
	}
	return nil
}

// wrote is the line that gives a card an address on a network.
func (x explainer) wrote(nic *site.NIC, n *site.Network, a netip.Addr) string {
	for _, v := range written(x.Snapshot.Inventory, nic) {
		for _, p := range n.Prefixes {
			if whole, ok := inventory.Join(p.Prefix, v.V); v.V == a || ok && inventory.IsSuffix(v.V) && whole == a {
				return linePlace(x.Snapshot.Inventory.File, v.Pos)
			}
		}
	}
	return ""
}

// booting asks for the boot file of each kind of client.
func (x explainer) booting(h *site.Host, only *site.NIC) {
	seen := map[string]bool{}
	for _, nic := range h.NICs {
		if only != nil && nic != only {
			continue
		}
		for _, n := range x.networks(nic) {
			if seen[n.Name] {
				continue
			}
			seen[n.Name] = true
			if h.Phone != nil {
				x.provisioning(h, n)
				continue
			}
			for _, c := range clients() {
				b := address.ChooseBootfile(x.Snapshot, n, h, c.req)
				x.r.Boot = append(x.r.Boot, Boot{Network: n.Name, Client: c.name, URL: b.URL, Reason: b.Reason})
			}
		}
	}
}

type client struct {
	name string
	req  address.Request
}

// clients are the kinds of clients that ask for a boot file, as they show themselves on the wire.
func clients() []client {
	return []client{
		{"UEFI PXE, x86_64", address.Request{Arch: []uint16{7}, Vendor: "PXEClient:Arch:00007:UNDI:003000", ORO: []uint16{59}}},
		{"UEFI PXE, arm64", address.Request{Arch: []uint16{11}, Vendor: "PXEClient:Arch:00011:UNDI:003000", ORO: []uint16{59}}},
		{"UEFI HTTP boot, x86_64", address.Request{Arch: []uint16{16}, Vendor: "HTTPClient:Arch:00016:UNDI:003000", ORO: []uint16{59}}},
		{"UEFI HTTP boot, arm64", address.Request{Arch: []uint16{19}, Vendor: "HTTPClient:Arch:00019:UNDI:003000", ORO: []uint16{59}}},
		{"iPXE", address.Request{Arch: []uint16{7}, Classes: [][]byte{[]byte("iPXE")}, Vendor: "PXEClient:Arch:00007:UNDI:003010", ORO: []uint16{59}}},
		{"GRUB or U-Boot", address.Request{ORO: []uint16{59}}},
	}
}

// installing asks what the next boot script would be.
func (x explainer) installing(h *site.Host) {
	var seen install.Seen
	if len(h.NICs) > 0 {
		seen = install.Seen{MAC: h.NICs[0].MAC, UUID: h.UUID, Serial: h.Serial}
	}
	ask := install.Asked(x.View, h.Name, seen, x.Now)
	out := &Install{Reason: ask.Reason}
	if arm, ok, err := install.ReadArm(x.View, h.Name); err == nil && ok {
		out.By = arm.By
		if arm.Live(x.Now) {
			out.ArmedUntil = arm.Until
		}
	}
	if a, ok, err := install.ReadAttempt(x.View, h.Name); err == nil && ok {
		out.Attempt, out.Why = a.Stage, a.Why
	}
	x.r.Install = out
}

func (x explainer) note(format string, args ...any) {
	if n := fmt.Sprintf(format, args...); !slices.Contains(x.r.Notes, n) { // one card is looked at once for each network
		x.r.Notes = append(x.r.Notes, n)
	}
}

// empty is the store of a daemon that does not run.
type empty struct{}

func (empty) Get(store.Key) ([]byte, bool)  { return nil, false }
func (empty) Peek(store.Key) ([]byte, bool) { return nil, false }
