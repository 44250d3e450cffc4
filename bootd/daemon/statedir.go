package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/store"
)

// prepareState makes the state directory and checks that it can be written: it holds secrets, so nobody else reads it.
func prepareState(dir string) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("making the state directory (give another one with --state): %w", err)
	}
	probe, err := os.CreateTemp(dir, ".writable-*")
	if err != nil {
		return fmt.Errorf("writing into the state directory %s (give another one with --state, or change its owner): %w", dir, err)
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name()))
}

// Socket is where the API listens: in the run directory, or in the state directory where none is given.
func Socket(run, state string) string {
	if run == "" {
		run = state
	}
	return filepath.Join(run, "bootd.sock")
}

// Identity is what a server keeps for good.
type Identity struct {
	// DUID is the Server Identifier (RFC 8415 section 11).
	DUID ident.DUID
	// Secret keys the hash that addresses are computed with (RFC 7943).
	Secret [32]byte
}

// The records of an Identity.
const (
	metaDUID   = "server-duid"
	metaSecret = "hash-secret"
)

// LoadIdentity reads the identity, or makes it at the first start: a DUID-UUID (RFC 6355) that depends on no card that
// could be swapped. Both are made in one transaction, so there is never one without the other.
func LoadIdentity(ctx context.Context, s store.Store, random io.Reader) (Identity, error) {
	var fresh struct {
		uuid   ident.UUID
		secret [32]byte
	}
	var err error
	if fresh.uuid, err = newUUID(random); err != nil {
		return Identity{}, fmt.Errorf("making the server's DUID: %w", err)
	}
	if _, err := io.ReadFull(random, fresh.secret[:]); err != nil {
		return Identity{}, fmt.Errorf("making the hash secret: %w", err)
	}
	var id Identity
	err = s.Update(ctx, func(v store.View) []store.Op {
		duid, hasDUID := v.Get(store.Key{Table: store.TableMeta, ID: metaDUID})
		secret, hasSecret := v.Get(store.Key{Table: store.TableMeta, ID: metaSecret})
		id = Identity{DUID: ident.DUID(duid)}
		copy(id.Secret[:], secret)
		var ops []store.Op
		if !hasDUID {
			id.DUID = ident.NewDUIDUUID(fresh.uuid)
			ops = append(ops, store.Op{Key: store.Key{Table: store.TableMeta, ID: metaDUID}, Value: []byte(id.DUID)})
		}
		if !hasSecret || len(secret) != len(id.Secret) {
			id.Secret = fresh.secret
			ops = append(ops, store.Op{Key: store.Key{Table: store.TableMeta, ID: metaSecret}, Value: fresh.secret[:]})
		}
		return ops
	})
	if err != nil {
		return Identity{}, fmt.Errorf("storing the server's identity: %w", err)
	}
	return id, nil
}

// newUUID makes one by chance (RFC 9562 version 4).
func newUUID(random io.Reader) (u ident.UUID, err error) {
	_, err = io.ReadFull(random, u[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u, err
}

// readBounded reads a regular file of at most so many octets.
func readBounded(name string, limit int64) ([]byte, error) {
	// A pipe that nobody writes to is empty, and one that somebody holds open does not hold us up for good.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	_ = f.SetReadDeadline(time.Now().Add(pipePatience)) // a plain file has none and needs none
	if st, err := f.Stat(); err == nil && st.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a directory")}
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: more than %d octets", name, errTooLarge, limit)
	}
	return data, nil
}

// pipePatience is how long a pipe that is named as a file may take to be written.
const pipePatience = 10 * time.Second

var errTooLarge = errors.New("too large")
