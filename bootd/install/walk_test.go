package install_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
)

// model is what must be true, kept as simply as can be.
type model struct {
	armed     bool
	armedAt   time.Time
	watched   time.Time // when a running bootd last saw to the arm
	scripts   int
	live      map[string]bool // answers tokens of the order in force that may still open
	fetched   bool
	installed bool
}

// TestOnlyALiveArmInstalls lets everything happen in any order and checks at each step that a script with an installer is
// given exactly when somebody armed the host, nobody took it back, it has not run out, the answers were not fetched, and
// it was not asked for too often; and that answers open only to a token of that order.
func TestOnlyALiveArmInstalls(t *testing.T) {
	for seed := range uint64(300) {
		walk(t, rand.New(rand.NewPCG(seed, 1)), seed)
	}
}

func walk(t *testing.T, rnd *rand.Rand, seed uint64) {
	r, m, now := records{}, model{}, t0
	var secrets []install.Secrets
	pick := func() (install.Secrets, bool) {
		if len(secrets) == 0 {
			return install.Secrets{}, false
		}
		return secrets[rnd.IntN(len(secrets))], true
	}
	for step := range 120 {
		switch rnd.IntN(10) {
		case 0:
			end := now.Add(time.Duration(rnd.IntN(200)) * time.Minute)
			for rnd.IntN(4) > 0 && now.Before(end) { // else bootd is off
				now = now.Add(install.WatchedFor / 2)
				r.apply(t, install.Tidy(r, "r1n01", now).Ops)
				m.watch(now)
			}
			now = end
		case 1:
			w := wish(time.Duration(step).String())
			w.Reinstall = rnd.IntN(2) == 0
			ops, err := install.Order(r, subject(), w, now)
			if (err != nil) != (m.installed && !w.Reinstall) {
				t.Fatalf("seed %d step %d: ordering gave %v, installed %t", seed, step, err, m.installed)
			}
			if err == nil {
				r.apply(t, ops)
				m = model{armed: true, armedAt: now, watched: now, live: map[string]bool{}, installed: m.installed}
			}
		case 2:
			if rnd.IntN(3) == 0 {
				ops, _ := install.Cancel(r, "r1n01", "ops", now)
				r.apply(t, ops)
				m.armed, m.live = false, nil
			}
		case 3:
			r.apply(t, install.Tidy(r, "r1n01", now).Ops)
			m.watch(now)
		case 4:
			if s, ok := pick(); ok {
				if g, why := install.Redeem(r, s.Installed, install.ScopeInstalled, "r1n01", now); why == reason.Answered {
					r.apply(t, install.Done(r, g, now))
					m.armed, m.live, m.installed = false, nil, true
				}
			}
		case 5:
			if s, ok := pick(); ok {
				if g, why := install.Redeem(r, s.FirstBoot, install.ScopeFirstBoot, "r1n01", now); why == reason.Answered {
					r.apply(t, install.Boot(g, now))
					m.armed, m.live, m.installed = false, nil, true
				}
			}
		case 6:
			if s, ok := pick(); ok && rnd.IntN(3) == 0 {
				if g, why := install.Redeem(r, s.Installed, install.ScopeInstalled, "r1n01", now); why == reason.Answered {
					r.apply(t, install.Fail(g, "gave up", now))
					m.armed, m.live, m.installed = false, nil, false
				}
			}
		case 7:
			if s, ok := pick(); ok {
				m.answers(t, r, s, now, seed, step)
			}
		default:
			if s, ok := m.script(t, r, now, seed, step, rnd); ok {
				secrets = append(secrets, s)
			}
		}
	}
}

// watches reports whether the arm was seen to all the time.
func (m *model) watches(now time.Time) bool {
	return m.armed && now.Before(m.armedAt.Add(install.ArmFor)) && now.Sub(m.watched) <= install.WatchedFor
}

func (m *model) watch(now time.Time) {
	if m.watches(now) && now.Sub(m.watched) >= install.WatchEvery {
		m.watched = now
	}
}

func (m *model) script(t *testing.T, r records, now time.Time, seed uint64, step int, rnd *rand.Rand) (install.Secrets, bool) {
	t.Helper()
	may := m.watches(now) && m.scripts < install.MaxAttempts && !m.fetched
	seen := install.Seen{MAC: mac}
	ask := install.Asked(r, "r1n01", seen, now)
	if (ask.Reason == reason.Install) != may {
		t.Fatalf("seed %d step %d: asking gave %s, may install: %t (%+v)", seed, step, ask.Reason, may, *m)
	}
	if !may {
		r.apply(t, ask.Ops)
		if ask.Failed != "" {
			m.live, m.armed = nil, false
		}
		return install.Secrets{}, false
	}
	var random [16]byte
	for i := range random {
		random[i] = byte(rnd.Uint32())
	}
	s := install.NewSecrets(random)
	r.apply(t, install.Start(ask, seen, s, []byte("script"), []byte("answers"), now))
	m.scripts++
	m.live[s.Answers] = true
	m.installed = false // the disk is at stake again
	return s, true
}

func (m *model) answers(t *testing.T, r records, s install.Secrets, now time.Time, seed uint64, step int) {
	t.Helper()
	g, why := install.Redeem(r, s.Answers, install.ScopeAnswers, "r1n01", now)
	if why != reason.Answered {
		return
	}
	if !m.live[s.Answers] {
		t.Fatalf("seed %d step %d: a token that was taken back opens the answers", seed, step)
	}
	text, ops, _ := install.Answer(r, g, install.Seen{MAC: mac}, now)
	if string(text) != "answers" {
		t.Fatalf("seed %d step %d: answers are %q", seed, step, text)
	}
	r.apply(t, ops)
	m.fetched = true
}
