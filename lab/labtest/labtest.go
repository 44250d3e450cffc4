// Package labtest joins package lab to package testing: it puts test binaries
// into the sandbox, gives each test a lab, and keeps the evidence of those that
// fail. It never decides what a test means.
package labtest

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bootd.internal/lab"
)

// Main runs the tests of a package inside the sandbox. In short mode none of
// them runs. Without root they are skipped on a developer's machine and fail
// where CI=true: there, a test that cannot run is a test that does not hold.
func Main(m *testing.M) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("labtest: skipped in short mode")
		return
	}
	err := lab.Enter()
	switch {
	case err == nil:
		os.Exit(m.Run())
	case os.Getenv("CI") == "true":
		fmt.Fprintln(os.Stderr, "labtest:", err)
		os.Exit(1)
	default:
		fmt.Println("labtest: skipped:", err)
	}
}

// EvidenceEnv names the environment variable with the directory below which
// evidence is kept; the default is bootd-evidence in the temporary directory.
const EvidenceEnv = "BOOTD_EVIDENCE"

// New returns a lab for one test. It is closed when the test ends; its
// evidence is removed, or kept and its place logged if the test failed.
func New(t *testing.T) *lab.Lab {
	t.Helper()
	root := os.Getenv(EvidenceEnv)
	if root == "" {
		root = filepath.Join(os.TempDir(), "bootd-evidence")
	}
	dir := filepath.Join(root, strings.Map(fileRune, t.Name()))
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	l, err := lab.New("t", dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("evidence: %s", dir)
		} else if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return l
}

func fileRune(r rune) rune {
	switch {
	case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '-':
		return r
	default:
		return '_'
	}
}

// Context returns a context that ends after d, and with the test.
func Context(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), d, fmt.Errorf("%s passed", d))
	t.Cleanup(cancel)
	return ctx
}
