package advert

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/site"
)

// Sizes in octets: the IPv6 header, what stands before the options (RFC 4861 section 4.2), and the options themselves.
const (
	headerLen  = 40
	beforeLen  = 16
	optionUnit = 8
	prefixLen  = 32
	pref64Len  = 16
	// optionMost bounds one option with a list; the list goes on in the next one.
	optionMost = 240
)

// perOption is how many resolvers one option holds.
const perOption = (optionMost - optionUnit) / 16

// room is what is left of a packet.
type room struct {
	octets int
	left   []string
}

// take makes room for one thing, or notes that there is none.
func (r *room) take(octets int, what string, args ...any) bool {
	if octets > r.octets {
		r.lose("%s does not fit into one packet: router advertisements are never fragmented (RFC 6980)", fmt.Sprintf(what, args...))
		return false
	}
	r.octets -= octets
	return true
}

func (r *room) lose(format string, args ...any) {
	r.left = append(r.left, fmt.Sprintf(format, args...))
}

// fill adds all that has no fixed place to an advertisement, what hosts need most first, as long as it fits; it gives what
// did not.
func fill(ra *RA, n *site.Network, now time.Time) []string {
	r := &room{octets: ra.Room - headerLen - beforeLen - optionUnit} // with the source link-layer address
	if ra.MTU != 0 {
		r.octets -= optionUnit
	}
	for _, p := range prefixes(n, now) {
		if r.take(prefixLen, "the prefix %s", p.Prefix) {
			ra.Prefixes = append(ra.Prefixes, p)
		}
	}
	for _, p := range stale(n, now) {
		if r.take(prefixLen, "the former prefix %s", p.Prefix) {
			ra.Prefixes = append(ra.Prefixes, p)
		}
	}
	for _, a := range nameservers(n.Nameservers) {
		octets := 16
		if len(ra.Nameservers)%perOption == 0 {
			octets += optionUnit
		}
		if r.take(octets, "the resolver %s", a) {
			ra.Nameservers = append(ra.Nameservers, a)
		}
	}
	for _, p := range n.RA.Pref64 {
		if r.take(pref64Len, "the NAT64 prefix %s", p.Prefix) {
			p.Lifetime = eights(p.Lifetime)
			ra.Pref64 = append(ra.Pref64, p)
		}
	}
	for _, x := range n.RA.Routes {
		if r.take(optionUnit*(1+(x.Prefix.Bits()+63)/64), "the route to %s", x.Prefix) {
			x.Lifetime = seconds(x.Lifetime, Infinite)
			ra.Routes = append(ra.Routes, x)
		}
	}
	if uri := n.RA.CaptivePortal; uri != "" && r.take(upToUnits(2+len(uri)), "the captive portal") {
		ra.CaptivePortal = uri
	}
	ra.Search = search(n, r)
	return r.left
}

// eights rounds up to what the scaled lifetime can say, 13 bits of 8 seconds (RFC 8781 section 4).
func eights(d time.Duration) time.Duration {
	const unit, most = 8 * time.Second, 8191 * 8 * time.Second
	return min((max(d, 0) + unit - 1).Truncate(unit), most)
}

func upToUnits(octets int) int { return (octets + optionUnit - 1) / optionUnit * optionUnit }

// nameservers leaves out what a client cannot ask.
func nameservers(from []netip.Addr) []netip.Addr {
	var out []netip.Addr
	for _, a := range from {
		usable := a.Is6() && !a.Is4In6() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
		if a = a.WithZone(""); usable && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// search is the domain and the search list, each name once, as far as there is room. One bad name must not cost the whole
// advertisement.
func search(n *site.Network, r *room) []string {
	var out []string
	seen := map[string]bool{"": true}
	for _, name := range append([]string{n.Domain}, n.Search...) {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		if seen[name] {
			continue
		}
		seen[name] = true
		if !validName(name) {
			r.lose("the search domain %q is no name that a resolver could be asked for", name)
			continue
		}
		if r.take(searchLen(append(slices.Clip(out), name))-searchLen(out), "the search domain %s", name) {
			out = append(out, name)
		}
	}
	return out
}

// SearchLists splits names over as many options as they need (RFC 8106 section 5.2 allows several).
func SearchLists(names []string) [][]string {
	var out [][]string
	left := 0
	for _, n := range names {
		if len(n)+2 > left {
			out, left = append(out, nil), optionMost-optionUnit
		}
		out[len(out)-1] = append(out[len(out)-1], n)
		left -= len(n) + 2 // a length octet before each label, one that ends the name
	}
	return out
}

// searchLen is what the options of a search list take.
func searchLen(names []string) int {
	sum := 0
	for _, list := range SearchLists(names) {
		octets := optionUnit
		for _, n := range list {
			octets += len(n) + 2
		}
		sum += upToUnits(octets)
	}
	return sum
}

// ResolverLists splits resolvers likewise.
func ResolverLists(all []netip.Addr) [][]netip.Addr {
	return slices.Collect(slices.Chunk(all, perOption))
}

// validName checks the sizes of RFC 1035 section 2.3.4, that the name is ASCII without blanks, and that one option holds it.
func validName(name string) bool {
	if name == "" || len(name) > optionMost-optionUnit-2 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 {
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' })
}
