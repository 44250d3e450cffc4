package ipxebuild_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	ipxebuild "bootd.internal/ipxe-build"
)

// TestScript: what iPXE does not take for a script it does not run, and BIOS
// sticks get a line after the first.
func TestScript(t *testing.T) {
	if first, _, _ := strings.Cut(ipxebuild.V6Only, "\n"); first != "#!ipxe" {
		t.Errorf("the first line is %q, want #!ipxe", first)
	}
	media, err := os.ReadFile("media.sh")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(media), "local-drive 0x81") || !strings.Contains(ipxebuild.V6Only, "isset ${local-drive} || set local-drive 0x80\n") {
		t.Error("media.sh and v6only.ipxe do not agree on local-drive")
	}
}

// TestHeaders: each option is undefined before it is defined, or iPXE's own
// definition makes the compiler complain.
func TestHeaders(t *testing.T) {
	headers, err := filepath.Glob("config/*.h")
	if err != nil || len(headers) != 2 {
		t.Fatalf("headers: %v, %v", headers, err)
	}
	define := regexp.MustCompile(`(?m)^(.*)\n#define (\w+)`)
	for _, h := range headers {
		text, err := os.ReadFile(h)
		if err != nil {
			t.Fatal(err)
		}
		found := define.FindAllStringSubmatch(string(text), -1)
		if len(found) != strings.Count(string(text), "\n#define ") {
			t.Errorf("%s: two #define without a line between", h)
		}
		for _, m := range found {
			if m[1] != "#undef "+m[2] {
				t.Errorf("%s: #define %s follows %q, want #undef %[2]s", h, m[2], m[1])
			}
		}
	}
}

// TestMedia makes the media twice of what the machine has, without a network:
// the same files with the same sums, whichever iPXE it is. test/qemu boots them.
func TestMedia(t *testing.T) {
	if testing.Short() {
		return
	}
	var sums []string
	for range 2 {
		dir := t.TempDir()
		cmd := exec.CommandContext(t.Context(), "./media.sh", dir)
		cmd.Env = append(os.Environ(), "IPXE_SUITE=")
		if out, err := cmd.CombinedOutput(); err != nil {
			if os.Getenv("CI") != "true" {
				t.Skipf("%s", out)
			}
			t.Fatalf("media.sh: %v\n%s", err, out)
		}
		text, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		sums = append(sums, string(text))
	}
	if sums[0] != sums[1] {
		t.Errorf("two runs made different files:\n%s\n%s", sums[0], sums[1])
	}
	for _, name := range []string{"bootd.iso", "bootd.usb", "ipxe.efi", "ipxe.lkrn"} {
		if !strings.Contains(sums[0], "  "+name+"\n") {
			t.Errorf("no %s among:\n%s", name, sums[0])
		}
	}
}

// TestMediaRefused has the words for a directory without iPXE.
func TestMediaRefused(t *testing.T) {
	if _, err := exec.LookPath("xorriso"); err != nil && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	empty := t.TempDir()
	for want, env := range map[string][]string{
		"media: " + empty + " has no ipxe.efi or no ipxe.lkrn\n":       {"IPXE_DIR=" + empty},
		"media: no iPXE: scripts/deps.sh media installs the package\n": {"IPXE_SUITE=", "IPXE_PACKAGED=" + empty},
	} {
		cmd := exec.CommandContext(t.Context(), "./media.sh", t.TempDir())
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err == nil || string(out) != want {
			t.Errorf("%v: %v, %q, want %q", env, err, out, want)
		}
	}
}
