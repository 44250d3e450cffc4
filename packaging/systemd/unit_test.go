// Package systemd_test checks the unit with systemd's own tools. What it does
// under a running systemd is test/systemd's business.
package systemd_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// maxExposure is what systemd-analyze security may say at most, in tenths: what
// is left is a service on the network that opens packet sockets.
const maxExposure = "20"

func TestUnit(t *testing.T) {
	tool, err := exec.LookPath("systemd-analyze")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%v (scripts/deps.sh test installs it)", err)
		}
		t.Skip(err)
	}
	unit := installed(t)
	for _, args := range [][]string{
		{"verify", "--man=no", "--recursive-errors=no", unit},
		{"security", "--offline=true", "--threshold=" + maxExposure, "--no-pager", unit},
	} {
		out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
		if err != nil || args[0] == "verify" && len(out) > 0 {
			t.Errorf("systemd-analyze %s: %v\n%s", args[0], err, out)
		}
	}
}

// installed copies the unit and puts a program that exists into it.
func installed(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("bootd.service")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("=/usr/local/bin/bootd ")); n != 2 {
		t.Errorf("the unit names /usr/local/bin/bootd %d times as a program, want 2: make install replaces them", n)
	}
	path := filepath.Join(t.TempDir(), "bootd.service")
	if err := os.WriteFile(path, bytes.ReplaceAll(text, []byte("/usr/local/bin/bootd"), []byte(self)), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
