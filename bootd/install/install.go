// Package install holds what is authoritative about installing: the Arm that a person sets, the Attempt that a machine
// makes of it, the Token that guards its secrets. Nothing else can make bootd hand out an installer.
//
// The package never reads the inventory and never renders anything.
package install

import (
	"time"

	"bootd.internal/bootd/ident"
)

// ArmFor is how long an arm lives unless a person says otherwise.
const ArmFor = 4 * time.Hour

// WatchedFor is how long an arm counts after a running bootd last renewed it (WatchEvery). An arm out of an old copy of
// the state, or of a bootd that was off, is one that nobody watched over: what happened to its machine since is unknown.
const (
	WatchedFor = 10 * time.Minute
	WatchEvery = time.Minute
)

// MaxAttempts is how often an armed host may ask for its script before the answers are fetched.
const MaxAttempts = 3

// Arm is a person's order to install one host, once.
type Arm struct {
	ID   string      `json:"id"`
	Host string      `json:"host"`
	MACs []ident.MAC `json:"macs"`
	// UUID and Serial are bound once seen; afterwards they must match.
	UUID   ident.UUID `json:"uuid,omitzero"`
	Serial string     `json:"serial,omitempty"`
	By     string     `json:"by,omitempty"`
	At     time.Time  `json:"at"`
	Until  time.Time  `json:"until"`
	// Watched is when Tidy last renewed it, zero before the first time.
	Watched time.Time `json:"watched,omitzero"`
	// Scripts counts how often the script was fetched.
	Scripts int `json:"scripts"`
}

// Stage is how far an attempt got.
type Stage string

// The stages of an attempt.
const (
	Started   Stage = "started"   // the script was fetched
	Fetched   Stage = "fetched"   // the answers were fetched: no more retries
	Installed Stage = "installed" // the installer called back
	Booted    Stage = "booted"    // the installed system called back
	Failed    Stage = "failed"    // it gave up, or a callback is missing
)

// Attempt is one installation of one host.
type Attempt struct {
	ID      string    `json:"id"` // the Arm's
	Host    string    `json:"host"`
	Stage   Stage     `json:"stage"`
	Started time.Time `json:"started"`
	Updated time.Time `json:"updated"`
	// Script and Answers name rendered blobs by content hash: the host does not see later edits.
	Script  string `json:"script,omitempty"`
	Answers string `json:"answers,omitempty"`
	Why     string `json:"why,omitempty"`
	// UUID and Serial are the machine's, once seen.
	UUID   ident.UUID `json:"uuid,omitzero"`
	Serial string     `json:"serial,omitempty"`
	// Tokens are the hashes of the secrets that were minted for it, so that they can be taken back.
	Tokens []string `json:"tokens,omitempty"`
}

// Scope is what a token is good for.
type Scope string

// The scopes, each with its own life.
const (
	ScopeAnswers   Scope = "answers"    // until done, or 6 h
	ScopeInstalled Scope = "installed"  // once
	ScopeFirstBoot Scope = "first-boot" // once, 24 h
)

// Token is the record of a secret URL; the secret itself is not stored, only its SHA-256.
type Token struct {
	Host    string    `json:"host"`
	Attempt string    `json:"attempt"`
	Scope   Scope     `json:"scope"`
	Until   time.Time `json:"until"`
	Used    time.Time `json:"used,omitzero"`
}
