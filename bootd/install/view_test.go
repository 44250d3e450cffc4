package install_test

import (
	"encoding/json"
	"testing"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
)

// records is a store.View over a map.
type records map[store.Key][]byte

func (r records) Get(k store.Key) ([]byte, bool) {
	b, ok := r[k]
	return b, ok
}

func (r records) Peek(k store.Key) ([]byte, bool) { return r.Get(k) }

func (r records) apply(t testing.TB, ops []store.Op) {
	t.Helper()
	for _, op := range ops {
		if err := op.Check(); err != nil {
			t.Fatal(err)
		}
		if op.Value == nil {
			delete(r, op.Key)
		} else {
			r[op.Key] = op.Value
		}
	}
}

func (r records) tables() map[store.Table]int {
	n := map[store.Table]int{}
	for k := range r {
		n[k.Table]++
	}
	return n
}

var (
	t0    = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	mac   = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}
	other = ident.MAC{0x52, 0x54, 0, 0xaa, 1, 9}
	uuid  = ident.UUID{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}
)

func subject() install.Subject {
	return install.Subject{Host: "r1n01", MACs: []ident.MAC{mac}, Profile: "debian13"}
}

func wish(id string) install.Wish { return install.Wish{ID: id, By: "ops"} }

// watch tidies as a bootd that runs from t0 on does.
func (r records) watch(t testing.TB, life time.Duration) {
	t.Helper()
	for at := time.Duration(0); at < life; at += install.WatchEvery {
		r.apply(t, install.Tidy(r, "r1n01", t0.Add(at)).Ops)
	}
}

// arm orders r1n01 at t0.
func (r records) arm(t testing.TB, id string) {
	t.Helper()
	ops, err := install.Order(r, subject(), wish(id), t0)
	if err != nil {
		t.Fatal(err)
	}
	r.apply(t, ops)
}

// start lets r1n01 fetch its script and gives the tokens.
func (r records) start(t testing.TB, seed byte, now time.Time) install.Secrets {
	t.Helper()
	seen := install.Seen{MAC: mac}
	ask := install.Asked(r, "r1n01", seen, now)
	if ask.Reason != reason.Install {
		t.Fatalf("asking for the script gave %s", ask.Reason)
	}
	s := install.NewSecrets([16]byte{seed})
	r.apply(t, install.Start(ask, seen, s, []byte("script"), []byte("answers"), now))
	return s
}

// redeem presents a token as r1n01 and fails unless it opens.
func (r records) redeem(t testing.TB, secret string, scope install.Scope, now time.Time) install.Grant {
	t.Helper()
	g, why := install.Redeem(r, secret, scope, "r1n01", now)
	if why != reason.Answered {
		t.Fatalf("redeeming a token for %s gave %s", scope, why)
	}
	return g
}

func (r records) answer(t testing.TB, s install.Secrets, now time.Time) {
	t.Helper()
	text, ops, why := install.Answer(r, r.redeem(t, s.Answers, install.ScopeAnswers, now), install.Seen{MAC: mac}, now)
	if string(text) != "answers" || why != reason.Answered {
		t.Fatalf("answers gave %q, %s", text, why)
	}
	r.apply(t, ops)
}

func (r records) done(t testing.TB, s install.Secrets, now time.Time) {
	t.Helper()
	r.apply(t, install.Done(r, r.redeem(t, s.Installed, install.ScopeInstalled, now), now))
}

func (r records) boot(t testing.TB, s install.Secrets, now time.Time) {
	t.Helper()
	r.apply(t, install.Boot(r.redeem(t, s.FirstBoot, install.ScopeFirstBoot, now), now))
}

func (r records) attempt(t testing.TB) install.Attempt {
	t.Helper()
	a, _, err := install.ReadAttempt(r, "r1n01")
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
