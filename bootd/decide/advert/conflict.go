package advert

import (
	"fmt"
	"slices"
	"time"

	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// Kind is what another router's advertisement contradicts. Its text is a metric's label.
type Kind string

// The kinds: those of RFC 4861 section 6.2.7, and what an IPv6-only network breaks on besides.
const (
	Managed        Kind = "managed"
	Other          Kind = "other"
	HopLimit       Kind = "hop-limit"
	ReachableTime  Kind = "reachable-time"
	RetransTimer   Kind = "retrans-timer"
	MTU            Kind = "mtu"
	PrefixFlags    Kind = "prefix-flags"
	PrefixLifetime Kind = "prefix-lifetime"
	ForeignPrefix  Kind = "foreign-prefix"
	Resolver       Kind = "resolver"
	DefaultRouter  Kind = "default-router"
)

// Kinds are all of them.
func Kinds() []Kind {
	return []Kind{
		Managed, Other, HopLimit, ReachableTime, RetransTimer, MTU, PrefixFlags, PrefixLifetime, ForeignPrefix, Resolver, DefaultRouter,
	}
}

// Conflict is one contradiction: what the other router says, and what follows from it.
type Conflict struct {
	Kind              Kind
	What, Consequence string
}

// Conflicts compares what another router on a network's link says with what we say, ours; nil: nothing, which leaves what the
// inventory says of the network.
func Conflicts(n *site.Network, ours *RA, theirs timeline.Foreign) []Conflict {
	var out []Conflict
	add := func(k Kind, consequence, what string, args ...any) {
		out = append(out, Conflict{Kind: k, What: fmt.Sprintf(what, args...), Consequence: consequence})
	}
	if n.RouterSelf && theirs.Lifetime > 0 {
		add(DefaultRouter, "machines may send their traffic to either", "router lifetime %v", theirs.Lifetime)
	}
	if ours != nil {
		flags(*ours, theirs, add)
		values(*ours, theirs, add)
		for _, p := range ours.Prefixes {
			samePrefix(p, theirs.Prefixes, add)
		}
	}
	for _, p := range theirs.Prefixes {
		if p.Valid > 0 && (p.Autonomous || p.OnLink) && !slices.ContainsFunc(n.Prefixes, func(own site.Prefix) bool { return own.Masked() == p.Prefix }) {
			add(ForeignPrefix, "machines make addresses in it that neither DHCPv6 nor DNS of this site know, and may send from them",
				"the prefix %s, which is none of %s", p.Prefix, n.Name)
		}
	}
	for _, a := range theirs.Nameservers {
		if !slices.Contains(n.Nameservers, a) {
			add(Resolver, "machines that ask it find no name of this site", "the resolver %s, which %s does not name", a, n.Name)
		}
	}
	return out
}

type adder func(k Kind, consequence, what string, args ...any)

func flags(ours RA, theirs timeline.Foreign, add adder) {
	if ours.Managed != theirs.Managed {
		consequence := "machines ask DHCPv6 for addresses although ra.managed is false"
		switch {
		case !theirs.Managed && !theirs.Other:
			consequence = "iPXE will not ask DHCPv6 when it hears this one first: no boot script"
		case !theirs.Managed:
			consequence = "iPXE asks DHCPv6 for options only, and Ubuntu's installer, which takes its address by DHCPv6, gets none"
		}
		add(Managed, consequence, "M=%d where bootd says M=%d", bit(theirs.Managed), bit(ours.Managed))
	}
	if ours.Other != theirs.Other && !theirs.Managed { // M makes O redundant (RFC 4861 section 4.2)
		add(Other, "machines do or do not ask DHCPv6 for options, by whom they heard last", "O=%d where bootd says O=%d", bit(theirs.Other), bit(ours.Other))
	}
}

// values compares what is only compared where both specify it (RFC 4861 section 6.2.7).
func values(ours RA, theirs timeline.Foreign, add adder) {
	if ours.HopLimit != 0 && theirs.HopLimit != 0 && int(ours.HopLimit) != theirs.HopLimit {
		add(HopLimit, "machines change their hop limit with each advertisement; with the lower one far hosts may be out of reach",
			"hop limit %d where bootd says %d", theirs.HopLimit, ours.HopLimit)
	}
	if ours.MTU != 0 && theirs.MTU != 0 && int(ours.MTU) != theirs.MTU {
		add(MTU, "machines change their MTU with each advertisement; with the larger one connections may stall", "MTU %d where bootd says %d", theirs.MTU, ours.MTU)
	}
	timer := func(k Kind, name string, our, their time.Duration) {
		if our != 0 && their != 0 && our != their {
			add(k, "machines change how they look for neighbours with each advertisement", "%s %v where bootd says %v", name, their, our)
		}
	}
	timer(ReachableTime, "reachable time", ours.ReachableTime, theirs.ReachableTime)
	timer(RetransTimer, "retransmission timer", ours.RetransTimer, theirs.RetransTimer)
}

func samePrefix(p Prefix, all []timeline.ForeignPrefix, add adder) {
	i := slices.IndexFunc(all, func(x timeline.ForeignPrefix) bool { return x.Prefix == p.Prefix })
	if i < 0 {
		return
	}
	x := all[i]
	if x.OnLink != p.OnLink || x.Autonomous != p.Autonomous {
		add(PrefixFlags, "some machines make addresses in it or find their neighbours, and some do not, by whom they heard",
			"%s with L=%d A=%d where bootd says L=%d A=%d", p.Prefix, bit(x.OnLink), bit(x.Autonomous), bit(p.OnLink), bit(p.Autonomous))
	}
	if p.Ends.IsZero() && (differs(p.Valid, x.Valid) || differs(p.Preferred, x.Preferred)) {
		add(PrefixLifetime, "addresses live as long as whoever advertised last says: they may stop being used in between",
			"%s preferred %v, valid %v where bootd says %v, %v", p.Prefix, x.Preferred, x.Valid, p.Preferred, p.Valid)
	}
}

// differs leaves a tenth to routers that count down.
func differs(ours, theirs time.Duration) bool {
	return (ours - theirs).Abs() > max(ours/10, time.Minute)
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Lacks says what a network needs that none of the other routers on its link says: bootd itself advertises nothing there.
func Lacks(n *site.Network, all []timeline.Foreign) []Conflict {
	var told []timeline.ForeignPrefix
	resolver, router := false, false
	for _, f := range all {
		told = append(told, f.Prefixes...)
		resolver, router = resolver || len(f.Nameservers) > 0, router || f.Lifetime > 0
	}
	var out []Conflict
	add := func(k Kind, consequence, what string, args ...any) {
		out = append(out, Conflict{Kind: k, What: fmt.Sprintf(what, args...), Consequence: consequence})
	}
	for _, p := range n.Prefixes {
		mine := func(ok func(timeline.ForeignPrefix) bool) bool {
			return slices.ContainsFunc(told, func(x timeline.ForeignPrefix) bool { return x.Prefix == p.Masked() && x.Valid > 0 && ok(x) })
		}
		switch {
		case !mine(func(timeline.ForeignPrefix) bool { return true }):
			add(PrefixFlags, "iPXE's address out of it is a /128 without neighbours, and machines make no address in it", "the prefix %s is not advertised", p.Prefix)
			continue
		case !mine(func(x timeline.ForeignPrefix) bool { return x.OnLink }):
			add(PrefixFlags, "iPXE's address is a /128: without an on-link prefix it has no neighbours", "the prefix %s is advertised with L=0", p.Prefix)
		}
		if !mine(func(x timeline.ForeignPrefix) bool { return x.Autonomous }) && p.Bits() == 64 {
			add(PrefixFlags, "Debian's installer gives its DHCPv6 address back and has none left to fetch its answers from", "the prefix %s is advertised with A=0", p.Prefix)
		}
	}
	if !resolver {
		add(Resolver, "Debian's installer, and what has no DHCPv6, stops and asks for one", "no resolver (RDNSS) is advertised")
	}
	if !router {
		add(DefaultRouter, "machines have no way out of the link, and Debian's installer stops and asks for a gateway", "no default router is advertised (router lifetime 0)")
	}
	return out
}
