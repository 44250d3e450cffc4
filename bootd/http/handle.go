package http

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/decide/phone"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// commitFor bounds the wait for durability: UEFI wants its first byte within 5 s.
const commitFor = 4 * time.Second

// maxBody is how much of a body is read before the connection is dropped: phones upload a file, and callbacks have none.
const maxBody = phone.MaxLocal + 1

// handle is every request: no ServeMux, because it would answer "//" with a redirect.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	c := r.Context().Value(connKey{}).(*conn)
	started := time.Now()
	now := s.cfg.Now()
	out := &response{ResponseWriter: w, control: http.NewResponseController(w), stall: s.cfg.Stall}
	obs := timeline.Observation{Adapter: "http", Peer: strconv.Quote(c.source.String())}
	defer func() {
		if p := recover(); p != nil {
			obs.Err = fmt.Errorf("answering a request: %v\n%s", p, debug.Stack())
		}
		obs.Took = time.Since(started)
		s.cfg.Observer.Observe(obs)
	}()
	if r.ContentLength != 0 {
		// Without a deadline a peer could hold the connection with a body that never ends.
		_ = out.control.SetReadDeadline(started.Add(s.cfg.Stall / 6))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	}
	snap := s.cfg.Snapshot()
	at, network, served := ingress.Served(snap, c.index, c.source.Addr(), c.dest)
	path := boot.ParsePath(r.URL.Path)
	asked, phones := ofPhones(snap, r)
	obs.Message = string(path.Kind)
	switch {
	case served != reason.None:
		obs.Outcome = reason.Outcome{Reason: served}
		w.Header().Set("Connection", "close")
		text(out, http.StatusForbidden, "this link is not served")
		return
	case phones:
		s.phone(out, r, snap, asked, at, network, now, &obs)
		return
	case s.cfg.TLS != nil: // what machines boot is served over plain HTTP, whose clients could check no certificate
		obs.Outcome = reason.Outcome{Reason: reason.NotFound}
		text(out, http.StatusNotFound, "no such file")
		return
	case !allowed(path.Kind, r.Method):
		obs.Message = "other"
		obs.Outcome = reason.Outcome{Reason: reason.BadMethod}
		w.Header().Set("Allow", "GET, HEAD")
		text(out, http.StatusMethodNotAllowed, "GET and HEAD are served here")
		return
	}
	f := boot.Fetch{At: at, Network: network, Path: path, Head: r.Method == http.MethodHead}
	if path.Kind == boot.File {
		s.file(out, r, snap, f, now, &obs)
		return
	}
	f.Evidence = s.evidence(snap, at)
	ask(&f, r)
	d, err := s.decide(r.Context(), snap, f, now)
	obs.Outcome, obs.Events, obs.Err = d.Outcome, d.Events, err
	obs.MAC, obs.Heard = d.MAC, d.Heard
	w.Header().Set("Content-Type", d.Type)
	w.Header().Set("Content-Length", strconv.Itoa(len(d.Body)))
	w.Header().Set("Cache-Control", "no-store")
	out.WriteHeader(d.Status)
	if !f.Head {
		_, _ = out.Write(d.Body) // who went away asks again; the decision stands
		_ = out.control.Flush()  // the kernel has it before anybody hears that it was fetched, and sends it whatever becomes of us
	}
}

// ofPhones reads a path below /yealink/; where the inventory knows no phones, that is a directory like any other.
func ofPhones(snap *site.Snapshot, r *http.Request) (phone.Path, bool) {
	p, ok := phone.ParsePath(r.URL.Path)
	return p, ok && snap.Phones != nil
}

func allowed(k boot.Kind, method string) bool {
	return method == http.MethodGet || method == http.MethodHead || method == http.MethodPost && k == boot.Callback
}

// ask reads the query. What does not fit is as if it were not said.
func ask(f *boot.Fetch, r *http.Request) {
	q := r.URL.Query()
	if u, err := ident.ParseUUID(q.Get("uuid")); err == nil && u.Identifies() {
		f.UUID = u
	}
	if serial := strings.TrimSpace(q.Get("serial")); len(serial) <= 128 {
		f.Serial = serial
	}
	f.Stage, f.Why = q.Get("stage"), q.Get("why")
	f.Said = boot.Said{
		Manufacturer: q.Get("manufacturer"), Product: q.Get("product"), BuildArch: q.Get("arch"), Platform: q.Get("platform"),
	}
	if m, err := ident.ParseMAC(q.Get("mac")); err == nil {
		f.Said.MAC = m
	}
}

// evidence is what a connection says of its peer: the neighbour table's MAC, and what its address holds. An address alone
// counts only behind a router. On the link anybody can take any address: whose card the kernel does not know just now
// (it stopped to answer solicitations, for one) is nobody, else it would be whoever owns the address.
func (s *Server) evidence(snap *site.Snapshot, at site.Arrival) []who.Evidence {
	if at.Relay.IsValid() {
		return who.Source(at.Source) // what its frame says is the router's
	}
	m, ok := s.cfg.Neighbours.MAC(at.Index, at.Source)
	switch {
	case ok:
		return append(who.Frame(m), who.Source(at.Source)...)
	case onLink(snap, at):
		return nil
	}
	return who.Source(at.Source)
}

// onLink reports whether a peer is a neighbour: its address is link-local, or of the network on the link that it came in on.
func onLink(snap *site.Snapshot, at site.Arrival) bool {
	n, ok := snap.Serves(at)
	return at.Source.IsLinkLocalUnicast() || ok && !at.Relay.IsValid() && n.Contains(at.Source)
}

// decide lets decide/boot decide and makes the decision durable. A script that changes nothing needs no commit: a rack
// that boots its disks does not wait for ours.
func (s *Server) decide(ctx context.Context, snap *site.Snapshot, f boot.Fetch, now time.Time) (boot.Decision, error) {
	templates := s.cfg.Render(snap)
	var random [16]byte
	var d boot.Decision
	decide := func(v store.View) { d = boot.Decide(snap, v, f, templates, now, random) }
	if f.Path.Kind == boot.Script || f.Path.Kind == boot.Discovered {
		s.cfg.Store.Read(decide)
		if len(d.Ops) == 0 {
			return d, nil
		}
		if _, err := io.ReadFull(s.cfg.Rand, random[:]); err != nil {
			return boot.Unsaved(d, reason.StoreUnknown, templates), fmt.Errorf("reading random octets: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, commitFor)
	defer cancel()
	err := s.cfg.Store.Update(ctx, func(v store.View) []store.Op {
		decide(v)
		return d.Ops
	})
	switch {
	case err == nil:
		return d, nil
	case errors.Is(err, store.ErrReadOnly):
		return boot.Unsaved(d, reason.StoreReadOnly, templates), nil
	case errors.Is(err, store.ErrUnknown):
		return boot.Unsaved(d, reason.StoreUnknown, templates), nil
	}
	return boot.Unsaved(d, reason.StoreUnknown, templates), fmt.Errorf("writing down a boot decision: %w", err)
}

// Virtual gives what TFTP serves besides files: autoexec.ipxe, which iPXE asks for where it was loaded from.
func (s *Server) Virtual(ctx context.Context, at site.Arrival, name string) ([]byte, bool) {
	if name != "autoexec.ipxe" {
		return nil, false
	}
	snap := s.cfg.Snapshot()
	n, ok := snap.Serves(at)
	if !ok {
		return nil, false
	}
	f := boot.Fetch{At: at, Network: n, Path: boot.Path{Kind: boot.Script, Autoexec: true}, Evidence: s.evidence(snap, at)}
	d, err := s.decide(ctx, snap, f, s.cfg.Now())
	return d.Body, err == nil && len(d.Ops) == 0
}

func text(w *response, status int, msg string) {
	body := "bootd: " + msg + "\n"
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body)
}
