package dhcp6

import (
	"encoding/binary"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/timeline"
)

// cable is a link with one other server: it answers each Solicit with what answer makes of it.
type cable struct {
	sent   chan []byte
	back   chan []byte
	closed chan struct{}
	to     ident.MAC // of Try
}

func (w *cable) Try(p []byte, to ident.MAC) error {
	w.to = to
	return w.Write(p, to)
}

func (w *cable) Write(p []byte, _ ident.MAC) error {
	select {
	case w.sent <- p:
	case <-w.closed:
	}
	return nil
}

func (w *cable) Read(b []byte) (int, ident.MAC, error) {
	select {
	case p := <-w.back:
		return copy(b, p), ident.MAC{2, 0, 0, 0, 0, 9}, nil
	case <-w.closed:
		return 0, ident.MAC{}, net.ErrClosed
	}
}

func (w *cable) Close() error { close(w.closed); return nil }

type observations chan timeline.Observation

func (o observations) Observe(x timeline.Observation) {
	x.Events = slices.Clone(x.Events)
	o <- x
}

// offerOf answers the Solicit of a search.
func offerOf(solicit []byte, server ident.DUID, offers bool) []byte {
	msg := append([]byte{2}, solicit[49:52]...)
	opt := func(b []byte, code uint16, data []byte) []byte {
		b = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(b, code), uint16(len(data)))
		return append(b, data...)
	}
	msg = opt(msg, searchServerID, []byte(server))
	ia := make([]byte, 12)
	if offers {
		ia = opt(ia, searchIAAddr, make([]byte, 24))
	} else {
		ia = opt(ia, 13, []byte{0, 2})
	}
	msg = opt(msg, searchIANA, ia)
	src, dst := netip.MustParseAddr("fe80::9").As16(), solicit[8:24]
	n := udpHeader + len(msg)
	b := append([]byte{0x60, 0, 0, 0, byte(n >> 8), byte(n), protoUDP, 64}, src[:]...)
	b = append(b, dst...)
	b = append(b, 2, 0x23, 2, 0x22, byte(n>>8), byte(n), 0, 0)
	return append(b, msg...)
}

const openText = `networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", unknown: discover}
`

// TestSearch follows a link from the start: nobody knows, then another server offers, then it is silent for long.
func TestSearch(t *testing.T) {
	snap := sitetest.Snapshot(t, openText, sitetest.SmallFacts(t))
	now := sitetest.Now()
	seen := make(observations, 4)
	w := &cable{sent: make(chan []byte, 8), back: make(chan []byte), closed: make(chan struct{})}
	s := &Server{searches: map[int]*search{}, cfg: Config{
		Snapshot: func() *site.Snapshot { return snap }, Observer: seen, Now: func() time.Time { return now },
		Frames: func(site.Link) (Frames, error) { return w, nil },
	}}
	link := *snap.Networks[0].Link
	stop := s.startSearch(link)
	if got := s.hold(link.Index, now); got != reason.Listening {
		t.Errorf("at the start: %s", got)
	}
	if got := s.hold(link.Index, now.Add(searchFor)); got != reason.None {
		t.Errorf("after listening: %s", got)
	}
	solicit := <-w.sent
	other := ident.NewDUIDLL(ident.MAC{2, 0, 0, 0, 0, 9})
	w.back <- offerOf(solicit, snap.ServerDUID, true) // ourselves
	w.back <- offerOf(make([]byte, 80), other, true)  // not our transaction
	w.back <- offerOf(solicit, other, true)
	got := <-seen
	want := timeline.Observation{
		Adapter: "dhcp6", Message: "Search", Outcome: reason.Outcome{Reason: reason.ServerElsewhere, Network: "rack1"}, Peer: `"fe80::9"`,
		Foreign: &timeline.Foreign{
			Kind: timeline.OtherServer, Link: "eth1", Network: "rack1", Addr: netip.MustParseAddr("fe80::9"),
			MAC: ident.MAC{2, 0, 0, 0, 0, 9}, DUID: other, Offers: true, Held: true,
		},
		Events: []timeline.Event{{
			Kind: timeline.ForeignServer, Reason: reason.ServerElsewhere, Network: "rack1", MAC: ident.MAC{2, 0, 0, 0, 0, 9},
			Addr: "fe80::9", Detail: "another DHCPv6 server answers here (DUID 00:03:00:01:02:00:00:00:00:09): unlisted machines get " +
				"nothing from bootd until the network says `router:`; listed ones are served",
		}},
	}
	if diff := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	if got := s.hold(link.Index, now.Add(time.Minute)); got != reason.ServerElsewhere {
		t.Errorf("with another server: %s", got)
	}
	if got := s.hold(link.Index, now.Add(forgetAfter)); got != reason.None {
		t.Errorf("long after: %s", got)
	}
	w.back <- offerOf(solicit, other, true)
	if got := <-seen; len(got.Events) != 0 {
		t.Errorf("a second event for the same: %v", got.Events)
	}
	stop()
	if got := s.hold(link.Index, now); got != reason.None {
		t.Errorf("after the link went: %s", got)
	}
}

// TestOverheardFlood: names that somebody makes up take no place from a server that answers.
func TestOverheardFlood(t *testing.T) {
	snap := sitetest.Snapshot(t, openText, sitetest.SmallFacts(t))
	seen := make(observations, 4*maxServers)
	link := *snap.Networks[0].Link
	s := &Server{cfg: Config{Snapshot: func() *site.Snapshot { return snap }, Observer: seen, Now: sitetest.Now}}
	w := &search{server: s, link: link, servers: map[ident.DUID]otherServer{}}
	s.searches = map[int]*search{link.Index: w}
	for i := range 2 * maxServers {
		s.overheard(link.Index, address.Request{Msg: address.RequestMsg, Server: ident.NewDUIDLL(ident.MAC{2, 0, 0, 0, 1, byte(i)})})
	}
	if got := len(seen); got != maxOverheard {
		t.Errorf("%d names were told of, want %d", got, maxOverheard)
	}
	for len(seen) > 0 {
		<-seen
	}
	w.heard(answer{server: "\x00\x02other", from: netip.MustParseAddr("fe80::9"), offers: true}, ident.MAC{2, 0, 0, 0, 0, 9})
	if got := <-seen; len(got.Events) != 1 {
		t.Errorf("a server that answers: %+v", got)
	}
}

// TestOverheard: a server that answers no search is known by the clients that ask it for what it offered. What an old lease
// names says nothing, and nobody is held back.
func TestOverheard(t *testing.T) {
	snap := sitetest.Snapshot(t, openText, sitetest.SmallFacts(t))
	now := sitetest.Now()
	seen := make(observations, 4)
	w := &cable{sent: make(chan []byte, 8), back: make(chan []byte), closed: make(chan struct{})}
	s := &Server{searches: map[int]*search{}, cfg: Config{
		Snapshot: func() *site.Snapshot { return snap }, Observer: seen, Now: func() time.Time { return now },
		Frames: func(site.Link) (Frames, error) { return w, nil },
	}}
	link := *snap.Networks[0].Link
	defer s.startSearch(link)()
	other, client := ident.NewDUIDLL(ident.MAC{2, 0, 0, 0, 0, 9}), ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}
	req := address.Request{Msg: address.Renew, Server: other, Evidence: who.Frame(client)}
	s.overheard(link.Index, req)
	s.overheard(link.Index+1, req)
	req.Msg = address.RequestMsg
	s.overheard(link.Index, req)
	want := timeline.Observation{
		Adapter: "dhcp6", Message: "Search", Outcome: reason.Outcome{Reason: reason.ServerElsewhere, Network: "rack1"},
		Foreign: &timeline.Foreign{Kind: timeline.OtherServer, Link: "eth1", Network: "rack1", DUID: other, Overheard: true},
		Events: []timeline.Event{{
			Kind: timeline.ForeignServer, Reason: reason.ServerElsewhere, Network: "rack1",
			Detail: "another DHCPv6 server (DUID 00:03:00:01:02:00:00:00:00:09) serves machines here: 52:54:00:aa:01:01 took its offer",
		}},
	}
	if diff := cmp.Diff(want, <-seen, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
		t.Error(diff)
	}
	s.overheard(link.Index, req)
	if got := <-seen; len(got.Events) != 0 || got.Foreign == nil {
		t.Errorf("heard again: %+v", got)
	}
	if got := s.hold(link.Index, now.Add(searchFor)); got != reason.None {
		t.Errorf("strangers are held back: %s", got)
	}
	solicit := <-w.sent
	w.back <- offerOf(solicit, other, true)
	if got := <-seen; len(got.Events) != 1 || !got.Foreign.Offers {
		t.Errorf("when it answers the search: %+v", got)
	}
	s.overheard(link.Index, req)
	for i := range 2 * maxServers {
		req.Server = ident.NewDUIDLL(ident.MAC{2, 0, 0, 0, 1, byte(i)})
		go s.overheard(link.Index, req)
	}
	for range maxOverheard - 1 {
		if got := <-seen; len(got.Events) != 1 || got.Foreign.DUID == other {
			t.Errorf("a flood of names: %+v", got)
		}
	}
}

// TestSolicitation: the packet is one that a server reads, with a checksum that adds up.
func TestSolicitation(t *testing.T) {
	b := solicitation(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64"), [3]byte{1, 2, 3})
	udp := b[ipv6Header:]
	pseudo := append(append([]byte{}, b[8:40]...), 0, 0, 0, byte(len(udp)), 0, 0, 0, protoUDP)
	if got := checksum(append(pseudo, udp...)); got != 0xffff && got != 0 {
		t.Errorf("checksum leaves %04x", got)
	}
	p, r := parse(udp[udpHeader:])
	if r != reason.None || p.req.Client == "" || len(p.req.IAs) != 1 {
		t.Errorf("reads back as %+v, %s", p.req, r)
	}
}

// TestNoFrames: without CAP_NET_RAW nothing is held back, and it is said.
func TestNoFrames(t *testing.T) {
	seen := make(observations, 1)
	s := &Server{searches: map[int]*search{}, cfg: Config{
		Observer: seen, Now: time.Now, Frames: func(site.Link) (Frames, error) { return nil, net.ErrClosed },
	}}
	s.startSearch(site.Link{Name: "eth1", Index: 2})()
	if o := <-seen; o.Err == nil || s.hold(2, time.Now()) != reason.None {
		t.Errorf("got %+v", o)
	}
}

func FuzzParseAnswer(f *testing.F) {
	solicit := solicitation(site.Link{LinkLocal: netip.MustParseAddr("fe80::1")}, [3]byte{1, 2, 3})
	good := offerOf(solicit, ident.NewDUIDLL(ident.MAC{2, 0, 0, 0, 0, 9}), true)
	f.Add(good)
	f.Add(good[:len(good)-3])
	f.Add(append(good[:4:4], 0xff, 0xff))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, ok := parseAnswer(b); ok && a.server == "" {
			t.Error("an answer without a server")
		}
	})
}
