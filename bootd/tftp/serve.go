package tftp

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"bootd.internal/bootd/files"
	"bootd.internal/bootd/ingress"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// asked is one request on its way through the server.
type asked struct {
	peer  ingress.Peer
	at    site.Arrival
	net   *site.Network
	began time.Time
	req   request
}

// handle takes one datagram of the well-known port. A place is for admit; nil: the request has been dealt with. It is called
// in the order of the socket, so that a repeated request cannot be overtaken by the transfer that the first one began.
func (s *Server) handle(p []byte, peer ingress.Peer, truncated bool) (a asked, place *slot) {
	a = asked{peer: peer, began: s.cfg.Now()}
	a.req.op = opcode(p)
	defer s.survive(&a)
	var why reason.Reason
	a.at, a.net, why = ingress.Served(s.cfg.Snapshot(), peer.Index, peer.Addr.Addr(), peer.Local)
	switch {
	case why != reason.None:
		s.observe(a, why, nil, nil)
		return a, nil
	case truncated:
		s.observe(a, reason.Oversized, nil, nil)
		return a, nil
	case a.req.op != opRRQ && a.req.op != opWRQ:
		// Transfers have ports of their own. Nothing is answered, or two servers could talk for ever.
		s.observe(a, reason.Malformed, nil, nil)
		return a, nil
	}
	req, err := parseRequest(p)
	a.req = req
	switch {
	case errors.Is(err, errDuplicate), errors.Is(err, errOptions):
		s.refuse(a, reason.Malformed, codeOption, "bad options")
	case err != nil:
		s.refuse(a, reason.Malformed, codeIllegal, "malformed request")
	case req.op == opWRQ:
		s.refuse(a, reason.ReadOnlyFiles, codeAccess, "nothing can be written here")
	default:
		if place, why = s.take(a.peer.Addr, ingress.Counted(s.cfg.Neighbour, a.at), string(p)); why != reason.None {
			s.observe(a, why, nil, nil)
		}
	}
	return a, place
}

// survive makes an observation of a panic.
func (s *Server) survive(a *asked) {
	if v := recover(); v != nil {
		s.observe(*a, reason.Malformed, fmt.Errorf("handling TFTP request: panic: %v", v), nil)
	}
}

// admit starts the transfer that has a place.
func (s *Server) admit(ctx context.Context, a asked, place *slot) {
	defer s.survive(&a)
	started := false
	defer func() {
		if !started {
			s.leave(a.peer.Addr, place)
		}
	}()
	t, err := s.open(ctx, a)
	if err != nil {
		why, code, text := failure(err)
		if why != reason.None {
			err = nil
		}
		s.observe(a, why, err, nil)
		s.send(a.peer, code, text)
		return
	}
	s.mu.Lock()
	place.transfer = t
	s.mu.Unlock()
	s.talks.Add(1)
	started = true
	go func() {
		defer s.talks.Done()
		s.engine.start(t)
		t.run()
		s.leave(a.peer.Addr, place)
		s.report(a, t)
	}()
}

// take reserves a place. The request of a running transfer again is a retransmission; any other
// request from the same port means that the client gave the old transfer up.
func (s *Server) take(peer netip.AddrPort, m ingress.Machine, request string) (*slot, reason.Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.byPeer[peer]; old != nil {
		switch {
		case old.transfer == nil, old.request == request && old.transfer.busy():
			return nil, reason.Retransmit
		default:
			old.transfer.end(reason.Aborted, nil)
		}
	}
	switch {
	case s.active >= s.cfg.MaxTransfers:
		return nil, reason.Overload
	case s.perClient[m] >= s.cfg.MaxPerClient:
		return nil, reason.RateLimited
	}
	place := &slot{request: request, machine: m}
	s.byPeer[peer] = place
	s.perClient[m]++
	s.active++
	return place, reason.None
}

// leave gives a place back.
func (s *Server) leave(peer netip.AddrPort, place *slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.active--
	if s.perClient[place.machine]--; s.perClient[place.machine] == 0 {
		delete(s.perClient, place.machine)
	}
	if s.byPeer[peer] == place {
		delete(s.byPeer, peer)
	}
}

// open finds what was asked for and a socket to send it from.
func (s *Server) open(ctx context.Context, a asked) (*transfer, error) {
	src, size, err := s.content(ctx, a)
	if err != nil {
		return nil, err
	}
	conn, err := a.peer.Answer()
	if err != nil {
		return nil, errors.Join(err, src.Close())
	}
	mtu := 0
	if a.net != nil && a.net.Link != nil {
		mtu = a.net.Link.MTU
	}
	if a.req.mode != "octet" {
		size = -1
	}
	t := &transfer{
		peer: a.peer.Addr, conn: conn, mode: a.req.mode, terms: negotiate(a.req.opts, size, mtu),
		read: make(chan struct{}),
		stray: func(op uint16, from netip.AddrPort, why reason.Reason) {
			b := a
			b.req.op, b.peer.Addr = op, from
			s.observe(b, why, nil, nil)
		},
	}
	t.source.Reader, t.source.Closer = src, src
	t.begin(a.began, s.cfg.Interval)
	return t, nil
}

// content opens what the name means: a virtual file, else a file. It is read to the size that it had, which the client was
// told.
func (s *Server) content(ctx context.Context, a asked) (io.ReadCloser, int64, error) {
	name := strings.TrimLeft(a.req.name, "/")
	if s.cfg.Virtual != nil {
		if b, ok := s.cfg.Virtual(ctx, a.at, name); ok {
			return io.NopCloser(bytes.NewReader(b)), int64(len(b)), nil
		}
	}
	f, info, err := s.cfg.Files.Open(name)
	if err != nil {
		return nil, 0, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.LimitReader(f, info.Size()), f}, info.Size(), nil
}

// failure tells why a file cannot be served, for us and for the client.
func failure(err error) (why reason.Reason, code uint16, text string) {
	switch {
	case errors.Is(err, files.ErrNotFound):
		return reason.NotFound, codeNotFound, "file not found"
	case errors.Is(err, files.ErrOutside):
		return reason.OutsideRoot, codeAccess, "access violation"
	case errors.Is(err, fs.ErrPermission):
		return reason.None, codeAccess, "access violation"
	}
	return reason.None, codeUndefined, "server failure"
}

func (s *Server) refuse(a asked, why reason.Reason, code uint16, text string) {
	s.observe(a, why, nil, nil)
	s.send(a.peer, code, text)
}

// send answers with an error from the well-known port: no transfer, no socket.
func (s *Server) send(peer ingress.Peer, code uint16, text string) {
	// A client that does not get it asks again.
	_ = s.conn.Write(packERROR(code, text), peer)
}

// endAll ends every transfer.
func (s *Server) endAll() {
	s.mu.Lock()
	var all []*transfer
	for _, place := range s.byPeer {
		if place.transfer != nil {
			all = append(all, place.transfer)
		}
	}
	s.mu.Unlock()
	for _, t := range all {
		t.refuse(reason.Aborted, nil, codeUndefined, "server is stopping")
	}
}

// report observes a transfer that has ended.
func (s *Server) report(a asked, t *transfer) {
	t.mu.Lock()
	why, err, octets := t.why, t.err, t.octets
	t.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("sending %q: %w", a.req.name, err)
	}
	s.observe(a, why, err, func(o *timeline.Observation) {
		if why != reason.Answered {
			return
		}
		o.Events = []timeline.Event{{
			Adapter: s.String(), Kind: s.kind(a.req.name, o.Outcome.Host), Reason: why,
			Host: o.Outcome.Host, Network: o.Outcome.Network, Addr: a.at.Source.String(),
			Detail: fmt.Sprintf("%.120s, %d octets", strconv.Quote(a.req.name), octets),
		}}
	})
}

// kind tells a boot loader from any other file by the inventory.
func (s *Server) kind(name, host string) timeline.Kind {
	snap := s.cfg.Snapshot()
	name = strings.TrimLeft(name, "/")
	if h, ok := snap.Host(host); ok && h.Loader != "" && strings.TrimLeft(h.Loader, "/") == name {
		return timeline.LoaderFetched
	}
	for _, l := range snap.Loaders {
		if strings.TrimLeft(l, "/") == name {
			return timeline.LoaderFetched
		}
	}
	return timeline.FileFetched
}

// observe tells the observer of a request that has been dealt with.
func (s *Server) observe(a asked, why reason.Reason, err error, more func(*timeline.Observation)) {
	o := timeline.Observation{
		Adapter: s.String(), Message: message(a.req.op), Outcome: reason.Outcome{Reason: why},
		Took: s.cfg.Now().Sub(a.began), Err: err, Peer: strconv.Quote(a.peer.Addr.Addr().String()),
	}
	if a.net != nil {
		o.Outcome.Network = a.net.Name
	}
	if s.cfg.Who != nil && why != reason.NotServedLink {
		o.Outcome.Host = s.cfg.Who(a.at)
	}
	if more != nil {
		more(&o)
	}
	s.cfg.Observer.Observe(o)
}
