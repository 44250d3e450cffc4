package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/doctor"
	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/timeline/history"
	"bootd.internal/bootd/trace"
	"bootd.internal/bootd/upstream"
)

// Observer learns of what was ordered.
type Observer interface{ Observe(timeline.Observation) }

// Daemon is what only the daemon knows or can do.
type Daemon interface {
	// Health is version, start, readiness, tasks, problems and what keeps an inventory or the store from working.
	Health() Health
	// Stop begins the end; it returns at once.
	Stop(finalRA bool)
	// Reload serves the inventory on disk, whole or not at all.
	Reload(ctx context.Context) error
}

// Upstreams are the clients that get prefixes.
type Upstreams interface {
	Status() []upstream.Status
	// Renew asks one of them, or all, at once; Release gives back what it gave.
	Renew(ctx context.Context, name string) error
	Release(ctx context.Context, name string) error
}

// Health is the part of a Status that the daemon gives.
type Health struct {
	Ready    bool
	Version  string
	Started  time.Time
	Tasks    []TaskStatus
	Modules  []ModuleStatus
	Problems []site.Problem
	Refused  error
	Store    error
}

// Config is what the API works with.
type Config struct {
	Snapshot func() *site.Snapshot
	Store    store.Store
	History  *history.History
	// Heard is what is known of machines that nobody listed.
	Heard    *heard.Book
	Observer Observer
	Daemon   Daemon
	// Upstreams are whom this machine gets prefixes from.
	Upstreams Upstreams
	// Traces is where exchanges can be looked at.
	Traces *trace.Hub
	// Render shows what a host would be served, secrets masked.
	Render func(host, what string) (text []byte, notes []string, err error)
	// Fit says what in its templates would keep a host from being installed, nil: nothing that is known.
	Fit func(host string) error
	// Doctor looks for what keeps machines from booting.
	Doctor func(context.Context) (doctor.Report, error)
	// Authority is the certificate of bootd's own authority in PEM, nil where there is none.
	Authority func() []byte
	Now       func() time.Time
	// Rand makes the names of orders.
	Rand io.Reader
	Log  *slog.Logger
}

type server struct {
	Config
	followers chan struct{} // one place for each
}

// maxFollowers bounds the streams of events at one time: each event is handed to each of them.
const maxFollowers = 64

// maxBody bounds a request's body in octets; 10,000 host names fit.
const maxBody = 1 << 20

// New makes the handler.
func New(cfg Config) http.Handler {
	s := &server{Config: cfg, followers: make(chan struct{}, maxFollowers)}
	mux := http.NewServeMux()
	for pattern, h := range map[string]func(http.ResponseWriter, *http.Request) error{
		"GET /v1/status":                   s.status,
		"GET /v1/events":                   s.events,
		"GET /v1/explain":                  s.explain,
		"GET /v1/trace":                    s.trace,
		"GET /v1/leases":                   s.leases,
		"GET /v1/doctor":                   s.doctor,
		"GET /v1/discovered":               s.discovered,
		"GET /v1/render":                   s.render,
		"GET /v1/phones":                   s.phones,
		"GET /v1/phones/ca":                s.authority,
		"POST /v1/leases/release":          s.release,
		"POST /v1/leases/release-declined": s.releaseDeclined,
		"POST /v1/install":                 s.install,
		"POST /v1/cancel":                  s.cancel,
		"POST /v1/upstream":                s.upstream,
		"POST /v1/reload":                  s.reload,
		"POST /v1/stop":                    s.stop,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, maxBody)
			if err := h(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("%s %s is not served here", r.Method, r.URL.Path)})
	})
	return mux
}

func (s *server) fail(w http.ResponseWriter, r *http.Request, err error) {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Status: http.StatusInternalServerError, Message: err.Error()}
		s.Log.Error("request failed", "path", r.URL.Path, "error", err)
	}
	reply(w, e.Status, e)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	out := json.NewEncoder(w)
	out.SetIndent("", "  ")
	_ = out.Encode(v) // the reader went away
}

func decode(r *http.Request, v any) error {
	in := json.NewDecoder(r.Body)
	in.DisallowUnknownFields()
	if err := in.Decode(v); err != nil {
		return &Error{Status: http.StatusBadRequest, Message: "reading the request: " + err.Error()}
	}
	return nil
}

func (s *server) reload(w http.ResponseWriter, r *http.Request) error {
	if err := s.Daemon.Reload(r.Context()); err != nil {
		return &Error{Status: http.StatusConflict, Message: "keeping the inventory that is served:\n" + err.Error()}
	}
	reply(w, http.StatusOK, struct {
		Inventory InventoryStatus `json:"inventory"`
	}{s.inventory(s.Snapshot())})
	return nil
}

func (s *server) stop(w http.ResponseWriter, r *http.Request) error {
	var req StopRequest
	if err := decode(r, &req); err != nil {
		return err
	}
	s.Log.Info("stopping", "by", caller(r.Context(), ""), "final_ra", req.FinalRA)
	reply(w, http.StatusOK, struct{}{})
	s.Daemon.Stop(req.FinalRA)
	return nil
}

// Listen binds the unix socket, in place of one that nobody listens on any more, for its owner and group only.
func Listen(ctx context.Context, path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("listening on %s: a socket path has at most %d octets: give a shorter directory with --run", path, maxSocketPath)
	}
	if c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("listening on %s: another bootd answers there: stop it (bootd stop), or give this one another directory with --run", path)
	}
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSocket != 0 {
		if err := os.Remove(path); err != nil {
			return nil, fmt.Errorf("removing the old socket: %w", err)
		}
	}
	old := unix.Umask(0o177) // nobody may connect before the mode is set; the daemon starts nothing else meanwhile
	l, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	unix.Umask(old)
	if err != nil {
		return nil, fmt.Errorf("listening on %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o660); err != nil {
		return nil, errors.Join(fmt.Errorf("setting the socket's mode: %w", err), l.Close())
	}
	return l, nil
}

// maxSocketPath is sun_path without its final zero (unix(7)).
const maxSocketPath = 107

type callerKey struct{}

// ConnContext notes which user is at the other end; give it to the http.Server.
func ConnContext(ctx context.Context, c net.Conn) context.Context {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return ctx
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return ctx
	}
	var cred *unix.Ucred
	if raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }) != nil || err != nil {
		return ctx
	}
	return context.WithValue(ctx, callerKey{}, cred.Uid)
}

// caller is who asks: the name that was given, and the user id that the kernel vouches for.
func caller(ctx context.Context, name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, name)
	if len(name) > 64 {
		name = name[:64]
	}
	uid, ok := ctx.Value(callerKey{}).(uint32)
	switch {
	case !ok:
		return name
	case name == "":
		return fmt.Sprintf("uid %d", uid)
	}
	return fmt.Sprintf("%s (uid %d)", name, uid)
}
