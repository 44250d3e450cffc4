package explain

import (
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
)

// provisioning says where a phone's files are, and what a person has to do.
func (x explainer) provisioning(h *site.Host, n *site.Network) {
	m := h.Phone.Model
	b := Boot{Network: n.Name, Client: "Yealink " + m.Name, URL: x.Snapshot.FirstURL(h, n, x.NoSecret), Reason: reason.PhoneURL}
	if b.URL == "" {
		b.Reason = reason.NoServerAddress
	}
	x.r.Boot = append(x.r.Boot, b)
	switch {
	case b.URL == "":
	case m.NoDHCPv6:
		x.note("a %s has no DHCPv6: type %s in once, in its web page under Settings, Auto Provision, Server URL", m.Name, b.URL)
	default:
		x.note("DHCPv6 tells it the URL in options %v; where it does not take it, type it in once, in its web page under Settings, Auto Provision, Server URL", x.Snapshot.Phones.Options)
	}
}
