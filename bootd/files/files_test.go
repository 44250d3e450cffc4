package files

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// tree makes a served directory with a file beside it that nobody may reach.
func tree(t *testing.T) *Dir {
	t.Helper()
	top := t.TempDir()
	root := filepath.Join(top, "files")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(root, "debian13"), 0o755))
	must(os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o600))
	must(os.WriteFile(filepath.Join(root, "ipxe.efi"), []byte("ipxe"), 0o644))
	must(os.WriteFile(filepath.Join(root, "debian13", "linux"), []byte("kernel"), 0o644))
	must(os.WriteFile(filepath.Join(root, "..data"), []byte("dots"), 0o644))
	must(os.Symlink("debian13/linux", filepath.Join(root, "inside")))
	must(os.Symlink("../secret", filepath.Join(root, "relative")))
	must(os.Symlink(filepath.Join(top, "secret"), filepath.Join(root, "absolute")))
	must(os.Symlink("ring", filepath.Join(root, "ring")))
	must(os.Symlink("..", filepath.Join(root, "up")))
	must(unix.Mkfifo(filepath.Join(root, "fifo"), 0o644))
	d, err := Open(root)
	must(err)
	t.Cleanup(func() { must(d.Close()) })
	return d
}

func TestOpen(t *testing.T) {
	d := tree(t)
	tests := []struct {
		name, want string
		err        error
	}{
		{name: "ipxe.efi", want: "ipxe"},
		{name: "/ipxe.efi", want: "ipxe"},
		{name: "//ipxe.efi", want: "ipxe"},
		{name: "./ipxe.efi", want: "ipxe"},
		{name: "debian13//linux", want: "kernel"},
		{name: "/debian13/./linux", want: "kernel"},
		{name: "inside", want: "kernel"},
		{name: "..data", want: "dots"},
		{name: "", err: ErrNotFound},
		{name: "/", err: ErrNotFound},
		{name: ".", err: ErrNotFound},
		{name: "debian13", err: ErrNotFound},
		{name: "debian13/", err: ErrNotFound},
		{name: "ipxe.efi/", err: ErrNotFound},
		{name: "ipxe.efi/x", err: ErrNotFound},
		{name: "missing", err: ErrNotFound},
		{name: "IPXE.EFI", err: ErrNotFound},
		{name: "fifo", err: ErrNotFound},
		{name: "ring", err: ErrNotFound},
		{name: "/etc/passwd", err: ErrNotFound},
		{name: strings.Repeat("x", 300), err: ErrNotFound},
		{name: strings.Repeat("x/", 600) + "y", err: ErrNotFound},
		{name: "../secret", err: ErrOutside},
		{name: "debian13/../../secret", err: ErrOutside},
		{name: "debian13/../ipxe.efi", err: ErrOutside},
		{name: "/../secret", err: ErrOutside},
		{name: "..", err: ErrOutside},
		{name: "%2e%2e/secret", err: ErrOutside},
		{name: "%2E./secret", err: ErrOutside},
		{name: "ipxe.efi\x00.txt", err: ErrOutside},
		{name: "relative", err: ErrOutside},
		{name: "absolute", err: ErrOutside},
		{name: "up/secret", err: ErrOutside},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, info, err := d.Open(tt.name)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if got, want := d.Exists(tt.name), tt.err == nil; got != want {
				t.Errorf("Exists is %v, want %v", got, want)
			}
			if err != nil {
				return
			}
			defer f.Close()
			got, err := io.ReadAll(f)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, string(got)); diff != "" || info.Size() != int64(len(tt.want)) {
				t.Errorf("size %d: %s", info.Size(), diff)
			}
		})
	}
}

func TestOpenMissingDirectory(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "opening served directory: ") {
		t.Errorf("error %v", err)
	}
}

func FuzzOpen(f *testing.F) {
	for _, s := range []string{"ipxe.efi", "/x", "../x", "a/../b", "%2e", "\x00", "relative", "up/up/secret"} {
		f.Add(s)
	}
	top := f.TempDir()
	root := filepath.Join(top, "files")
	for _, err := range []error{
		os.Mkdir(root, 0o755),
		os.WriteFile(filepath.Join(top, "secret"), []byte("secret"), 0o600),
		os.WriteFile(filepath.Join(root, "x"), []byte("inside"), 0o600),
		os.Symlink("..", filepath.Join(root, "up")),
	} {
		if err != nil {
			f.Fatal(err)
		}
	}
	d, err := Open(root)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, name string) {
		file, _, err := d.Open(name)
		if err != nil {
			return
		}
		defer file.Close()
		if b, err := io.ReadAll(file); err != nil || string(b) != "inside" {
			t.Errorf("%q gives %q, %v", name, b, err)
		}
	})
}

func TestLater(t *testing.T) {
	path := filepath.Join(t.TempDir(), "files")
	d := Later(path)
	if _, _, err := d.Open("a"); !errors.Is(err, ErrNotFound) || d.Exists("a") {
		t.Errorf("a directory that is missing: error %v, want %v", err, ErrNotFound)
	}
	if err := os.Mkdir(path, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "a"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, info, err := d.Open("/a")
	if err != nil || info.Size() != 1 || !d.Exists("a") {
		t.Fatalf("once it was made: %v, %v", info, err)
	}
	if err := errors.Join(f.Close(), d.Close()); err != nil {
		t.Error(err)
	}
}
