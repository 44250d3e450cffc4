package dhcp6

import (
	"sync"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/site"
)

const (
	// cardAsides is how many addresses of pools the clients behind one card may have put aside in one go; as many come back
	// within the time for which an address is put aside, so that it is never more than twice as many.
	cardAsides = 4
	// poolPart is the same for all clients of a network, as a part of its pools: at most a quarter is aside at any time, of fewer
	// than eight addresses two.
	poolPart = 8
)

// asides counts the addresses that Declines put aside. What a client declines is believed, for nobody can look: one that is
// broken, or lies, would use up a pool in seconds (RFC 8415 section 18.3.8 says only that the address should not be given out).
type asides struct {
	mu       sync.Mutex
	cards    map[string]bucket
	networks map[string]bucket
}

// allowance is what a Decline was allowed and may still give back; none: it is about no pool.
type allowance struct {
	card, network string
	n             int
}

// allow says in a Decline how many addresses it may put aside, and takes as many as it names. Other messages are not looked at.
func (a *asides) allow(req *address.Request, snap *site.Snapshot, now time.Time) allowance {
	if req.Msg != address.Decline {
		return allowance{}
	}
	network, ok := snap.Serves(req.At)
	size, named := 0, 0
	if ok {
		for _, p := range network.Pools {
			size += p.Size
		}
	}
	for _, ia := range req.IAs {
		named += len(ia.Addrs)
	}
	if size == 0 || named == 0 {
		return allowance{}
	}
	card := string(req.Client) // where no card is seen; whoever takes a new name each time meets the limit of the network
	if m := seen(req.Evidence); m.Valid() {
		card = m.String()
	}
	most := max(1, size/poolPart)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cards == nil || len(a.cards) >= maxPorts {
		a.cards = map[string]bucket{}
	}
	if a.networks == nil {
		a.networks = map[string]bucket{}
	}
	own := a.cards[card].at(now, lease.DeclineGuestFor/cardAsides)
	all := a.networks[network.Name].at(now, lease.DeclineGuestFor/time.Duration(most))
	n := max(0, min(named, cardAsides-own.spent, most-all.spent))
	own.spent, all.spent = own.spent+n, all.spent+n
	keep(a.cards, card, own)
	keep(a.networks, network.Name, all)
	req.PutAside = n
	return allowance{card, network.Name, n}
}

// settle gives back what a Decline did not use.
func (a *asides) settle(w allowance, used int) {
	left := w.n - used
	if left <= 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range []struct {
		counts map[string]bucket
		key    string
	}{{a.cards, w.card}, {a.networks, w.network}} {
		b := c.counts[c.key]
		b.spent = max(0, b.spent-left)
		keep(c.counts, c.key, b)
	}
}

// keep remembers a bucket that something was spent of; with the others, Declines that put nothing aside would fill the counts up.
func keep(counts map[string]bucket, key string, b bucket) {
	if b.spent == 0 {
		delete(counts, key)
		return
	}
	counts[key] = b
}
