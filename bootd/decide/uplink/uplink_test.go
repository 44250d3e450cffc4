package uplink

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
)

const (
	us     = ident.DUID("\x00\x04client-client-cli")
	them   = ident.DUID("\x00\x01them")
	others = ident.DUID("\x00\x01others")
)

var (
	epoch  = time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)
	router = netip.MustParseAddr("fe80::1")
	pfx    = netip.MustParsePrefix
)

func config(lengths ...int) Config {
	c := Config{Client: us, RapidCommit: true}
	for i, n := range lengths {
		c.Prefixes = append(c.Prefixes, Wanted{IAID: ident.IAID(i + 1), Hint: Hint{Length: n}})
	}
	return c
}

// sim runs a client against a server that is a function, in a time of its own.
type sim struct {
	t   *testing.T
	m   *Machine
	now time.Time
	r   *rand.Rand
	// answer is the server; from its source address.
	answer func(Message) []Message
	// log has a line for each message, change and reason.
	log []string
	// at are the times of transmissions.
	at []time.Duration
}

func newSim(t *testing.T, c Config, h Held, answer func(Message) []Message) *sim {
	return &sim{t: t, m: New(c, h), now: epoch, r: rand.New(rand.NewPCG(1, 2)), answer: answer}
}

func names() map[Type]string {
	return map[Type]string{Solicit: "solicit", Advertise: "advertise", Request: "request", Renew: "renew", Rebind: "rebind", Reply: "reply", Release: "release"}
}

func (s *sim) do(step Step) {
	s.t.Helper()
	if step.Cause != Unchanged {
		var p []string
		for _, b := range s.m.Held().Bindings {
			p = append(p, b.Prefix.String())
		}
		s.log = append(s.log, fmt.Sprintf("%s: %s", step.Cause, strings.Join(p, " ")))
	}
	for _, n := range step.Notes {
		s.log = append(s.log, "note: "+n)
	}
	for _, msg := range step.Send {
		s.log, s.at = append(s.log, names()[msg.Type]), append(s.at, s.now.Sub(epoch))
		for _, a := range s.answer(msg) {
			s.hear(a)
		}
	}
}

func (s *sim) hear(msg Message) {
	step, why := s.m.Receive(s.now, router, msg, s.r)
	if why != reason.Changed && why != reason.Answered {
		s.log = append(s.log, "ignored: "+why.String())
	}
	s.do(step)
}

// until lets time run.
func (s *sim) until(d time.Duration) {
	s.t.Helper()
	for range 100_000 {
		due := s.m.Deadline()
		if due.IsZero() || due.After(epoch.Add(d)) {
			s.now = epoch.Add(d)
			return
		}
		if due.After(s.now) {
			s.now = due
		}
		s.do(s.m.Tick(s.now, s.r))
	}
	s.t.Fatalf("the client does not come to rest: %s", s.log[max(0, len(s.log)-10):])
}

func (s *sim) attach() { s.do(s.m.Attach(s.now, s.r)) }

func (s *sim) want(lines ...string) {
	s.t.Helper()
	if diff := cmp.Diff(lines, s.log); diff != "" {
		s.t.Errorf("what happened differs (-want +got):\n%s", diff)
	}
	s.log = nil
}

// reply answers a message with leases for its IAs.
func reply(to Message, typ Type, leases ...Lease) Message {
	a := Message{Type: typ, XID: to.XID, Client: to.Client, Server: them, RapidCommit: typ == Reply && to.Type == Solicit}
	for i, ia := range to.IAs {
		x := IA{ID: ia.ID, Address: ia.Address}
		if i < len(leases) && leases[i].Prefix.IsValid() {
			x.Leases = []Lease{leases[i]}
		}
		a.IAs = append(a.IAs, x)
	}
	return a
}

func hour(p string) Lease {
	return Lease{Prefix: pfx(p), Preferred: 30 * time.Minute, Valid: time.Hour}
}

// status answers with a status in each IA.
func status(to Message, typ Type, c Code) Message {
	a := reply(to, typ)
	for i := range a.IAs {
		a.IAs[i].Status = c
	}
	return a
}

// plain is a server without rapid commit that always gives the same.
func plain(leases ...Lease) func(Message) []Message {
	return func(m Message) []Message {
		if m.Type == Solicit {
			return []Message{reply(m, Advertise, leases...)}
		}
		return []Message{reply(m, Reply, leases...)}
	}
}

func deaf(Message) []Message { return nil }

// TestFourMessages: Solicit, the first RT, Request, then Renew at half of the preferred lifetime, again and again.
func TestFourMessages(t *testing.T) {
	s := newSim(t, config(48), Held{}, plain(hour("2001:db8::/48")))
	s.attach()
	s.until(3 * time.Second)
	s.want("solicit", "request", "bound: 2001:db8::/48")
	if wait := s.at[1] - s.at[0]; wait <= time.Second || wait > 1100*time.Millisecond {
		t.Errorf("the first RT is %s: above IRT, so that an Advertise after it still counts", wait)
	}
	if s.at[0] > time.Second {
		t.Errorf("the first Solicit came after %s: SOL_MAX_DELAY is a second", s.at[0])
	}
	s.until(16 * time.Minute)
	s.want("renew", "renewed: 2001:db8::/48")
	if d := s.at[2] - s.at[1]; d != 15*time.Minute {
		t.Errorf("renewed after %s: T1 is half of 30 minutes", d)
	}
	if h := s.m.Held(); !h.RebindAt.Equal(h.Got.Add(24*time.Minute)) || h.From != router || h.Server != them {
		t.Errorf("held %+v", h)
	}
}

// TestRapidCommit: two messages; a Reply without the option is no answer to a Solicit, nor is any where the client did not offer.
func TestRapidCommit(t *testing.T) {
	rapid := func(m Message) []Message {
		a := reply(m, Reply, hour("2001:db8::/48"))
		without := a
		without.RapidCommit = false
		return []Message{without, a}
	}
	s := newSim(t, config(48), Held{}, rapid)
	s.attach()
	s.until(3 * time.Second)
	s.want("solicit", "ignored: wrong-transaction", "bound: 2001:db8::/48")

	c := config(48)
	c.RapidCommit = false
	s = newSim(t, c, Held{}, rapid)
	s.attach()
	s.until(1500 * time.Millisecond)
	s.want("solicit", "ignored: wrong-transaction", "ignored: wrong-transaction")
}

// TestPreference: 255 is taken at once, else the highest one after the first RT, more prefixes before fewer; one that has none
// is not waited for.
func TestPreference(t *testing.T) {
	offer := func(m Message, pref int, server ident.DUID, leases ...Lease) Message {
		a := reply(m, Advertise, leases...)
		a.Server, a.Preference = server, pref
		return a
	}
	var asked []ident.DUID
	run := func(offers func(Message) []Message) time.Duration {
		asked = nil
		s := newSim(t, config(48, 56), Held{}, func(m Message) []Message {
			if m.Type == Solicit {
				return offers(m)
			}
			asked = append(asked, m.Server)
			a := reply(m, Reply, hour("2001:db8::/48"), hour("2001:db8:1::/56"))
			a.Server = m.Server
			return []Message{a}
		})
		s.attach()
		s.until(4 * time.Second)
		return s.at[1] - s.at[0]
	}
	one := hour("2001:db8::/48")
	both := []Lease{one, hour("2001:db8:1::/56")}
	if d := run(func(m Message) []Message {
		return []Message{offer(m, 10, others, both...), offer(m, 255, them, one)}
	}); d != 0 || !slices.Equal(asked, []ident.DUID{them}) {
		t.Errorf("preference 255 was taken after %s, and asked were %q", d, asked)
	}
	if d := run(func(m Message) []Message {
		return []Message{offer(m, 10, others, one), offer(m, 200, them, one), offer(m, 254, others)}
	}); d < time.Second || !slices.Equal(asked, []ident.DUID{them}) {
		t.Errorf("after %s asked were %q", d, asked)
	}
	if run(func(m Message) []Message {
		return []Message{offer(m, 0, others, one), offer(m, 0, them, both...)}
	}); !slices.Equal(asked, []ident.DUID{them}) {
		t.Errorf("two prefixes are worth more than one; asked were %q", asked)
	}
}

// TestSolicitTimes: RT doubles up to SOL_MAX_RT, which a server may change, and nothing is sent faster however long nobody answers.
func TestSolicitTimes(t *testing.T) {
	s := newSim(t, config(48), Held{}, deaf)
	s.attach()
	s.until(7 * 24 * time.Hour)
	if len(s.at) < 150 || len(s.at) > 200 {
		t.Errorf("%d Solicits in a week", len(s.at))
	}
	prev, above, below := s.at[1]-s.at[0], 0, 0
	for i := 2; i < len(s.at); i++ {
		rt := s.at[i] - s.at[i-1]
		switch {
		case rt > solMaxRT:
			above++
		case rt > solMaxRT-solMaxRT/10 && rt < solMaxRT:
			below++
		}
		if double := float64(rt) / float64(prev); rt < 3240*time.Second && (double < 1.9 || double > 2.1) || rt > 3960*time.Second {
			t.Fatalf("RT %d is %s after %s", i, rt, prev)
		}
		prev = rt
	}
	if above < 40 || below < 40 {
		t.Errorf("RAND is on both sides of MRT: %d above, %d below", above, below)
	}
	s = newSim(t, config(48), Held{}, func(m Message) []Message {
		a := status(m, Advertise, NoPrefixAvail)
		a.SolMaxRT = 60 * time.Second
		return []Message{a}
	})
	s.attach()
	s.until(time.Hour)
	if len(s.at) < 55 || len(s.at) > 75 || s.log[1] != "ignored: no-prefix-avail" {
		t.Errorf("%d Solicits in an hour with SOL_MAX_RT of a minute; %s", len(s.at), s.log[:2])
	}
	s = newSim(t, config(48), Held{}, func(m Message) []Message {
		a := status(m, Advertise, NoPrefixAvail)
		a.SolMaxRT = 59 * time.Second
		return []Message{a}
	})
	s.attach()
	s.until(time.Hour)
	if len(s.at) > 20 {
		t.Errorf("%d Solicits in an hour: a SOL_MAX_RT below 60 is ignored", len(s.at))
	}
}

// TestRequestTimes: ten Requests, then another server is looked for.
func TestRequestTimes(t *testing.T) {
	s := newSim(t, config(48), Held{}, func(m Message) []Message {
		if m.Type == Solicit {
			return []Message{reply(m, Advertise, hour("2001:db8::/48"))}
		}
		return nil
	})
	s.attach()
	s.until(4*time.Minute + 10*time.Second)
	want := append(append([]string{"solicit"}, slices.Repeat([]string{"request"}, 10)...), "note: the server that offered a prefix answers no Request", "solicit", "request")
	if diff := cmp.Diff(want, s.log[:14]); diff != "" {
		t.Error(diff)
	}
}

// TestSilence: Renew from T1 to T2, Rebind until the lease ends, then Solicit for the same prefix.
func TestSilence(t *testing.T) {
	server := plain(hour("2001:db8::/48"))
	var hint []Lease
	s := newSim(t, config(48), Held{}, func(m Message) []Message {
		if m.Type == Solicit {
			hint = m.IAs[0].Leases
		}
		return server(m)
	})
	s.attach()
	s.until(3 * time.Second)
	if diff := cmp.Diff([]Lease{{Prefix: pfx("::/48")}}, hint, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("the first hint: %s", diff)
	}
	s.log, server = nil, deaf
	s.until(time.Hour + time.Minute)
	count := map[string]int{}
	for _, l := range s.log {
		count[l]++
	}
	if count["renew"] < 5 || count["renew"] > 7 || count["rebind"] < 6 || count["rebind"] > 11 || count["expired: "] != 1 || count["solicit"] < 4 {
		t.Errorf("in an hour of silence: %v", count)
	}
	if i, j := slices.Index(s.log, "expired: "), slices.Index(s.log, "solicit"); i < 0 || j != i+1 {
		t.Errorf("%v", s.log)
	}
	if len(hint) != 1 || hint[0].Prefix != pfx("2001:db8::/48") {
		t.Errorf("the lost prefix is asked for again, not %v", hint)
	}
}

// TestRestart: a kept lease is asked about by Rebind, within ten seconds; where nobody answers it is used on.
func TestRestart(t *testing.T) {
	held := Held{
		Server: them, Got: epoch.Add(-10 * time.Minute), RenewAt: epoch.Add(5 * time.Minute), RebindAt: epoch.Add(14 * time.Minute),
		Bindings: []Binding{{IAID: 1, Prefix: pfx("2001:db8::/48"), PreferredUntil: epoch.Add(20 * time.Minute), ValidUntil: epoch.Add(50 * time.Minute)}},
	}
	s := newSim(t, config(48), held, plain(hour("2001:db8::/48")))
	s.attach()
	s.until(2 * time.Second)
	s.want("rebind", "rebound: 2001:db8::/48")

	s = newSim(t, config(48), held, deaf)
	s.attach()
	s.until(11 * time.Second)
	if st, _ := s.m.State(); st != Ready || len(s.log) < 3 || len(s.log) > 5 {
		t.Errorf("%s after %v", st, s.log)
	}
	s.log = nil
	s.until(5*time.Minute + time.Second)
	s.want("renew")

	// Another prefix than the one that was kept; the old one goes on until it ends.
	s = newSim(t, config(48), held, plain(hour("2001:db8:7::/48")))
	s.attach()
	s.until(2 * time.Second)
	s.want("rebind", "rebound: 2001:db8::/48 2001:db8:7::/48")

	// A server that cannot rebind is asked to renew.
	s = newSim(t, config(48), held, func(m Message) []Message {
		if m.Type == Rebind {
			return []Message{status(m, Reply, NoPrefixAvail)}
		}
		return plain(hour("2001:db8::/48"))(m)
	})
	s.attach()
	s.until(2 * time.Second)
	s.want("rebind", "ignored: no-prefix-avail", "renew", "renewed: 2001:db8::/48")

	// Downtime counts: what ended meanwhile is no longer ours.
	s = newSim(t, config(48), held, plain(hour("2001:db8::/48")))
	s.now = epoch.Add(51 * time.Minute)
	s.attach()
	s.until(52 * time.Minute)
	s.want("expired: ", "solicit", "request", "bound: 2001:db8::/48")

	// Nor is what the inventory does not ask for any more.
	if got := New(Config{Client: us}, held).Held().Bindings; len(got) != 0 {
		t.Errorf("held %v", got)
	}
}

// TestLinkFlap: a link that comes back is asked on by Rebind; while it is away lifetimes run on.
func TestLinkFlap(t *testing.T) {
	s := newSim(t, config(48), Held{}, plain(hour("2001:db8::/48")))
	s.attach()
	s.until(3 * time.Second)
	s.m.Detach(s.now)
	s.until(30 * time.Minute)
	s.log = nil
	s.attach()
	s.until(30*time.Minute + 2*time.Second)
	s.want("rebind", "rebound: 2001:db8::/48")
	s.m.Detach(s.now)
	s.until(2 * time.Hour)
	s.want("expired: ")
}

// TestRefused: whatever a server refuses with, the client comes to it again at a bounded rate.
func TestRefused(t *testing.T) {
	for _, c := range []Code{NoPrefixAvail, NotOnLink, UnspecFail, NoBinding, 42} {
		s := newSim(t, config(48), Held{}, func(m Message) []Message {
			if m.Type == Solicit {
				return []Message{reply(m, Advertise, hour("2001:db8::/48"))}
			}
			return []Message{status(m, Reply, c)}
		})
		s.attach()
		s.until(24 * time.Hour)
		if n := len(s.at); n < 20 || n > 90 {
			t.Errorf("status %d: %d messages in a day", c, n)
		}
	}
	s := newSim(t, config(48), Held{}, func(m Message) []Message {
		if m.Type == Solicit {
			return []Message{reply(m, Advertise, hour("2001:db8::/48"))}
		}
		a := reply(m, Reply)
		a.Status = UnspecFail
		return []Message{a}
	})
	s.attach()
	s.until(24 * time.Hour)
	if n := len(s.at); n > 400 {
		t.Errorf("UnspecFail: %d messages in a day", n)
	}
}

// TestNoBinding: a server that forgot us is asked anew once; one that goes on to forget is left alone for a while.
func TestNoBinding(t *testing.T) {
	forgot := true
	s := newSim(t, config(48), Held{}, nil)
	s.answer = func(m Message) []Message {
		switch {
		case m.Type == Renew && forgot:
			return []Message{status(m, Reply, NoBinding)}
		case m.Type == Request && forgot:
			forgot = false
			if got := m.IAs[0].Leases; s.m.Held().Server != "" && (len(got) != 1 || got[0].Prefix != pfx("2001:db8::/48")) {
				t.Errorf("the Request names %v", got)
			}
		}
		return plain(hour("2001:db8::/48"))(m)
	}
	s.attach()
	s.until(3 * time.Second)
	s.log, forgot = nil, true
	s.until(16 * time.Minute)
	s.want("renew", "ignored: no-binding", "note: the server knows nothing of what is held (NoBinding): asking it anew", "request", "bound: 2001:db8::/48")

	s.answer = func(m Message) []Message {
		if m.Type == Solicit {
			return []Message{reply(m, Advertise, hour("2001:db8::/48"))}
		}
		return []Message{status(m, Reply, NoBinding)}
	}
	s.at = nil
	s.until(24 * time.Hour)
	if n := len(s.at); n < 20 || n > 90 {
		t.Errorf("%d messages to a server that knows nothing", n)
	}
}

// TestWithdrawn: lifetimes of zero end a prefix at once, and a new one beside it takes its place.
func TestWithdrawn(t *testing.T) {
	s := newSim(t, config(48), Held{}, plain(hour("2001:db8::/48")))
	s.attach()
	s.until(3 * time.Second)
	s.log = nil
	s.answer = func(m Message) []Message {
		a := reply(m, Reply, Lease{Prefix: pfx("2001:db8::/48")})
		a.IAs[0].Leases = append(a.IAs[0].Leases, hour("2001:db8:7::/48"))
		return []Message{a}
	}
	s.until(16 * time.Minute)
	s.want("renew", "renewed: 2001:db8:7::/48")
	s.answer = plain(Lease{Prefix: pfx("2001:db8:7::/48")})
	s.until(31*time.Minute + 30*time.Second)
	if want := []string{"renew", "expired: ", "note: the server took the prefix back", "solicit", "ignored: no-prefix-avail"}; !slices.Equal(s.log[:len(want)], want) {
		t.Errorf("%v", s.log)
	}
}

// TestLeases: what is taken of a Reply, and what not.
func TestLeases(t *testing.T) {
	infinite := Lease{Prefix: pfx("2001:db8::/48"), Preferred: Forever, Valid: Forever}
	for _, c := range []struct {
		name   string
		leases []Lease
		ask    Config
		log    []string
		renew  time.Duration // 0: never
	}{
		{"for ever", []Lease{infinite}, config(48), []string{"bound: 2001:db8::/48"}, 0},
		{"too small", []Lease{hour("2001:db8::/56")}, config(48), []string{"bound: 2001:db8::/56", "note: a /48 was asked for, and the server gave 2001:db8::/56"}, 15 * time.Minute},
		{
			"overlapping",
			[]Lease{hour("2001:db8::/48"), hour("2001:db8::/56")},
			config(48, 56),
			[]string{"bound: 2001:db8::/48", "note: 2001:db8::/56 was ignored: it overlaps 2001:db8::/48, which is held already", "note: of 2 prefixes that were asked for the server gave 1"},
			15 * time.Minute,
		},
		{"one of two", []Lease{hour("2001:db8::/48")}, config(48, 56), []string{"bound: 2001:db8::/48", "note: of 2 prefixes that were asked for the server gave 1"}, 15 * time.Minute},
		{"deprecated", []Lease{{Prefix: pfx("2001:db8::/48"), Valid: time.Hour}}, config(48), []string{"bound: 2001:db8::/48"}, 30 * time.Minute},
		{"a moment", []Lease{{Prefix: pfx("2001:db8::/48"), Preferred: 4 * time.Second, Valid: 4 * time.Second}}, config(48), []string{"bound: 2001:db8::/48"}, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSim(t, c.ask, Held{}, func(m Message) []Message { return []Message{reply(m, Reply, c.leases...)} })
			s.attach()
			s.until(1100 * time.Millisecond)
			s.want(append([]string{"solicit"}, c.log...)...)
			if h := s.m.Held(); c.renew == 0 && !h.RenewAt.IsZero() || c.renew > 0 && !h.RenewAt.Equal(h.Got.Add(c.renew)) {
				t.Errorf("renewed at %s, got %s", h.RenewAt, h.Got)
			}
		})
	}
	for name, l := range map[string]Lease{
		"preferred for longer than valid": {Prefix: pfx("2001:db8::/48"), Preferred: 2 * time.Hour, Valid: time.Hour},
		"multicast":                       hour("ff05::/48"),
		"link-local":                      hour("fe80::/64"),
		"all":                             hour("::/0"),
		"a loopback":                      hour("::1/120"),
		"IPv4":                            hour("::ffff:10.0.0.0/104"),
		"a third of the Internet":         hour("2000::/3"),
		"one address":                     hour("2001:db8::1/128"),
		"no lifetime":                     {Prefix: pfx("2001:db8::/48")},
	} {
		s := newSim(t, config(48), Held{}, func(m Message) []Message { return []Message{reply(m, Reply, l)} })
		s.attach()
		s.until(1100 * time.Millisecond)
		if len(s.m.Held().Bindings) > 0 {
			t.Errorf("%s: held %v", name, s.m.Held().Bindings)
		}
	}
}

// TestTimes: T1 and T2 of a server count, those that are too early or too late are replaced.
func TestTimes(t *testing.T) {
	for _, c := range []struct{ t1, t2, renew, rebind time.Duration }{
		{0, 0, 900, 1440},
		{100, 200, 100, 200},
		{1, 2, 5, 5},
		{4000, 5000, 900, 1440},
		{1000, 0, 1000, 1440},
		{0, 300, 900, 900},
	} {
		var x timers
		x.add(IA{T1: c.t1 * time.Second, T2: c.t2 * time.Second}, hour("2001:db8::/48"))
		renew, rebind := x.times(epoch)
		if renew != epoch.Add(c.renew*time.Second) || rebind != epoch.Add(c.rebind*time.Second) {
			t.Errorf("T1 %d, T2 %d: %s and %s", c.t1, c.t2, renew.Sub(epoch), rebind.Sub(epoch))
		}
	}
}

// TestForged: each forgery is ignored, with its own reason, in every state.
func TestForged(t *testing.T) {
	good := func(m Message) Message { return reply(m, Reply, hour("2001:db8:bad::/48")) }
	for _, c := range []struct {
		name string
		bend func(*Message)
		from netip.Addr
		want reason.Reason
	}{
		{"another transaction", func(m *Message) { m.XID[0]++ }, router, reason.WrongTransaction},
		{"another client", func(m *Message) { m.Client = others }, router, reason.BadClientID},
		{"no client", func(m *Message) { m.Client = "" }, router, reason.NoClientID},
		{"no server", func(m *Message) { m.Server = "" }, router, reason.NoServerID},
		{"from afar", func(*Message) {}, netip.MustParseAddr("2001:db8::666"), reason.BadSource},
		{"a Reconfigure", func(m *Message) { m.Type = Reconfigure }, router, reason.Unauthenticated},
		{"a Solicit", func(m *Message) { m.Type = Solicit }, router, reason.NotForClients},
		{"an Advertise late", func(m *Message) { m.Type = Advertise }, router, reason.WrongTransaction},
		{"another server", func(m *Message) { m.Server = others }, router, reason.OtherServer},
	} {
		s := newSim(t, config(48), Held{}, plain(hour("2001:db8::/48")))
		s.attach()
		s.until(3 * time.Second)
		var last Message
		s.answer = func(m Message) []Message { last = m; return nil }
		s.until(16 * time.Minute) // it renews, and nobody answers
		before := s.m.Held()
		m := good(last)
		c.bend(&m)
		step, why := s.m.Receive(s.now, c.from, m, s.r)
		if why != c.want || len(step.Send) > 0 || step.Cause != Unchanged || cmp.Diff(before.Bindings[0].Prefix.String(), s.m.Held().Bindings[0].Prefix.String()) != "" {
			t.Errorf("%s: %s, want %s; %+v", c.name, why, c.want, step)
		}
	}
	// What comes when nothing was asked is an answer to nothing.
	s := newSim(t, config(48), Held{}, plain(hour("2001:db8::/48")))
	s.attach()
	if _, why := s.m.Receive(s.now, router, good(Message{XID: s.m.x.xid, Client: us}), s.r); why != reason.WrongTransaction {
		t.Errorf("before the first Solicit: %s", why)
	}
}

// TestRelease: everything is given back before the answer comes, four times at most, and nothing is asked for until a person
// wants it.
func TestRelease(t *testing.T) {
	s := newSim(t, config(48), Held{}, plain(hour("2001:db8::/48")))
	s.attach()
	s.until(3 * time.Second)
	s.log = nil
	s.do(s.m.Release(s.now, s.r))
	s.want("released: ", "release")
	s.until(time.Hour)
	s.want()
	s.do(s.m.Renew(s.now, s.r))
	s.until(time.Hour + 2*time.Second)
	s.want("solicit", "request", "bound: 2001:db8::/48")
	s.answer = deaf
	s.do(s.m.Release(s.now, s.r))
	s.until(2 * time.Hour)
	s.want("released: ", "release", "release", "release", "release")
	if st, _ := s.m.State(); st != Idle {
		t.Errorf("the client is %s", st)
	}
}

// TestOrderedRenew: a person's word is a Renew now.
func TestOrderedRenew(t *testing.T) {
	s := newSim(t, config(48), Held{}, plain(hour("2001:db8::/48")))
	s.attach()
	s.until(3 * time.Second)
	s.log = nil
	s.do(s.m.Renew(s.now, s.r))
	s.want("renew", "renewed: 2001:db8::/48")
}

// TestAddress: an address beside the prefix is asked for in the same messages, and is no reason to take a server without prefixes.
func TestAddress(t *testing.T) {
	id := ident.IAID(9)
	c := config(0)
	c.Address = &id
	addr := Lease{Prefix: pfx("2001:db8:f::5/128"), Preferred: time.Hour, Valid: time.Hour}
	s := newSim(t, c, Held{}, plain(hour("2001:db8::/56"), addr))
	s.attach()
	s.until(3 * time.Second)
	s.want("solicit", "request", "bound: 2001:db8::/56 2001:db8:f::5/128")
	s = newSim(t, c, Held{}, func(m Message) []Message { return []Message{reply(m, Advertise, Lease{}, addr)} })
	s.attach()
	s.until(1100 * time.Millisecond)
	s.want("solicit", "ignored: no-prefix-avail")
}

// TestRandomServer: whatever a server answers, the client neither panics nor talks faster than about a message a second.
func TestRandomServer(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		life := func() time.Duration {
			return []time.Duration{0, time.Second, 5 * time.Second, time.Minute, time.Hour, Forever}[r.IntN(6)]
		}
		c := config(48, 56)
		s := newSim(t, c, Held{}, nil)
		s.r = rand.New(rand.NewPCG(seed, 8))
		s.answer = func(m Message) []Message {
			a := reply(m, []Type{Advertise, Reply}[r.IntN(2)], Lease{pfx(fmt.Sprintf("2001:db8:%x::/48", r.IntN(3))), netip.Prefix{}, life(), life()},
				Lease{pfx(fmt.Sprintf("2001:db8:%x::/56", r.IntN(3))), netip.Prefix{}, life(), life()})
			for i := range a.IAs {
				a.IAs[i].T1, a.IAs[i].T2, a.IAs[i].Status = life(), life(), Code([]int{0, 0, 0, 1, 3, 4, 6}[r.IntN(7)])
			}
			if m.Server != "" && r.IntN(10) > 0 {
				a.Server = m.Server
			}
			a.Status = Code([]int{0, 0, 0, 0, 1, 5, 6}[r.IntN(7)])
			return []Message{a, a}[:r.IntN(3)]
		}
		s.attach()
		s.until(time.Hour)
		if len(s.at) > 3600 {
			t.Errorf("seed %d: %d messages in an hour", seed, len(s.at))
		}
		for _, b := range s.m.Held().Bindings {
			if b.ended(s.now) {
				t.Errorf("seed %d: %v has ended", seed, b)
			}
		}
	}
}

// TestRoom: a prefix that is taken back makes room for one around it, in whatever order a Reply names them.
func TestRoom(t *testing.T) {
	small, gone, large := hour("2001:db8::/56"), Lease{Prefix: pfx("2001:db8::/56")}, hour("2001:db8::/48")
	for _, leases := range [][]Lease{{gone, large}, {large, gone}} {
		s := newSim(t, config(0), Held{}, func(m Message) []Message {
			if m.Type != Renew {
				return plain(small)(m)
			}
			a := reply(m, Reply)
			a.IAs[0].Leases = leases
			return []Message{a}
		})
		s.attach()
		s.until(20 * time.Minute)
		s.want("solicit", "request", "bound: 2001:db8::/56", "renew", "renewed: 2001:db8::/48")
	}
}
