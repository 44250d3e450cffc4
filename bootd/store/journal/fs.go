package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// directory is what the engine needs to write into its state directory. Names are plain file names. Reading is not
// here: what was written is read from the real directory only.
type directory interface {
	// create makes an empty file, in place of one of that name.
	create(name string) (file, error)
	rename(from, to string) error
	remove(name string) error
	// sync makes creations, renames and removals durable.
	sync() error
}

// file is what the engine needs of a file that it writes.
type file interface {
	io.WriteCloser
	io.WriterAt
	// Sync makes the content durable; the length too.
	Sync() error
	Truncate(size int64) error
}

// rootDir is the real directory.
type rootDir struct{ root *os.Root }

func (d rootDir) create(name string) (file, error) {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	return dataFile{f}, nil
}

func (d rootDir) rename(from, to string) error { return d.root.Rename(from, to) }
func (d rootDir) remove(name string) error     { return d.root.Remove(name) }

func (d rootDir) sync() error {
	f, err := d.root.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// dataFile syncs by fdatasync, which spares the inode's times.
type dataFile struct{ *os.File }

// Sync makes content and length durable.
func (f dataFile) Sync() error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err == nil {
			return nil
		}
		if !errors.Is(err, syscall.EINTR) {
			return &os.PathError{Op: "fdatasync", Path: f.Name(), Err: err}
		}
	}
}

// openRoot opens dir and makes it, durably, when it is not there.
func openRoot(dir string) (*os.Root, error) {
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		parent, err := os.OpenRoot(filepath.Dir(filepath.Clean(dir)))
		if err != nil {
			return nil, err
		}
		if err := errors.Join(rootDir{parent}.sync(), parent.Close()); err != nil {
			return nil, fmt.Errorf("syncing the directory above: %w", err)
		}
	}
	return os.OpenRoot(dir)
}
