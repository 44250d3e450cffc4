package follow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"bootd.internal/bootd/docker"
	"bootd.internal/bootd/site"
)

const (
	// maxFile is the largest file that is merged into, in octets.
	maxFile = 1 << 20
	// Before is what the copy of the file as it was is called, beside it.
	Before = ".before-bootd"
)

// target is a file with what it should hold.
type target struct {
	path      string
	old, want []byte
	// fresh: there is no file yet. mode, uid and gid are those that it keeps.
	fresh    bool
	mode     fs.FileMode
	uid, gid int
}

// Preview is what would be done for a follower.
type Preview struct {
	// File is what would be written, with New in the place of Old; empty: no file. Differs: Old is something else, or not there.
	File, Old, New string
	Differs        bool
	// Command would be run if so.
	Command []string
}

// Try says what would be done, and does nothing.
func Try(f site.Follower, render func(site.Follower) ([]byte, error)) (Preview, error) {
	p := Preview{Command: f.Command}
	x, err := prepare(f, render)
	if err != nil || x == nil {
		p.Differs = x == nil
		return p, err
	}
	p.File, p.Old, p.New, p.Differs = x.path, string(x.old), string(x.want), x.differs()
	return p, nil
}

// prepare reads a follower's file and makes its content; nil: it has none.
func prepare(f site.Follower, render func(site.Follower) ([]byte, error)) (*target, error) {
	if f.File == "" {
		return nil, nil
	}
	x, err := open(f.File)
	if err != nil {
		return nil, err
	}
	switch {
	case f.Merge:
		if x.want, err = docker.Merge(x.old, f.Prefix); err != nil {
			return nil, fmt.Errorf("reading %s: %w: it is left as it is; correct it", x.path, err)
		}
	case f.Template != "":
		x.want, err = render(f)
	default:
		x.want = []byte(f.Prefix.String() + "\n")
	}
	return x, err
}

// open reads a file that may not be there yet; its directory has to be. A symbolic link is followed: what it points to is written;
// one that leads nowhere is a person's, and stays.
func open(path string) (*target, error) {
	x := &target{path: path, mode: 0o644, uid: -1, gid: -1}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		x.path = real
	}
	file, err := os.OpenFile(x.path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe must not be waited for
	if errors.Is(err, fs.ErrNotExist) {
		x.fresh = true
		if to, err := os.Readlink(x.path); err == nil {
			return nil, fmt.Errorf("%s is a symbolic link to %s, which is not there: make that file, or remove the link", x.path, to)
		}
		if _, err := os.Stat(filepath.Dir(x.path)); err != nil {
			return nil, fmt.Errorf("there is no directory %s: is the program that reads %s installed?", filepath.Dir(x.path), filepath.Base(x.path))
		}
		return x, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a plain file", x.path)
	}
	if err == nil {
		x.old, err = io.ReadAll(io.LimitReader(file, maxFile+1))
	}
	if err == nil && len(x.old) > maxFile {
		err = fmt.Errorf("%s has more than %d octets", x.path, maxFile)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", x.path, err)
	}
	x.mode = info.Mode().Perm()
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		x.uid, x.gid = int(s.Uid), int(s.Gid)
	}
	return x, nil
}

func (x *target) differs() bool { return x.fresh || !bytes.Equal(x.old, x.want) }

// replace keeps the file as it was beside it, and puts the new one in its place whole.
func (x *target) replace() error {
	if !x.fresh {
		if err := x.put(x.path+Before, x.old); err != nil {
			return err
		}
	}
	return x.put(x.path, x.want)
}

// restore undoes replace; fresh: there was none before.
func (x *target) restore(fresh bool) error {
	if fresh {
		err := os.Remove(x.path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	old, err := os.ReadFile(x.path + Before)
	if err != nil {
		return err
	}
	return x.put(x.path, old)
}

// put writes a file beside the place and renames it: whoever reads sees the old one or the new one.
func (x *target) put(path string, content []byte) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".bootd-*")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, bare(err))
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("writing %s: %w", path, bare(err)), os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(x.mode)
	}
	if err == nil && x.uid >= 0 && (x.uid != os.Geteuid() || x.gid != os.Getegid()) {
		err = f.Chown(x.uid, x.gid)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	return err
}

// bare is an error without the name of the file beside the place: that is another one at each try, and a fault that stays is told
// of once.
func bare(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
