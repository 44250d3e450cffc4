package ipxebuild_test

import (
	"os"
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
