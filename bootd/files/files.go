// Package files is the directory of kernels, initrds and boot loaders that TFTP and HTTP serve, as one os.Root: no name
// from the wire and no symbolic link leads out of it.
//
// The package never writes, lists or changes anything, and knows nothing of URLs or protocols.
package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Errors of Dir.Open. They are wrapped: compare with errors.Is. Neither says where the directory lies.
var (
	// ErrNotFound says that there is no regular file of that name. Directories, devices and sockets count as missing.
	ErrNotFound = errors.New("no such file")
	// ErrOutside says that a name or a symbolic link leads out of the served directory, or tries to.
	ErrOutside = errors.New("outside the served directory")
)

// maxName is the longest name that is looked at, in octets. PATH_MAX is 4096; no boot file comes near.
const maxName = 1024

// Dir is a served directory. It is safe for concurrent use.
type Dir struct {
	path string
	at   atomic.Pointer[opened]
}

// opened is a directory that exists.
type opened struct {
	root *os.Root
	// escapes is the error with which os.Root refuses a way out; package os does not export it.
	escapes error
}

// Later gives a directory that need not exist yet: until somebody makes it, nothing is found in it.
func Later(dir string) *Dir { return &Dir{path: dir} }

// Open opens a directory to serve from. It fails when dir does not exist or is no directory.
func Open(dir string) (*Dir, error) {
	d := Later(dir)
	if _, err := d.open(); err != nil {
		return nil, fmt.Errorf("opening served directory: %w", err)
	}
	return d, nil
}

// open gives the directory, opening it where that was not possible before.
func (d *Dir) open() (*opened, error) {
	if o := d.at.Load(); o != nil {
		return o, nil
	}
	root, err := os.OpenRoot(d.path)
	if err != nil {
		return nil, err
	}
	o := &opened{root: root}
	_, err = root.Lstat("../.")
	var pe *fs.PathError
	if errors.As(err, &pe) {
		o.escapes = pe.Err
	}
	if !d.at.CompareAndSwap(nil, o) { // somebody else was first
		_ = root.Close()
	}
	return d.at.Load(), nil
}

// Open opens a regular file for reading; the caller closes it. Leading and repeated slashes do not matter, because shim
// asks for "/dir/x" over TFTP and ".../dir//x" over HTTP. The error wraps ErrNotFound or ErrOutside, or is what the
// operating system says, such as fs.ErrPermission; its text may then hold a path and must not go to a client.
func (d *Dir) Open(name string) (*os.File, fs.FileInfo, error) {
	p, err := clean(name)
	if err != nil {
		return nil, nil, err
	}
	o, err := d.open()
	if err != nil {
		return nil, nil, fmt.Errorf("opening %q: the served directory is missing: %w", name, ErrNotFound)
	}
	// Without O_NONBLOCK a FIFO in the directory would hold the caller for ever.
	f, err := o.root.OpenFile(p, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, o.wrap(name, err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, nil, o.wrap(name, err)
	}
	if !info.Mode().IsRegular() {
		_ = f.Close()
		return nil, nil, fmt.Errorf("opening %q: %w", name, ErrNotFound)
	}
	return f, info, nil
}

// Exists reports whether Open would find a regular file, without opening it.
func (d *Dir) Exists(name string) bool {
	p, err := clean(name)
	if err != nil {
		return false
	}
	o, err := d.open()
	if err != nil {
		return false
	}
	info, err := o.root.Stat(p)
	return err == nil && info.Mode().IsRegular()
}

// Close ends the use of the directory; files that are open stay open.
func (d *Dir) Close() error {
	o := d.at.Load()
	if o == nil {
		return nil
	}
	if err := o.root.Close(); err != nil {
		return fmt.Errorf("closing served directory: %w", err)
	}
	return nil
}

func (o *opened) wrap(name string, err error) error {
	switch {
	case o.escapes != nil && errors.Is(err, o.escapes):
		return fmt.Errorf("opening %q: %w", name, ErrOutside)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR), errors.Is(err, unix.ENAMETOOLONG),
		errors.Is(err, unix.ENXIO), errors.Is(err, unix.ELOOP):
		// ENXIO is a socket or a device without a driver, ELOOP a ring of symbolic links.
		return fmt.Errorf("opening %q: %w", name, ErrNotFound)
	}
	return fmt.Errorf("opening %q: %w", name, err)
}

// clean turns a name from the wire into a path relative to the root. An encoded dot is refused rather than decoded: the
// protocols decode once, so what is left is an attempt to be decoded twice.
func clean(name string) (string, error) {
	if len(name) > maxName {
		return "", fmt.Errorf("opening a name of %d octets: %w", len(name), ErrNotFound)
	}
	if strings.IndexByte(name, 0) >= 0 || strings.Contains(strings.ToLower(name), "%2e") {
		return "", fmt.Errorf("opening %q: %w", name, ErrOutside)
	}
	var parts []string
	for part := range strings.SplitSeq(name, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", fmt.Errorf("opening %q: %w", name, ErrOutside)
		default:
			parts = append(parts, part)
		}
	}
	if len(parts) == 0 || strings.HasSuffix(name, "/") {
		return "", fmt.Errorf("opening %q: %w", name, ErrNotFound)
	}
	return strings.Join(parts, "/"), nil
}
