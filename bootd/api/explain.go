package api

import (
	"net/http"

	"bootd.internal/bootd/explain"
	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/timeline/history"
)

// recentEvents is how many events an explanation ends with.
const recentEvents = 12

func (s *server) explain(w http.ResponseWriter, r *http.Request) error {
	var report explain.Report
	var err error
	s.Store.Read(func(v store.View) {
		report, err = explain.Explain(explain.Source{
			Snapshot: s.Snapshot(), View: v, Leases: s.Store.Scan(store.TableLease, ""), Now: s.Now(), Events: s.recent, Outcomes: s.outcomes,
		}, r.URL.Query().Get("q"))
	})
	if err != nil {
		return &Error{Status: http.StatusNotFound, Message: err.Error()}
	}
	reply(w, http.StatusOK, report)
	return nil
}

// recent are the newest events of a host, or of a MAC that nobody listed.
func (s *server) recent(host string, mac ident.MAC) []timeline.Event {
	if host != "" {
		return s.History.Events(history.Query{Host: host, Limit: recentEvents})
	}
	if !mac.Valid() {
		return nil
	}
	return s.History.Events(history.Query{Only: from(mac), Limit: recentEvents})
}

func (s *server) render(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	text, notes, err := s.Render(q.Get("host"), q.Get("what"))
	if err != nil {
		return &Error{Status: http.StatusNotFound, Message: err.Error()}
	}
	reply(w, http.StatusOK, Rendered{Text: string(text), Notes: notes})
	return nil
}

// outcomes are the last answers and silences of a card.
func (s *server) outcomes(m ident.MAC) []heard.Outcome {
	if s.Heard == nil {
		return nil
	}
	return s.Heard.Outcomes(m)
}
