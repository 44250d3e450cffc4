package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
)

const discoveredText = `
Lists the machines that nobody listed and that asked for an address or a boot script, the newest first; with unknown:
discover they also say which machine they are. --yaml writes lines to paste below hosts: in the inventory.`

func discoveredCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.socketFlags(fs)
	asJSON := fs.Bool("json", false, "write JSON")
	asYAML := fs.Bool("yaml", false, "write lines for the section hosts of the inventory")
	return func(ctx context.Context, _ []string) error {
		machines, err := w.client().Discovered(ctx)
		switch {
		case err != nil:
			return err
		case *asJSON:
			return writeJSON(a.stdout, machines)
		case *asYAML:
			writeYAML(a.stdout, machines)
			return nil
		case len(machines) == 0:
			fmt.Fprintln(a.stdout, "no unlisted machine was heard")
			return nil
		}
		table(a.stdout, "MAC\tNETWORK\tARCH\tCLIENT\tMACHINE\tLAST\tTIMES\tREASON", func(t io.Writer) {
			for _, m := range machines {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\n", nameOf(m), onLink(m), or(m.Arch, "-"), or(m.Client, "-"),
					or(board(m), "-"), m.Last.Local().Format(time.DateTime), m.Count, m.Reason)
			}
		})
		return nil
	}
}

func nameOf(m heard.Machine) string {
	if m.MAC.Valid() {
		return m.MAC.String()
	}
	return "DUID " + m.DUID.String()
}

func onLink(m heard.Machine) string {
	if m.Link == "" {
		return or(m.Network, "-")
	}
	return fmt.Sprintf("%s (%s)", m.Network, m.Link)
}

// board is what the machine says of its board, in one text.
func board(m heard.Machine) string {
	text := strings.TrimSpace(m.Manufacturer + " " + m.Product)
	if m.Serial != "" {
		text = strings.TrimPrefix(text+", serial "+m.Serial, ", ")
	}
	return text
}

// writeYAML gives each machine a comment and a line with a name to be changed.
func writeYAML(w io.Writer, machines []heard.Machine) {
	for _, m := range machines {
		fmt.Fprintf(w, "  # %s, %s %s, heard %d times, last %s: %s", onLink(m), or(m.Arch, "unknown architecture"), m.Client, m.Count,
			m.Last.UTC().Format(time.RFC3339), m.Reason)
		if b := board(m); b != "" {
			fmt.Fprintf(w, "; %s", b)
		}
		if !m.MAC.Valid() {
			fmt.Fprintf(w, "; no MAC was seen of DUID %s\n", m.DUID)
			continue
		}
		h := entry(m)
		h.Name = fmt.Sprintf("new-%02x%02x%02x", m.MAC[3], m.MAC[4], m.MAC[5])
		fmt.Fprintf(w, "\n  %s\n", h)
	}
}

// entry is a machine as the inventory lists it.
func entry(m heard.Machine) inventory.NewHost {
	return inventory.NewHost{MAC: m.MAC, UUID: m.UUID, Serial: m.Serial}
}

const adoptText = `
Adds the machine to the section hosts of the inventory, with UUID and serial number where it told them, and leaves comments,
order and formatting of the file alone. The result is checked before it replaces the file. bootd reload serves it.`

func adoptCommand(a app, fs *flag.FlagSet) func(context.Context, []string) error {
	var w where
	w.inventoryFlag(fs)
	w.socketFlags(fs)
	network := fs.String("network", "", "serve it on `NETWORK` only")
	dry := fs.Bool("dry-run", false, "write the new inventory to standard output instead")
	return func(ctx context.Context, args []string) error {
		mac, err := ident.ParseMAC(args[0])
		if err != nil {
			return usageError{fmt.Sprintf("%q is not a MAC address, such as 52:54:00:aa:01:01", args[0])}
		}
		h := inventory.NewHost{MAC: mac}
		file := w.file()
		if machines, at, err := w.known(ctx); err == nil {
			if w.inventory == "" && at != "" {
				file = at
			}
			for _, m := range machines {
				if m.MAC == mac {
					h = entry(m)
				}
			}
		} else if !errors.Is(err, api.ErrNotRunning) {
			return err
		}
		h.Name, h.Network = args[1], *network
		unlock, err := alone(ctx, file)
		if err != nil {
			return err
		}
		defer unlock()
		data, next, err := adopted(file, h)
		if err != nil {
			return err
		}
		if *dry {
			_, err := a.stdout.Write(next)
			return err
		}
		if err := sweep(file); err != nil {
			return err
		}
		if err := replace(file, data, next); err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "%s: added %s\nbootd reload serves it\n", file, h)
		return nil
	}
}

// known asks the daemon for the machines and for the file that it serves, empty where that is not an absolute path.
func (w where) known(ctx context.Context) ([]heard.Machine, string, error) {
	machines, err := w.client().Discovered(ctx)
	if err != nil {
		return nil, "", err
	}
	s, err := w.client().Status(ctx)
	if err != nil || !filepath.IsAbs(s.Inventory.File) {
		return machines, "", err
	}
	return machines, s.Inventory.File, nil
}

// alone waits until no other bootd adopt works on the file: two at once would each put the file without the other's machine in
// its place. The lock is the directory's, since the file is replaced.
func alone(ctx context.Context, file string) (unlock func(), err error) {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return nil, fmt.Errorf("finding the inventory: %w", err)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("opening the directory of the inventory: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		err := unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { dir.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			return nil, errors.Join(fmt.Errorf("locking %s: %w", dir.Name(), err), dir.Close())
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("another bootd adopt is at work on %s: try again", file), dir.Close())
		}
	}
}

func adopted(file string, h inventory.NewHost) (data, next []byte, err error) {
	data, err = os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the inventory: %w", err)
	}
	next, err = inventory.Insert(file, data, h)
	if err != nil {
		return nil, nil, fmt.Errorf("%s is unchanged: %w", file, err)
	}
	return data, next, nil
}

// beside is how the names of new inventories begin, before they are put in the place of the old one.
func beside(path string) string { return "." + filepath.Base(path) + ".adopt-" }

// sweep removes what an adopt left that was killed. The caller holds the lock, so none is at work.
func sweep(file string) error {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return fmt.Errorf("finding the inventory: %w", err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("looking beside the inventory: %w", err)
	}
	for _, e := range entries {
		number, ours := strings.CutPrefix(e.Name(), beside(path))
		if _, err := strconv.ParseUint(number, 10, 64); !ours || err != nil || !e.Type().IsRegular() {
			continue
		}
		if err := os.Remove(filepath.Join(filepath.Dir(path), e.Name())); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing what an earlier bootd adopt left: %w", err)
		}
	}
	return nil
}

// replace puts new octets in the place of a file whose octets are still old, whole or not at all, with the file's mode and
// owner. A symbolic link stays one.
func replace(file string, old, next []byte) (err error) {
	path, err := filepath.EvalSymlinks(file)
	if err != nil {
		return fmt.Errorf("finding the inventory: %w", err)
	}
	st, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("looking at the inventory: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), beside(path)+"*")
	if err != nil {
		return fmt.Errorf("writing beside the inventory: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	_, err = f.Write(next)
	err = errors.Join(err, f.Chmod(st.Mode().Perm()), own(f, st), f.Sync(), f.Close())
	if err != nil {
		return fmt.Errorf("writing the new inventory: %w", err)
	}
	if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, old) {
		return errors.Join(fmt.Errorf("%s changed meanwhile: try again", file), err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return fmt.Errorf("replacing the inventory: %w", err)
	}
	return nil
}

// own gives a file the owner of another one, where it is not ours anyway.
func own(f *os.File, like os.FileInfo) error {
	was, ok := like.Sys().(*syscall.Stat_t)
	st, err := f.Stat()
	if err != nil || !ok {
		return err
	}
	if is, ok := st.Sys().(*syscall.Stat_t); ok && is.Uid == was.Uid && is.Gid == was.Gid {
		return nil
	}
	return f.Chown(int(was.Uid), int(was.Gid))
}
