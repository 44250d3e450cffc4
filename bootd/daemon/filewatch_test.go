package daemon

import (
	"context"
	"crypto/sha256"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// watching runs a watch over DIR/inventory.yaml, DIR/secret and all of DIR/templates, and gives what tells of reloads.
func watching(t *testing.T, dir string) <-chan struct{} {
	t.Helper()
	reloads := make(chan struct{}, 100)
	w := newFileWatch(func() (files, trees []string) {
		return []string{filepath.Join(dir, "inventory.yaml"), filepath.Join(dir, "secret")}, []string{filepath.Join(dir, "templates")}
	}, func([sha256.Size]byte) { reloads <- struct{}{} }, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	<-w.Ready()
	return reloads
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, text string, path ...string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(path...), []byte(text), 0o600))
}

// TestTemplateThatIsAPipe: opening one would wait for a writer, and hold up every reload.
func TestTemplateThatIsAPipe(t *testing.T) {
	dir := writeTree(t, map[string]string{"ipxe/plain.ipxe": "#!ipxe\n"})
	must(t, unix.Mkfifo(filepath.Join(dir, "ipxe/pipe.ipxe"), 0o600))
	own := plainFiles{os.DirFS(dir)}
	if _, err := fs.ReadFile(own, "ipxe/pipe.ipxe"); err == nil || err.Error() != "open ipxe/pipe.ipxe: is not a plain file" {
		t.Errorf("got %v", err)
	}
	if text, err := fs.ReadFile(own, "ipxe/plain.ipxe"); err != nil || string(text) != "#!ipxe\n" {
		t.Errorf("got %q, %v", text, err)
	}
	if _, err := own.Open("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

// TestFileWatchSeesEveryWayOfSaving: each change makes one reload, well before the watch would look by itself.
func TestFileWatchSeesEveryWayOfSaving(t *testing.T) {
	dir := writeTree(t, map[string]string{"real/inventory.yaml": "1", "secret": "s"})
	must(t, os.Symlink("real/inventory.yaml", filepath.Join(dir, "inventory.yaml")))
	reloads := watching(t, dir)
	saved := func(name string, change func()) {
		t.Helper()
		change()
		select {
		case <-reloads:
		case <-time.After(lookEvery / 2):
			t.Fatalf("%s: no reload", name)
		}
		select {
		case <-reloads:
			t.Errorf("%s: reloaded twice", name)
		default:
		}
	}
	saved("write in place, through a symbolic link", func() { write(t, "22", dir, "inventory.yaml") })
	saved("write beside and rename", func() {
		write(t, "333", dir, "real/.inventory.yaml.swp")
		must(t, os.Rename(filepath.Join(dir, "real/.inventory.yaml.swp"), filepath.Join(dir, "real/inventory.yaml")))
	})
	saved("move away and write anew", func() {
		must(t, os.Rename(filepath.Join(dir, "real/inventory.yaml"), filepath.Join(dir, "real/inventory.yaml~")))
		write(t, "4444", dir, "real/inventory.yaml")
	})
	saved("another target of the link", func() {
		write(t, "55555", dir, "real/other.yaml")
		must(t, os.Symlink("real/other.yaml", filepath.Join(dir, "new")))
		must(t, os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "inventory.yaml")))
	})
	saved("a directory of templates that was not there", func() {
		must(t, os.MkdirAll(filepath.Join(dir, "templates/ipxe"), 0o755))
		write(t, "x", dir, "templates/ipxe/a.ipxe")
	})
	saved("a template further down", func() { write(t, "yy", dir, "templates/ipxe/a.ipxe") })
	saved("a template that goes", func() { must(t, os.Remove(filepath.Join(dir, "templates/ipxe/a.ipxe"))) })
	saved("a secret", func() { write(t, "t", dir, "secret") })
	saved("a mode", func() { must(t, os.Chmod(filepath.Join(dir, "secret"), 0o640)) })
}

// TestFileWatchIgnoresOthers: what is none of ours wakes the watch and reloads nothing.
func TestFileWatchIgnoresOthers(t *testing.T) {
	dir := writeTree(t, map[string]string{"inventory.yaml": "1", "templates/a": "1"})
	reloads := watching(t, dir)
	write(t, "x", dir, "notes.txt")
	write(t, "22", dir, "inventory.yaml")
	<-reloads
	write(t, "xx", dir, "notes.txt")
	must(t, os.Mkdir(filepath.Join(dir, "files"), 0o755))
	write(t, "2", dir, "templates/a")
	<-reloads
	select {
	case <-reloads:
		t.Error("a file of somebody else reloaded")
	default:
	}
}
