package anyip

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/netif"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

var (
	asker = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}
	ours  = site.Link{
		Name: "eth0", MAC: ident.MAC{0x52, 0x54, 0, 0, 0, 1}, LinkLocal: netip.MustParseAddr("fe80::1"),
		Addrs: []netip.Prefix{netip.MustParsePrefix("2001:db8:100::1/128")},
	}
)

// solicit makes a packet, and change has its way with it before the checksum is made.
func solicit(src, dst, target string, change func([]byte) []byte) []byte {
	b := make([]byte, headerLen+solicitationLen+optionUnit)
	from, to, t := netip.MustParseAddr(src).As16(), netip.MustParseAddr(dst).As16(), netip.MustParseAddr(target).As16()
	b[0], b[6], b[7] = 6<<4, protoICMPv6, hopLimit
	copy(b[8:], from[:])
	copy(b[24:], to[:])
	msg := b[headerLen:]
	msg[0] = solicitationType
	copy(msg[8:], t[:])
	msg[24], msg[25] = optionSource, 1
	copy(msg[26:], asker[:])
	if src == "::" {
		b = b[:headerLen+solicitationLen]
	}
	if change != nil {
		b = change(b)
	}
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-headerLen))
	binary.BigEndian.PutUint16(b[headerLen+2:], netif.Checksum(b[:headerLen], b[headerLen:]))
	return b
}

const (
	group  = "ff02::1:ff00:abcd"
	target = "2001:db8:100::abcd"
)

// TestParse applies RFC 4861 section 7.1.1.
func TestParse(t *testing.T) {
	set := func(at int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = v; return b }
	}
	for _, x := range []struct {
		name string
		b    []byte
		want reason.Reason
	}{
		{"good", solicit("2001:db8:f::7", group, target, nil), reason.None},
		{"to us alone", solicit("fe80::7", target, target, nil), reason.None},
		{"a probe", solicit("::", group, target, nil), reason.None},
		{"a probe to one", solicit("::", target, target, nil), reason.BadSource},
		{"a probe to another group", solicit("::", "ff02::1:ff00:abce", target, nil), reason.BadSource},
		{"a probe with a source option", solicit("::", group, target, func(b []byte) []byte {
			return append(b, optionSource, 1, 0, 0, 0, 0, 0, 0)
		}), reason.BadSource},
		{"from a group", solicit("ff02::1", group, target, nil), reason.BadSource},
		{"past a router", solicit("2001:db8:f::7", group, target, set(7, 254)), reason.BadHopLimit},
		{"for a group", solicit("2001:db8:f::7", group, group, nil), reason.Malformed},
		{"code 1", solicit("2001:db8:f::7", group, target, set(headerLen+1, 1)), reason.Malformed},
		{"an empty option", solicit("2001:db8:f::7", group, target, set(headerLen+25, 0)), reason.Malformed},
		{"an option past the end", solicit("2001:db8:f::7", group, target, set(headerLen+25, 2)), reason.Malformed},
		{"short", solicit("2001:db8:f::7", group, target, func(b []byte) []byte { return b[:headerLen+20] }), reason.Malformed},
		{"an advertisement", solicit("2001:db8:f::7", group, target, set(headerLen, 136)), reason.Malformed},
	} {
		if s, got := parse(x.b, asker); got != x.want || got == reason.None && s.target.String() != target {
			t.Errorf("%s: %s, %v", x.name, got, s)
		}
	}
	bad := solicit("2001:db8:f::7", group, target, nil)
	bad[headerLen+2] ^= 1
	if _, got := parse(bad, asker); got != reason.Malformed {
		t.Errorf("with a wrong checksum: %s", got)
	}
	if _, got := parse(solicit("2001:db8:f::7", group, target, nil), ident.MAC{0x33, 0x33, 1}); got != reason.BadSource {
		t.Errorf("from no machine: %s", got)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(solicit("2001:db8:f::7", group, target, nil))
	f.Add(solicit("::", group, target, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, why := parse(b, asker)
		if why != reason.None {
			return
		}
		p, _ := s.reply(ours)
		if netif.Checksum(p[:headerLen], p[headerLen:]) != 0 || netip.AddrFrom16([16]byte(p[48:64])) != s.target {
			t.Errorf("%x is answered with %x", b, p)
		}
	})
}

// wire gives packets and keeps what is written, as text.
type wire struct {
	packets chan []byte
	closed  chan struct{}
	sent    []string
}

func (w *wire) Read(b []byte) (int, ident.MAC, error) {
	select {
	case p, ok := <-w.packets:
		if !ok {
			return 0, ident.MAC{}, io.ErrUnexpectedEOF
		}
		return copy(b, p), asker, nil
	case <-w.closed:
		return 0, ident.MAC{}, net.ErrClosed
	}
}

func (w *wire) Write(p []byte, to ident.MAC) error {
	w.sent = append(w.sent, fmt.Sprintf("%s > %s %s: %x", netip.AddrFrom16([16]byte(p[8:24])), netip.AddrFrom16([16]byte(p[24:40])), to, p[headerLen:]))
	return nil
}

func (w *wire) Close() error { close(w.closed); return nil }

// TestAnswers: who asks gets the address of the link, a probe is told to all; what is not ours, not bound, or the kernel's own is not
// answered for.
func TestAnswers(t *testing.T) {
	unbound := netip.MustParsePrefix("2001:db8:101::/64")
	b := newBench(site.AnyIP{Prefix: six, Neighbours: []site.Link{ours}}, site.AnyIP{Prefix: unbound, Neighbours: []site.Link{ours}}, entry(four))
	b.kernel.others = map[netip.Prefix][]netif.Other{unbound: {{Prefix: unbound, Type: "unicast", Link: "eth1"}}}
	b.reconcile()
	w := &wire{closed: make(chan struct{})}
	n := b.Neighbours(ours, w)
	for _, p := range [][]byte{
		solicit("2001:db8:f::7", group, target, nil), solicit("::", group, target, nil),
		solicit("2001:db8:f::7", "ff02::1:ff00:1", "2001:db8:100::1", nil), // the kernel's own
		solicit("2001:db8:f::7", "ff02::1:ff00:1", "2001:db8:101::1", nil), // not bound
		solicit("2001:db8:f::7", "ff02::1:ff00:1", "2001:db8:200::1", nil), // another's
		solicit("2001:db8:f::7", group, target, func(b []byte) []byte { b[7] = 1; return b }),
	} {
		n.answer(p, asker)
	}
	advert := func(checksum, flags string) string {
		return "8800" + checksum + flags + "000000" + "20010db801000000000000000000abcd" + "0201525400000001"
	}
	got := strings.Join(w.sent, "\n")
	want := "fe80::1 > 2001:db8:f::7 52:54:00:aa:01:01: " + advert("SUM1", "40") + "\nfe80::1 > ff02::1 33:33:00:00:00:01: " + advert("SUM2", "00")
	for i, s := range w.sent { // netif's own test proves sums
		at := strings.Index(s, ": 8800") + 6
		want = strings.Replace(want, fmt.Sprint("SUM", i+1), s[at:at+4], 1)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if (&Neighbours{task: b.Task, link: site.Link{Name: "eth1"}}).task.answersFor("eth1", netip.MustParseAddr(target)) {
		t.Error("eth1 is not asked for")
	}
}

type counter map[reason.Reason]int

func (c counter) Observe(o timeline.Observation) { c[o.Outcome.Reason]++ }

// TestFlood: a thousand a second are answered.
func TestFlood(t *testing.T) {
	b := newBench(site.AnyIP{Prefix: six, Neighbours: []site.Link{ours}})
	b.reconcile()
	c := counter{}
	now := time.Unix(1, 0)
	b.cfg.Observer, b.cfg.Now = c, func() time.Time { return now }
	n := b.Neighbours(ours, &wire{closed: make(chan struct{})})
	p := solicit("2001:db8:f::7", group, target, nil)
	for range perSecond + 5 {
		n.answer(p, asker)
	}
	now = now.Add(time.Second)
	n.answer(p, asker)
	if diff := cmp.Diff(counter{reason.Answered: perSecond + 1, reason.RateLimited: 5}, c); diff != "" {
		t.Error(diff)
	}
}

// TestRunNeighbours: it ends with its context, and with an error when the link breaks; the wire is closed once.
func TestRunNeighbours(t *testing.T) {
	b := newBench()
	ctx, cancel := context.WithCancel(t.Context())
	w := &wire{packets: make(chan []byte), closed: make(chan struct{})}
	n := b.Neighbours(ours, w)
	ended := make(chan error)
	go func() { ended <- n.Run(ctx) }()
	w.packets <- solicit("2001:db8:f::7", group, target, nil)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	<-w.closed
	w = &wire{packets: make(chan []byte), closed: make(chan struct{})}
	close(w.packets)
	if err := b.Neighbours(ours, w).Run(t.Context()); err == nil {
		t.Error("a broken link is no end")
	}
	<-w.closed
}
