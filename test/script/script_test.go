// Package script runs the commands as a person would, by testscript: exact output, exact exit codes. It needs no root, no
// network and no daemon.
package script

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain builds bootd once, into a directory that BOOTD_SCRIPT_BIN names to the tests.
func TestMain(m *testing.M) {
	code, err := withBootd(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

const binVar = "BOOTD_SCRIPT_BIN"

func withBootd(m *testing.M) (int, error) {
	bin, err := os.MkdirTemp("", "bootd-script")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(bin)
	build := exec.Command("go", "build", "-o", filepath.Join(bin, "bootd"), "bootd.internal/cmd/bootd")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building bootd: %w\n%s", err, out)
	}
	if err := os.Setenv(binVar, bin); err != nil {
		return 0, err
	}
	return m.Run(), nil
}

func TestScript(t *testing.T) {
	bin := os.Getenv(binVar)
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", bin+string(os.PathListSeparator)+env.Getenv("PATH"))
			env.Setenv("TZ", "UTC")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits},
		// UPDATE_SCRIPTS=1 rewrites what cmp compares; read the difference before you keep it.
		UpdateScripts:      os.Getenv("UPDATE_SCRIPTS") != "",
		RequireUniqueNames: true,
	})
}

// exits runs a program and wants an exact exit code: exits 2 bootd chekc.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE PROGRAM [ARGUMENT...]")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if err != nil {
		if _, scanErr := fmt.Sscanf(err.Error(), "exit status %d", &got); scanErr != nil {
			ts.Fatalf("running %s: %v", args[1], err)
		}
	}
	if got != want {
		ts.Fatalf("exit code %d, want %d", got, want)
	}
}
