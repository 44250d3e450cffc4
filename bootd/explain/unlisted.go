package explain

import (
	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
)

// unlisted says what a machine that nobody listed would get on each network.
func (x explainer) unlisted(m who.Match, ev []who.Evidence, what string) {
	x.r.Rule = ""
	asked := false
	for _, n := range x.Snapshot.Networks {
		if n.Unknown == "discover" {
			asked = true
			x.guest(n, ev)
		}
	}
	if !asked {
		x.note("nobody listed %s: it gets no answer on a network with unknown: ignore", what)
	} else {
		x.note("nobody listed %s", what)
	}
	if m.Observed.Valid() {
		x.note("bootd adopt %s NAME lists it", m.Observed)
		x.outcomes(m.Observed)
	}
	if x.Events != nil {
		x.r.Recent = x.Events("", m.Observed)
	}
}

// guest asks the decision itself, as firmware would.
func (x explainer) guest(n *site.Network, ev []who.Evidence) {
	q := address.Request{
		At: site.Arrival{Link: n.Interface}, Msg: address.Solicit, Client: "\x00\x00", Evidence: ev,
		IAs: []address.IA{{Kind: address.IANA}},
	}
	for _, e := range ev {
		if e.DUID != "" {
			q.Client = e.DUID
		}
	}
	d := address.Decide(x.Snapshot, x.View, q, x.Now)
	addr := "no address (" + d.Reason.String() + ")"
	if d.Reply != nil && len(d.Reply.IAs) == 1 && len(d.Reply.IAs[0].Addrs) == 1 {
		l := d.Reply.IAs[0].Addrs[0]
		addr = l.Addr.String() + " for " + l.Valid.String()
		if x.NoSecret {
			addr = "an address for " + l.Valid.String()
		}
	}
	x.note("on %s (unknown: discover, %s) it gets %s, and a script that asks who it is and boots its disk", n.Name, place(x.Snapshot, n), addr)
	for _, c := range clients() {
		b := address.ChooseBootfile(x.Snapshot, n, nil, c.req)
		if b.Reason != reason.NoBootClass {
			x.r.Boot = append(x.r.Boot, Boot{Network: n.Name, Client: c.name, URL: b.URL, Reason: b.Reason})
		}
	}
}

// place is where `unknown` was written.
func place(snap *site.Snapshot, n *site.Network) string {
	for i := range snap.Inventory.Networks {
		w := &snap.Inventory.Networks[i]
		if v := w.Unknown.Or(snap.Inventory.Defaults.Unknown); w.Name == n.Name && v.Set() {
			return linePlace(snap.Inventory.File, v.Pos)
		}
	}
	return "built in"
}

// outcomes adds the last answers and silences of a card.
func (x explainer) outcomes(m ident.MAC) {
	if x.Outcomes != nil {
		x.r.Outcomes = append(x.r.Outcomes, x.Outcomes(m)...)
	}
}
