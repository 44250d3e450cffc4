package site

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/inventory"
)

func (r *resolver) host(in *inventory.Host) {
	h := &Host{Name: in.Name, UUID: in.UUID.V, Serial: in.Serial.V, Origins: make(map[string]Origin, 24)}
	layers := r.layers(h, in)
	c := cascade{layers, h.Origins}
	h.Domain = take(c, "domain", func(s *inventory.Settings) inventory.Value[string] { return s.Domain })
	h.FQDN = h.Name + "." + h.Domain
	h.Protected = take(c, "protected", func(s *inventory.Settings) inventory.Value[bool] { return s.Protected })
	h.Loader = take(c, "loader", func(s *inventory.Settings) inventory.Value[string] { return s.Loader })
	h.Disk = take(c, "disk", func(s *inventory.Settings) inventory.Value[inventory.Disk] { return s.Disk })
	_, h.HasDisk = h.Origins["disk"]
	h.Users = slices.Clone(take(c, "users", func(s *inventory.Settings) inventory.Value[[]inventory.User] { return s.Users }))
	h.Packages = slices.Clone(take(c, "packages", func(s *inventory.Settings) inventory.Value[[]string] { return s.Packages }))
	h.NTP = slices.Clone(take(c, "ntp", func(s *inventory.Settings) inventory.Value[[]string] { return s.NTP }))
	h.Locale = take(c, "locale", func(s *inventory.Settings) inventory.Value[string] { return s.Locale })
	h.Language = take(c, "language", func(s *inventory.Settings) inventory.Value[string] { return s.Language })
	h.Country = take(c, "country", func(s *inventory.Settings) inventory.Value[string] { return s.Country })
	h.Keyboard = take(c, "keyboard", func(s *inventory.Settings) inventory.Value[string] { return s.Keyboard })
	h.Timezone = take(c, "timezone", func(s *inventory.Settings) inventory.Value[string] { return s.Timezone })
	h.Addressing = take(c, "addressing", func(s *inventory.Settings) inventory.Value[string] { return s.Addressing })
	h.KernelArgs = take(c, "kernel_args", func(s *inventory.Settings) inventory.Value[string] { return s.KernelArgs })
	h.Console = take(c, "console", func(s *inventory.Settings) inventory.Value[string] { return s.Console })
	h.Preferred = ownLifetime(c, "preferred", func(s *inventory.Settings) inventory.Value[time.Duration] { return s.Preferred })
	h.Valid = ownLifetime(c, "valid", func(s *inventory.Settings) inventory.Value[time.Duration] { return s.Valid })
	h.Vars = variables(layers, h.Origins)
	h.Options = r.own(h, in)
	if in.Phone != nil {
		h.Phone = r.phone(in)
		h.Loader, h.HasDisk, h.Users, h.Packages = "", false, nil, nil // nor has it a disk or a boot loader
	}
	for _, p := range in.Delegate {
		h.Delegated = append(h.Delegated, p.V)
		r.snap.index.kept = append(r.snap.index.kept, Kept{p.V, h})
	}
	r.kept(h, in)
	origin(h.Origins, "network", in.Network)
	origin(h.Origins, "uuid", in.UUID)
	origin(h.Origins, "serial", in.Serial)
	for _, d := range in.DUIDs {
		h.DUIDs = append(h.DUIDs, d.V)
		origin(h.Origins, "duid", d)
		r.snap.index.byDUID[d.V] = h
	}
	if in.Port.Relay.Set() {
		h.Port = Port{Relay: in.Port.Relay.V, InterfaceID: in.Port.InterfaceID.V, RemoteID: in.Port.RemoteID.V}
		origin(h.Origins, "port", in.Port.Relay)
		r.snap.index.byPort[h.Port.Relay] = append(r.snap.index.byPort[h.Port.Relay], h)
	}
	for i := range in.NICs {
		r.nic(h, in, &in.NICs[i])
	}
	r.snap.Hosts = append(r.snap.Hosts, h)
	r.snap.index.byName[h.Name] = h
	if h.UUID.Identifies() {
		r.snap.index.byUUID[h.UUID] = h
	}
}

// cascade is the layers of one host and where their values are noted.
type cascade struct {
	layers  []*inventory.Settings
	origins map[string]Origin
}

func take[T any](c cascade, key string, get func(*inventory.Settings) inventory.Value[T]) T {
	v := pick(c.layers, get)
	origin(c.origins, key, v)
	return v.V
}

// Infinite is a lifetime that never ends.
const Infinite = inventory.Infinite

// ownLifetime is a lifetime that the host or its profile sets; 0: that of the network that it is on.
func ownLifetime(c cascade, key string, get func(*inventory.Settings) inventory.Value[time.Duration]) time.Duration {
	v := pick(c.layers, get)
	if !strings.HasPrefix(v.From, "hosts.") && !strings.HasPrefix(v.From, "phones.") && !strings.HasPrefix(v.From, "profiles.") {
		return 0
	}
	origin(c.origins, key, v)
	return v.V
}

func origin[T any](origins map[string]Origin, key string, v inventory.Value[T]) {
	if v.Set() {
		origins[key] = Origin{v.From, v.Pos}
	}
}

// layers are the sections that a host's settings come from, narrow before wide, and its profile, which is one of them.
func (r *resolver) layers(h *Host, in *inventory.Host) []*inventory.Settings {
	layers := []*inventory.Settings{&in.Settings}
	wide := make([]*inventory.Settings, 0, 3)
	if n := r.home(in); n != nil {
		wide = append(wide, &n.Settings)
	}
	wide = append(wide, &r.defaults, &r.builtin)
	if in.Phone != nil { // a profile is what a machine is installed with
		return append(layers, wide...)
	}
	name := in.Profile.Or(pick(wide, func(s *inventory.Settings) inventory.Value[string] { return s.Profile }))
	if name.Set() {
		origin(h.Origins, "profile", name)
		h.Profile = r.snap.Profiles[name.V]
		if f := r.profiles[name.V]; f != nil {
			layers = append(layers, &f.Settings)
		} else {
			r.problem("", h.Name, name.Pos, "no profile is named %s: the host cannot be installed", name.V)
		}
	}
	return append(layers, wide...)
}

// home is the network whose settings a host inherits: the one it names, else that of its first card that names one or has a
// whole address inside one, else the only network of the site.
func (r *resolver) home(in *inventory.Host) *inventory.Network {
	if in.Network.Set() {
		return r.written[in.Network.V]
	}
	for _, n := range in.NICs {
		if n.Network.Set() {
			return r.written[n.Network.V]
		}
		for _, a := range n.Addresses {
			if at, ok := r.snap.NetworkOf(a.V); ok {
				return r.written[at.Name]
			}
		}
	}
	if len(r.inv.Networks) == 1 {
		return &r.inv.Networks[0]
	}
	return nil
}

func (r *resolver) nic(h *Host, in *inventory.Host, card *inventory.NIC) {
	n := &NIC{Host: h, Name: card.Name, MAC: card.MAC.V, addrs: make(map[string][]netip.Addr, 1)}
	if name := card.Network.Or(in.Network); name.Set() {
		n.Network = r.snap.index.networks[name.V]
	}
	origin(h.Origins, "nics."+n.Name+".mac", card.MAC)
	origin(h.Origins, "nics."+n.Name+".network", card.Network)
	if len(card.Addresses) > 0 {
		origin(h.Origins, "nics."+n.Name+".address", card.Addresses[0])
	}
	h.NICs = append(h.NICs, n)
	if n.MAC.Valid() {
		r.snap.index.byMAC[n.MAC] = n
	}
}
