// Package labtest joins package lab to package testing: it puts test binaries
// into the sandbox, gives each test a lab, and keeps the evidence of those that
// fail. It never decides what a test means.
package labtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bootd.internal/lab"
)

// Main runs the tests of a package inside the sandbox. In short mode none of
// them runs. Without root they are skipped on a developer's machine and fail
// where CI=true: there, a test that cannot run is a test that does not hold.
func Main(m *testing.M) { enter(m, func() error { return nil }) }

// MainWithBootd is Main for packages that run the daemon: it builds the binary,
// with the race detector, unless BinaryEnv names one.
func MainWithBootd(m *testing.M) { enter(m, build) }

func enter(m *testing.M, prepare func() error) {
	flag.Parse()
	if testing.Short() {
		fmt.Println("labtest: skipped in short mode")
		return
	}
	var err error
	if !lab.Inside() {
		if os.Geteuid() != 0 {
			err = lab.ErrNeedsRoot
		} else {
			err = prepare()
		}
	}
	if err == nil {
		err = lab.Enter()
	}
	switch {
	case err == nil:
		code := m.Run()
		if path := os.Getenv(builtEnv); path != "" {
			_ = os.Remove(path) // in the temporary directory, should it stay
		}
		os.Exit(code)
	case errors.Is(err, lab.ErrNeedsRoot) && os.Getenv("CI") != "true":
		fmt.Println("labtest: skipped:", err)
	default:
		fmt.Fprintln(os.Stderr, "labtest:", err)
		os.Exit(1)
	}
}

// BinaryEnv names the environment variable with the bootd binary to test.
const BinaryEnv = "BOOTD_BINARY"

// builtEnv names the binary that the outer process built, for the inner one to
// remove.
const builtEnv = "BOOTD_LAB_BUILT"

// build makes a binary where BinaryEnv names none. Outside the sandbox, because
// there the network is, should the module cache be empty.
func build() error {
	if os.Getenv(BinaryEnv) != "" {
		return nil
	}
	path := filepath.Join(os.TempDir(), fmt.Sprintf("bootd-labtest-%d", os.Getpid()))
	out, err := exec.Command("go", "build", "-race", "-buildvcs=false", "-o", path, "bootd.internal/cmd/bootd").CombinedOutput()
	if err != nil {
		return fmt.Errorf("building bootd: %w\n%s", err, out)
	}
	return errors.Join(os.Setenv(BinaryEnv, path), os.Setenv(builtEnv, path))
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
	if err := os.MkdirAll(root, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(root, strings.Map(fileRune, t.Name())+"-")
	if err != nil {
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
