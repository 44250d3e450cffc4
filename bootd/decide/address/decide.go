package address

import (
	"fmt"
	"time"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// Decide answers one message. It reads nothing but its arguments; the same arguments give the same Decision. Ops must be
// durable before Reply goes out, unless Reserved says otherwise.
func Decide(snap *site.Snapshot, v store.View, req Request, now time.Time) Decision {
	return new(Room).Decide(snap, v, req, now)
}

// Room is memory for one decision at a time. Thousands in a second would else leave it to the collector, which holds up what is
// being answered. The zero Room is ready.
type Room struct {
	x     exchange
	g     granting
	reply Reply
}

// Decide is the function of that name. What the Decision points to stands until the next one: Reply, Events, Heard, but not Ops.
func (r *Room) Decide(snap *site.Snapshot, v store.View, req Request, now time.Time) Decision {
	if r := valid(req, snap.ServerDUID); r != reason.None {
		return silence(reason.Outcome{Reason: r})
	}
	net, ok := snap.Serves(req.At)
	if !ok && req.At.Relay.IsValid() {
		return silence(reason.Outcome{Reason: reason.UnconfiguredRelay})
	}
	if !ok {
		return silence(reason.Outcome{Reason: reason.NotServedLink})
	}
	m := who.Identify(snap, v, net, req.Evidence)
	if m.Reason == reason.None && m.NIC == nil {
		m.Reason = reason.UnknownHost // a known machine, but which of its cards?
	}
	x := &r.x
	*x = exchange{
		room: r, snap: snap, view: v, net: net, req: req, now: now, match: m,
		d: Decision{Outcome: reason.Outcome{Network: net.Name, Rule: ruleName(m)}, Events: x.d.Events[:0]},
	}
	if m.Host != nil {
		x.d.Host = m.Host.Name
	}
	if m.Reason == reason.UnknownHost && m.Host == nil {
		x.swapped()
		x.unlisted()
		m.Reason = x.refusal()
	}
	defer r.forget()
	if m.Reason != reason.None {
		x.d.Reason = m.Reason
		detail := fmt.Sprintf("%s from DUID %s", req.Msg, req.Client)
		if m.Reason == reason.WrongNetwork {
			detail = fmt.Sprintf("%s on %s, but the inventory lists it for %s", req.Msg, net.Name, m.NIC.Network.Name)
		}
		x.event(timeline.DHCPIgnored, m.Reason, "", detail)
		return x.d
	}
	if m.NIC != nil {
		x.holder, x.mac = m.NIC.Holder(), m.NIC.MAC
	}
	x.boot = ChooseBootfile(snap, net, m.Host, req)
	if x.stray() {
		x.boot = phoneURL(snap, net, nil)
	}
	x.run()
	return x.d
}

// forget lets go of the snapshot and the store's state: what is kept for the next decision must not keep them.
func (r *Room) forget() {
	r.x = exchange{d: Decision{Events: r.x.d.Events}}
	r.g.ledger.view = nil
}

// swapped tells once a boot of an unlisted machine that says a host's UUID.
func (x *exchange) swapped() {
	if x.req.Msg != Solicit {
		return
	}
	h, by := who.Claimed(x.snap, x.view, x.req.Evidence)
	if detail := who.Swapped(x.snap, h, x.match.Observed, by); detail != "" {
		x.event(timeline.BoardChanged, reason.UnknownHost, "", detail)
	}
}

// exchange is one Decide under way.
type exchange struct {
	room  *Room
	snap  *site.Snapshot
	view  store.View
	net   *site.Network
	req   Request
	now   time.Time
	match who.Match
	boot  Bootfile
	d     Decision
	// holder and mac are who the leases of the asking machine belong to.
	holder string
	mac    ident.MAC
	// guest is what the address of an unlisted machine is computed from, nil for listed ones.
	guest []byte
	// pooled: the asking client is unlisted and gets addresses of a pool.
	pooled bool
	// looks counts what overlapped read (maxLooks).
	looks int
}

func (x *exchange) run() {
	switch x.req.Msg {
	case Solicit:
		x.solicit()
	case RequestMsg:
		x.request()
	case Renew, Rebind:
		x.extend()
	case Confirm:
		x.confirm()
	case Release:
		x.release()
	case Decline:
		x.decline()
	case InformationRequest:
		x.inform()
	}
}

// valid checks a message as RFC 8415 section 16 wants it.
func valid(req Request, server ident.DUID) reason.Reason {
	switch req.Msg {
	case Solicit, Confirm, Rebind:
		switch {
		case req.Client == "":
			return reason.NoClientID
		case req.Server != "":
			return reason.ServerIDForbidden
		}
	case RequestMsg, Renew, Release, Decline:
		switch {
		case req.Client == "":
			return reason.NoClientID
		case req.Server == "":
			return reason.NoServerID
		case req.Server != server:
			return reason.OtherServer
		}
	case InformationRequest:
		switch {
		case req.Server != "" && req.Server != server:
			return reason.OtherServer
		case len(req.IAs) > 0:
			return reason.Malformed
		}
	case Advertise, ReplyMsg:
		return reason.NotForServers
	default:
		return reason.UnknownMessage
	}
	if unicast(req.At) {
		return reason.UnicastForbidden
	}
	return reason.None
}

// unicast reports whether a client's own message went to an address of the server. None is taken (RFC 9915 section 16): no
// client was ever told to send one, and only what goes to a group is sure to come from the link that it came in on.
func unicast(at site.Arrival) bool {
	return !at.Relay.IsValid() && at.Dest.IsValid() && !at.Dest.IsMulticast() && !at.Dest.IsLoopback() // which has no groups
}

func silence(o reason.Outcome) Decision { return Decision{Outcome: o} }

func ruleName(m who.Match) string {
	if m.Rule == 0 {
		return ""
	}
	return m.Rule.String()
}

// event notes something about this exchange.
func (x *exchange) event(k timeline.Kind, r reason.Reason, addr, detail string) {
	mac := x.match.Observed
	if x.match.NIC != nil && x.match.NIC.MAC.Valid() {
		mac = x.match.NIC.MAC
	}
	x.d.Events = append(x.d.Events, timeline.Event{
		Kind: k, Reason: r, Host: x.d.Host, Network: x.net.Name, MAC: mac, Addr: addr, Detail: detail,
	})
}
