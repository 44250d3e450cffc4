package http

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"bootd.internal/bootd/decide/phone"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// phone answers a request below /yealink/, where the inventory knows phones.
func (s *Server) phone(out *response, r *http.Request, snap *site.Snapshot, p phone.Path, at site.Arrival, n *site.Network, now time.Time, obs *timeline.Observation) {
	obs.Message = "phone-" + string(p.File.Kind)
	if r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodPut {
		obs.Outcome = reason.Outcome{Reason: reason.BadMethod}
		out.Header().Set("Allow", "GET, HEAD, PUT")
		text(out, http.StatusMethodNotAllowed, "GET, HEAD and PUT are served here")
		return
	}
	q := phone.Request{
		At: at, Network: n, Path: p, Evidence: s.evidence(snap, at), Put: r.Method == http.MethodPut, Head: r.Method == http.MethodHead,
		TLS: r.TLS != nil, Device: device(r.TLS), Agent: r.UserAgent(),
	}
	q.User, q.Password, q.Basic = r.BasicAuth()
	if q.Put && snap.Phones.Local {
		body, err := io.ReadAll(io.LimitReader(r.Body, phone.MaxLocal+1))
		if err != nil {
			obs.Outcome = reason.Outcome{Reason: reason.Aborted}
			out.Header().Set("Connection", "close")
			text(out, http.StatusBadRequest, "the file did not come whole")
			return
		}
		q.Body = body
	}
	d, err := s.decidePhone(r.Context(), snap, q, now)
	obs.Outcome, obs.Events, obs.Err, obs.MAC, obs.Phone = d.Outcome, d.Events, err, d.MAC, d.Seen
	if d.Authority {
		if d.Body = s.authority(); d.Body == nil {
			text(out, http.StatusNotFound, "there is no authority of bootd's own")
			return
		}
		d.Type = "application/x-x509-ca-cert" // RFC 5280 has no type of its own; this is what phones and browsers expect
	}
	if d.Challenge {
		out.Header().Set("WWW-Authenticate", `Basic realm="bootd"`)
	}
	if q.Put {
		out.Header().Set("Connection", "close") // what is left of a body that was too long is not read
	}
	out.Header().Set("Content-Type", d.Type)
	out.Header().Set("Content-Length", strconv.Itoa(len(d.Body)))
	out.Header().Set("Cache-Control", "no-store")
	out.WriteHeader(d.Status)
	if !q.Head {
		_, _ = out.Write(d.Body) // who went away asks again
	}
}

func (s *Server) authority() []byte {
	if s.cfg.Authority == nil {
		return nil
	}
	return s.cfg.Authority()
}

// decidePhone lets decide/phone decide, and makes an upload durable.
func (s *Server) decidePhone(ctx context.Context, snap *site.Snapshot, q phone.Request, now time.Time) (phone.Decision, error) {
	templates := s.cfg.Render(snap)
	var d phone.Decision
	if !q.Put {
		s.cfg.Store.Read(func(v store.View) { d = phone.Decide(snap, v, q, templates, now) })
		return d, nil
	}
	ctx, cancel := context.WithTimeout(ctx, commitFor)
	defer cancel()
	err := s.cfg.Store.Update(ctx, func(v store.View) []store.Op {
		d = phone.Decide(snap, v, q, templates, now)
		return d.Ops
	})
	if err == nil {
		return d, nil
	}
	d.Status, d.Body, d.Events, d.Seen = http.StatusServiceUnavailable, []byte("bootd: cannot write anything down\n"), nil, nil
	d.Reason = reason.StoreUnknown
	if errors.Is(err, store.ErrReadOnly) {
		d.Reason, err = reason.StoreReadOnly, nil
	}
	if errors.Is(err, store.ErrUnknown) {
		err = nil
	}
	if err != nil {
		err = fmt.Errorf("writing down what a phone uploaded: %w", err)
	}
	return d, err
}

// handshakes hears from net/http which TLS handshakes failed: a phone that does not trust our certificate says so there, and
// nowhere else.
type handshakes struct {
	server *Server

	mu   sync.Mutex
	told time.Time
}

// tellEvery is the least time between two events of failed handshakes: anybody can cause them.
const tellEvery = 10 * time.Second

// Write implements io.Writer for log.Logger: one call is one line.
func (h *handshakes) Write(line []byte) (int, error) {
	text, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "http: TLS handshake error from ")
	peer, why, cut := strings.Cut(text, ": ")
	if !ok || !cut {
		return len(line), nil // what else net/http says quotes clients
	}
	o := timeline.Observation{Adapter: "http", Message: "handshake", Outcome: reason.Outcome{Reason: reason.TLSFailed}, Peer: strconv.Quote(peer)}
	now := h.server.cfg.Now()
	h.mu.Lock()
	if now.Sub(h.told) >= tellEvery {
		h.told = now
		o.Events = []timeline.Event{{
			Time: now, Adapter: "http", Kind: timeline.Warning, Reason: reason.TLSFailed, Addr: peer,
			Detail: fmt.Sprintf("no https with a client: %q", why[:min(len(why), 150)]),
		}}
	}
	h.mu.Unlock()
	h.server.cfg.Observer.Observe(o)
	return len(line), nil
}

// device is the MAC in the certificate that a phone showed; net/http let only signed ones through. Yealink's device certificates
// carry the MAC as their common name (docs/modules/yealink.md).
func device(c *tls.ConnectionState) ident.MAC {
	if c == nil || len(c.VerifiedChains) == 0 || len(c.PeerCertificates) == 0 {
		return ident.MAC{}
	}
	m, err := ident.ParseMAC(strings.TrimSpace(c.PeerCertificates[0].Subject.CommonName))
	if err != nil {
		return ident.MAC{}
	}
	return m
}
