package address

import (
	"net/netip"
	"slices"
	"time"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

// Lifetimes of an address of a machine that nobody listed: long enough for firmware, iPXE and its script, short enough
// that it is free again soon after the machine was listed or went away.
const (
	guestPreferred = 5 * time.Minute
	guestValid     = 10 * time.Minute
)

// The values of `unknown:` that give unlisted machines something: discover lets them tell who they are, pool gives them
// addresses.
const (
	discover = "discover"
	pool     = "pool"
)

// refusal is why a machine that nobody listed gets nothing, None when it is served.
func (x *exchange) refusal() reason.Reason {
	switch {
	case x.net.Unknown != discover && x.net.Unknown != pool:
		return reason.UnknownHost
	case x.req.Hold == reason.RateLimited, x.req.Hold != reason.None && !x.net.RouterWritten:
		return x.req.Hold
	}
	x.d.Rule = "unknown: " + x.net.Unknown
	return reason.None
}

// unlisted notes who asks. Its leases belong to its MAC, so that firmware, iPXE and a system on one card share one address;
// where no MAC is in evidence they belong to DUID and IAID (RFC 7943 section 4.1).
func (x *exchange) unlisted() {
	x.mac = x.match.Observed
	switch {
	case x.net.Unknown == pool:
		x.pooled = true
	case x.mac.Valid():
		x.holder, x.guest = x.mac.String(), x.mac[:]
	default:
		x.mac = ident.MAC{}
		iaid := ident.IAID(0)
		if i := slices.IndexFunc(x.req.IAs, func(ia IA) bool { return ia.Kind == IANA }); i >= 0 {
			iaid = x.req.IAs[i].IAID
		}
		x.holder = lease.ClientHolder(x.req.Client, iaid)
		x.guest = []byte(x.holder)
	}
	m := &timeline.Machine{
		MAC: x.mac, Network: x.net.Name, Link: x.req.At.Link, DUID: x.req.Client, Client: clientOf(x.req),
	}
	if a, ok := archOf(x.req); ok {
		m.Arch = archName(a)
	}
	for _, e := range x.req.Evidence {
		if e.Kind == who.SMBIOSUUID && m.Client == clientIPXE { // firmware's has another byte order
			m.UUID = e.UUID
		}
	}
	x.d.Heard = m
}

const (
	clientIPXE     = "ipxe"
	clientFirmware = "firmware"
	clientSystem   = "system"
)

// clientOf says what kind of program asks.
func clientOf(req Request) string {
	if slices.ContainsFunc(req.Classes, func(c []byte) bool { return string(c) == "iPXE" }) {
		return clientIPXE
	}
	if _, ok := archOf(req); ok || slices.Contains(req.ORO, optBootfileURL) {
		return clientFirmware
	}
	return clientSystem
}

// guestAddrs is the address of an unlisted machine in each prefix: the first of its slots that is its own, else the first
// that is free.
func (x *exchange) guestAddrs(l *ledger) []netip.Addr {
	var out []netip.Addr
	for _, p := range x.net.Prefixes {
		if !x.alive(p) {
			continue
		}
		var free netip.Addr
		for a := range x.snap.Guest(x.net, p.Prefix, x.guest) {
			e := l.at(a)
			if e.found && e.b.InForce(x.now) {
				if x.mine(e, IA{}) && e.b.State != lease.Declined {
					free = a
					break
				}
				continue
			}
			if !free.IsValid() {
				free = a
			}
		}
		if free.IsValid() {
			out = append(out, free)
		}
	}
	return out
}
