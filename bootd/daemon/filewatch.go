package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/inventory"
)

const (
	// quietFor is how long files must rest before they are read: an editor writes, renames and changes the mode.
	quietFor = 200 * time.Millisecond
	// longestQuiet bounds that where something is written again and again.
	longestQuiet = 2 * time.Second
	// lookEvery finds what no event tells: network file systems, a symbolic link further up that changed.
	lookEvery = 30 * time.Second
	// maxWatched bounds the files and directories that are looked at.
	maxWatched = 10_000
)

// fileWatch reloads when the inventory, a template or a secret changes on disk. Events of inotify(7) only wake it; what
// decides is whether names, sizes, times or modes differ, so no editor's way of saving is missed and none counts twice.
type fileWatch struct {
	// watched are files to be looked at, and trees with all below them.
	watched func() (files, trees []string)
	reload  func(seen [sha256.Size]byte)
	log     *slog.Logger
	ready   chan struct{}
	// last is what was there when the daemon read it.
	last [sha256.Size]byte
}

// newFileWatch looks at the files as they are; call it before they are read, so that no change falls between.
func newFileWatch(watched func() (files, trees []string), reload func([sha256.Size]byte), log *slog.Logger) *fileWatch {
	w := &fileWatch{watched: watched, reload: reload, log: log, ready: make(chan struct{})}
	w.last = w.look(nil)
	return w
}

func (w *fileWatch) String() string         { return "file watch" }
func (w *fileWatch) Ready() <-chan struct{} { return w.ready }

// Run waits for changes until ctx ends.
func (w *fileWatch) Run(ctx context.Context) error {
	var n *notifier
	woken := make(chan struct{}, 1)
	if fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC); err != nil {
		w.log.Warn("changed files are found by looking only", "every", lookEvery, "error", err)
	} else {
		n = &notifier{file: os.NewFile(uintptr(fd), "inotify"), fd: fd}
		var reader sync.WaitGroup
		reader.Go(func() { n.read(woken) })
		defer reader.Wait()
		defer n.file.Close()
	}
	w.check(ctx, n) // what changed before there were events
	close(w.ready)
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-woken:
			rest(ctx, woken)
		}
		w.check(ctx, n)
	}
}

// rest waits until nothing happens any more.
func rest(ctx context.Context, woken <-chan struct{}) {
	most := time.NewTimer(longestQuiet)
	defer most.Stop()
	for {
		quiet := time.NewTimer(quietFor)
		select {
		case <-woken:
			quiet.Stop()
			continue
		case <-quiet.C:
		case <-most.C:
		case <-ctx.Done():
		}
		quiet.Stop()
		return
	}
}

// check reloads when something differs.
func (w *fileWatch) check(ctx context.Context, n *notifier) {
	now := w.look(n)
	if now == w.last || ctx.Err() != nil {
		return
	}
	w.last = now
	w.reload(now)
}

// look gives a sum over what lies there, and asks for events of all of it.
func (w *fileWatch) look(n *notifier) [sha256.Size]byte {
	sum := sha256.New()
	left := maxWatched
	one := func(path string) {
		st, err := os.Stat(path) // through symbolic links: what they lead to is what is read
		if left--; left < 0 {
			return
		}
		if err != nil {
			fmt.Fprintf(sum, "%q none\n", path)
			return
		}
		var inode uint64
		if sys, ok := st.Sys().(*syscall.Stat_t); ok {
			inode = sys.Ino
		}
		if !st.IsDir() { // a directory's time changes with files that are none of ours
			fmt.Fprintf(sum, "%q %d %d %d %v\n", path, st.Size(), st.ModTime().UnixNano(), inode, st.Mode())
		}
	}
	files, trees := w.watched()
	for _, path := range files {
		one(path)
		n.watch(filepath.Dir(path))
		if real, err := filepath.EvalSymlinks(path); err == nil && real != path {
			n.watch(filepath.Dir(real))
		}
	}
	for _, root := range trees {
		n.watch(filepath.Dir(root)) // it may be made later
		_ = filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			switch {
			case err != nil || left < 0:
				return nil // what cannot be read is said by the reload that wants it
			case e.IsDir():
				n.watch(path)
			}
			one(path)
			return nil
		})
	}
	return [sha256.Size]byte(sum.Sum(nil))
}

// notifier is an inotify instance; nil: none.
type notifier struct {
	file *os.File
	fd   int
}

// watch asks for events of what happens inside a directory. Asking again is harmless, and a directory that is not there
// is asked for once it is.
func (n *notifier) watch(dir string) {
	if n == nil {
		return
	}
	const mask = unix.IN_CLOSE_WRITE | unix.IN_MOVED_TO | unix.IN_MOVED_FROM | unix.IN_CREATE | unix.IN_DELETE | unix.IN_ATTRIB |
		unix.IN_DELETE_SELF | unix.IN_MOVE_SELF | unix.IN_ONLYDIR
	_, _ = unix.InotifyAddWatch(n.fd, dir, mask) // looking every lookEvery finds what this misses
}

// read wakes the watch until the file is closed. What the events say is not looked at.
func (n *notifier) read(woken chan<- struct{}) {
	buf := make([]byte, 64<<10)
	for {
		if _, err := n.file.Read(buf); err != nil {
			if errors.Is(err, unix.EINTR) {
				continue
			}
			return
		}
		select {
		case woken <- struct{}{}:
		default:
		}
	}
}

// newFileWatch watches what inv was read from. What changed since it was read counts as a change.
func (d *Daemon) newFileWatch(inv *inventory.Inventory) *fileWatch {
	w := newFileWatch(d.watched, d.filesChanged, d.log)
	data, err := readBounded(d.cfg.Inventory, maxInventory)
	if sum := sha256.Sum256(data); err != nil || hex.EncodeToString(sum[:]) != inv.Hash {
		w.last = [sha256.Size]byte{}
	}
	return w
}

// watched are the files that a reload reads, and the trees.
func (d *Daemon) watched() (files, trees []string) {
	snap := d.world.Snapshot()
	files = []string{d.cfg.Inventory}
	for _, s := range snap.Inventory.Secrets {
		for _, v := range []string{s.File.V, s.Age.V, s.Identity.V} {
			if v != "" {
				files = append(files, beside(d.cfg.Inventory, v))
			}
		}
	}
	slices.Sort(files)
	return files, []string{beside(d.cfg.Inventory, snap.Templates)}
}
