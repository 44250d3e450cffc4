package install

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/store"
)

// Subject is the machine that an order is about, as the inventory has it.
type Subject struct {
	Host string
	MACs []ident.MAC
	// UUID and Serial are zero where the inventory does not know them.
	UUID   ident.UUID
	Serial string
	// Profile is empty for a host that has none.
	Profile   string
	Protected bool
}

// Wish is what a person says with an order.
type Wish struct {
	// ID names the order; it must be new.
	ID string
	By string
	// Confirmed: the name of a protected host was typed.
	Confirmed bool
	// Reinstall: a host that is known as installed may be wiped.
	Reinstall bool
	// For is the life of the arm, 0 for ArmFor; at most ArmFor.
	For time.Duration
}

// Why an order is refused. Order wraps them with the host's name.
var (
	ErrNoProfile = errors.New("no profile is set, so there is nothing to install")
	ErrNoMAC     = errors.New("no MAC is known, and boot scripts know a machine by nothing else: write its mac: and run bootd reload")
	ErrProtected = errors.New("protected: type its name to confirm")
	ErrInstalled = errors.New("installed already: say --reinstall to wipe it")
	ErrUnread    = errors.New("its last attempt cannot be read: say --reinstall to wipe it whatever it was")
)

// Order arms a host. Whatever an earlier order left behind ends: its tokens, its blobs, an attempt that was under way.
func Order(v store.View, s Subject, w Wish, now time.Time) ([]store.Op, error) {
	a, attempted, err := ReadAttempt(v, s.Host)
	switch {
	case s.Profile == "":
		return nil, fmt.Errorf("arming %s: %w", s.Host, ErrNoProfile)
	case len(s.MACs) == 0:
		return nil, fmt.Errorf("arming %s: %w", s.Host, ErrNoMAC)
	case s.Protected && !w.Confirmed:
		return nil, fmt.Errorf("arming %s: %w", s.Host, ErrProtected)
	case err != nil && !w.Reinstall:
		return nil, fmt.Errorf("arming %s: %w", s.Host, ErrUnread)
	case (a.Stage == Installed || a.Stage == Booted) && !w.Reinstall:
		return nil, fmt.Errorf("arming %s: %w", s.Host, ErrInstalled)
	}
	var ops []store.Op
	if attempted {
		ops = end(a, "armed again", now)
	} else if err != nil {
		ops = append(ops, drop(AttemptKey(s.Host)))
	}
	life := w.For
	if life <= 0 || life > ArmFor {
		life = ArmFor
	}
	return append(ops, put(ArmKey(s.Host), Arm{
		ID: w.ID, Host: s.Host, MACs: slices.Clone(s.MACs), UUID: s.UUID, Serial: s.Serial, By: w.By,
		At: now, Until: now.Add(life),
	})), nil
}

// Cancel disarms a host and takes back the tokens of an attempt that is under way. False: there was nothing to cancel.
func Cancel(v store.View, host, by string, now time.Time) ([]store.Op, bool) {
	var ops []store.Op
	if _, ok := v.Get(ArmKey(host)); ok { // an arm that cannot be read goes too
		ops = append(ops, drop(ArmKey(host)))
	}
	if a, ok, err := ReadAttempt(v, host); ok && err == nil && (a.Stage == Started || a.Stage == Fetched) {
		ops = append(ops, end(a, "cancelled by "+by, now)...)
	}
	return ops, len(ops) > 0
}

// end takes back an attempt's tokens and blobs; one that was under way has failed.
func end(a Attempt, why string, now time.Time) []store.Op {
	ops := make([]store.Op, 0, len(a.Tokens)+3)
	for _, hash := range a.Tokens {
		ops = append(ops, drop(TokenKey(hash)))
	}
	for _, hash := range []string{a.Script, a.Answers} {
		if hash != "" {
			ops = append(ops, drop(BlobKey(a.Host, hash)))
		}
	}
	a.Tokens, a.Script, a.Answers = nil, "", ""
	if a.Stage == Started || a.Stage == Fetched {
		a.Stage, a.Why, a.Updated = Failed, why, now
	}
	return append(ops, put(AttemptKey(a.Host), a))
}
