package script

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestExamples runs bootd check on every inventory of examples/, with files of the names that they use.
func TestExamples(t *testing.T) {
	list, err := filepath.Glob("../../examples/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 3 {
		t.Fatalf("only %d examples were found", len(list))
	}
	readme, err := os.ReadFile("../../examples/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range list {
		name := filepath.Base(file)
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(readme), "]("+name+")") {
				t.Errorf("examples/README.md does not list %s", name)
			}
			dir := t.TempDir()
			for path, content := range map[string]string{
				"inventory.yaml": string(text), "secrets/root": "$6$saltsalt$" + strings.Repeat("a", 86) + "\n",
				"files/ipxe.efi": "", "files/ipxe-arm64.efi": "", "files/debian13/linux": "", "files/debian13/initrd.gz": "",
				"secrets/lobby": "a password\n", "secrets/desk12": "a password\n", "secrets/board": "a password\n",
			} {
				path = filepath.Join(dir, path)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			check := exec.Command(filepath.Join(os.Getenv(binVar), "bootd"), "check")
			check.Dir = dir
			if out, err := check.CombinedOutput(); err != nil {
				t.Errorf("bootd check: %v\n%s", err, out)
			}
		})
	}
}
