package install_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
	"github.com/google/go-cmp/cmp"
)

func TestOrderRefuses(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(t *testing.T, r records)
		s      func(*install.Subject)
		w      func(*install.Wish)
		want   error
	}{
		{"plain", nil, nil, nil, nil},
		{"no profile", nil, func(s *install.Subject) { s.Profile = "" }, nil, install.ErrNoProfile},
		{"no card", nil, func(s *install.Subject) { s.MACs = nil }, nil, install.ErrNoMAC},
		{"protected", nil, func(s *install.Subject) { s.Protected = true }, nil, install.ErrProtected},
		{"protected, reinstall said", nil, func(s *install.Subject) { s.Protected = true }, func(w *install.Wish) { w.Reinstall = true }, install.ErrProtected},
		{"protected, name typed", nil, func(s *install.Subject) { s.Protected = true }, func(w *install.Wish) { w.Confirmed = true }, nil},
		{"armed already", func(t *testing.T, r records) { r.arm(t, "a0") }, nil, nil, nil},
		{"script fetched", func(t *testing.T, r records) { r.arm(t, "a0"); r.start(t, 1, t0) }, nil, nil, nil},
		{"installed", installed, nil, nil, install.ErrInstalled},
		{"installed, name typed", installed, nil, func(w *install.Wish) { w.Confirmed = true }, install.ErrInstalled},
		{"installed, reinstall", installed, nil, func(w *install.Wish) { w.Reinstall = true }, nil},
		{"up", func(t *testing.T, r records) {
			r.arm(t, "a0")
			s := r.start(t, 1, t0)
			r.answer(t, s, t0)
			r.done(t, s, t0)
			r.boot(t, s, t0)
		}, nil, nil, install.ErrInstalled},
		{"attempt unreadable", unreadable, nil, nil, install.ErrUnread},
		{"attempt unreadable, reinstall", unreadable, nil, func(w *install.Wish) { w.Reinstall = true }, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, s, w := records{}, subject(), wish("a1")
			if tc.before != nil {
				tc.before(t, r)
			}
			if tc.s != nil {
				tc.s(&s)
			}
			if tc.w != nil {
				tc.w(&w)
			}
			ops, err := install.Order(r, s, w, t0)
			if !errors.Is(err, tc.want) || (err == nil) != (tc.want == nil) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err != nil {
				if len(ops) != 0 {
					t.Fatalf("a refusal changes %v", ops)
				}
				return
			}
			r.apply(t, ops)
			got, ok, err := install.ReadArm(r, "r1n01")
			want := install.Arm{ID: "a1", Host: "r1n01", MACs: []ident.MAC{mac}, By: "ops", At: t0, Until: t0.Add(install.ArmFor)}
			if d := cmp.Diff(want, got); !ok || err != nil || d != "" {
				t.Fatal(ok, err, d)
			}
			if n := r.tables(); n[store.TableToken] != 0 || n[store.TableBlob] != 0 {
				t.Errorf("tokens or blobs of the order before are left: %v", n)
			}
		})
	}
}

func installed(t *testing.T, r records) {
	r.arm(t, "a0")
	s := r.start(t, 1, t0)
	r.answer(t, s, t0)
	r.done(t, s, t0)
}

func unreadable(_ *testing.T, r records) { r[install.AttemptKey("r1n01")] = []byte("{") }

func TestOrderLife(t *testing.T) {
	for want, said := range map[time.Duration]time.Duration{
		install.ArmFor: 0, time.Hour: time.Hour, install.ArmFor + 1: 24 * time.Hour, install.ArmFor + 2: -time.Hour,
	} {
		want = min(want, install.ArmFor)
		r, w := records{}, wish("a1")
		w.For = said
		ops, err := install.Order(r, subject(), w, t0)
		if err != nil {
			t.Fatal(err)
		}
		r.apply(t, ops)
		if got, _, _ := install.ReadArm(r, "r1n01"); got.Until != t0.Add(want) {
			t.Errorf("asked for %s: until %s, want %s", said, got.Until, t0.Add(want))
		}
	}
}

func TestAsked(t *testing.T) {
	armed := func(t *testing.T, r records) { r.arm(t, "a1") }
	watched := func(t *testing.T, r records) { armed(t, r); r.watch(t, install.ArmFor-1) }
	for _, tc := range []struct {
		name   string
		before func(t *testing.T, r records)
		seen   install.Seen
		after  time.Duration
		want   reason.Reason
		failed bool // an attempt ends
		ops    int
	}{
		{"nothing known", nil, install.Seen{MAC: mac}, 0, reason.LocalDisk, false, 0},
		{"armed", armed, install.Seen{MAC: mac}, 0, reason.Install, false, 0},
		{"last moment", watched, install.Seen{MAC: mac}, install.ArmFor - 1, reason.Install, false, 0},
		{"last moment of an arm that nobody watches over", armed, install.Seen{MAC: mac}, install.WatchedFor, reason.Install, false, 0},
		{"nobody watched over it", armed, install.Seen{MAC: mac}, install.WatchedFor + 1, reason.ArmExpired, false, 1},
		{"watched, and the clock far back", watched, install.Seen{MAC: mac}, time.Hour, reason.ArmExpired, false, 1},
		{"ran out", watched, install.Seen{MAC: mac}, install.ArmFor, reason.ArmExpired, false, 1},
		{"a month later", armed, install.Seen{MAC: mac}, 30 * 24 * time.Hour, reason.ArmExpired, false, 1},
		{"clock a little back", armed, install.Seen{MAC: mac}, -time.Minute, reason.Install, false, 0},
		{"clock far back", armed, install.Seen{MAC: mac}, -time.Hour, reason.ArmExpired, false, 1},
		{"another card", armed, install.Seen{MAC: other}, 0, reason.ArmMismatch, false, 0},
		{"no card", armed, install.Seen{}, 0, reason.ArmMismatch, false, 0},
		{"arm unreadable", func(_ *testing.T, r records) { r[install.ArmKey("r1n01")] = []byte("nonsense") }, install.Seen{MAC: mac}, 0, reason.LocalDisk, false, 0},
		{"arm empty", func(_ *testing.T, r records) { r[install.ArmKey("r1n01")] = []byte("{}") }, install.Seen{MAC: mac}, 0, reason.LocalDisk, false, 0},
		{"arm of another host", func(t *testing.T, r records) {
			r[install.ArmKey("r1n01")] = encode(t, install.Arm{ID: "x", Host: "r1n02", MACs: []ident.MAC{mac}, At: t0, Until: t0.Add(time.Hour)})
		}, install.Seen{MAC: mac}, 0, reason.LocalDisk, false, 0},
		{"arm that lives for ever", func(t *testing.T, r records) {
			r[install.ArmKey("r1n01")] = encode(t, install.Arm{ID: "x", Host: "r1n01", MACs: []ident.MAC{mac}, At: t0, Until: t0.Add(1000 * time.Hour)})
		}, install.Seen{MAC: mac}, 0, reason.ArmExpired, false, 1},
		{"attempt unreadable", func(t *testing.T, r records) { armed(t, r); unreadable(t, r) }, install.Seen{MAC: mac}, 0, reason.LocalDisk, false, 0},
		{"third script", func(t *testing.T, r records) { armed(t, r); r.start(t, 1, t0); r.start(t, 2, t0) }, install.Seen{MAC: mac}, 0, reason.Install, false, 0},
		{"fourth script", func(t *testing.T, r records) {
			armed(t, r)
			r.start(t, 1, t0)
			r.start(t, 2, t0)
			r.start(t, 3, t0)
		}, install.Seen{MAC: mac}, 0, reason.AttemptsSpent, true, 13},
		{"script, then ran out", func(t *testing.T, r records) { armed(t, r); r.start(t, 1, t0) }, install.Seen{MAC: mac}, install.ArmFor, reason.ArmExpired, true, 7},
		{"answers fetched", func(t *testing.T, r records) { armed(t, r); r.answer(t, r.start(t, 1, t0), t0) }, install.Seen{MAC: mac}, 0, reason.AlreadyFetched, false, 0},
		{"answers fetched, the arm came back", func(t *testing.T, r records) {
			armed(t, r)
			old := r[install.ArmKey("r1n01")]
			r.answer(t, r.start(t, 1, t0), t0)
			r[install.ArmKey("r1n01")] = old
		}, install.Seen{MAC: mac}, 0, reason.AlreadyFetched, false, 1},
		{"installed", installed, install.Seen{MAC: mac}, 0, reason.LocalDisk, false, 0},
		{"cancelled", func(t *testing.T, r records) {
			armed(t, r)
			ops, ok := install.Cancel(r, "r1n01", "ops", t0)
			if !ok {
				t.Fatal("nothing to cancel")
			}
			r.apply(t, ops)
		}, install.Seen{MAC: mac}, 0, reason.LocalDisk, false, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := records{}
			if tc.before != nil {
				tc.before(t, r)
			}
			ask := install.Asked(r, "r1n01", tc.seen, t0.Add(tc.after))
			if ask.Reason != tc.want || (ask.Failed != "") != tc.failed || len(ask.Ops) != tc.ops {
				t.Errorf("got %s, failed %q, %d ops, want %s, %t, %d", ask.Reason, ask.Failed, len(ask.Ops), tc.want, tc.failed, tc.ops)
			}
			r.apply(t, ask.Ops)
			if tc.failed {
				if a := r.attempt(t); a.Stage != install.Failed || len(a.Tokens) > 0 {
					t.Errorf("the attempt is %+v", a)
				}
			}
			if tc.ops > 0 && install.Asked(r, "r1n01", tc.seen, t0.Add(tc.after)).Reason == reason.Install {
				t.Error("asked again it may install")
			}
		})
	}
}

func TestMachineIsBound(t *testing.T) {
	r := records{}
	r.arm(t, "a1")
	first := install.Seen{MAC: mac, UUID: uuid, Serial: "S1"}
	ask := install.Asked(r, "r1n01", first, t0)
	r.apply(t, install.Start(ask, first, install.NewSecrets([16]byte{1}), nil, nil, t0))
	for _, tc := range []struct {
		seen install.Seen
		want reason.Reason
	}{
		{install.Seen{MAC: mac}, reason.Install},
		{first, reason.Install},
		{install.Seen{MAC: mac, UUID: uuid.Swapped(), Serial: "S1"}, reason.Install},
		{install.Seen{MAC: mac, UUID: ident.UUID{9}, Serial: "S1"}, reason.ArmMismatch},
		{install.Seen{MAC: mac, UUID: uuid, Serial: "S2"}, reason.ArmMismatch},
		{install.Seen{MAC: other, UUID: uuid, Serial: "S1"}, reason.ArmMismatch},
	} {
		if got := install.Asked(r, "r1n01", tc.seen, t0).Reason; got != tc.want {
			t.Errorf("%+v: got %s, want %s", tc.seen, got, tc.want)
		}
	}
}

func TestAnswersOfAnotherMachine(t *testing.T) {
	r := records{}
	s := subject()
	s.UUID = uuid
	ops, err := install.Order(r, s, wish("a1"), t0)
	if err != nil {
		t.Fatal(err)
	}
	r.apply(t, ops)
	secrets := r.start(t, 1, t0)
	text, ops, why := install.Answer(r, r.redeem(t, secrets.Answers, install.ScopeAnswers, t0), install.Seen{MAC: mac, UUID: ident.UUID{9}}, t0)
	if text != nil || why != reason.ArmMismatch {
		t.Fatalf("got %q, %s", text, why)
	}
	r.apply(t, ops)
	want := map[store.Table]int{store.TableAttempt: 1}
	if d := cmp.Diff(want, r.tables()); d != "" || r.attempt(t).Stage != install.Failed {
		t.Errorf("left %s, attempt %+v", d, r.attempt(t))
	}
}

func TestRedeem(t *testing.T) {
	r := records{}
	r.arm(t, "a1")
	s := r.start(t, 1, t0)
	for _, tc := range []struct {
		name, secret string
		scope        install.Scope
		host         string
		after        time.Duration
		want         reason.Reason
	}{
		{"answers", s.Answers, install.ScopeAnswers, "r1n01", 0, reason.Answered},
		{"answers, last moment", s.Answers, install.ScopeAnswers, "r1n01", install.AnswersFor - 1, reason.Answered},
		{"answers, too late", s.Answers, install.ScopeAnswers, "r1n01", install.AnswersFor, reason.TokenExpired},
		{"another host", s.Answers, install.ScopeAnswers, "r1n02", 0, reason.TokenOtherHost},
		{"a machine nobody knows", s.Answers, install.ScopeAnswers, "", 0, reason.TokenOtherHost},
		{"wrong scope", s.Answers, install.ScopeInstalled, "r1n01", 0, reason.TokenScope},
		{"callback as answers", s.Installed, install.ScopeAnswers, "r1n01", 0, reason.TokenScope},
		{"installed", s.Installed, install.ScopeInstalled, "r1n01", 0, reason.Answered},
		{"installed, too late", s.Installed, install.ScopeInstalled, "r1n01", install.InstalledFor, reason.TokenExpired},
		{"first boot", s.FirstBoot, install.ScopeFirstBoot, "r1n01", 0, reason.Answered},
		{"made up", strings.Repeat("0", 32), install.ScopeAnswers, "r1n01", 0, reason.TokenUnknown},
		{"empty", "", install.ScopeAnswers, "r1n01", 0, reason.TokenUnknown},
		{"hash instead of secret", install.Hash(s.Answers), install.ScopeAnswers, "r1n01", 0, reason.TokenUnknown},
	} {
		if _, got := install.Redeem(r, tc.secret, tc.scope, tc.host, t0.Add(tc.after)); got != tc.want {
			t.Errorf("%s: got %s, want %s", tc.name, got, tc.want)
		}
	}
	for k, v := range r {
		for _, secret := range []string{s.Answers, s.Installed, s.FirstBoot} {
			if strings.Contains(k.ID+string(v), secret) {
				t.Errorf("record %s holds a secret", k)
			}
		}
	}
}

// TestLife walks one installation and looks at everything that is left after each step.
func TestLife(t *testing.T) {
	r := records{}
	check := func(step string, want map[store.Table]int, stage install.Stage) {
		t.Helper()
		if d := cmp.Diff(want, r.tables()); d != "" {
			t.Errorf("%s: records (-want +got):\n%s", step, d)
		}
		if got := r.attempt(t).Stage; got != stage {
			t.Errorf("%s: stage %s, want %s", step, got, stage)
		}
	}
	r.arm(t, "a1")
	check("armed", map[store.Table]int{store.TableArm: 1}, "")
	r.start(t, 1, t0)
	check("script", map[store.Table]int{store.TableArm: 1, store.TableAttempt: 1, store.TableToken: 3, store.TableBlob: 2}, install.Started)
	s := r.start(t, 2, t0.Add(time.Minute))
	check("script again", map[store.Table]int{store.TableArm: 1, store.TableAttempt: 1, store.TableToken: 6, store.TableBlob: 2}, install.Started)
	r.answer(t, s, t0.Add(2*time.Minute))
	check("answers", map[store.Table]int{store.TableAttempt: 1, store.TableToken: 6, store.TableBlob: 2}, install.Fetched)
	g := r.redeem(t, s.Answers, install.ScopeAnswers, t0.Add(3*time.Minute))
	if text, ops, why := install.Answer(r, g, install.Seen{MAC: mac}, t0.Add(3*time.Minute)); string(text) != "answers" || ops != nil || why != reason.Retransmit {
		t.Errorf("answers again: %q, %v, %s", text, ops, why)
	}
	r.done(t, s, t0.Add(time.Hour))
	check("installed", map[store.Table]int{store.TableAttempt: 1, store.TableToken: 6}, install.Installed)
	if _, why := install.Redeem(r, s.Installed, install.ScopeInstalled, "r1n01", t0.Add(time.Hour)); why != reason.TokenSpent {
		t.Errorf("installed again: %s", why)
	}
	if _, why := install.Redeem(r, s.Answers, install.ScopeAnswers, "r1n01", t0.Add(time.Hour)); why != reason.TokenExpired {
		t.Errorf("answers after the end: %s", why)
	}
	r.boot(t, s, t0.Add(install.FirstBootFor)) // later than its first life, within that since the callback
	check("first boot", map[store.Table]int{store.TableAttempt: 1, store.TableToken: 6}, install.Booted)
	if _, why := install.Redeem(r, s.FirstBoot, install.ScopeFirstBoot, "r1n01", t0.Add(install.FirstBootFor)); why != reason.TokenSpent {
		t.Errorf("first boot again: %s", why)
	}
	r.apply(t, install.Tidy(r, "r1n01", t0.Add(3*install.FirstBootFor)).Ops)
	check("tidied", map[store.Table]int{store.TableAttempt: 1}, install.Booted)
}

func TestTidy(t *testing.T) {
	const out = "the arm ran out"
	armed := func(t *testing.T, r records) { r.arm(t, "a1") }
	fetched := func(t *testing.T, r records) { r.arm(t, "a1"); r.answer(t, r.start(t, 1, t0), t0) }
	for _, tc := range []struct {
		name            string
		before          func(t *testing.T, r records)
		after           time.Duration
		expired, failed string
		stage           install.Stage
	}{
		{"nothing", func(*testing.T, records) {}, 0, "", "", ""},
		{"armed", armed, install.WatchedFor, "", "", ""},
		{"arm ran out", armed, install.ArmFor, out, "", ""},
		{"arm ran out after the script", func(t *testing.T, r records) { r.arm(t, "a1"); r.start(t, 1, t0) }, install.ArmFor, out, out + ", before the answers were fetched", install.Failed},
		{"arm out of an old copy", armed, 2 * time.Hour, "the arm was last watched over 2h0m0s ago: bootd was off since, its clock was set, or its state is an old copy", "", ""},
		{"clock set back", armed, -time.Hour, "the clock was set back: nobody knows how old the arm is", "", ""},
		{"installing", fetched, install.CallbackFor - 1, "", "", install.Fetched},
		{"no callback", fetched, install.CallbackFor, "", "no callback came after the answers were fetched", install.Failed},
		{"clock set back while installing", fetched, -time.Hour, "", "the clock was set back: nobody knows how long its callback is missing", install.Failed},
		{"arm unreadable", func(_ *testing.T, r records) { r[install.ArmKey("r1n01")] = []byte("?") }, time.Hour, "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := records{}
			tc.before(t, r)
			got := install.Tidy(r, "r1n01", t0.Add(tc.after))
			if got.Expired != tc.expired || got.Failed != tc.failed {
				t.Errorf("got %q, %q, want %q, %q", got.Expired, got.Failed, tc.expired, tc.failed)
			}
			r.apply(t, got.Ops)
			if a := r.attempt(t); a.Stage != tc.stage {
				t.Errorf("stage %s, want %s", a.Stage, tc.stage)
			}
			if again := install.Tidy(r, "r1n01", t0.Add(tc.after)); len(again.Ops) > 0 {
				t.Errorf("tidying again changes %v", again.Ops)
			}
		})
	}
}

// TestTidyKeepsAnArmAlive: as long as bootd runs, an arm lives its whole life.
func TestTidyKeepsAnArmAlive(t *testing.T) {
	r := records{}
	r.arm(t, "a1")
	r.watch(t, install.ArmFor-1)
	arm, ok, err := install.ReadArm(r, "r1n01")
	if !ok || err != nil || !arm.Live(t0.Add(install.ArmFor-1)) || arm.Live(t0.Add(install.ArmFor)) {
		t.Errorf("%+v, %t, %v", arm, ok, err)
	}
}

func TestDeadline(t *testing.T) {
	r := records{}
	check := func(want time.Duration) {
		t.Helper()
		arm, _, _ := install.ReadArm(r, "r1n01")
		if got := install.Deadline(arm, r.attempt(t)); got != t0.Add(want) {
			t.Errorf("got %s, want %s after %s", got, want, t0)
		}
	}
	r.arm(t, "a1")
	s := r.start(t, 1, t0)
	check(install.ArmFor)
	r.answer(t, s, t0)
	check(install.CallbackFor)
	r.done(t, s, t0)
	if got := install.Deadline(install.Arm{}, r.attempt(t)); !got.IsZero() {
		t.Errorf("installed, and fails at %s", got)
	}
}
