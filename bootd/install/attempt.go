package install

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
)

// backwards is how far the clock may have jumped back since an arm was set; further, and the arm's age is unknown.
const backwards = 5 * time.Minute

// CallbackFor is how long after the answers a missing callback means that the installation failed.
const CallbackFor = AnswersFor

// Seen is what a request says of the machine that makes it. Zero values: not said.
type Seen struct {
	MAC    ident.MAC
	UUID   ident.UUID
	Serial string
}

// Ask is the state that a boot script is decided from.
type Ask struct {
	// Reason is reason.Install when the host may have its installer; everything else means local disk.
	Reason  reason.Reason
	Arm     Arm
	Attempt Attempt
	// Ops tidy what came to light (an arm that ran out); they are for a refusal only.
	Ops []store.Op
	// Why says why the arm does not count, where that is the reason.
	Why string
	// Failed says that Ops end an attempt, and why.
	Failed string
	// Err is a record that could not be read.
	Err error
}

// Asked decides whether a host that asks for its boot script may have the installer. Nothing but a live arm of this very
// machine says yes.
func Asked(v store.View, host string, seen Seen, now time.Time) Ask {
	arm, armed, err := ReadArm(v, host)
	if err != nil {
		return Ask{Reason: reason.LocalDisk, Err: err}
	}
	a, attempted, err := ReadAttempt(v, host)
	if err != nil {
		return Ask{Reason: reason.LocalDisk, Err: err}
	}
	ask := Ask{Arm: arm, Attempt: a}
	current := attempted && armed && a.ID == arm.ID
	switch {
	case !armed && a.Stage == Fetched:
		ask.Reason = reason.AlreadyFetched
	case !armed || arm.Host != host || arm.ID == "":
		ask.Reason = reason.LocalDisk
	case !arm.Live(now):
		ask.Reason, ask.Why, ask.Ops = reason.ArmExpired, arm.dead(now), []store.Op{drop(ArmKey(host))}
		if current && a.Stage == Started {
			ask.Failed = ask.Why + ", before the answers were fetched"
			ask.Ops = append(ask.Ops, end(a, ask.Failed, now)...)
		}
	case current && a.Stage != Started:
		ask.Reason, ask.Ops = reason.AlreadyFetched, []store.Op{drop(ArmKey(host))}
	case !arm.fits(seen):
		ask.Reason = reason.ArmMismatch
	case arm.Scripts >= MaxAttempts:
		ask.Reason, ask.Failed = reason.AttemptsSpent, "the script was fetched too often without the answers"
		ask.Ops = []store.Op{drop(ArmKey(host))}
		if current {
			ask.Ops = append(ask.Ops, end(a, ask.Failed, now)...)
		}
	default:
		ask.Reason = reason.Install
		if !current {
			ask.Attempt = Attempt{}
		}
	}
	return ask
}

// Live reports whether the arm counts at this time.
func (a Arm) Live(now time.Time) bool { return a.dead(now) == "" }

// dead says why an arm does not count, empty where it does.
func (a Arm) dead(now time.Time) string {
	watched := a.At
	if a.Watched.After(watched) {
		watched = a.Watched
	}
	switch {
	case now.Before(watched.Add(-backwards)):
		return "the clock was set back: nobody knows how old the arm is"
	case a.Until.After(a.At.Add(ArmFor)):
		return "the arm is longer than any that bootd sets"
	case !now.Before(a.Until):
		return "the arm ran out"
	case now.Sub(watched) > WatchedFor:
		return fmt.Sprintf("the arm was last watched over %s ago: bootd was off since, its clock was set, or its state is an old copy",
			now.Sub(watched).Truncate(time.Second))
	}
	return ""
}

// fits reports whether a machine is the one that was armed, as far as both are known.
func (a Arm) fits(s Seen) bool {
	return slices.Contains(a.MACs, s.MAC) && a.same(s)
}

func (a Arm) same(s Seen) bool { return sameMachine(a.UUID, a.Serial, s) }

func sameMachine(uuid ident.UUID, serial string, s Seen) bool {
	if uuid.Identifies() && s.UUID.Identifies() && uuid != s.UUID && uuid != s.UUID.Swapped() {
		return false
	}
	return serial == "" || s.Serial == "" || serial == s.Serial
}

// Start notes one fetch of the script: the arm learns UUID and serial, the fetch is counted, tokens are minted. script and
// answers are the rendered texts, still without the secrets.
func Start(ask Ask, seen Seen, s Secrets, script, answers []byte, now time.Time) []store.Op {
	arm, a := ask.Arm, ask.Attempt
	if !arm.UUID.Identifies() && seen.UUID.Identifies() {
		arm.UUID = seen.UUID
	}
	if arm.Serial == "" {
		arm.Serial = seen.Serial
	}
	arm.Scripts++
	if a.ID != arm.ID {
		a = Attempt{ID: arm.ID, Host: arm.Host, Started: now}
	}
	ops, hashes := mint(s, arm.Host, arm.ID, now)
	a.Stage, a.Updated, a.Tokens = Started, now, append(slices.Clone(a.Tokens), hashes...)
	a.UUID, a.Serial = arm.UUID, arm.Serial
	for _, blob := range []struct {
		text []byte
		hash *string
	}{{script, &a.Script}, {answers, &a.Answers}} {
		if h := Hash(string(blob.text)); h != *blob.hash {
			*blob.hash = h
			ops = append(ops, store.Op{Key: BlobKey(arm.Host, h), Value: blob.text})
		}
	}
	return append(ops, put(ArmKey(arm.Host), arm), put(AttemptKey(arm.Host), a))
}

// Kept gives the texts that were rendered when the attempt began. False: there are none, or not both.
func Kept(v store.View, a Attempt) (script, answers []byte, ok bool) {
	if a.Script == "" || a.Answers == "" {
		return nil, nil, false
	}
	script, ok = v.Get(BlobKey(a.Host, a.Script))
	if !ok {
		return nil, nil, false
	}
	answers, ok = v.Get(BlobKey(a.Host, a.Answers))
	return script, answers, ok
}

// Answer notes that the answers are handed out: the arm is used up, and with it every retry. The text is what was rendered
// when the attempt began; false: it is lost, or the machine is not the one that was armed.
func Answer(v store.View, g Grant, seen Seen, now time.Time) (text []byte, ops []store.Op, r reason.Reason) {
	a := g.Attempt
	if !sameMachine(a.UUID, a.Serial, seen) {
		ops = append(end(a, "another machine asked for the answers", now), drop(ArmKey(a.Host)))
		return nil, ops, reason.ArmMismatch
	}
	text, ok := v.Get(BlobKey(a.Host, a.Answers))
	if !ok {
		return nil, nil, reason.NotFound
	}
	if a.Stage == Fetched {
		return text, nil, reason.Retransmit
	}
	a.Stage, a.Updated = Fetched, now
	if !a.UUID.Identifies() {
		a.UUID = seen.UUID
	}
	return text, []store.Op{drop(ArmKey(a.Host)), put(AttemptKey(a.Host), a)}, reason.Answered
}

// Done notes the installer's callback. The rendered texts, which hold password hashes, go; the first-boot tokens get
// their full life from now on.
func Done(v store.View, g Grant, now time.Time) []store.Op {
	a := g.Attempt
	ops := []store.Op{drop(ArmKey(a.Host))}
	for _, hash := range []string{a.Script, a.Answers} {
		if hash != "" {
			ops = append(ops, drop(BlobKey(a.Host, hash)))
		}
	}
	for _, hash := range a.Tokens {
		t, ok, err := read[Token](v, TokenKey(hash))
		switch {
		case !ok || err != nil:
		case t.Scope == ScopeFirstBoot:
			t.Until = now.Add(FirstBootFor)
			ops = append(ops, put(TokenKey(hash), t))
		case hash == g.ID:
			t.Used = now
			ops = append(ops, put(TokenKey(hash), t))
		}
	}
	a.Stage, a.Updated, a.Script, a.Answers, a.Why = Installed, now, "", "", ""
	return append(ops, put(AttemptKey(a.Host), a))
}

// Boot notes the first-boot callback.
func Boot(g Grant, now time.Time) []store.Op {
	a, t := g.Attempt, g.Token
	t.Used = now
	a.Stage, a.Updated = Booted, now
	return []store.Op{drop(ArmKey(a.Host)), put(TokenKey(g.ID), t), put(AttemptKey(a.Host), a)}
}

// Fail notes that the installer gave up.
func Fail(g Grant, why string, now time.Time) []store.Op {
	return append(end(g.Attempt, why, now), drop(ArmKey(g.Attempt.Host)))
}

// Tidied is what time alone did to a host.
type Tidied struct {
	Ops []store.Op
	// Expired says why its arm ended; empty: it has none, or it lives on.
	Expired string
	// Failed says why an attempt is over; empty: none is.
	Failed string
}

// Tidy ends what ran out: an arm after its life, an attempt whose callback never came, tokens of both; and it renews an
// arm that lives. Calling it late or never lets no machine have an installer that it should not.
func Tidy(v store.View, host string, now time.Time) Tidied {
	var t Tidied
	arm, armed, err := ReadArm(v, host)
	if err == nil && armed {
		switch t.Expired = arm.dead(now); {
		case t.Expired != "":
			t.Ops, armed = append(t.Ops, drop(ArmKey(host))), false
		case now.Sub(arm.At) >= WatchEvery && now.Sub(arm.Watched) >= WatchEvery:
			arm.Watched = now
			t.Ops = append(t.Ops, put(ArmKey(host), arm))
		}
	}
	a, ok, err := ReadAttempt(v, host)
	if err != nil || !ok {
		return t
	}
	switch {
	case a.Stage == Started && !armed:
		t.Failed = cmp.Or(t.Expired, "the arm is gone") + ", before the answers were fetched"
	case a.Stage == Fetched && !now.Before(a.Updated.Add(CallbackFor)):
		t.Failed = "no callback came after the answers were fetched"
	case a.Stage == Fetched && now.Before(a.Updated.Add(-backwards)):
		t.Failed = "the clock was set back: nobody knows how long its callback is missing"
	case len(a.Tokens) > 0 && (a.Stage == Installed || a.Stage == Booted || a.Stage == Failed) &&
		!now.Before(a.Updated.Add(FirstBootFor)):
		t.Ops = append(t.Ops, end(a, "", now)...)
	}
	if t.Failed != "" {
		t.Ops = append(t.Ops, end(a, t.Failed, now)...)
	}
	return t
}

// Deadline is when an attempt that is under way fails by itself, zero where none is.
func Deadline(arm Arm, a Attempt) time.Time {
	switch {
	case a.Stage == Fetched:
		return a.Updated.Add(CallbackFor)
	case a.Stage == Started && a.ID == arm.ID:
		return arm.Until
	}
	return time.Time{}
}
