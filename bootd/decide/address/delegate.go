package address

import (
	"bytes"
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// optPDExclude is OPTION_PD_EXCLUDE (RFC 6603 section 4.2): who asks for it can leave a prefix out.
const optPDExclude = 67

// part is the prefix of one IA_PD, with its binding as it was found.
type part struct {
	prefix, exclude netip.Prefix
	b               lease.Binding
	found           bool
	// held is what the binding is of, where that is not the prefix but one around or inside it, which keeps the IA from it.
	held netip.Prefix
	// preferredUntil and validUntil are those of the pool; zero: it does not end.
	preferredUntil, validUntil time.Time
	// kept: the inventory keeps it for the host.
	kept bool
	ops  []store.Op
	// taken: an IA of this message has it.
	taken bool
}

// binding reads the binding of a prefix, and proves it.
func (x *exchange) binding(p netip.Prefix) (lease.Binding, bool) {
	raw, ok := x.view.Get(lease.PrefixKey(p))
	if !ok {
		return lease.Binding{}, false
	}
	b, err := lease.Decode(raw)
	return b, err == nil
}

// partHolder names the holder of an IA's prefixes.
func (x *exchange) partHolder(ia IA) string {
	if x.match.NIC == nil {
		return lease.ClientHolder(x.req.Client, ia.IAID)
	}
	return x.holder
}

// ownsPart reports whether a prefix is the client's: DUID and IAID name it; a listed card goes by its IAID alone, whatever
// DUID its system made since. What a card had while it was listed is still its own, by all three: the host that the prefix is
// kept for now waits until it was told.
func (x *exchange) ownsPart(b lease.Binding, ia IA) bool {
	if x.match.NIC == nil {
		return b.Holder == x.partHolder(ia) || !strings.HasPrefix(b.Holder, lease.ClientPrefix) && b.Has(x.claim(ia)) &&
			(x.mac.Valid() && b.MAC == x.mac || x.inherits(b))
	}
	return (b.BelongsTo(x.holder, x.mac) || x.inherits(b)) && (len(b.Claims) == 0 || slices.ContainsFunc(b.Claims, func(c lease.Claim) bool { return c.IAID == ia.IAID }))
}

// delegates reports whether the client may have prefixes here: a listed one, or one of an open network.
func (x *exchange) delegates() bool { return x.match.NIC != nil || x.pooled }

// delegate finds the prefix of each IA_PD: first those that clients have or name, so that no IA takes what another has.
func (g *granting) delegate() {
	if !slices.ContainsFunc(g.req.IAs, func(ia IA) bool { return ia.Kind == IAPD }) {
		return
	}
	g.parts = append(g.parts, make([]part, len(g.req.IAs))...)
	if !g.delegates() {
		return
	}
	for _, find := range []func(IA) (part, bool){g.keptPart, g.movedPart, g.namedPart, g.pathPart} {
		for i, ia := range g.req.IAs {
			if ia.Kind == IAPD && !g.parts[i].prefix.IsValid() {
				if p, ok := find(ia); ok {
					g.parts[i] = p
				}
			}
		}
	}
}

// keptPart is a prefix that the inventory keeps for the host: the one that the IA has, else the first that no other IA has.
func (g *granting) keptPart(ia IA) (part, bool) {
	if g.match.Host == nil {
		return part{}, false
	}
	var free part
	for _, p := range g.match.Host.Delegated {
		c, ok := g.vacantPart(p, ia)
		if !ok {
			if c.found && c.b.InForce(g.now) && !c.b.BelongsTo(g.holder, g.mac) {
				detail := fmt.Sprintf("held by %q until %s", c.b.Holder, c.b.ValidUntil.UTC().Format(time.RFC3339))
				if c.held.IsValid() {
					detail = fmt.Sprintf("%s is %s", c.held, detail)
				}
				g.event(timeline.Warning, reason.NoAddrsAvail, p.String(), detail)
			}
			continue
		}
		c.kept = true
		c.preferredUntil, c.validUntil = g.snap.Ends(p)
		if c.found && c.b.InForce(g.now) {
			return c, true
		}
		if !free.prefix.IsValid() {
			free = c
		}
	}
	return free, free.prefix.IsValid()
}

// movedPart is a prefix that the inventory keeps for the host, and that the host has by an IA which this message does not
// name: an installer or a new system shows another IAID, and the prefix moves with its host at once, as addresses do. The
// other claim is dropped.
func (g *granting) movedPart(ia IA) (part, bool) {
	if g.match.Host == nil {
		return part{}, false
	}
	for _, p := range g.match.Host.Delegated {
		b, found := g.binding(p)
		if !found || !b.BelongsTo(g.holder, g.mac) ||
			slices.ContainsFunc(g.parts, func(o part) bool { return o.prefix.IsValid() && o.prefix.Overlaps(p) }) {
			continue
		}
		if _, taken := g.overlapped(p, ia); taken {
			continue
		}
		b.Claims = nil
		c := part{prefix: p, b: b, found: true, kept: true}
		c.preferredUntil, c.validUntil = g.snap.Ends(p)
		return c, true
	}
	return part{}, false
}

// namedPart is a part of a pool that the IA names: it has it, or remembers it from a lease that we lost.
func (g *granting) namedPart(ia IA) (part, bool) {
	for _, p := range ia.Prefixes {
		if c, ok := g.poolPart(p.Masked(), ia); ok {
			return c, true
		}
	}
	return part{}, false
}

// pathPart is the first part on the client's path that is its own, else the first that is free.
func (g *granting) pathPart(ia IA) (part, bool) {
	client := []byte(g.partHolder(ia))
	if g.match.NIC != nil {
		client = []byte(g.holder + ia.IAID.String())
	}
	if g.match.NIC != nil && g.mac.Valid() { // a renamed host keeps its prefix
		client = append(g.mac[:], ia.IAID.String()...)
	}
	for _, d := range g.byLength(ia) {
		var free part
		looks := 0
		for p := range g.snap.DelegatePath(d, client) {
			if b, ok := g.peekPart(p); ok && b.InForce(g.now) {
				if g.ownsPart(b, ia) {
					if c, ok := g.poolPart(p, ia); ok {
						return c, true
					}
				}
			} else if !free.prefix.IsValid() {
				if c, ok := g.poolPart(p, ia); ok {
					free = c
				}
			}
			if looks++; free.prefix.IsValid() && looks >= ownLooks {
				break
			}
		}
		if free.prefix.IsValid() {
			return free, true
		}
	}
	return part{}, false
}

// byLength are the network's pools, those first whose parts are as long as the IA asks, or nearly so (RFC 8168 section 4).
func (g *granting) byLength(ia IA) []site.Delegation {
	hint := 0
	for _, p := range ia.Prefixes {
		hint = cmp.Or(hint, p.Bits())
	}
	if hint == 0 || len(g.net.Delegate) < 2 {
		return g.net.Delegate
	}
	off := func(d site.Delegation) int { return max(d.Length-hint, hint-d.Length) }
	all := slices.Clone(g.net.Delegate)
	slices.SortStableFunc(all, func(a, b site.Delegation) int { return cmp.Compare(off(a), off(b)) })
	return all
}

// ownLooks is how far a client that names nothing is looked for on its path: nobody's prefix lies farther unless nearly all
// parts are given out.
const ownLooks = 64

func (g *granting) peekPart(p netip.Prefix) (lease.Binding, bool) {
	raw, ok := g.view.Peek(lease.PrefixKey(p))
	if !ok {
		return lease.Binding{}, false
	}
	b, err := lease.Decode(raw)
	return b, err == nil
}

// poolPart is a part of one of the network's pools, if the IA may have it now.
func (g *granting) poolPart(p netip.Prefix, ia IA) (part, bool) {
	for _, d := range g.net.Delegate {
		if !d.Has(p) {
			continue
		}
		exclude, never := d.Excluded(p)
		if _, kept := g.snap.KeptWithin(p); kept || never || exclude.IsValid() && !slices.Contains(g.req.ORO, optPDExclude) {
			return part{}, false
		}
		c, ok := g.vacantPart(p, ia)
		c.exclude, c.preferredUntil, c.validUntil = exclude, d.PreferredUntil, d.ValidUntil
		return c, ok
	}
	return part{}, false
}

// vacantPart reports whether an IA may have a prefix: neither that, nor one around or inside it, is another's.
func (g *granting) vacantPart(p netip.Prefix, ia IA) (part, bool) {
	c := part{prefix: p}
	c.b, c.found = g.binding(p)
	if c.found && c.b.InForce(g.now) && !g.ownsPart(c.b, ia) ||
		slices.ContainsFunc(g.parts, func(o part) bool { return o.prefix.IsValid() && o.prefix.Overlaps(p) }) {
		return c, false
	}
	if c.found && c.b.InForce(g.now) {
		return c, true // it was looked at when it was given, and whoever came later saw it
	}
	held, taken := g.overlapped(p, ia)
	if held.IsValid() {
		c.held = held
		c.b, c.found = g.binding(held)
	}
	return c, !taken
}

// areasKey is where it stands in which areas prefixes of which length were ever given out: so a change of a pool's length
// cannot give two clients one address, and nobody looks where nothing was given.
func areasKey() store.Key { return store.Key{Table: store.TableMeta, ID: "delegated-areas"} }

const (
	// maxInside is how many prefixes one area has, as a power of two.
	maxInside = 16
	// maxLooks is how many prefixes one message looks at inside larger ones: what is left is taken as given out. A pool whose
	// parts grow from /64 to /48 would else cost each client seconds.
	maxLooks = 1 << 14
	// lenArea is one record: the length of the prefixes in the area, and the first half of its address.
	lenArea = 9
)

// areaOf is the record of the area around a prefix.
func areaOf(p netip.Prefix) []byte {
	around, _ := p.Addr().Prefix(max(p.Bits()-maxInside, 0)) // only a length beyond the address fails
	a := around.Addr().As16()
	return append([]byte{byte(p.Bits())}, a[:lenArea-1]...)
}

// readArea reads a record: the area, and the length of the prefixes in it.
func readArea(rec []byte) (area netip.Prefix, bits int) {
	var a [16]byte
	copy(a[:], rec[1:])
	bits = int(rec[0])
	return netip.PrefixFrom(netip.AddrFrom16(a), max(bits-maxInside, 0)), bits
}

// overlapped looks for bindings in force of other lengths that share addresses with p, and gives the first, zero where it did
// not look at all. What the IA has itself is none: where the length changed at a reload, its new prefix may lie in its old one.
func (x *exchange) overlapped(p netip.Prefix, ia IA) (held netip.Prefix, taken bool) {
	others := func(q netip.Prefix) bool {
		b, ok := x.binding(q)
		return ok && b.InForce(x.now) && !x.ownsPart(b, ia)
	}
	raw, _ := x.view.Get(areasKey())
	for rest := raw; len(rest) >= lenArea; rest = rest[lenArea:] {
		in, n := readArea(rest[:lenArea])
		switch {
		case n == p.Bits(), !in.Overlaps(p):
		case n < p.Bits():
			around, err := p.Addr().Prefix(n)
			if err != nil {
				continue
			}
			if others(around) {
				return around, true
			}
		default:
			if in.Bits() < p.Bits() {
				in = p
			}
			inside := halves(in, n)
			for i := range uint64(1) << (n - in.Bits()) {
				if x.looks++; x.looks > maxLooks {
					return netip.Prefix{}, true
				}
				if q := inside(i); others(q) {
					return q, true
				}
			}
		}
	}
	return netip.Prefix{}, false
}

// halves gives the prefixes of a length inside another.
func halves(p netip.Prefix, bits int) func(uint64) netip.Prefix {
	return func(i uint64) netip.Prefix {
		a := p.Addr().As16()
		for k := range bits - p.Bits() {
			if i>>k&1 == 1 {
				bit := bits - 1 - k
				a[bit/8] |= 0x80 >> (bit % 8)
			}
		}
		return netip.PrefixFrom(netip.AddrFrom16(a), bits)
	}
}

// delegated answers one IA_PD of a Solicit or a Request (RFC 8415 sections 18.3.1 and 18.3.2).
func (g *granting) delegated(i int, ia IA) IAReply {
	if !g.parts[i].prefix.IsValid() {
		return g.refuseFull(ia)
	}
	return IAReply{Kind: IAPD, IAID: ia.IAID, Prefixes: []PrefixLease{g.leasePart(i, ia)}}
}

// redelegated answers one IA_PD of a Renew or a Rebind. What it names and may not go on with ends with lifetimes of zero;
// another's is NoBinding.
func (g *granting) redelegated(i int, ia IA) IAReply {
	out := IAReply{Kind: IAPD, IAID: ia.IAID}
	mine := g.parts[i].prefix
	for _, p := range ia.Prefixes {
		p = p.Masked()
		if p == mine {
			continue
		}
		b, found := g.binding(p)
		if found && b.InForce(g.now) && !g.ownsPart(b, ia) {
			return g.refuse(ia, NoBinding, reason.NotOwner)
		}
		if !found && !g.ours(p) {
			continue // perhaps another server's, who is asked too
		}
		out.Prefixes = append(out.Prefixes, PrefixLease{Prefix: p})
		if found && g.ownsPart(b, ia) {
			if b, ok := g.dropPart(b, ia); ok {
				g.parts[i].ops = append(g.parts[i].ops, g.restPart(p, b))
			}
		}
	}
	switch {
	case mine.IsValid():
		out.Prefixes = append([]PrefixLease{g.leasePart(i, ia)}, out.Prefixes...)
	case len(out.Prefixes) == 0:
		return g.refuse(ia, NoBinding, reason.NoBinding)
	default:
		g.why = cmp.Or(g.why, reason.NotOnLink)
	}
	return out
}

// ours reports whether a prefix lies where we delegate.
func (g *granting) ours(p netip.Prefix) bool {
	_, kept := g.snap.KeptWithin(p)
	return kept || slices.ContainsFunc(g.net.Delegate, func(d site.Delegation) bool { return d.Pool.Overlaps(p) })
}

// leasePart takes the prefix of an IA.
func (g *granting) leasePart(i int, ia IA) PrefixLease {
	c := &g.parts[i]
	valid := left(g.net.Valid, c.validUntil, g.now)
	preferred := min(left(g.net.Preferred, c.preferredUntil, g.now), valid)
	g.count(preferred)
	c.taken = true
	b := c.b
	if !c.found || !b.InForce(g.now) {
		b = lease.Binding{}
	}
	holder, via, link := g.partHolder(ia), g.req.At.Via, g.req.At.Link
	if !via.IsValid() && b.Holder == holder && b.Network == g.net.Name && b.Link == link {
		via = b.Via // asked from a global source: the next hop is the one that is known
	}
	same := b.Holder == holder && b.Network == g.net.Name && b.MAC == g.mac && b.Via == via && b.Link == link
	if !same || !b.Covers(g.claim(ia), g.now.Add(preferred), g.now.Add(valid)) {
		b.Holder, b.Network, b.MAC, b.Via, b.Link = holder, g.net.Name, g.mac, via, link
		b = b.Grant(g.claim(ia), g.now.Add(preferred+lease.Slack), g.now.Add(valid+lease.Slack))
		c.ops = append(c.ops, store.Op{Key: lease.PrefixKey(c.prefix), Value: b.Encode()})
	}
	return PrefixLease{Prefix: c.prefix, Exclude: c.exclude, Preferred: preferred, Valid: valid}
}

// left is a lifetime, cut where a deadline comes earlier, in whole seconds.
func left(lifetime time.Duration, until, now time.Time) time.Duration {
	if !until.IsZero() {
		lifetime = min(lifetime, max(until.Sub(now), 0))
	}
	return lifetime.Truncate(time.Second)
}

// partOps are the changes of prefixes, with a note of an area that is new.
func (g *granting) partOps() []store.Op {
	var ops []store.Op
	var raw, areas []byte
	for _, c := range g.parts {
		ops = append(ops, c.ops...)
		if !c.taken || len(c.ops) == 0 {
			continue
		}
		if areas == nil {
			raw, _ = g.view.Get(areasKey())
			areas = append([]byte{}, raw[:len(raw)-len(raw)%lenArea]...)
		}
		if rec := areaOf(c.prefix); !slices.ContainsFunc(slices.Collect(slices.Chunk(areas, lenArea)), func(r []byte) bool { return bytes.Equal(r, rec) }) {
			areas = append(areas, rec...)
		}
	}
	if len(areas) > len(raw) {
		ops = append(ops, store.Op{Key: areasKey(), Value: areas})
	}
	return ops
}

// fromDelegation reports whether a prefix was taken that nobody reserved.
func (g *granting) fromDelegation() bool {
	return slices.ContainsFunc(g.parts, func(c part) bool { return c.taken && !c.kept })
}

// toldParts tells of the prefixes that were granted.
func (g *granting) toldParts() {
	for _, c := range g.parts {
		if c.taken && len(c.ops) > 0 {
			g.event(timeline.DHCPPrefix, g.d.Reason, c.prefix.String(), viaText(g.req.At.Via, g.req.At.Link))
		}
	}
}

func viaText(via netip.Addr, link string) string {
	if !via.IsValid() {
		return ""
	}
	return strings.TrimSuffix(fmt.Sprintf("via %s on %s", via, link), " on ")
}

// dropPart gives up what an IA has of a prefix. One that ran out is nobody's and does not rest: another client may have a
// part of it, or more than it, by now.
func (x *exchange) dropPart(b lease.Binding, ia IA) (lease.Binding, bool) {
	if !b.InForce(x.now) {
		return b, false
	}
	return b.Release(x.claim(ia), x.now)
}

// restPart writes what a release left. A prefix that the inventory keeps for another host by now does not rest: that host
// waits for it.
func (x *exchange) restPart(p netip.Prefix, b lease.Binding) store.Op {
	if k, kept := x.snap.KeptWithin(p); kept && k.Host != x.match.Host && b.State == lease.Resting {
		return store.Op{Key: lease.PrefixKey(p)}
	}
	return store.Op{Key: lease.PrefixKey(p), Value: b.Encode()}
}

// releaseParts gives back what the IA names and has (RFC 8415 section 18.3.7). other: it names what is another's.
func (x *exchange) releaseParts(ops []store.Op, ia IA) (all []store.Op, known, other bool) {
	for _, p := range ia.Prefixes {
		p = p.Masked()
		b, found := x.binding(p)
		switch {
		case !found:
		case x.ownsPart(b, ia):
			known = true
			if b, ok := x.dropPart(b, ia); ok {
				ops = append(ops, x.restPart(p, b))
				x.event(timeline.DHCPRelease, reason.Changed, p.String(), b.State.String())
			}
		case b.InForce(x.now):
			other = true
		}
	}
	return ops, known, other
}
