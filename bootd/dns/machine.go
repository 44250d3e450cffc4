package dns

import (
	"net/netip"
	"sync"
	"time"

	"bootd.internal/bootd/ingress"
)

// machine is who is counted: a card where the neighbour table knows it, since one machine has many addresses, else an
// address, or the /64 of one that a router stands before.
type machine = ingress.Machine

const (
	// maxMachines and machineLife bound what is remembered of the neighbour table, which is the kernel's to ask for each time
	// otherwise, and would hold up the answers of others in a flood.
	maxMachines = 4096
	machineLife = 5 * time.Second
)

// machines remembers who is behind an address.
type machines struct {
	mu    sync.Mutex
	known map[onLink]machineUntil
}

type onLink struct {
	index int
	addr  netip.Addr
}

type machineUntil struct {
	machine
	until time.Time
}

// counted is who a client is when its questions are counted. A router stands before whoever is neither on link nor us, and
// a machine behind it may use its whole /64.
func (s *Server) counted(c client) machine {
	key, now := onLink{c.at.Index, c.at.Source}, s.cfg.Now()
	s.machines.mu.Lock()
	m, ok := s.machines.known[key]
	s.machines.mu.Unlock()
	if ok && now.Before(m.until) {
		return m.machine
	}
	m = machineUntil{s.look(c), now.Add(machineLife)}
	s.machines.mu.Lock()
	defer s.machines.mu.Unlock()
	if len(s.machines.known) >= maxMachines || s.machines.known == nil {
		s.machines.known = map[onLink]machineUntil{}
	}
	s.machines.known[key] = m
	return m.machine
}

func (s *Server) look(c client) machine {
	m := ingress.Counted(s.cfg.Neighbour, c.at)
	if m.Addr.IsValid() && c.net != nil && !c.net.Contains(m.Addr) && !m.Addr.IsLinkLocalUnicast() {
		p, _ := m.Addr.Prefix(64)
		m.Addr = p.Addr()
	}
	return m
}
