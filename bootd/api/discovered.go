package api

import (
	"net/http"
	"time"

	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/ident"
)

const (
	// recently is how long an unlisted machine is shown by the status.
	recently = time.Hour
	// mostDiscovered bounds those that the status shows one by one.
	mostDiscovered = 5
)

// machines are those that are not listed now, the newest first.
func (s *server) machines() []heard.Machine {
	if s.Heard == nil {
		return []heard.Machine{}
	}
	snap := s.Snapshot()
	return s.Heard.Machines(func(m ident.MAC) bool {
		_, ok := snap.NIC(m)
		return ok
	})
}

func (s *server) discovered(w http.ResponseWriter, _ *http.Request) error {
	reply(w, http.StatusOK, s.machines())
	return nil
}

// unlisted adds the machines that somebody may wait for.
func (s *server) unlisted(out *Status) {
	for _, m := range s.machines() {
		if out.Now.Sub(m.Last) > recently {
			break
		}
		if out.Unlisted++; len(out.Discovered) < mostDiscovered {
			out.Discovered = append(out.Discovered, m)
		}
	}
}
