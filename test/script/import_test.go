package script

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestImportedPassCheck imports every configuration of the importer's tests with the command, as it is printed, and runs
// bootd check on it: what an import prints is an inventory, whatever went in.
func TestImportedPassCheck(t *testing.T) {
	bin := filepath.Join(os.Getenv(binVar), "bootd")
	const root = "../../bootd/importer/testdata"
	dirs, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, d := range dirs {
		src, err := filepath.Abs(filepath.Join(root, d.Name()))
		if err != nil {
			t.Fatal(err)
		}
		var args []string
		for _, f := range []struct{ name, kind, flag string }{
			{"kea-dhcp6.conf", "kea", ""}, {"dhcpd.conf", "dhcpd", ""}, {"radvd.conf", "radvd", "--radvd"}, {"unbound.conf", "", "--unbound"},
		} {
			switch _, err := os.Stat(filepath.Join(src, f.name)); {
			case err != nil:
			case len(args) == 0:
				args = []string{"import", f.kind, f.name}
			default:
				args = append(args, f.flag, f.name)
			}
		}
		if len(args) == 0 {
			continue
		}
		seen++
		t.Run(d.Name(), func(t *testing.T) {
			dir := t.TempDir()
			imported := exec.Command(bin, args...)
			imported.Dir = src
			var out, notes bytes.Buffer
			imported.Stdout, imported.Stderr = &out, &notes
			var exit *exec.ExitError
			if err := imported.Run(); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
				t.Fatalf("%v: %v\n%s", args, err, notes.Bytes())
			}
			for file, want := range map[string][]byte{"inventory.yaml": out.Bytes(), "notes.txt": notes.Bytes()} {
				have, err := os.ReadFile(filepath.Join(src, file))
				if err != nil {
					t.Fatal(err)
				}
				if !bytes.Equal(have, want) {
					t.Errorf("%s is not what the command printed", file)
				}
			}
			for _, f := range []string{
				"inventory.yaml", "files/ipxe.efi", "files/ipxe-arm64.efi", "files/ipxe-i386.efi", "files/snponly.efi", "files/other.efi",
				"files/special.efi", "files/arm/ipxe.efi",
			} {
				path := filepath.Join(dir, f)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			check := exec.Command(bin, "check")
			check.Dir = dir
			if said, err := check.CombinedOutput(); err != nil {
				t.Errorf("bootd check: %v\n%s\n%s", err, said, out.Bytes())
			}
		})
	}
	if seen < 6 {
		t.Errorf("only %d configurations were found", seen)
	}
}
