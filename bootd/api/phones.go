package api

import (
	"net/http"

	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
)

// seen is what phones told, by MAC.
func (s *server) seen() map[ident.MAC]heard.Phone {
	out := map[ident.MAC]heard.Phone{}
	if s.Heard == nil {
		return out
	}
	for _, p := range s.Heard.Phones() {
		out[p.MAC] = p
	}
	return out
}

// phones lists those of the inventory in its order, then those that nobody listed.
func (s *server) phones(w http.ResponseWriter, _ *http.Request) error {
	snap, seen := s.Snapshot(), s.seen()
	out := []Phone{}
	for _, h := range snap.Hosts {
		if h.Phone == nil {
			continue
		}
		p := Phone{Name: h.Name, MAC: h.MAC(), Listed: h.Phone.Model.Name, URL: snap.FirstURL(h, home(snap, h), true)}
		if told, ok := seen[p.MAC]; ok {
			p.Seen = &told
			delete(seen, p.MAC)
		}
		out = append(out, p)
	}
	if s.Heard != nil {
		for _, told := range s.Heard.Phones() {
			if _, left := seen[told.MAC]; left {
				told.Host = ""
				out = append(out, Phone{MAC: told.MAC, Seen: &told})
			}
		}
	}
	reply(w, http.StatusOK, out)
	return nil
}

// home is the network that a phone is on, as far as the inventory says.
func home(snap *site.Snapshot, h *site.Host) *site.Network {
	if len(h.NICs) > 0 && h.NICs[0].Network != nil {
		return h.NICs[0].Network
	}
	if len(snap.Networks) > 0 {
		return snap.Networks[0]
	}
	return nil
}

func (s *server) authority(w http.ResponseWriter, _ *http.Request) error {
	var text []byte
	if s.Authority != nil {
		text = s.Authority()
	}
	if text == nil {
		return &Error{Status: http.StatusNotFound, Message: "there is no authority of bootd's own: it is made for phones that are served over https without certificate and key in the section yealink"}
	}
	reply(w, http.StatusOK, Authority{PEM: string(text)})
	return nil
}

// firmware adds what phones say of themselves.
func (s *server) firmware(out *Status) {
	snap := s.Snapshot()
	if snap.Phones == nil {
		return
	}
	seen := s.seen()
	for i := range out.Hosts {
		h := &out.Hosts[i]
		if p, ok := seen[h.MAC]; ok {
			h.Model, h.Firmware = p.Model, p.Firmware
		}
	}
}
