package install

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/store"
)

// The lives of tokens. Answers also die when the attempt is over, the others when they are used.
const (
	AnswersFor   = 6 * time.Hour
	InstalledFor = 24 * time.Hour
	FirstBootFor = 24 * time.Hour
)

// Secrets are the tokens of one script fetch, as they stand in URLs. All follow from the first: who holds the answers
// token gets the others inside the answers anyway, and so the rendered answers can be kept without any secret in them.
type Secrets struct {
	Answers, Installed, FirstBoot string
}

// NewSecrets mints the tokens of one script fetch from 16 random octets.
func NewSecrets(random [16]byte) Secrets { return SecretsOf(hex.EncodeToString(random[:])) }

// SecretsOf derives the tokens that were minted together with an answers token.
func SecretsOf(answers string) Secrets {
	derive := func(scope Scope) string {
		sum := sha256.Sum256([]byte("bootd token " + string(scope) + " " + answers))
		return hex.EncodeToString(sum[:16])
	}
	return Secrets{Answers: answers, Installed: derive(ScopeInstalled), FirstBoot: derive(ScopeFirstBoot)}
}

// Hash is the name under which a secret is kept.
func Hash(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// Grant is what a token opened.
type Grant struct {
	ID      string // hash of the secret
	Token   Token
	Attempt Attempt
}

// Redeem checks a secret without using it up. host is the machine that presents it, as decide/who recognised it; empty:
// nobody knows it. The reason is reason.Answered when all is well; reason.TokenSpent comes with the Grant, so that a
// callback whose answer was lost can be answered again.
func Redeem(v store.View, secret string, scope Scope, host string, now time.Time) (Grant, reason.Reason) {
	if len(secret) != 32 {
		return Grant{}, reason.TokenUnknown
	}
	id := Hash(secret)
	t, ok, err := read[Token](v, TokenKey(id))
	if !ok || err != nil {
		return Grant{}, reason.TokenUnknown
	}
	if host == "" || t.Host != host {
		return Grant{}, reason.TokenOtherHost
	}
	if t.Scope != scope {
		return Grant{}, reason.TokenScope
	}
	a, ok, err := ReadAttempt(v, host)
	if !ok || err != nil || a.ID != t.Attempt {
		return Grant{}, reason.TokenUnknown
	}
	g := Grant{ID: id, Token: t, Attempt: a}
	switch {
	case !t.Used.IsZero(),
		// Another script fetch of the same attempt has its own tokens; what was told through those counts.
		scope == ScopeInstalled && (a.Stage == Installed || a.Stage == Booted),
		scope == ScopeFirstBoot && a.Stage == Booted:
		return g, reason.TokenSpent
	case !now.Before(t.Until):
		return Grant{}, reason.TokenExpired
	case scope == ScopeAnswers && a.Stage != Started && a.Stage != Fetched,
		scope == ScopeInstalled && a.Stage == Failed:
		return Grant{}, reason.TokenExpired
	}
	return g, reason.Answered
}

// mint gives the records of one script fetch's tokens and their hashes.
func mint(s Secrets, host, attempt string, now time.Time) (ops []store.Op, hashes []string) {
	for _, t := range []struct {
		secret string
		scope  Scope
		life   time.Duration
	}{
		{s.Answers, ScopeAnswers, AnswersFor},
		{s.Installed, ScopeInstalled, InstalledFor},
		{s.FirstBoot, ScopeFirstBoot, FirstBootFor},
	} {
		h := Hash(t.secret)
		hashes = append(hashes, h)
		ops = append(ops, put(TokenKey(h), Token{Host: host, Attempt: attempt, Scope: t.scope, Until: now.Add(t.life)}))
	}
	return ops, hashes
}
