package api

import (
	"cmp"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// leases lists those in force, in the order of their addresses; with ?expired=1 those that ended, too.
func (s *server) leases(w http.ResponseWriter, r *http.Request) error {
	type line struct {
		prefix netip.Prefix
		Lease
	}
	var all []line
	snap, now, expired := s.Snapshot(), s.Now(), r.URL.Query().Get("expired") == "1"
	for k, v := range s.Store.Scan(store.TableLease, "") {
		p, err := lease.Prefix(k)
		if err != nil {
			continue
		}
		b, err := lease.Decode(v)
		switch {
		case err != nil: // one damaged record hides no other
			all = append(all, line{p, damaged(p)})
		case expired || b.InForce(now):
			all = append(all, line{p, leaseLine(snap, p, b, now)})
		}
	}
	slices.SortFunc(all, func(a, b line) int {
		return cmp.Or(a.prefix.Addr().Compare(b.prefix.Addr()), cmp.Compare(a.prefix.Bits(), b.prefix.Bits()))
	})
	out := make([]Lease, len(all))
	for i := range all {
		out[i] = all[i].Lease
	}
	reply(w, http.StatusOK, out)
	return nil
}

// damaged is the line of a record that cannot be read. It binds nobody; bootd leases release ends it.
func damaged(p netip.Prefix) Lease {
	out := Lease{Prefix: p.String(), State: StateDamaged}
	if p.IsSingleIP() {
		out.Address = p.Addr().String()
	}
	return out
}

func leaseLine(snap *site.Snapshot, p netip.Prefix, b lease.Binding, now time.Time) Lease {
	out := Lease{
		Prefix: p.String(), Holder: b.Holder, Network: b.Network, MAC: b.MAC, State: b.State.String(), Expired: !b.InForce(now),
		PreferredUntil: b.PreferredUntil, ValidUntil: b.ValidUntil, Clients: b.Claims, Claims: len(b.Claims),
	}
	switch {
	case p.IsSingleIP():
		out.Address = p.Addr().String()
	case b.Via.IsValid():
		out.Via, out.Link = b.Via.String(), b.Link
	}
	if name, _, card := strings.Cut(b.Holder, "/"); card {
		if _, ok := snap.Host(name); ok {
			out.Host = name
		}
	}
	return out
}

// release ends a lease. The client goes on using its address until it asks again: people are asked first.
func (s *server) release(w http.ResponseWriter, r *http.Request) error {
	var req ReleaseRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	a, err := netip.ParseAddr(req.Address)
	p := netip.PrefixFrom(a, 128)
	if err != nil {
		p, err = netip.ParsePrefix(req.Address)
		a, p = p.Addr(), p.Masked()
	}
	if err != nil || !a.Is6() || a.Zone() != "" {
		return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("%q is neither an IPv6 address nor a prefix", req.Address)}
	}
	k, now, what := lease.PrefixKey(p), s.Now(), p.String()
	if p.IsSingleIP() {
		what = a.String()
	}
	var b lease.Binding
	var found, other bool
	end := func(v store.View) (ops []store.Op) {
		b, ops, found = address.End(v, k)
		other = found && req.Confirm && req.Holder != "" && req.Holder != b.Holder
		if other {
			return nil
		}
		return ops
	}
	if req.Confirm {
		err = s.Store.Update(r.Context(), end)
	} else {
		s.Store.Read(func(v store.View) { end(v) })
	}
	switch {
	case err != nil:
		return stored("releasing "+what, err)
	case !found:
		return &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("nobody has a lease of %s: bootd leases lists them, each with its whole address", what)}
	case other:
		return &Error{Status: http.StatusConflict, Message: fmt.Sprintf("%s is %s's by now: look again; nothing was released", what, b.Holder)}
	}
	result := ReleaseResult{Lease: leaseLine(s.Snapshot(), p, b, now), Released: req.Confirm}
	if b.State == lease.Free {
		result.Lease = damaged(p)
	}
	if req.Confirm {
		s.Observer.Observe(timeline.Observation{
			Adapter: "api", Message: "release", Outcome: reason.Outcome{Reason: reason.Changed, Host: result.Lease.Host, Network: b.Network},
			Events: []timeline.Event{{
				Kind: timeline.Warning, Host: result.Lease.Host, Network: b.Network, Addr: what,
				Detail: "the lease was ended by " + caller(r.Context(), req.By),
			}},
		})
	}
	reply(w, http.StatusOK, result)
	return nil
}
