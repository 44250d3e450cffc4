package api

import (
	"fmt"
	"net/http"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

func (s *server) status(w http.ResponseWriter, _ *http.Request) error {
	snap, now, health := s.Snapshot(), s.Now(), s.Daemon.Health()
	out := Status{
		Ready: health.Ready, Version: health.Version, Started: health.Started, Now: now, Inventory: s.inventory(snap),
		Networks: []NetworkStatus{}, Tasks: health.Tasks, Modules: health.Modules, Problems: []Problem{}, Hosts: []HostStatus{},
	}
	if health.Refused != nil {
		out.Inventory.Refused = health.Refused.Error()
	}
	if health.Store != nil {
		out.Store = health.Store.Error()
	}
	if s.Upstreams != nil {
		out.Upstreams = s.Upstreams.Status()
	}
	use := address.CountPools(snap, s.Store.Scan(store.TableLease, ""), now)
	for _, n := range snap.Networks {
		out.Networks = append(out.Networks, networkStatus(n, use))
	}
	for _, p := range health.Problems {
		out.Problems = append(out.Problems, problem(snap.Inventory.File, p))
	}
	states := s.History.Hosts()
	s.Store.Read(func(v store.View) {
		for _, h := range snap.Hosts {
			out.Hosts = append(out.Hosts, hostStatus(h, snap.Networks, states[h.Name], v, now))
		}
	})
	s.firmware(&out)
	s.unlisted(&out)
	reply(w, http.StatusOK, out)
	return nil
}

func (s *server) inventory(snap *site.Snapshot) InventoryStatus {
	return InventoryStatus{File: snap.Inventory.File, Hash: snap.Inventory.Hash}
}

func networkStatus(n *site.Network, use []address.PoolUse) NetworkStatus {
	out := NetworkStatus{Name: n.Name, Interface: n.Interface, Up: n.Served(), Prefixes: []string{}}
	for _, a := range n.Relays {
		out.Relays = append(out.Relays, a.String())
	}
	for _, p := range n.Prefixes {
		out.Prefixes = append(out.Prefixes, p.Prefix.String())
	}
	if n.Own.IsValid() {
		out.Address = n.Own.String()
	}
	for _, u := range use {
		if u.Network == n.Name {
			out.Pool = &PoolStatus{u.Size, u.Used(), u.Bound, u.Resting, u.Declined, u.Percent()}
		}
	}
	return out
}

func problem(file string, p site.Problem) Problem {
	out := Problem{Network: p.Network, Host: p.Host, Text: p.Msg}
	if p.Pos.Line > 0 {
		out.Place = fmt.Sprintf("%s:%d:%d", file, p.Pos.Line, p.Pos.Col)
	}
	return out
}

func hostStatus(h *site.Host, networks []*site.Network, state timeline.HostState, v store.View, now time.Time) HostStatus {
	out := HostStatus{
		Name: h.Name, Phase: state.Phase, Since: state.Since, Boots: state.Boots, MAC: state.MAC, Address: state.Addr,
		Reason: state.Reason, Last: state.Last, Stuck: state.StuckFor(now).Seconds(),
	}
	if out.Phase == "" {
		out.Phase = timeline.PhaseUnseen
	}
	if h.Profile != nil {
		out.Profile = h.Profile.Name
	}
	if len(h.NICs) > 0 {
		if !out.MAC.Valid() {
			out.MAC = h.NICs[0].MAC
		}
		if a := h.NICs[0].Main(networks); out.Address == "" && a.IsValid() {
			out.Address = a.String()
		}
	}
	for _, g := range state.Stages {
		out.Stages = append(out.Stages, Stage{Phase: g.Phase, Since: g.Since, Seconds: g.Seconds(now), Now: g.Until.IsZero()})
	}
	arm, ok, err := install.ReadArm(v, h.Name)
	if err == nil && ok && arm.Live(now) {
		out.ArmedUntil = arm.Until
	}
	if a, ok, err := install.ReadAttempt(v, h.Name); err == nil && ok {
		out.Attempt, out.Why, out.Deadline = a.Stage, a.Why, install.Deadline(arm, a)
	}
	return out
}
