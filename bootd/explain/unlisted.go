package explain

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
)

// unlisted says what a machine that nobody listed would get on each network.
func (x explainer) unlisted(m who.Match, ev []who.Evidence, what string) {
	x.r.Rule = ""
	asked, has := false, x.leases(m.Observed, ev)
	for _, n := range x.Snapshot.Networks {
		switch n.Unknown {
		case "discover":
			asked = true
			x.guest(n, ev)
		case "pool":
			asked = true
			x.pooled(n, ev, has)
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
	x.note("on %s (unknown: discover, %s) it gets %s, and a script that asks who it is and boots its disk", n.Name, place(x.Snapshot, n), x.offered(n, ev))
	for _, c := range clients() {
		b := address.ChooseBootfile(x.Snapshot, n, nil, c.req)
		if b.Reason != reason.NoBootClass {
			x.r.Boot = append(x.r.Boot, Boot{Network: n.Name, Client: c.name, URL: b.URL, Reason: b.Reason})
		}
	}
}

// pooled says how the pool of a network stands, and what the decision offers a client that has nothing of it yet.
func (x explainer) pooled(n *site.Network, ev []who.Evidence, has bool) {
	use := address.PoolUse{}
	if x.Leases != nil {
		for _, u := range address.CountPools(x.Snapshot, x.Leases, x.Now) {
			if u.Network == n.Name {
				use = u
			}
		}
	}
	if !has && x.r.Kind != ByAddress {
		x.note("on %s (unknown: pool, %s) a client of it is offered %s", n.Name, place(x.Snapshot, n), x.offered(n, ev))
	}
	if use.Size > 0 {
		x.note("%d of %d addresses of the pool of %s are used", use.Used(), use.Size, n.Name)
	}
}

// offered is what an unlisted client is offered on a network, in words.
func (x explainer) offered(n *site.Network, ev []who.Evidence) string {
	at := site.Arrival{Link: n.Interface}
	if n.Interface == "" && len(n.Relays) > 0 {
		at.Relay = n.Relays[0]
	}
	q := address.Request{
		At: at, Msg: address.Solicit, Client: "\x00\x00", Evidence: ev,
		IAs: []address.IA{{Kind: address.IANA}},
	}
	for _, e := range ev {
		if e.DUID != "" {
			q.Client = e.DUID
		}
	}
	d := address.Decide(x.Snapshot, x.View, q, x.Now)
	if d.Reply == nil || len(d.Reply.IAs) != 1 || len(d.Reply.IAs[0].Addrs) != 1 {
		return "no address (" + d.Reason.String() + ")"
	}
	l := d.Reply.IAs[0].Addrs[0]
	if x.NoSecret {
		return "an address for " + l.Valid.String()
	}
	return l.Addr.String() + " for " + l.Valid.String()
}

// leases tells which addresses a card or a client has or declined, and reports whether it has any. A machine may run several
// clients, each with its own.
func (x explainer) leases(m ident.MAC, ev []who.Evidence) (has bool) {
	if x.Leases == nil {
		return false
	}
	const most = 8
	found := 0
	for k, raw := range x.Leases {
		b, err := lease.Decode(raw)
		if err != nil || !b.InForce(x.Now) || !b.BelongsTo("", m) && !claimedBy(b, ev) {
			continue
		}
		has = has || b.State != lease.Declined
		if found++; found > most {
			continue
		}
		until := b.ValidUntil.UTC().Format(time.RFC3339)
		text := fmt.Sprintf("it has %s on %s: %s until %s", strings.TrimSuffix(k.ID, "/128"), b.Network, b.State, until)
		if b.State == lease.Declined {
			text = fmt.Sprintf("it declined %s on %s: put aside until %s", strings.TrimSuffix(k.ID, "/128"), b.Network, until)
		}
		for _, c := range b.Claims {
			text += fmt.Sprintf(", DUID %s IAID %s", c.DUID, c.IAID)
		}
		x.note("%s", text)
	}
	if found > most {
		x.note("and %d more (bootd leases)", found-most)
	}
	return has
}

func claimedBy(b lease.Binding, ev []who.Evidence) bool {
	return slices.ContainsFunc(b.Claims, func(c lease.Claim) bool {
		return slices.ContainsFunc(ev, func(e who.Evidence) bool { return e.DUID != "" && e.DUID == c.DUID })
	})
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
