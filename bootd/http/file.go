package http

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"slices"
	"time"

	"bootd.internal/bootd/decide/boot"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/files"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// file serves one file. Ranges, ETag and If-Range are net/http's (RFC 9110 sections 13 and 14).
func (s *Server) file(w *response, r *http.Request, snap *site.Snapshot, f boot.Fetch, now time.Time, obs *timeline.Observation) {
	d := boot.Decide(snap, nil, f, nil, now, [16]byte{})
	obs.Outcome = d.Outcome
	file, info, err := s.cfg.Files.Open(d.File)
	switch {
	case errors.Is(err, files.ErrOutside):
		obs.Outcome.Reason = reason.OutsideRoot
		text(w, http.StatusNotFound, "no such file")
		return
	case errors.Is(err, files.ErrNotFound):
		obs.Outcome.Reason = reason.NotFound
		text(w, http.StatusNotFound, "no such file")
		return
	case err != nil:
		obs.Err = err
		text(w, http.StatusInternalServerError, "this file cannot be read")
		return
	}
	defer file.Close() // it was only read
	w.Header().Set("Content-Type", typeOf(d.File))
	w.Header().Set("ETag", fmt.Sprintf(`"%x-%x"`, info.Size(), info.ModTime().UnixNano()))
	http.ServeContent(w, r, "", info.ModTime(), file)
	switch {
	case errors.Is(w.err, os.ErrDeadlineExceeded):
		obs.Outcome.Reason = reason.TimedOut
	case w.err != nil:
		obs.Outcome.Reason = reason.Aborted
	case r.Method == http.MethodGet && w.status == http.StatusOK && w.written == info.Size():
		obs.Events = s.fetched(snap, f, d.File, now, &obs.Outcome)
	}
}

// fetched is the event of a file that a boot is made of; others, such as a mirror's packages, make none.
func (s *Server) fetched(snap *site.Snapshot, f boot.Fetch, file string, now time.Time, o *reason.Outcome) []timeline.Event {
	kind, ok := bootFile(snap, file)
	if !ok {
		return nil
	}
	var m who.Match
	evidence := s.evidence(snap, f.At)
	s.cfg.Store.Read(func(v store.View) { m = who.Identify(snap, v, f.Network, evidence) })
	e := timeline.Event{
		Time: now, Adapter: "http", Kind: kind, Reason: o.Reason, Network: o.Network, MAC: m.Observed,
		Addr: f.At.Source.String(), Detail: fmt.Sprintf("%q", file),
	}
	if m.Host != nil && m.Reason == reason.None {
		o.Host, o.Rule = m.Host.Name, m.Rule.String()
		e.Host = m.Host.Name
		if m.NIC != nil {
			e.MAC = m.NIC.MAC
		}
	}
	return []timeline.Event{e}
}

// bootFile tells boot loaders, kernels and initrds from everything else.
func bootFile(snap *site.Snapshot, file string) (timeline.Kind, bool) {
	for _, loader := range snap.Loaders {
		if loader == file {
			return timeline.LoaderFetched, true
		}
	}
	for _, p := range snap.Profiles {
		if p.Kernel == file || slices.Contains(p.Initrd, file) {
			return timeline.FileFetched, true
		}
	}
	if path.Ext(file) == ".efi" {
		return timeline.LoaderFetched, true
	}
	return "", false
}

// typeOf is the Content-Type: UEFI takes a file's kind from it (UEFI 2.10 section 24.7.3.2); nothing is sniffed.
func typeOf(file string) string {
	switch path.Ext(file) {
	case ".efi":
		return "application/efi"
	case ".iso":
		return "application/vnd.efi-iso"
	case ".img":
		return "application/vnd.efi-img"
	case ".ipxe", ".cfg", ".txt", ".conf", ".yaml":
		return "text/plain; charset=utf-8"
	}
	return "application/octet-stream"
}

// response counts what was written and moves the deadline on while the peer takes it.
type response struct {
	http.ResponseWriter
	control *http.ResponseController
	stall   time.Duration
	status  int
	written int64
	err     error
}

// step is how much a peer must take within one stall.
const step = 1 << 20

// WriteHeader notes the status.
func (w *response) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write notes octets and the first error.
func (w *response) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	return n, w.note(int64(n), err)
}

// ReadFrom sends a file step by step, each with the kernel's sendfile.
func (w *response) ReadFrom(src io.Reader) (total int64, err error) {
	limit, ok := src.(*io.LimitedReader)
	if !ok {
		limit = &io.LimitedReader{R: src, N: 1<<63 - 1}
	}
	for limit.N > 0 {
		if err := w.control.SetWriteDeadline(time.Now().Add(w.stall)); err != nil {
			return total, w.note(0, err)
		}
		want := min(limit.N, step)
		n, err := io.CopyN(w.ResponseWriter, limit.R, want)
		total += n
		limit.N -= n
		if errors.Is(err, io.EOF) {
			return total, w.note(n, nil)
		}
		if w.note(n, err) != nil {
			return total, err
		}
	}
	return total, nil
}

func (w *response) note(n int64, err error) error {
	w.written += n
	if err != nil && w.err == nil {
		w.err = err
	}
	return err
}
