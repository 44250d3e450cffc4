package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/timeline/history"
)

const (
	// eventLimit is how many past events are given unless limit says otherwise.
	eventLimit = 1000
	// keepAlive is how often a quiet stream gets an empty line, which JSON readers skip.
	keepAlive = 15 * time.Second
	// writeFor is how long a reader may take for one write.
	writeFor = 10 * time.Second
)

// events writes NDJSON: what there is, and with follow=1 what comes.
func (s *server) events(w http.ResponseWriter, r *http.Request) error {
	q, err := s.query(r.URL.Query())
	if err != nil {
		return err
	}
	out := json.NewEncoder(w)
	if r.URL.Query().Get("follow") == "" {
		w.Header().Set("Content-Type", "application/x-ndjson")
		for _, e := range s.History.Events(q) {
			if out.Encode(e) != nil {
				return nil // the reader went away
			}
		}
		return nil
	}
	select {
	case s.followers <- struct{}{}:
		defer func() { <-s.followers }()
	default:
		return &Error{Status: http.StatusServiceUnavailable, Message: fmt.Sprintf("%d readers follow the events already", maxFollowers)}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	past, reader := s.History.Follow(q)
	defer reader.Close()
	ctl := http.NewResponseController(w)
	_ = ctl.SetReadDeadline(time.Time{}) // a stream lasts; a server that cannot is one that has no deadline
	send := func(e timeline.Event) error {
		_ = ctl.SetWriteDeadline(time.Now().Add(writeFor))
		return out.Encode(e)
	}
	for _, e := range past {
		if send(e) != nil {
			return nil
		}
	}
	s.stream(w, r, ctl, reader, send)
	return nil
}

// stream sends what comes, each event at once, until somebody ends it.
func (s *server) stream(w http.ResponseWriter, r *http.Request, ctl *http.ResponseController, reader *history.Reader, send func(timeline.Event) error) {
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for ctl.Flush() == nil {
		var err error
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
			_ = ctl.SetWriteDeadline(time.Now().Add(writeFor))
			_, err = w.Write([]byte("\n"))
		case e, open := <-reader.Events():
			if !open {
				if reader.Dropped() {
					_ = send(timeline.Event{Time: s.Now(), Adapter: "api", Kind: timeline.Warning, Detail: "dropped for reading too slowly: follow again with after=SEQ"})
				}
				return
			}
			err = send(e)
		}
		if err != nil {
			return
		}
	}
}

// named takes what stands for a host: its name, also that of a host which is not listed any more, or a MAC.
func (s *server) named(q *history.Query) error {
	if _, ok := s.Snapshot().Host(q.Host); ok {
		return nil
	}
	if m, err := ident.ParseMAC(q.Host); err == nil {
		if nic, ok := s.Snapshot().NIC(m); ok {
			q.Host = nic.Host.Name
		} else {
			q.Host, q.Only = "", from(m)
		}
		return nil
	}
	if _, ok := s.History.Hosts()[q.Host]; !ok {
		return &Error{Status: http.StatusNotFound, Message: fmt.Sprintf("%q names no host of %s, and is no MAC", q.Host, s.Snapshot().Inventory.File)}
	}
	return nil
}

// from tells the events of a machine that nobody listed.
func from(m ident.MAC) func(timeline.Event) bool {
	return func(e timeline.Event) bool { return e.MAC == m }
}

func (s *server) query(v url.Values) (history.Query, error) {
	q := history.Query{Host: v.Get("host"), Limit: eventLimit}
	bad := func(key, want string) error {
		return &Error{Status: http.StatusBadRequest, Message: fmt.Sprintf("%s=%q: want %s", key, v.Get(key), want)}
	}
	if q.Host != "" {
		if err := s.named(&q); err != nil {
			return q, err
		}
	}
	if t := v.Get("since"); t != "" {
		if d, err := time.ParseDuration(t); err == nil {
			q.Since = s.Now().Add(-d)
		} else if q.Since, err = time.Parse(time.RFC3339, t); err != nil {
			return q, bad("since", "a time such as 2026-01-02T15:04:05Z, or how long ago, such as 10m")
		}
	}
	if t := v.Get("after"); t != "" {
		n, err := strconv.ParseUint(t, 10, 64)
		if err != nil {
			return q, bad("after", "the number of an event")
		}
		q.After = n
	}
	if t := v.Get("limit"); t != "" {
		n, err := strconv.Atoi(t)
		if err != nil || n < 1 {
			return q, bad("limit", "a number above 0")
		}
		q.Limit = n
	}
	return q, nil
}
