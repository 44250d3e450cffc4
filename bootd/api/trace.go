package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/trace"
)

// trace writes NDJSON: each exchange as it happens.
func (s *server) trace(w http.ResponseWriter, r *http.Request) error {
	f, err := s.traced(r.URL.Query().Get("who"))
	if err != nil {
		return err
	}
	reader, err := s.Traces.Open(f)
	if err != nil {
		return &Error{Status: http.StatusServiceUnavailable, Message: err.Error()}
	}
	defer reader.Close()
	w.Header().Set("Content-Type", "application/x-ndjson")
	ctl := http.NewResponseController(w)
	_ = ctl.SetReadDeadline(time.Time{}) // a stream lasts; a server that cannot is one that has no deadline
	_ = ctl.SetWriteDeadline(time.Now().Add(writeFor))
	out := json.NewEncoder(w)
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for ctl.Flush() == nil {
		var err error
		select {
		case <-r.Context().Done():
			return nil
		case <-tick.C:
			_ = ctl.SetWriteDeadline(time.Now().Add(writeFor))
			if n := reader.Lost(); n > 0 { // nothing came after them that could say so
				err = out.Encode(trace.Exchange{Time: s.Now(), Lost: n})
			} else {
				_, err = w.Write([]byte("\n"))
			}
		case x := <-reader.Exchanges():
			_ = ctl.SetWriteDeadline(time.Now().Add(writeFor))
			err = out.Encode(x)
		}
		if err != nil {
			return nil // the reader went away
		}
	}
	return nil
}

// traced reads whose exchanges are wanted: all, a host's, or those of a MAC or DUID.
func (s *server) traced(who string) (f trace.Filter, err error) {
	if who == "" {
		return f, nil
	}
	if h, ok := s.Snapshot().Host(who); ok {
		return trace.Filter{Host: h.Name}, nil
	}
	if m, err := ident.ParseMAC(who); err == nil {
		return trace.Filter{MAC: m}, nil
	}
	if d, err := ident.ParseDUID(who); err == nil {
		return trace.Filter{DUID: d}, nil
	}
	return f, &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("%q names no host of %s, and is neither a MAC nor a DUID", who, s.Snapshot().Inventory.File)}
}

// Trace gives each exchange of a host, MAC or DUID, or of all, to take, until the daemon ends, ctx ends or take says false.
// begun, which may be nil, is called once nothing is missed any more; its error ends the trace.
func (c *Client) Trace(ctx context.Context, who string, begun func() error, take func(trace.Exchange) bool) error {
	resp, err := c.do(ctx, http.MethodGet, "/v1/trace?"+url.Values{"who": {who}}.Encode(), nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if begun != nil {
		if err := begun(); err != nil {
			return err
		}
	}
	for in := json.NewDecoder(resp.Body); ; {
		var x trace.Exchange
		err := in.Decode(&x)
		switch {
		case errors.Is(err, io.EOF), ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("reading the trace: %w", err)
		}
		if !take(x) {
			return nil
		}
	}
}
