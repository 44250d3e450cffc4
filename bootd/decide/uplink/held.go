package uplink

import (
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/ident"
)

// Held is what a client holds: the durable state. Times are absolute, so that lifetimes run on while nobody is there.
type Held struct {
	Server ident.DUID `json:"server,omitempty"`
	// From is where the server answered from.
	From netip.Addr `json:"from,omitzero"`
	Got  time.Time  `json:"got,omitzero"`
	// RenewAt and RebindAt are T1 and T2; zero: never.
	RenewAt  time.Time `json:"renew_at,omitzero"`
	RebindAt time.Time `json:"rebind_at,omitzero"`
	Bindings []Binding `json:"bindings,omitempty"`
	// Nameservers and Search are what the server told beside.
	Nameservers []netip.Addr `json:"nameservers,omitempty"`
	Search      []string     `json:"search,omitempty"`
}

// Binding is one prefix or address.
type Binding struct {
	IAID    ident.IAID   `json:"iaid"`
	Address bool         `json:"address,omitempty"`
	Prefix  netip.Prefix `json:"prefix"`
	Exclude netip.Prefix `json:"exclude,omitzero"`
	// PreferredUntil and ValidUntil: zero: for ever.
	PreferredUntil time.Time `json:"preferred_until,omitzero"`
	ValidUntil     time.Time `json:"valid_until,omitzero"`
}

func (b Binding) ended(now time.Time) bool {
	return !b.ValidUntil.IsZero() && !now.Before(b.ValidUntil)
}

// clone shares nothing with h that changes.
func (h Held) clone() Held {
	h.Bindings = slices.Clone(h.Bindings)
	return h
}

// Delegated reports whether there is a prefix among the bindings.
func (h Held) Delegated() bool {
	return slices.ContainsFunc(h.Bindings, func(b Binding) bool { return !b.Address })
}

// purge drops what has ended and reports whether there was any.
func (h *Held) purge(now time.Time) bool {
	before := len(h.Bindings)
	h.Bindings = slices.DeleteFunc(slices.Clone(h.Bindings), func(b Binding) bool { return b.ended(now) })
	return len(h.Bindings) < before
}

// keep drops the bindings of IAs that are no longer asked for.
func (h *Held) keep(c Config) bool {
	before := len(h.Bindings)
	h.Bindings = slices.DeleteFunc(slices.Clone(h.Bindings), func(b Binding) bool { return !c.wants(b.IAID, b.Address) })
	return len(h.Bindings) < before
}

func (c Config) wants(id ident.IAID, address bool) bool {
	if address {
		return c.Address != nil && *c.Address == id
	}
	return slices.ContainsFunc(c.Prefixes, func(w Wanted) bool { return w.IAID == id })
}

// firstEnd is when the first binding ends, lastEnd when the last one does; zero: never.
func (h Held) firstEnd() (first time.Time) {
	for _, b := range h.Bindings {
		if !b.ValidUntil.IsZero() && (first.IsZero() || b.ValidUntil.Before(first)) {
			first = b.ValidUntil
		}
	}
	return first
}

func (h Held) lastEnd() (last time.Time) {
	for _, b := range h.Bindings {
		if b.ValidUntil.IsZero() {
			return time.Time{}
		}
		if b.ValidUntil.After(last) {
			last = b.ValidUntil
		}
	}
	return last
}

// until is a deadline; for ever is the zero time.
func until(now time.Time, d time.Duration) time.Time {
	if d >= Forever {
		return time.Time{}
	}
	return now.Add(d)
}
