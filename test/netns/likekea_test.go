package netns_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// machine is a client with a card on the link of the original and one with the same MAC on bootd's, and one DUID.
type machine struct {
	mac  string
	duid []byte
	// theirs and bootd are its sockets and what it has of each server.
	theirs, bootd *peer
}

// peer is one server as a machine knows it.
type peer struct {
	name   string
	conn   *net.UDPConn
	to     *net.UDPAddr
	server []byte
	addrs  map[uint32]netip.Addr
	pd     map[uint32]netip.Prefix
	// xid counts the messages of the socket; silent are those that were taken for unanswered.
	xid    *uint32
	silent map[uint32]string
}

// step is one question. What it names depends on what the server has given before.
type step struct {
	name string
	make func(m *machine, p *peer) question
	// silent are the servers that do not answer it.
	silent []string
}

// original is a server with a configuration, and how bootd import is asked to read it.
type original struct {
	name string
	// dir is below bootd/importer/testdata; conf is the server's own file there, more are further arguments of bootd import.
	dir, conf string
	more      []string
	// prefix is the server's on the link.
	prefix string
	run    func(*both, *testing.T, *lab.Node, string)
	// steps are asked besides the usual ones.
	steps []step
	// silent are further servers that do not answer a step.
	silent map[string][]string
}

// TestImportedAnswersLikeKea asks Debian's Kea with the configuration of case 2, and bootd with what bootd import made of it,
// the same 200 questions, and compares the answers option by option. The differences are those of docs/migrating.md, each
// with its reason, and no other.
func TestImportedAnswersLikeKea(t *testing.T) {
	found := map[string]string{}
	for _, dir := range []string{"case2", "plain-kea"} { // the second has none of the times that the first has
		t.Run(dir, func(t *testing.T) {
			asked, here := compare(t, original{name: "kea", dir: dir, conf: "kea-dhcp6.conf", prefix: "2001:db8::1/64", run: (*both).kea})
			if asked < 200 {
				t.Errorf("only %d questions were asked", asked)
			}
			for d, where := range here {
				found[d] = dir + ": " + where
			}
		})
	}
	listed(t, "Kea", found)
}

// compare asks both servers all questions of all machines; found are the differences, with the question that showed each first.
func compare(t *testing.T, o original) (asked int, found map[string]string) {
	t.Helper()
	r := startBoth(t, o)
	r.machines[len(r.machines)-1].bootd.warm(t)
	found = map[string]string{}
	for i, m := range r.machines {
		for _, s := range append(r.steps(), o.steps...) {
			if i == 0 && strings.Contains(s.name, "decline") {
				continue // its address would be out of use when the same machine comes with its other DUID
			}
			asked++
			s.silent = append(slices.Clip(s.silent), o.silent[s.name]...)
			a, b := m.theirs.ask(t, m, s), m.bootd.ask(t, m, s)
			for _, d := range differences(a, b) {
				if _, ok := found[d]; !ok {
					found[d] = fmt.Sprintf("%s of %s with DUID %x", s.name, m.mac, m.duid)
				}
			}
		}
	}
	return asked, found
}

// listed compares the differences that were found with the rows of docs/migrating.md.
func listed(t *testing.T, server string, found map[string]string) {
	t.Helper()
	rows := listedDifferences(t, server)
	for d, where := range found {
		if !slices.Contains(rows, d) {
			t.Errorf("docs/migrating.md has no row for %s (first: %s)", d, where)
		}
	}
	for _, d := range rows {
		if _, ok := found[d]; !ok {
			t.Errorf("docs/migrating.md lists %s, which was not seen", d)
		}
	}
}

// both are the two servers and their clients.
type both struct {
	*lab.Lab
	original
	links    map[string]*lab.Link
	machines []*machine
	// delegates: the import took over the pool of prefixes.
	delegates bool
}

// iaid of the machines' first identity association.
const firstIAID, otherIAID = 1, 7

// prepare starts both servers, each on a link of its own.
func prepare(t *testing.T, o original) *both {
	t.Helper()
	r := &both{Lab: labtest.New(t), original: o, links: map[string]*lab.Link{}}
	if err := os.CopyFS(r.Path(o.dir), os.DirFS("../../bootd/importer/testdata/"+o.dir)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{o.name, "bootd"} {
		var err error
		if r.links[name], err = r.Link(name); err != nil {
			t.Fatal(err)
		}
		r.server(t, name, r.links[name])
	}
	return r
}

func startBoth(t *testing.T, o original) *both {
	t.Helper()
	r := prepare(t, o)
	duids := [][]byte{
		// The machine of the reservation, by a DUID without a MAC, and by that of the original.
		{0, 2, 0, 0, 0xab, 0x11, 1, 2, 3, 4, 5, 6, 7, 8},
		{0, 1, 0, 1, 0x1e, 0x47, 0x7e, 0x66, 0x52, 0x54, 0, 0xd6, 0xc2, 0xa9},
		{0, 1, 0, 1, 0x1e, 0x47, 0x7e, 0x66, 0x52, 0x54, 0, 0, 1, 1},
		{0, 3, 0, 1, 0x52, 0x54, 0, 0, 1, 2},
		{0, 2, 0, 0, 0xab, 0x11, 8, 7, 6, 5, 4, 3, 2, 1},
		{0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
		{0, 3, 0, 1, 0x52, 0x54, 0, 0, 1, 5},
		{0, 1, 0, 1, 0x1e, 0x47, 0x7e, 0x66, 0x52, 0x54, 0, 0, 1, 6},
	}
	macs := []string{"52:54:00:d6:c2:a9", "", "52:54:00:00:01:01", "52:54:00:00:01:02", "52:54:00:00:01:03", "52:54:00:00:01:04", "52:54:00:00:01:05", "52:54:00:00:01:06"}
	for i, mac := range macs {
		if mac == "" { // the machine before it again
			first := r.machines[i-1]
			r.machines = append(r.machines, &machine{
				mac: first.mac, duid: duids[i], theirs: first.theirs.again(), bootd: first.bootd.again(),
			})
			continue
		}
		m := &machine{mac: mac, duid: duids[i]}
		for _, p := range []struct {
			to   **peer
			name string
		}{{&m.theirs, o.name}, {&m.bootd, "bootd"}} {
			*p.to = r.client(t, fmt.Sprintf("%s%d", p.name, i), p.name, mac, r.links[p.name])
		}
		r.machines = append(r.machines, m)
	}
	return r
}

func (p *peer) again() *peer {
	return &peer{name: p.name, conn: p.conn, to: p.to, xid: p.xid, silent: p.silent, addrs: map[uint32]netip.Addr{}, pd: map[uint32]netip.Prefix{}}
}

// server starts the original on its configuration, or bootd on what that is imported to.
func (r *both) server(t *testing.T, name string, link *lab.Link) {
	t.Helper()
	n, err := r.Node(name)
	if err != nil {
		t.Fatal(err)
	}
	err = n.Attach(link, lab.Interface{
		Name: "eth1", Self: lab.NoAddress,
		Addr: []netip.Prefix{netip.MustParsePrefix("fe80::1/64"), netip.MustParsePrefix(r.prefix)},
	})
	if err != nil {
		t.Fatal(err)
	}
	// A router that forwards and knows where to.
	if err := n.Sysctl(map[string]string{"net/ipv6/conf/all/forwarding": "1"}); err != nil {
		t.Fatal(err)
	}
	run(t, n, "ip", "-6", "route", "add", "default", "via", "fe80::ff", "dev", "eth1")
	conf := r.Path(r.dir + "/" + r.conf)
	if name == r.name {
		r.run(r, t, n, conf)
		return
	}
	binary := os.Getenv(labtest.BinaryEnv)
	cmd := n.Command(labtest.Context(t, patience), binary, append([]string{"import", r.name, conf}, r.more...)...)
	cmd.Dir = r.Path(r.dir)
	var notes strings.Builder
	cmd.Stderr = &notes
	inventory, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 3 {
		t.Fatalf("importing: %v\n%s", err, notes.String())
	}
	r.delegates = strings.Contains(string(inventory), "delegate:")
	if r.name == "kea" && !r.delegates && !strings.Contains(notes.String(), ".delegate: ") {
		t.Errorf("the pool of prefixes is neither taken over nor missed:\n%s", notes.String())
	}
	for path, text := range map[string][]byte{"inventory.yaml": inventory, "files/ipxe.efi": loaders()["ipxe.efi"]} {
		if err := os.MkdirAll(filepath.Dir(r.Path(path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(r.Path(path), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err = n.StartDaemon(labtest.Context(t, time.Minute), lab.DaemonConfig{Binary: binary, Inventory: r.Path("inventory.yaml")})
	if err != nil {
		t.Fatal(err)
	}
}

// kea runs Kea until the test ends.
func (r *both) kea(t *testing.T, n *lab.Node, conf string) {
	t.Helper()
	r.until(t, n, "DHCP6_STARTED", "kea-dhcp6", "-c", conf)
}

// until runs the original until the test ends, and waits until it says the word.
func (r *both) until(t *testing.T, n *lab.Node, word, program string, args ...string) {
	t.Helper()
	log, err := os.Create(r.Path(program + ".log"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := n.Command(ctx, program, args...)
	cmd.Env = append(os.Environ(), "KEA_PIDFILE_DIR="+r.Dir, "KEA_LOCKFILE_DIR="+r.Dir)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait() // it was told to end
		_ = log.Close()
	})
	err = lab.WaitFor(labtest.Context(t, patience), program+" serves", func() bool {
		text, err := os.ReadFile(log.Name())
		return err == nil && strings.Contains(string(text), word)
	})
	if err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("%v:\n%s", err, text)
	}
}

// client is one card of a machine, with a socket that is bound to its link-local address.
func (r *both) client(t *testing.T, node, server, mac string, link *lab.Link) *peer {
	t.Helper()
	n, err := r.Node(node)
	if err != nil {
		t.Fatal(err)
	}
	ll := netip.MustParsePrefix("fe80::c1/64")
	hw, err := net.ParseMAC(mac)
	if err != nil {
		t.Fatal(err)
	}
	b := ll.Addr().As16()
	b[13], b[14], b[15] = hw[3], hw[4], hw[5]
	own := netip.AddrFrom16(b)
	err = n.Attach(link, lab.Interface{Name: "eth0", MAC: mac, Self: lab.NoAddress, Addr: []netip.Prefix{netip.PrefixFrom(own, 64)}})
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{
		name: server, addrs: map[uint32]netip.Addr{}, pd: map[uint32]netip.Prefix{}, xid: new(uint32), silent: map[uint32]string{},
	}
	err = n.Do(func() error {
		i, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		// The zone is a number: the name would be looked up where the test runs.
		zone := fmt.Sprint(i.Index)
		p.to = &net.UDPAddr{IP: net.ParseIP("ff02::1:2"), Port: 547, Zone: zone}
		p.conn, err = net.ListenUDP("udp6", &net.UDPAddr{IP: own.AsSlice(), Port: 546, Zone: zone})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.conn.Close() })
	return p
}

// steps are the questions of a machine, in order.
func (r *both) steps() []step {
	oro := []uint16{23, 24, 59}
	// One of its own address; no address where it has none.
	own := func(id uint32) func(*peer) []ia {
		return func(p *peer) []ia { return []ia{{code: codeIANA, id: id, addr: p.addrs[id]}} }
	}
	fresh := func(ids ...uint32) func(*peer) []ia {
		return func(*peer) (all []ia) {
			for _, id := range ids {
				all = append(all, ia{code: codeIANA, id: id})
			}
			return all
		}
	}
	naming := func(a string) func(*peer) []ia {
		return func(*peer) []ia { return []ia{{code: codeIANA, id: firstIAID, addr: netip.MustParseAddr(a)}} }
	}
	to := func(kind byte, server bool, ias func(*peer) []ia) func(*machine, *peer) question {
		return func(m *machine, p *peer) question {
			q := question{kind: kind, duid: m.duid, oro: oro}
			if ias != nil {
				q.ias = ias(p)
			}
			if server {
				q.server = p.server
			}
			return q
		}
	}
	change := func(make func(*machine, *peer) question, how func(*question)) func(*machine, *peer) question {
		return func(m *machine, p *peer) question {
			q := make(m, p)
			how(&q)
			return q
		}
	}
	foreign := []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 1}
	nobody := []string{"kea", "dhcpd", "bootd"}
	steps := []step{
		{"Solicit", to(msgSolicit, false, fresh(firstIAID)), nil},
		{"Request", to(msgRequest, true, own(firstIAID)), nil},
		{"Renew", to(msgRenew, true, own(firstIAID)), nil},
		{"Rebind", to(msgRebind, false, own(firstIAID)), nil},
		{"Confirm", to(msgConfirm, false, own(firstIAID)), nil},
		{"Confirm of another link", to(msgConfirm, false, naming("2001:db8:9::1")), nil},
		{"Confirm without an address", to(msgConfirm, false, fresh(firstIAID)), nobody},
		{"Information-request", to(msgInfoRequest, false, nil), nil},
		{"Information-request without client-id", change(to(msgInfoRequest, false, nil), func(q *question) { q.duid = nil }), nil},
		{"Solicit without an IA", to(msgSolicit, false, nil), nil},
		{"Solicit with rapid commit", change(to(msgSolicit, false, fresh(firstIAID)), func(q *question) { q.rapid = true }), nil},
		{"Solicit of a temporary address", change(to(msgSolicit, false, nil), func(q *question) { q.ias = []ia{{code: codeIATA, id: 3}} }), nil},
		{"Solicit that names the server", to(msgSolicit, true, fresh(firstIAID)), nobody},
		{"Request to another server", change(to(msgRequest, false, own(firstIAID)), func(q *question) { q.server = foreign }), nobody},
		{"Request to nobody", to(msgRequest, false, own(firstIAID)), nobody},
		{"Renew without a server-id", to(msgRenew, false, own(firstIAID)), nobody},
		{"Renew of nothing", to(msgRenew, true, fresh(otherIAID)), nil},
		{"Renew of another link's address", to(msgRenew, true, naming("2001:db8:9::1")), nil},
		{"Rebind of another link's address", to(msgRebind, false, naming("2001:db8:9::1")), nil},
		{"Release", to(msgRelease, true, own(firstIAID)), nil},
		{"Release again", to(msgRelease, true, own(firstIAID)), nil},
		{"Solicit after the release", to(msgSolicit, false, fresh(firstIAID)), nil},
		{"Request after the release", to(msgRequest, true, own(firstIAID)), nil},
		{"A decline", to(msgDecline, true, own(firstIAID)), nil},
		{"Solicit after the decline", to(msgSolicit, false, fresh(firstIAID)), nil},
		{"Request after the decline", to(msgRequest, true, own(firstIAID)), nil},
		{"Solicit of two", to(msgSolicit, false, fresh(firstIAID, otherIAID)), nil},
	}
	if r.delegates {
		prefix := func(p *peer) []ia { return []ia{{code: codeIAPD, id: firstIAID, named: p.pd[firstIAID]}} }
		steps = append(steps, step{"Solicit of a prefix", to(msgSolicit, false, prefix), nil}, step{"Request of a prefix", to(msgRequest, true, prefix), nil},
			step{"Renew of a prefix", to(msgRenew, true, prefix), nil}, step{"Release of a prefix", to(msgRelease, true, prefix), nil})
	}
	return steps
}

// answerTime bounds one answer; marks are how many questions with an answer go behind one that is met with silence.
const (
	answerTime = 20 * time.Second
	marks      = 3
)

// ask sends a question and waits for its answer. Where the step says that the server is silent, questions that are always
// answered go behind it, and an answer that comes after all fails the test whenever it comes.
func (p *peer) ask(t *testing.T, m *machine, s step) *reply {
	t.Helper()
	q := s.make(m, p)
	xid := p.send(t, q)
	if slices.Contains(s.silent, p.name) {
		p.silent[xid] = s.name
		for range marks {
			p.await(t, p.send(t, question{kind: msgInfoRequest, duid: m.duid, oro: []uint16{23}}), s)
		}
		return nil
	}
	answer := p.await(t, xid, s)
	got := readReply(answer, q)
	if got.server != nil {
		p.server = got.server
	}
	switch q.kind {
	case msgSolicit, msgRequest, msgRenew, msgRebind:
		for id, a := range got.addrs {
			p.addrs[id] = a
		}
		for id, x := range got.pd {
			p.pd[id] = x
		}
	}
	return &got
}

func (p *peer) send(t *testing.T, q question) uint32 {
	t.Helper()
	*p.xid++
	xid := *p.xid
	if _, err := p.conn.WriteToUDP(q.encode(xid), p.to); err != nil {
		t.Fatalf("asking %s: %v", p.name, err)
	}
	return xid
}

// warm asks until there is an answer: after its start bootd listens for other servers, and holds back what is not reserved.
func (p *peer) warm(t *testing.T) {
	t.Helper()
	b := make([]byte, 2048)
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		p.send(t, question{kind: msgSolicit, duid: []byte{0, 3, 0, 1, 2, 0, 0, 0, 0, 9}, ias: []ia{{code: codeIANA, id: 99}}})
		if err := p.conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil { // as a client asks again
			t.Fatal(err)
		}
		if _, err := p.conn.Read(b); err == nil {
			return
		}
	}
	t.Fatalf("%s answers nobody", p.name)
}

// await reads until the answer comes.
func (p *peer) await(t *testing.T, xid uint32, s step) []byte {
	t.Helper()
	if err := p.conn.SetReadDeadline(time.Now().Add(answerTime)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 2048)
	for {
		n, err := p.conn.Read(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			t.Fatalf("%s does not answer: %s", p.name, s.name)
		case err != nil:
			t.Fatalf("listening to %s: %v", p.name, err)
		case n >= 4:
			id := binary.BigEndian.Uint32(b) & 0xffffff
			if what, ok := p.silent[id]; ok {
				t.Errorf("%s answered after all: %s", p.name, what)
			}
			if id == xid {
				return b[:n]
			}
		}
	}
}

// differences compares two answers option by option, as rows of docs/migrating.md.
func differences(theirs, bootd *reply) []string {
	words := func(r *reply) map[string]string {
		if r == nil {
			return map[string]string{"answer": "none"}
		}
		return r.words
	}
	a, b := words(theirs), words(bootd)
	var out []string
	if a["answer"] != b["answer"] {
		return []string{row("answer", a["answer"], b["answer"])}
	}
	keys := map[string]bool{}
	for k := range a {
		keys[k] = true
	}
	for k := range b {
		keys[k] = true
	}
	for k := range keys {
		if a[k] != b[k] {
			out = append(out, row(strings.TrimPrefix(k, "second "), a[k], b[k]))
		}
	}
	return out
}

func row(what, theirs, bootd string) string {
	none := func(s string) string {
		if s == "" {
			return "not sent"
		}
		return s
	}
	return fmt.Sprintf("| %s | %s | %s |", what, none(theirs), none(bootd))
}

// listedDifferences are the rows of the table in docs/migrating.md, without their reasons.
func listedDifferences(t *testing.T, server string) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text2, ok := strings.Cut(string(text), "\n| answer | "+server+" | bootd | why |\n|---|---|---|---|\n")
	if !ok {
		t.Fatalf("docs/migrating.md has no table of differences from %s", server)
	}
	var rows []string
	for l := range strings.SplitSeq(text2, "\n") {
		cells := strings.Split(l, " | ")
		if len(cells) != 4 {
			break
		}
		if len(strings.TrimSuffix(cells[3], " |")) < 20 {
			t.Errorf("docs/migrating.md gives no reason in %s", l)
		}
		rows = append(rows, strings.Join(cells[:3], " | ")+" |")
	}
	return rows
}
