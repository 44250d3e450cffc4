// Package store is the contract between decisions and durable state: small records in closed tables, changed by
// transactions that are durable before anybody answers. Engines live below it (store/memory, store/journal).
//
// The package never touches a disk itself and knows nothing of what a record means.
package store

import (
	"context"
	"errors"
	"fmt"
	"iter"
)

// Table names one kind of record. The set is closed: an engine refuses others when it reads a journal.
type Table uint8

// The tables. Numbers are written to disk: never reuse or reorder them.
const (
	TableInvalid Table = 0
	TableLease   Table = 1  // lease.Binding by prefix; scope site
	TableLearned Table = 2  // who.Learned by host; scope site
	TableArm     Table = 3  // install.Arm by host; scope site
	TableAttempt Table = 4  // install.Attempt by host; scope site
	TableToken   Table = 5  // install.Token by hash; scope site
	TableBlob    Table = 6  // rendered scripts and answers by content hash; scope site
	TableMeta    Table = 7  // server DUID, hash secret; scope site
	TableNode    Table = 8  // what belongs to this server alone; scope node
	TableHeld    Table = 9  // the address of an unlisted client by network and holder; scope site
	TablePhone   Table = 10 // what a phone uploaded, by MAC; scope site
	tableEnd     Table = 11
)

// String gives the table's name as used in logs and key paths.
func (t Table) String() string {
	names := [...]string{"invalid", "lease", "learned", "arm", "attempt", "token", "blob", "meta", "node", "held", "phone"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("table-%d", uint8(t))
}

// Valid reports whether t is one of the closed set.
func (t Table) Valid() bool { return t > TableInvalid && t < tableEnd }

// Node reports whether the table belongs to this server alone; all others are shared by the servers of a site.
func (t Table) Node() bool { return t == TableNode }

// Key names one record. ID is at most 512 octets.
type Key struct {
	Table Table
	ID    string
}

// String is table/id, for logs.
func (k Key) String() string { return k.Table.String() + "/" + k.ID }

// Op is one change of one whole record; a nil Value deletes it. A Value is at most 1 MiB.
type Op struct {
	Key   Key
	Value []byte
}

// View is what a transaction or a read sees. Values must not be modified by the caller.
type View interface {
	// Get returns a record; hit or miss, the key joins the read set and is a precondition of the commit.
	Get(Key) ([]byte, bool)
	// Peek returns a record as a hint that may be stale: it picks a candidate, Get proves it.
	Peek(Key) ([]byte, bool)
}

// Change is one record as Watch reports it. A nil Value is a deletion.
type Change struct {
	Key   Key
	Value []byte
	// Synced is true on the one Change that ends the initial full state; its Key is zero.
	Synced bool
}

// Store is what decisions and adapters need of durable state. It is safe for concurrent use.
type Store interface {
	// Update runs fn, perhaps again on conflict; only its last run counts. Returning nil means that its Ops and all it
	// saw are durable. ErrUnknown: it may have committed; stay silent, the retransmit decides the same.
	// ErrReadOnly: nothing was written and nothing will be until the engine is reopened; a transaction without Ops,
	// all of whose reads are durable, still succeeds.
	Update(ctx context.Context, fn func(View) []Op) error
	// Start is the first half of Update: it runs fn and does not wait for the disk. The Commit's Wait is the second half, and must
	// follow: until some Commit's Sync or Wait the disk is not even asked.
	Start(fn func(View) []Op) Commit
	// Read runs fn over committed state, which may be ahead of the disk.
	Read(fn func(View))
	// Scan walks the records of one table whose ID starts with prefix, in ascending order of ID.
	Scan(t Table, prefix string) iter.Seq2[Key, []byte]
	// Watch yields the full state of one table, a Change with Synced, then commits in order, until ctx ends.
	Watch(ctx context.Context, t Table) iter.Seq[Change]
}

// Commit is a transaction under way, as Start gives it. It belongs to one goroutine.
type Commit interface {
	// Done reports whether Wait would give its result at once.
	Done() bool
	// Sync lets the disk begin with all that was started.
	Sync()
	// Wait returns what Update would. It may run fn again, where others were faster or a failed sync undid what fn saw.
	Wait(ctx context.Context) error
}

// Errors of Update. Engines wrap them, so compare with errors.Is.
var (
	// ErrUnknown says that the outcome of a commit could not be learned, for instance because the context ended.
	ErrUnknown = errors.New("commit outcome unknown")
	// ErrReadOnly says that the engine stopped writing after a failed sync or a full disk.
	ErrReadOnly = errors.New("store is read-only")
	// ErrClosed says that the engine was closed.
	ErrClosed = errors.New("store is closed")
	// ErrInvalid says that an Op names an unknown table, an ID over 512 octets or a Value over 1 MiB.
	ErrInvalid = errors.New("invalid operation")
)

// Limits of a record.
const (
	MaxID    = 512
	MaxValue = 1 << 20
)

// Check reports an Op that no engine accepts.
func (o Op) Check() error {
	switch {
	case !o.Key.Table.Valid():
		return fmt.Errorf("%w: table %d does not exist", ErrInvalid, o.Key.Table)
	case len(o.Key.ID) > MaxID:
		return fmt.Errorf("%w: id of %d octets, at most %d", ErrInvalid, len(o.Key.ID), MaxID)
	case len(o.Value) > MaxValue:
		return fmt.Errorf("%w: value of %d octets, at most %d", ErrInvalid, len(o.Value), MaxValue)
	}
	return nil
}
