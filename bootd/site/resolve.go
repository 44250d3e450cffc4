package site

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
)

// Resolve joins an inventory without faults with the facts of the machine as they are at now. It is pure; the Snapshot shares
// nothing with its arguments that anybody changes.
//
// Problems never stop the rest: a network whose interface is missing is in the Snapshot without link, and a later Resolve with
// new facts brings it in. prev, which may be nil, only steadies what could go one way or the other: our own address stays the
// one that clients were told while the link still has it, and a computed address that is still free stays although a new card
// would now collide with it.
func Resolve(inv *inventory.Inventory, f Facts, prev *Snapshot, now time.Time) (*Snapshot, []Problem) {
	r := &resolver{
		inv: inv, facts: f, prev: prev, now: now,
		snap: &Snapshot{
			Inventory: inv, Made: now, ServerDUID: f.ServerDUID, Secret: f.Secret,
			Networks: make([]*Network, 0, len(inv.Networks)),
			Hosts:    make([]*Host, 0, len(inv.Hosts)),
			Profiles: make(map[string]*Profile, len(inv.Profiles)),
			index: index{
				byName:   make(map[string]*Host, len(inv.Hosts)),
				byMAC:    make(map[ident.MAC]*NIC, len(inv.Hosts)),
				byUUID:   make(map[ident.UUID]*Host),
				byDUID:   make(map[ident.DUID]*Host),
				byAddr:   make(map[netip.Addr]*NIC, len(inv.Hosts)),
				networks: make(map[string]*Network, len(inv.Networks)),
				byLink:   make(map[string]*Network, len(inv.Networks)),
				byRelay:  make(map[netip.Addr]*Network),
				byPort:   make(map[netip.Addr][]*Host),
			},
		},
		defaults: inv.Defaults,
		builtin:  inventory.Builtin(),
		written:  make(map[string]*inventory.Network, len(inv.Networks)),
		profiles: make(map[string]*inventory.Profile, len(inv.Profiles)),
		told:     make(map[string][]Option, len(inv.Profiles)),
	}
	r.serve()
	r.delegated()
	for i := range inv.Networks {
		r.network(&inv.Networks[i])
	}
	r.stale()
	r.relayed()
	for i := range inv.Profiles {
		r.profile(&inv.Profiles[i])
	}
	for i := range inv.Hosts {
		r.host(&inv.Hosts[i])
	}
	r.snap.sortKept()
	r.addresses()
	r.pools()
	r.anyip()
	r.followers()
	r.names()
	return r.snap, r.problems
}

type resolver struct {
	inv      *inventory.Inventory
	facts    Facts
	prev     *Snapshot
	now      time.Time
	snap     *Snapshot
	problems []Problem
	// claims are the prefixes that have their place, nil as long as nothing was derived.
	claims []claimed

	defaults, builtin inventory.Settings
	written           map[string]*inventory.Network
	profiles          map[string]*inventory.Profile
	// hashed are the prefixes that the names of each entry of anyip lie in.
	hashed []netip.Prefix
	// told are the options of profiles.
	told map[string][]Option
}

func (r *resolver) problem(network, host string, pos inventory.Pos, format string, args ...any) {
	r.problems = append(r.problems, Problem{Network: network, Host: host, Pos: pos, Msg: fmt.Sprintf(format, args...)})
}

// serve takes what the section serve says over what is built in.
func (r *resolver) serve() {
	s, b := &r.inv.Serve, inventory.BuiltinServe()
	r.snap.Files = s.Files.Or(b.Files).V
	r.snap.Templates = s.Templates.Or(b.Templates).V
	r.snap.HTTPPort = s.HTTPPort.Or(b.HTTPPort).V
	r.snap.Metrics = s.Metrics.Or(b.Metrics).V
	r.dns()
	r.phones()
	r.snap.Loaders = make(map[string]string, len(b.Loaders))
	for arch, v := range b.Loaders {
		r.snap.Loaders[arch] = v.V
	}
	for arch, v := range s.Loaders {
		r.snap.Loaders[arch] = v.V
	}
}

func (r *resolver) profile(in *inventory.Profile) {
	r.profiles[in.Name] = in
	r.snap.Profiles[in.Name] = &Profile{
		Name: in.Name, Kernel: in.Kernel.V, Initrd: slices.Clone(in.Initrd.V), Script: in.Script.V, Answers: in.Answers.V,
	}
}

// pick is the cascade: the first layer that sets a value, narrow before wide.
func pick[T any](layers []*inventory.Settings, get func(*inventory.Settings) inventory.Value[T]) inventory.Value[T] {
	for _, l := range layers {
		if v := get(l); v.Set() {
			return v
		}
	}
	return inventory.Value[T]{}
}

// variables cascade key by key.
func variables(layers []*inventory.Settings, origins map[string]Origin) map[string]any {
	out := map[string]any{}
	for _, l := range slices.Backward(layers) {
		for k, v := range l.Vars {
			out[k] = v.V
			origins["vars."+k] = Origin{v.From, v.Pos}
		}
	}
	return out
}
