// Package advert decides what the router advertisement of a network says (RFC 4861, RFC 4191, RFC 8106, RFC 8781, RFC 8910,
// RFC 9096) and when the
// next one is due.
//
// The package is pure: snapshot, time and chance are arguments. It never knows how an advertisement is encoded or sent,
// and never who asked for it: every machine on a link is told the same.
package advert

import (
	"net/netip"
	"reflect"
	"slices"
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
	// maxTimer is the largest that fits 32 bits of milliseconds.
	maxTimer = (1<<32 - 1) * time.Millisecond
	// minMTU is the smallest MTU of an IPv6 link (RFC 8200 section 5).
	minMTU = 1280
	// medium is the only preference of what is no default router (RFC 4191 section 2.2).
	medium = "medium"
)

// RA is what one router advertisement says. Durations are whole seconds that fit their fields, timers whole milliseconds.
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
	// ReachableTime and RetransTimer 0: unspecified.
	ReachableTime, RetransTimer time.Duration
	Prefixes                    []Prefix
	// MTU 0: not told.
	MTU uint32
	// Nameservers are the resolvers, good for RDNSSLifetime, and Search the domains, good for DNSSLLifetime (RFC 8106).
	Nameservers                  []netip.Addr
	RDNSSLifetime, DNSSLLifetime time.Duration
	Search                       []string
	// Routes besides the default route (RFC 4191 section 2.3); a Lifetime of 0 takes one back.
	Routes []site.Route
	// Pref64 are the prefixes of NAT64 (RFC 8781), with lifetimes that are multiples of 8 s.
	Pref64 []site.Pref64
	// CaptivePortal is a URI (RFC 8910); empty: not told.
	CaptivePortal string
	// Room is the largest packet in octets that the link carries whole: fragments are dropped (RFC 6980 section 5).
	Room int
}

// Prefix is one prefix information option (RFC 4861 section 4.6.2).
type Prefix struct {
	Prefix             netip.Prefix
	OnLink, Autonomous bool
	Valid, Preferred   time.Duration
	// Ends is when the prefix is no longer valid; zero: nobody set an end, and each advertisement begins Valid anew.
	Ends time.Time
	// Stale: the network does not have it any more.
	Stale bool
}

// Decision is what to say on a link. RA is nil where nothing is said, and the Reason tells why.
type Decision struct {
	reason.Outcome
	RA *RA
	// Left is what did not fit, or what no host would understand: one line each.
	Left []string
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
		Lifetime:      seconds(n.RA.Lifetime, maxLifetime),
		ReachableTime: milliseconds(n.RA.ReachableTime), RetransTimer: milliseconds(n.RA.RetransTimer),
		RDNSSLifetime: seconds(n.RA.RDNSSLifetime, Infinite), DNSSLLifetime: seconds(n.RA.DNSSLLifetime, Infinite),
		Room: max(n.Link.MTU, minMTU),
	}
	if mtu := n.RA.MTU; mtu >= minMTU {
		if n.Link.MTU >= minMTU {
			mtu = min(mtu, n.Link.MTU) // more than the link carries would black-hole what clients send
		}
		d.RA.MTU = uint32(mtu)
		d.RA.Room = min(d.RA.Room, mtu) // who needs a smaller MTU hears nothing larger
	}
	if d.RA.Lifetime == 0 {
		d.RA.Preference = medium
	}
	d.Left = fill(d.RA, n, now)
	return d
}

// Final is the advertisement of a router that ends: no default router any more, all else as it was (RFC 4861 section
// 6.2.5).
func (r RA) Final() RA {
	r.Lifetime, r.Preference = 0, medium
	return r
}

// Withdrawn is the last advertisement on a link that no network is on any more: nothing of what it said holds.
func (r RA) Withdrawn() RA {
	r = r.Final()
	r.RDNSSLifetime, r.DNSSLLifetime = 0, 0
	r.Prefixes, r.Routes, r.Pref64 = slices.Clone(r.Prefixes), slices.Clone(r.Routes), slices.Clone(r.Pref64)
	for i := range r.Prefixes {
		p := &r.Prefixes[i]
		p.Valid, p.Preferred = min(p.Valid, validLimit), 0
	}
	for i := range r.Routes {
		r.Routes[i].Lifetime = 0
	}
	for i := range r.Pref64 {
		r.Pref64[i].Lifetime = 0
	}
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

// Limits of lifetimes: of a prefix whose end somebody else sets (RFC 9096 section 3.4, ND_PREFERRED_LIMIT and ND_VALID_LIMIT),
// and of what is still said of one that has gone.
const (
	preferredLimit = 2700 * time.Second
	validLimit     = 5400 * time.Second
)

// prefixes counts the deadlines of dynamic prefixes down; one whose preferred lifetime is over goes on with 0 until its
// valid lifetime has run out. SLAAC needs exactly 64 bits: A is left off elsewhere.
func prefixes(n *site.Network, now time.Time) []Prefix {
	var out []Prefix
	for _, p := range n.Prefixes {
		as := n.Advertised(p.Prefix)
		if !p.ValidUntil.IsZero() {
			as.Preferred, as.Valid = min(as.Preferred, preferredLimit), min(as.Valid, validLimit)
		}
		valid, preferred := remaining(p.ValidUntil, as.Valid, now), remaining(p.PreferredUntil, as.Preferred, now)
		if !p.IsValid() || valid <= 0 {
			continue
		}
		out = append(out, Prefix{
			Prefix: p.Masked(), OnLink: as.OnLink, Autonomous: as.Autonomous && p.Bits() == 64,
			Valid: valid, Preferred: min(preferred, valid), Ends: p.ValidUntil,
		})
	}
	return out
}

// stale goes on with the prefixes that the network had before, preferred lifetime 0 and flags as they were, for as long as
// hosts may have addresses in them: whoever slept meanwhile must hear it too (RFC 9096 section 3.5). What is said to be left
// of them is what the RFC lets a prefix have at most, so that connections end in peace; nothing of one that is elsewhere now.
func stale(n *site.Network, now time.Time) []Prefix {
	var out []Prefix
	for _, s := range n.Stale {
		valid := remaining(s.ValidUntil, validLimit, now)
		if s.ValidUntil.Sub(now) < time.Second {
			continue
		}
		if s.Moved {
			valid = 0
		}
		out = append(out, Prefix{
			Prefix: s.Prefix, OnLink: s.OnLink, Autonomous: s.Autonomous, Valid: valid, Ends: s.ValidUntil, Stale: true,
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

func milliseconds(d time.Duration) time.Duration {
	return min(max(d, 0), maxTimer).Truncate(time.Millisecond)
}

// Same reports whether two advertisements tell hosts the same, apart from lifetimes that count down by themselves.
func (r RA) Same(other RA) bool {
	still := func(r RA) RA {
		r.Prefixes = slices.Clone(r.Prefixes)
		for i := range r.Prefixes {
			if p := &r.Prefixes[i]; !p.Ends.IsZero() {
				p.Valid, p.Ends = 0, time.Unix(1, 0)
				if p.Preferred > 0 {
					p.Preferred = 1
				}
			}
		}
		return r
	}
	return reflect.DeepEqual(still(r), still(other))
}
