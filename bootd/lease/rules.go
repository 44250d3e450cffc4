package lease

import (
	"slices"
	"time"

	"bootd.internal/bootd/ident"
)

const (
	// RestFor is how long an address without claims is kept for its last holder: iPXE goes on using an address that
	// firmware released just before it started iPXE.
	RestFor = time.Hour
	// DeclineFor is how long a declined address is handed to nobody. A client that declines asks again within seconds
	// (RFC 8415 section 18.2.8), so a minute more than its patience ends the loop; a rack whose conflict was mended
	// boots again without a person.
	DeclineFor = 5 * time.Minute
	// DeclineGuestFor is the same for an address of a pool: there are others, and the machine that uses it unasked may go
	// on for long.
	DeclineGuestFor = 24 * time.Hour
	// DeclinerAvoids is how long a client, and all others behind its card, is not given what it declined, where the address
	// was not put aside.
	DeclinerAvoids = time.Hour
	// Slack is written on top of each promised lifetime, so that a retransmit, or the second identity of one boot,
	// finds its whole promise on disk already and writes nothing.
	Slack = time.Minute
)

// InForce reports whether the binding keeps others from its address at a time.
func (b Binding) InForce(now time.Time) bool {
	return b.State != Free && b.ValidUntil.After(now)
}

// Has reports whether c is one of the claims.
func (b Binding) Has(c Claim) bool { return slices.Contains(b.Claims, c) }

// BelongsTo reports whether the binding is that of a holder, or of the same card under another name.
func (b Binding) BelongsTo(holder string, mac ident.MAC) bool {
	return b.Holder == holder || mac != ident.MAC{} && b.MAC == mac
}

// Covers reports whether the binding already promises c all of a grant: the grant again needs no write.
func (b Binding) Covers(c Claim, preferredUntil, validUntil time.Time) bool {
	return b.State == Bound && b.Has(c) && !b.PreferredUntil.Before(preferredUntil) && !b.ValidUntil.Before(validUntil)
}

// Grant adds a claim, as the newest, and moves the deadlines; a deadline never comes nearer while another claim counts
// on it. Beyond MaxClaims the oldest claim goes. The receiver stays as it is.
func (b Binding) Grant(c Claim, preferredUntil, validUntil time.Time) Binding {
	others := append(make([]Claim, 0, len(b.Claims)+1), b.Claims...)
	others = slices.DeleteFunc(others, func(x Claim) bool { return x == c })
	if b.State == Bound && len(others) > 0 {
		preferredUntil = later(preferredUntil, b.PreferredUntil)
		validUntil = later(validUntil, b.ValidUntil)
	}
	others = append(others, c)
	b.Claims = others[max(0, len(others)-MaxClaims):]
	b.State = Bound
	b.PreferredUntil, b.ValidUntil = preferredUntil, validUntil
	return b
}

// Release drops one claim and reports whether it was there; the last one gone, the binding rests. The receiver stays as
// it is.
func (b Binding) Release(c Claim, now time.Time) (Binding, bool) {
	if b.State != Bound || !b.Has(c) {
		return b, false
	}
	b.Claims = slices.DeleteFunc(slices.Clone(b.Claims), func(x Claim) bool { return x == c })
	if len(b.Claims) == 0 {
		b.Claims = nil
		b.State = Resting
		b.PreferredUntil, b.ValidUntil = now, now.Add(RestFor)
	}
	return b, true
}

// Decline puts the binding aside for a time and reports whether c had a claim on it. A second Decline changes nothing.
// The receiver stays as it is.
func (b Binding) Decline(c Claim, now time.Time, aside time.Duration) (Binding, bool) {
	if b.State != Bound || !b.Has(c) {
		return b, false
	}
	b.State = Declined
	b.PreferredUntil, b.ValidUntil = now, now.Add(aside)
	return b, true
}

// Avoided reports whether who declined the binding should not get it again yet.
func (b Binding) Avoided(now time.Time) bool {
	return b.State == Declined && b.PreferredUntil.Add(DeclinerAvoids).After(now)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
