// Package advert decides what the router advertisement of a network says (RFC 4861, RFC 4191, RFC 8106) and when the
// next one is due.
//
// The package is pure: snapshot, time and chance are arguments. It never knows how an advertisement is encoded or sent,
// and never who asked for it: every machine on a link is told the same.
package advert

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
)

const (
	// maxLifetime is the largest router lifetime that fits its 16 bits of seconds (RFC 8319 section 4).
	maxLifetime = 65535 * time.Second
	// Infinite stands for a lifetime that never ends (RFC 4861 section 4.6.2); all else ends one second earlier.
	Infinite = (1<<32 - 1) * time.Second
	// minMTU is the smallest MTU of an IPv6 link (RFC 8200 section 5).
	minMTU = 1280
	// maxNames bounds the search list, so that an advertisement fits the smallest MTU: fragments are dropped
	// (RFC 6980 section 5).
	maxNames = 6
	// maxServers bounds the resolvers; hosts need not take more than three (RFC 8106 section 5.3.1).
	maxServers = 8
	// maxPrefixes bounds the prefixes.
	maxPrefixes = 8
	// medium is the only preference of what is no default router (RFC 4191 section 2.2).
	medium = "medium"
)

// RA is what one router advertisement says. Durations are whole seconds that fit their fields.
type RA struct {
	// Source is the sender's MAC, told as source link-layer address; zero: not told.
	Source ident.MAC
	// HopLimit 0: unspecified.
	HopLimit uint8
	// Managed and Other are the M and O flags: addresses by DHCPv6, other configuration by DHCPv6.
	Managed, Other bool
	// Preference of this router (RFC 4191): low, medium, high.
	Preference string
	// Lifetime as a default router, 0: none.
	Lifetime time.Duration
	Prefixes []Prefix
	// MTU 0: not told.
	MTU uint32
	// Nameservers are the resolvers and Search the domains, both good for NameLifetime (RFC 8106).
	Nameservers  []netip.Addr
	Search       []string
	NameLifetime time.Duration
}

// Prefix is one prefix information option (RFC 4861 section 4.6.2).
type Prefix struct {
	Prefix             netip.Prefix
	OnLink, Autonomous bool
	Valid, Preferred   time.Duration
}

// Decision is what to say on a link. RA is nil where nothing is said, and the Reason tells why.
type Decision struct {
	reason.Outcome
	RA *RA
	// Insist: the inventory says `router: self` in so many words, so another router on the link holds nothing back.
	Insist bool
	// Limits are the times between unsolicited advertisements.
	Limits Limits
}

// Decide says what the advertisement on a link is at a time. Reasons: Answered; NotServedLink, no network is on this
// link; RouterElsewhere, the inventory says `router: other`.
func Decide(snap *site.Snapshot, link string, now time.Time) Decision {
	n, ok := snap.ServesLink(link)
	if !ok || n.Link == nil {
		return Decision{Outcome: reason.Outcome{Reason: reason.NotServedLink}}
	}
	d := Decision{Outcome: reason.Outcome{Reason: reason.RouterElsewhere, Network: n.Name}}
	if !n.RouterSelf {
		return d
	}
	d.Reason = reason.Answered
	d.Insist = insists(snap, n)
	d.Limits = limits(n.RA)
	d.RA = &RA{
		Source: n.Link.MAC, HopLimit: uint8(min(max(n.RA.HopLimit, 0), 255)),
		Managed: n.RA.Managed, Other: n.RA.Other, Preference: n.RA.Preference,
		Lifetime:     seconds(n.RA.Lifetime, maxLifetime),
		Prefixes:     prefixes(n, now),
		Nameservers:  nameservers(n.Nameservers),
		Search:       search(n),
		NameLifetime: seconds(3*d.Limits.Max, Infinite-time.Second),
	}
	if mtu := n.RA.MTU; mtu >= minMTU {
		if n.Link.MTU >= minMTU {
			mtu = min(mtu, n.Link.MTU) // more than the link carries would black-hole what clients send
		}
		d.RA.MTU = uint32(mtu)
	}
	if d.RA.Lifetime == 0 {
		d.RA.Preference = medium
	}
	return d
}

// Final is the advertisement of a router that ends: no default router any more, all else as it was (RFC 4861 section
// 6.2.5).
func (r RA) Final() RA {
	r.Lifetime, r.Preference = 0, medium
	return r
}

// insists reports whether somebody wrote `router: self`.
func insists(snap *site.Snapshot, n *site.Network) bool {
	if snap.Inventory == nil {
		return false
	}
	for i := range snap.Inventory.Networks {
		if in := &snap.Inventory.Networks[i]; in.Name == n.Name {
			return in.Router.Set() && in.Router.V == "self"
		}
	}
	return false
}

// prefixes counts the deadlines of dynamic prefixes down; one whose preferred lifetime is over goes on with 0 until its
// valid lifetime has run out (RFC 9096 section 3.5). SLAAC needs exactly 64 bits: A is left off elsewhere.
func prefixes(n *site.Network, now time.Time) []Prefix {
	var out []Prefix
	for _, p := range n.Prefixes {
		valid, preferred := remaining(p.ValidUntil, n.Valid, now), remaining(p.PreferredUntil, n.Preferred, now)
		if !p.IsValid() || valid <= 0 || len(out) == maxPrefixes {
			continue
		}
		out = append(out, Prefix{
			Prefix: p.Masked(), OnLink: n.RA.OnLink, Autonomous: n.RA.Autonomous && p.Bits() == 64,
			Valid: valid, Preferred: min(preferred, valid),
		})
	}
	return out
}

// remaining is the network's lifetime, cut where a deadline comes earlier.
func remaining(until time.Time, lifetime time.Duration, now time.Time) time.Duration {
	if !until.IsZero() {
		lifetime = min(lifetime, until.Sub(now))
	}
	return seconds(lifetime, Infinite)
}

// seconds cuts a duration to whole seconds between 0 and most.
func seconds(d, most time.Duration) time.Duration { return min(max(d, 0), most).Truncate(time.Second) }

// nameservers leaves out what a client cannot ask.
func nameservers(from []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range from {
		usable := a.Is6() && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
		if a = a.WithZone(""); usable && !slices.Contains(out, a) && len(out) < maxServers {
			out = append(out, a)
		}
	}
	return out
}

// search is the domain and the search list, each name once, without what no name server could be asked for: one bad
// name must not cost the whole advertisement.
func search(n *site.Network) []string {
	var out []string
	for _, name := range append([]string{n.Domain}, n.Search...) {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if validName(name) && !slices.Contains(out, name) && len(out) < maxNames {
			out = append(out, name)
		}
	}
	return out
}

// validName checks the sizes of RFC 1035 section 2.3.4 and that the name is ASCII without blanks. Names over 100 octets
// are legal and refused all the same: all of them must fit.
func validName(name string) bool {
	if name == "" || len(name) > 100 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}
