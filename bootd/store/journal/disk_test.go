package journal

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

var errPower = errors.New("power is off")

// inode is a file's content, and what of it the disk is sure to have.
type inode struct {
	data   []byte
	synced []byte
}

// change is one change of the directory that is not synced yet; an empty name is none.
type change struct {
	from, to string
	node     *inode
}

// disk is a directory in memory that knows what would be left after a power cut. hook may make any step fail.
type disk struct {
	mu      sync.Mutex
	names   map[string]*inode
	durable map[string]*inode
	pending []change
	steps   int
	dieAt   int // the step at which power fails; 0 never
	dead    bool
	// hook is asked before each step; of a failing write, it says how many octets still get there.
	hook func(step, name string) (int, error)
}

// newDisk makes a disk with the files of dir, all synced.
func newDisk(t testing.TB, dir string) *disk {
	t.Helper()
	d := &disk{names: map[string]*inode{}, durable: map[string]*inode{}}
	for name, data := range readDir(t, dir) {
		d.names[name] = &inode{[]byte(data), []byte(data)}
	}
	maps.Copy(d.durable, d.names)
	return d
}

func (d *disk) options() Options {
	return Options{CompactAt: 1 << 40, wrap: func(directory) directory { return d }}
}

// step counts one step and says whether it may happen. The caller holds mu.
func (d *disk) step(step, name string) (int, error) {
	d.steps++
	if d.dead || d.steps == d.dieAt {
		d.dead = true
		return 0, errPower
	}
	if d.hook == nil {
		return 0, nil
	}
	// A hook may wait for another goroutine, which needs the disk.
	d.mu.Unlock()
	defer d.mu.Lock()
	return d.hook(step, name)
}

func (d *disk) create(name string) (file, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.step("create", name); err != nil {
		return nil, err
	}
	n := &inode{}
	d.names[name] = n
	d.pending = append(d.pending, change{to: name, node: n})
	return &diskFile{d, name, n}, nil
}

func (d *disk) rename(from, to string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.step("rename", to); err != nil {
		return err
	}
	n := d.names[from]
	delete(d.names, from)
	d.names[to] = n
	d.pending = append(d.pending, change{from, to, n})
	return nil
}

func (d *disk) remove(name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.step("remove", name); err != nil {
		return err
	}
	if d.names[name] == nil {
		return fmt.Errorf("removing %s: %w", name, os.ErrNotExist)
	}
	delete(d.names, name)
	d.pending = append(d.pending, change{from: name})
	return nil
}

func (d *disk) sync() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, err := d.step("syncdir", ""); err != nil {
		return err
	}
	d.durable, d.pending = maps.Clone(d.names), nil
	return nil
}

// diskFile is a file on a disk.
type diskFile struct {
	d    *disk
	name string
	n    *inode
}

func (f *diskFile) Write(p []byte) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n, err := f.d.step("write", f.name)
	if err == nil {
		n = len(p)
	}
	f.n.data = append(f.n.data, p[:min(n, len(p))]...)
	return n, err
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	n, err := f.d.step("write", f.name)
	if err == nil {
		n = len(p)
	}
	n = min(n, len(p))
	if end := int(off) + n; end > len(f.n.data) {
		f.n.data = append(f.n.data, make([]byte, end-len(f.n.data))...)
	}
	copy(f.n.data[off:], p[:n])
	return n, err
}

func (f *diskFile) Sync() error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if _, err := f.d.step("sync", f.name); err != nil {
		return err
	}
	f.n.synced = slices.Clone(f.n.data)
	return nil
}

func (f *diskFile) Truncate(size int64) error {
	f.d.mu.Lock()
	defer f.d.mu.Unlock()
	if _, err := f.d.step("truncate", f.name); err != nil {
		return err
	}
	f.n.data = f.n.data[:size]
	f.n.synced = f.n.synced[:min(len(f.n.synced), int(size))]
	return nil
}

func (f *diskFile) Close() error { return nil }

// afterExit writes what another process finds after this one ended: all that was written, synced or not.
func (d *disk) afterExit(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, n := range d.names {
		writeFile(t, dir, name, n.data)
	}
	return dir
}

// afterPowerCut writes what may be left when power fails: of what was not synced, any change of the directory or none,
// and any part of the content, with holes.
func (d *disk) afterPowerCut(t testing.TB, r *rand.Rand) string {
	t.Helper()
	names := maps.Clone(d.durable)
	for _, c := range d.pending {
		if r.IntN(2) == 0 {
			continue
		}
		delete(names, c.from)
		if c.to != "" {
			names[c.to] = c.node
		}
	}
	dir := t.TempDir()
	for _, name := range slices.Sorted(maps.Keys(names)) {
		writeFile(t, dir, name, names[name].afterPowerCut(r))
	}
	return dir
}

// afterPowerCut is what was synced, with any part of what was written since.
func (n *inode) afterPowerCut(r *rand.Rand) []byte {
	size := len(n.data)
	if grown := size - len(n.synced); grown > 0 {
		size -= r.IntN(grown + 1)
	}
	data, old := slices.Clone(n.data[:size]), make([]byte, size)
	copy(old, n.synced)
	first := 0
	for first < size && data[first] == old[first] {
		first++
	}
	last := size
	for last > first && data[last-1] == old[last-1] {
		last--
	}
	if first < last && r.IntN(2) == 0 {
		from := first + r.IntN(last-first)
		to := from + r.IntN(last-from+1)
		copy(data[from:to], old[from:to])
	}
	return data
}

func writeFile(t testing.TB, dir, name string, data []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// readDir returns the files of dir by name, the lock left out.
func readDir(t testing.TB, dir string) map[string]string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, e := range entries {
		if e.Name() == lockName {
			continue
		}
		b, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(b)
	}
	return files
}
