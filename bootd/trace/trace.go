// Package trace hands the exchanges of an adapter to people who look at them live, and lays them out as a packet capture.
//
// The package never decides anything and never holds up who it listens to: while nobody looks, it costs one load of a
// number, and a reader that is too slow loses exchanges and is told how many.
package trace

import (
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
)

// Exchange is one DHCPv6 message that came in, and what was made of it.
type Exchange struct {
	Time time.Time `json:"time"`
	Link string    `json:"link,omitempty"`
	// Client is where Query came from, Server where it was sent to; neither has a zone.
	Client netip.AddrPort `json:"client"`
	Server netip.Addr     `json:"server"`
	// MAC is the client's, zero where nobody knows it, and ServerMAC that of the link.
	MAC       ident.MAC `json:"mac,omitzero"`
	ServerMAC ident.MAC `json:"server_mac,omitzero"`
	// DUID is the client's.
	DUID  ident.DUID `json:"duid,omitempty"`
	Query []byte     `json:"query"`
	// Reply is what went out From an address of ours To this port of the client, Took after Query came in; empty: silence.
	Reply []byte        `json:"reply,omitempty"`
	From  netip.Addr    `json:"from,omitzero"`
	To    uint16        `json:"to,omitempty"`
	Took  time.Duration `json:"took_ns,omitempty"`
	// LeftOut are the codes of options that did not fit into Reply.
	LeftOut []uint16       `json:"left_out,omitempty"`
	Outcome reason.Outcome `json:"-"`
	// Reason, Host, Network and Rule are Outcome's.
	Reason  reason.Reason `json:"reason"`
	Host    string        `json:"host,omitempty"`
	Network string        `json:"network,omitempty"`
	Rule    string        `json:"rule,omitempty"`
	// Err is a fault of our own.
	Err string `json:"error,omitempty"`
	// Lost counts the exchanges before this one that the reader was too slow for.
	Lost int `json:"lost,omitempty"`
}

// Filter chooses exchanges; what is zero chooses all.
type Filter struct {
	Host string
	MAC  ident.MAC
	DUID ident.DUID
}

func (f Filter) fits(x *Exchange) bool {
	switch {
	case f.Host != "":
		return x.Host == f.Host
	case f.MAC != ident.MAC{}:
		own, _ := x.DUID.MAC()
		return x.MAC == f.MAC || own == f.MAC
	case f.DUID != "":
		return x.DUID == f.DUID
	}
	return true
}

const (
	// maxReaders bounds who looks at one time.
	maxReaders = 8
	// backlog is how many exchanges wait for a slow reader: a rack that gets its power back.
	backlog = 512
)

// ErrTooMany says that nobody else may look now.
var ErrTooMany = errors.New("eight readers trace already")

// Hub is where exchanges go. Its zero value is ready.
type Hub struct {
	looking atomic.Int32
	mu      sync.Mutex
	readers map[*Reader]struct{}
}

// Wanted reports whether anybody looks; it is cheap enough for each packet.
func (h *Hub) Wanted() bool { return h.looking.Load() > 0 }

// Trace gives an exchange to those who look for it. It never waits for them.
func (h *Hub) Trace(x Exchange) {
	x.Reason, x.Host, x.Network, x.Rule = x.Outcome.Reason, x.Outcome.Host, x.Outcome.Network, x.Outcome.Rule
	h.mu.Lock()
	defer h.mu.Unlock()
	for r := range h.readers {
		if !r.filter.fits(&x) {
			continue
		}
		own := x
		own.Lost = r.lost
		select {
		case r.out <- own:
			r.lost = 0
		default:
			r.lost++
		}
	}
}

// Reader is one who looks.
type Reader struct {
	hub    *Hub
	filter Filter
	out    chan Exchange
	lost   int // guarded by the hub's mu
}

// Open begins to look. Close the Reader.
func (h *Hub) Open(f Filter) (*Reader, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.readers) >= maxReaders {
		return nil, ErrTooMany
	}
	if h.readers == nil {
		h.readers = map[*Reader]struct{}{}
	}
	r := &Reader{hub: h, filter: f, out: make(chan Exchange, backlog)}
	h.readers[r] = struct{}{}
	h.looking.Add(1)
	return r, nil
}

// Exchanges gives what comes.
func (r *Reader) Exchanges() <-chan Exchange { return r.out }

// Lost takes the number of exchanges that were lost since the last one that was given.
func (r *Reader) Lost() int {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	n := r.lost
	r.lost = 0
	return n
}

// Close ends looking; it may be called again.
func (r *Reader) Close() {
	r.hub.mu.Lock()
	defer r.hub.mu.Unlock()
	if _, open := r.hub.readers[r]; open {
		delete(r.hub.readers, r)
		r.hub.looking.Add(-1)
	}
}
