// Package cpio reads and writes archives of the kind that Linux takes for an initial file system: "newc", as
// Documentation/driver-api/early-userspace/buffer-format.rst of the kernel describes it.
//
// The package never follows a link and never touches the disk, except for Add, which reads one tree.
package cpio

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Modes of entries besides the permissions: the type, as stat(2) has it.
const (
	Dir     = 0o040000
	Regular = 0o100000
	Link    = 0o120000
	typ     = 0o170000
)

// Entry is one name in an archive; everything belongs to root.
type Entry struct {
	Name string // without a leading slash
	Mode uint32 // type and permissions
	Body []byte // content, or where a link points
}

const (
	magic   = "070701"
	trailer = "TRAILER!!!"
	header  = 110 // octets
	// maxBody bounds one file, in octets: an installer's largest has 12 MB.
	maxBody = 256 << 20
)

// Write writes an archive of the entries in their order, in which a directory has to stand before what it holds.
func Write(w io.Writer, entries []Entry) error {
	out := bufio.NewWriter(w)
	for i, e := range append(entries[:len(entries):len(entries)], Entry{Name: trailer}) {
		links := 1
		if e.Mode&typ == Dir {
			links = 2
		}
		// inode, mode, uid, gid, nlink, mtime, size, device major and minor, rdev major and minor, name length, check
		fmt.Fprintf(out, "%s%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", magic,
			i+1, e.Mode, 0, 0, links, 0, len(e.Body), 0, 0, 0, 0, len(e.Name)+1, 0)
		out.WriteString(e.Name)
		out.Write(make([]byte, 1+pad(header+len(e.Name)+1)))
		out.Write(e.Body)
		out.Write(make([]byte, pad(len(e.Body))))
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("writing an archive: %w", err)
	}
	return nil
}

// pad is how many octets follow n to make it a multiple of four.
func pad(n int) int { return -n & 3 }

// Read reads one archive up to its trailer.
func Read(r io.Reader) ([]Entry, error) {
	var entries []Entry
	in := bufio.NewReader(r)
	for {
		e, err := next(in)
		if err != nil {
			return nil, fmt.Errorf("reading an archive after %d entries: %w", len(entries), err)
		}
		if e.Name == trailer {
			return entries, nil
		}
		e.Name = strings.TrimPrefix(e.Name, "./")
		entries = append(entries, e)
	}
}

func next(in io.Reader) (Entry, error) {
	head := make([]byte, header)
	if _, err := io.ReadFull(in, head); err != nil {
		return Entry{}, err
	}
	if string(head[:len(magic)]) != magic {
		return Entry{}, fmt.Errorf("%q is no header of a newc archive", head[:len(magic)])
	}
	field := func(i int) (int, error) {
		n, err := strconv.ParseUint(string(head[len(magic)+8*i:][:8]), 16, 32)
		return int(n), err
	}
	mode, err1 := field(1)
	size, err2 := field(6)
	length, err3 := field(11)
	if err := errors.Join(err1, err2, err3); err != nil {
		return Entry{}, err
	}
	if size > maxBody || length < 1 || length > 4096 {
		return Entry{}, fmt.Errorf("an entry with a name of %d and a body of %d octets", length, size)
	}
	name := make([]byte, length+pad(header+length))
	if _, err := io.ReadFull(in, name); err != nil {
		return Entry{}, err
	}
	var body bytes.Buffer // grows with what really comes, whatever the header says
	if n, err := io.CopyN(&body, in, int64(size+pad(size))); err != nil {
		return Entry{}, fmt.Errorf("%d of %d octets: %w", n, size, err)
	}
	return Entry{Name: string(name[:length-1]), Mode: uint32(mode), Body: body.Bytes()[:size]}, nil
}

// Add appends the tree below dir to entries, in lexical order and without dir itself.
func Add(entries []Entry, dir string) ([]Entry, error) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := Entry{Mode: uint32(info.Mode().Perm())}
		if e.Name, err = filepath.Rel(dir, path); err != nil {
			return err
		}
		switch {
		case d.IsDir():
			e.Mode |= Dir
		case info.Mode().IsRegular():
			e.Mode |= Regular
			e.Body, err = os.ReadFile(path)
		case info.Mode()&fs.ModeSymlink != 0:
			e.Mode = Link | 0o777
			var to string
			to, err = os.Readlink(path)
			e.Body = []byte(to)
		default:
			return nil // a device or a socket has no place in a file that anybody may read
		}
		entries = append(entries, e)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the tree %s: %w", dir, err)
	}
	return entries, nil
}
