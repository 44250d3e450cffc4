package dhcp6

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// Frames carries what DHCPv6 servers answer on one link, as IPv6 packets. netif.Discovery is one. Read gives an error after
// Close and when the link breaks.
type Frames interface {
	Read(b []byte) (n int, from ident.MAC, err error)
	Write(packet []byte, to ident.MAC) error
	// Try is Write that does not wait for a card whose queue is full.
	Try(packet []byte, to ident.MAC) error
	Close() error
}

const (
	// searchFor is how long a link is listened to before unlisted machines get a first word: a server answers within
	// milliseconds, one that asks the network for conflicts first within a second.
	searchFor = 1500 * time.Millisecond
	// searchAgain is when the first Solicit is repeated, searchEvery when the search is: servers come and go.
	searchAgain = 600 * time.Millisecond
	searchEvery = 2 * time.Minute
	// forgetAfter is when a server that answers no more holds nothing back: three searches went unanswered.
	forgetAfter = 3*searchEvery + 10*time.Second
	// maxServers bounds the servers that are remembered on a link, so that each makes one event.
	maxServers = 16
	// maxOverheard is how many of them may be known by a name alone, which anybody can make up: those that answer have room.
	maxOverheard = maxServers / 2
)

// search looks for other DHCPv6 servers on one link. All fields below mu are guarded by it.
type search struct {
	server *Server
	link   site.Link
	frames Frames
	stop   chan struct{}

	mu    sync.Mutex
	until time.Time
	xid   [3]byte
	// offered is when another server offered an address last; zero: never.
	offered time.Time
	servers map[ident.DUID]otherServer
}

// otherServer is what an event was made of.
type otherServer struct{ offers, held, overheard bool }

// startSearch begins the search on a link and gives what ends it and waits for its end. Where it cannot be made (no
// CAP_NET_RAW) that is said once, and nothing is held back.
func (s *Server) startSearch(l site.Link) (stop func()) {
	if s.cfg.Frames == nil {
		return func() {}
	}
	f, err := s.cfg.Frames(l)
	if err != nil {
		s.cfg.Observer.Observe(timeline.Observation{Adapter: adapter, Message: "Search", Err: fmt.Errorf("looking for other DHCPv6 servers: %w", err)})
		return func() {}
	}
	w := &search{
		server: s, link: l, frames: f, stop: make(chan struct{}), until: s.cfg.Now().Add(searchFor),
		servers: map[ident.DUID]otherServer{},
	}
	s.mu.Lock()
	s.searches[l.Index] = w
	s.mu.Unlock()
	var both sync.WaitGroup
	both.Go(w.ask)
	both.Go(w.listen)
	return func() {
		s.mu.Lock()
		if s.searches[l.Index] == w {
			delete(s.searches, l.Index)
		}
		s.mu.Unlock()
		close(w.stop)
		_ = f.Close() // it only listened
		both.Wait()
	}
}

// hold is why unlisted machines on a link get nothing now, None: they may.
func (s *Server) hold(index int, now time.Time) reason.Reason {
	s.mu.Lock()
	w := s.searches[index]
	s.mu.Unlock()
	if w == nil {
		return reason.None
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.offered.IsZero() && now.Sub(w.offered) < forgetAfter:
		return reason.ServerElsewhere
	case now.Before(w.until):
		return reason.Listening
	}
	return reason.None
}

// ask sends a Solicit twice at the start, and now and then.
func (w *search) ask() {
	wait := searchAgain
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-timer.C:
		}
		w.mu.Lock()
		binary.BigEndian.PutUint16(w.xid[:], uint16(rand.Uint32()))
		w.xid[2] = byte(rand.Uint32())
		packet := solicitation(w.link, w.xid)
		w.mu.Unlock()
		_ = w.frames.Write(packet, ident.MAC{0x33, 0x33, 0, 1, 0, 2}) // a link that breaks ends by itself
		timer.Reset(wait)
		wait = searchEvery
	}
}

// listen reads answers until the frames end.
func (w *search) listen() {
	b := make([]byte, 4096)
	for {
		n, from, err := w.frames.Read(b)
		if err != nil {
			return
		}
		if a, ok := parseAnswer(b[:n]); ok {
			w.heard(a, from)
		}
	}
}

// overheard notes the server that a client's Request names: one that knows its clients does not answer a search, and what it
// sends them passes us by. It holds nothing back, because strangers get nothing from it. A Renew would say less: its server
// may be long gone, and may be what we were before our state was lost.
func (s *Server) overheard(index int, req address.Request) {
	s.mu.Lock()
	w := s.searches[index]
	s.mu.Unlock()
	if w == nil || req.Msg != address.RequestMsg {
		return
	}
	w.mu.Lock()
	was, known := w.servers[req.Server]
	news := !known && len(w.servers) < maxOverheard
	if news {
		w.servers[req.Server] = otherServer{overheard: true}
	}
	w.mu.Unlock()
	if known && !was.overheard || !known && !news {
		return // the search knows more of it, or there are too many to remember
	}
	network := ""
	if n, ok := s.cfg.Snapshot().ServesLink(w.link.Name); ok {
		network = n.Name
	}
	w.tell(network, answer{server: req.Server}, ident.MAC{}, false, news, ofOverheard(req.Server, seen(req.Evidence)))
}

// ofOverheard says of a server that was only named what a person needs to know.
func ofOverheard(server ident.DUID, client ident.MAC) string {
	return fmt.Sprintf("another DHCPv6 server (DUID %.80s) serves machines here: %s took its offer", server, client)
}

// heard notes an answer to our Solicit.
func (w *search) heard(a answer, from ident.MAC) {
	snap := w.server.cfg.Snapshot()
	w.mu.Lock()
	if a.xid != w.xid || a.server == snap.ServerDUID {
		w.mu.Unlock()
		return
	}
	network, holds := "", false
	if n, ok := snap.ServesLink(w.link.Name); ok {
		network = n.Name
		holds = a.offers && n.Unknown != "ignore" && !n.RouterWritten
	}
	if a.offers {
		w.offered = w.server.cfg.Now()
	}
	was, known := w.servers[a.server]
	is := otherServer{offers: a.offers, held: holds}
	news := !known && len(w.servers) < maxServers || known && was != is
	if news {
		w.servers[a.server] = is
	}
	w.mu.Unlock()
	w.tell(network, a, from, holds, news, ofServer(a, holds))
}

// tell tells the observer of another server.
func (w *search) tell(network string, a answer, from ident.MAC, holds, news bool, detail string) {
	o := timeline.Observation{
		Adapter: adapter, Message: "Search", Outcome: reason.Outcome{Reason: reason.ServerElsewhere, Network: network},
		Foreign: &timeline.Foreign{
			Kind: timeline.OtherServer, Link: w.link.Name, Network: network, Addr: a.from, MAC: from, DUID: a.server,
			Offers: a.offers, Held: holds, Overheard: !a.from.IsValid(),
		},
	}
	if a.from.IsValid() {
		o.Peer = strconv.Quote(a.from.String())
	}
	if news {
		o.Events = []timeline.Event{{
			Kind: timeline.ForeignServer, Reason: reason.ServerElsewhere, Network: network, MAC: from, Detail: detail,
		}}
		if a.from.IsValid() {
			o.Events[0].Addr = a.from.String()
		}
	}
	w.server.cfg.Observer.Observe(o)
}

// ofServer says of another server what a person needs to know.
func ofServer(a answer, holds bool) string {
	who := "another DHCPv6 server answers here (DUID " + a.server.String() + ")"
	if len(a.server) > 40 {
		who = "another DHCPv6 server answers here"
	}
	switch {
	case holds:
		return who + ": unlisted machines get nothing from bootd until the network says `router:`; listed ones are served"
	case a.offers:
		return who + " and offers addresses: machines may take them, and boot nothing"
	}
	return who + " and offers no address"
}

// The options that a search needs (RFC 8415 section 21, RFC 3646).
const (
	searchClientID = 1
	searchServerID = 2
	searchIANA     = 3
	searchIAAddr   = 5
	searchORO      = 6
	searchElapsed  = 8
	searchDNS      = 23
)

// solicitation is a Solicit for one address, from the IPv6 header on.
func solicitation(l site.Link, xid [3]byte) []byte {
	add := func(b []byte, code uint16, data []byte) []byte {
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, code), uint16(len(data)))
		return append(b, data...)
	}
	msg := []byte{1, xid[0], xid[1], xid[2]}
	msg = add(msg, searchClientID, []byte(ident.NewDUIDLL(l.MAC)))
	msg = add(msg, searchElapsed, []byte{0, 0})
	msg = add(msg, searchORO, binary.BigEndian.AppendUint16(nil, searchDNS))
	msg = add(msg, searchIANA, make([]byte, 12))

	return datagramOf(netip.AddrPortFrom(l.LinkLocal, clientPort), netip.AddrPortFrom(groups()[0], serverPort), msg)
}
