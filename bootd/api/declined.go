package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"slices"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// releasedAtOnce bounds a transaction.
const releasedAtOnce = 1000

// releaseDeclined ends all leases that are put aside, of one network, interface, host or card where one is named.
func (s *server) releaseDeclined(w http.ResponseWriter, r *http.Request) error {
	var req ReleaseDeclinedRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	snap, now := s.Snapshot(), s.Now()
	meant, err := asideOf(snap, req.Of)
	if err != nil {
		return err
	}
	type found struct {
		k store.Key
		a netip.Addr
		l Lease
	}
	var all []found
	for k, raw := range s.Store.Scan(store.TableLease, "") {
		p, err := lease.Prefix(k)
		b, damage := lease.Decode(raw)
		if err != nil || damage != nil || b.State != lease.Declined || !b.InForce(now) {
			continue
		}
		if l := leaseLine(snap, p, b, now); meant(l) {
			all = append(all, found{k, p.Addr(), l})
		}
	}
	slices.SortFunc(all, func(x, y found) int { return x.a.Compare(y.a) })
	out := ReleaseDeclinedResult{Leases: []Lease{}, Released: req.Confirm}
	for part := range slices.Chunk(all, releasedAtOnce) {
		var done []Lease
		end := func(v store.View) (ops []store.Op) {
			done = done[:0]
			for _, f := range part {
				b, o, ok := address.End(v, f.k)
				if ok && b.State == lease.Declined && b.InForce(now) { // or somebody was faster
					ops, done = append(ops, o...), append(done, f.l)
				}
			}
			return ops
		}
		if req.Confirm {
			if err := s.Store.Update(r.Context(), end); err != nil {
				s.toldDeclined(r, req, len(out.Leases)) // those before are released
				return stored("releasing what was declined", err)
			}
		} else {
			s.Store.Read(func(v store.View) { end(v) })
		}
		out.Leases = append(out.Leases, done...)
	}
	s.toldDeclined(r, req, len(out.Leases))
	reply(w, http.StatusOK, out)
	return nil
}

// toldDeclined says how many leases somebody ended.
func (s *server) toldDeclined(r *http.Request, req ReleaseDeclinedRequest, n int) {
	if !req.Confirm || n == 0 {
		return
	}
	of := ""
	if req.Of != "" {
		of = " of " + req.Of
	}
	s.Observer.Observe(timeline.Observation{
		Adapter: "api", Message: "release", Outcome: reason.Outcome{Reason: reason.Changed},
		Events: []timeline.Event{{
			Kind: timeline.Warning, Detail: fmt.Sprintf("leases that were put aside were ended by %s: %d%s", caller(r.Context(), req.By), n, of),
		}},
	})
}

// asideOf says which leases somebody means. Errors: it names nothing that is known.
func asideOf(snap *site.Snapshot, of string) (func(Lease) bool, error) {
	if of == "" {
		return func(Lease) bool { return true }, nil
	}
	if m, err := ident.ParseMAC(of); err == nil {
		return func(l Lease) bool { return l.MAC == m }, nil
	}
	if h, ok := snap.Host(of); ok && h != nil {
		return func(l Lease) bool { return l.Host == h.Name }, nil
	}
	var names []string
	for _, n := range snap.Networks {
		if n.Name == of || n.Interface == of {
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return nil, &Error{Status: http.StatusNotFound, Message: fmt.Sprintf(
			"%q is no network, interface or host of %s, and no MAC", of, snap.Inventory.File)}
	}
	return func(l Lease) bool { return slices.Contains(names, l.Network) }, nil
}
