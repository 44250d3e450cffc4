package api

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// maxPattern is the longest pattern in octets, longer than any host name: matching takes as long as the pattern times the
// name, for every host.
const maxPattern = 256

// pick finds the hosts that names and patterns mean, in the order of the inventory. Each must mean at least one.
func pick(snap *site.Snapshot, patterns []string) ([]*site.Host, error) {
	if len(patterns) == 0 {
		return nil, &Error{Status: http.StatusBadRequest, Message: "no host is named: name some, or a pattern such as 'r1n*'"}
	}
	chosen := map[*site.Host]bool{}
	for _, p := range patterns {
		if len(p) > maxPattern {
			return nil, &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("a pattern of %d octets: %d are the most", len(p), maxPattern)}
		}
		if h, ok := snap.Host(p); ok {
			chosen[h] = true
			continue
		}
		found := false
		for _, h := range snap.Hosts {
			ok, err := path.Match(p, h.Name)
			if err != nil {
				return nil, &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("%q is not a pattern: %v", p, err)}
			}
			if ok {
				chosen[h], found = true, true
			}
		}
		if !found {
			return nil, &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("%q names no host of %s", p, snap.Inventory.File)}
		}
	}
	var out []*site.Host
	for _, h := range snap.Hosts {
		if chosen[h] {
			out = append(out, h)
		}
	}
	return out, nil
}

func (s *server) candidates(hosts []*site.Host) []Candidate {
	out := make([]Candidate, 0, len(hosts))
	now := s.Now()
	s.Store.Read(func(v store.View) {
		for _, h := range hosts {
			c := Candidate{Name: h.Name, Protected: h.Protected, Profile: boot.Subject(h).Profile}
			if len(h.NICs) > 0 {
				c.MAC = h.NICs[0].MAC.String()
			}
			if arm, ok, err := install.ReadArm(v, h.Name); err == nil && ok {
				c.Armed = arm.Live(now)
			}
			if a, ok, err := install.ReadAttempt(v, h.Name); err == nil && ok {
				c.Installed = a.Stage == install.Installed || a.Stage == install.Booted
			}
			out = append(out, c)
		}
	})
	return out
}

// install arms all hosts that are named, or none.
func (s *server) install(w http.ResponseWriter, r *http.Request) error {
	var req InstallRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	hosts, err := pick(s.Snapshot(), req.Hosts)
	if err != nil {
		return err
	}
	result := InstallResult{Hosts: s.candidates(hosts)}
	if req.Confirm == 0 {
		for _, h := range hosts {
			if len(boot.Subject(h).MACs) == 0 { // Order would refuse it, after somebody was asked for a yes
				return &Error{Status: http.StatusConflict, Message: fmt.Sprintf("arming %s: %v; nothing was armed", h.Name, install.ErrNoMAC)}
			}
		}
		reply(w, http.StatusOK, result)
		return nil
	}
	if req.Confirm != len(hosts) {
		return &Error{Status: http.StatusConflict, Message: fmt.Sprintf("%d hosts were confirmed, but %d are meant now: look again; nothing was armed", req.Confirm, len(hosts))}
	}
	if err := s.renders(hosts); err != nil {
		return err
	}
	var id [8]byte
	if _, err := io.ReadFull(s.Rand, id[:]); err != nil {
		return fmt.Errorf("naming the order: %w", err)
	}
	now, by := s.Now(), caller(r.Context(), req.By)
	var refusals []error
	err = s.Store.Update(r.Context(), func(v store.View) []store.Op {
		refusals = nil
		var ops []store.Op
		for _, h := range hosts {
			o, err := install.Order(v, boot.Subject(h), install.Wish{
				ID: hex.EncodeToString(id[:]) + "-" + h.Name, By: by, Confirmed: slices.Contains(req.Typed, h.Name), Reinstall: req.Reinstall,
			}, now)
			if err != nil {
				refusals = append(refusals, err)
			}
			ops = append(ops, o...)
		}
		if len(refusals) > 0 {
			return nil
		}
		return ops
	})
	switch {
	case err != nil:
		return stored("arming", err)
	case len(refusals) > 0:
		return &Error{Status: http.StatusConflict, Message: lines(refusals) + "\nnothing was armed"}
	}
	for _, h := range hosts {
		s.tell("install", timeline.Armed, h, "by "+by)
	}
	result.Armed, result.Until = true, now.Add(install.ArmFor)
	result.Hosts = s.candidates(hosts)
	reply(w, http.StatusOK, result)
	return nil
}

// renders refuses hosts whose templates fail, or render to what their installer would stop at.
func (s *server) renders(hosts []*site.Host) error {
	var faults []error
	for _, h := range hosts {
		if h.Profile == nil {
			continue // install.Order says so
		}
		if err := s.Fit(h.Name); err != nil {
			faults = append(faults, fmt.Errorf("arming %s: %w", h.Name, err))
		}
	}
	if len(faults) > 0 {
		return &Error{Status: http.StatusConflict, Message: lines(faults) + "\nnothing was armed"}
	}
	return nil
}

func (s *server) cancel(w http.ResponseWriter, r *http.Request) error {
	var req CancelRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	hosts, err := pick(s.Snapshot(), req.Hosts)
	if err != nil {
		return err
	}
	now, by := s.Now(), caller(r.Context(), req.By)
	var done, idle []*site.Host
	err = s.Store.Update(r.Context(), func(v store.View) []store.Op {
		done, idle = nil, nil
		var ops []store.Op
		for _, h := range hosts {
			o, had := install.Cancel(v, h.Name, by, now)
			if had {
				done = append(done, h)
			} else {
				idle = append(idle, h)
			}
			ops = append(ops, o...)
		}
		return ops
	})
	if err != nil {
		return stored("cancelling", err)
	}
	result := CancelResult{Cancelled: []string{}}
	for _, h := range done {
		result.Cancelled = append(result.Cancelled, h.Name)
		s.tell("cancel", timeline.Cancelled, h, "by "+by)
	}
	for _, h := range idle {
		result.Idle = append(result.Idle, h.Name)
	}
	reply(w, http.StatusOK, result)
	return nil
}

func (s *server) tell(message string, k timeline.Kind, h *site.Host, detail string) {
	e := timeline.Event{Adapter: "api", Kind: k, Host: h.Name, Detail: detail}
	var mac ident.MAC
	if len(h.NICs) > 0 {
		mac = h.NICs[0].MAC
	}
	e.MAC = mac
	s.Observer.Observe(timeline.Observation{
		Adapter: "api", Message: message, Outcome: reason.Outcome{Reason: reason.Changed, Host: h.Name}, Events: []timeline.Event{e},
	})
}

// stored says what an order's failed commit means for a person.
func stored(what string, err error) error {
	switch {
	case errors.Is(err, store.ErrReadOnly):
		return &Error{Status: http.StatusServiceUnavailable, Message: what + ": the store takes no writes since its disk failed (bootd status says why): repair it and restart bootd; nothing was changed"}
	case errors.Is(err, store.ErrUnknown):
		return &Error{Status: http.StatusServiceUnavailable, Message: what + ": it may or may not have been written: look at bootd status"}
	}
	return fmt.Errorf("%s: %w", what, err)
}

func lines(errs []error) string {
	out := make([]string, len(errs))
	for i, err := range errs {
		out[i] = err.Error()
	}
	return strings.Join(out, "\n")
}
