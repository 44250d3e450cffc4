package command

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// script writes a program.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRun: arguments and environment are those that were given, and nothing takes them apart.
func TestRun(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	p := script(t, `printf '%s|%s|%s|%s' "$#" "$1" "$WORD" "${HOME-none}" >`+out)
	if err := Run(t.Context(), []string{p, "a b; $(true)"}, []string{"WORD=x y"}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != "1|a b; $(true)|x y|none" {
		t.Errorf("%q, %v", got, err)
	}
}

// TestFailures: the end of what it printed is told, and one that is not there is said.
func TestFailures(t *testing.T) {
	p := script(t, "i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done; echo 'the cause' >&2; exit 3\n")
	err := Run(t.Context(), []string{p}, nil, time.Minute)
	if err == nil || !strings.HasPrefix(err.Error(), "exit status 3: ") || !strings.HasSuffix(err.Error(), `the cause"`) || len(err.Error()) > 2*kept {
		t.Errorf("%v", err)
	}
	if err := Run(t.Context(), []string{"/nowhere/at/all"}, nil, time.Minute); !os.IsNotExist(unwrap(err)) {
		t.Errorf("%v", err)
	}
}

func unwrap(err error) error {
	for {
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
}

// TestHang: a program that takes too long is killed.
func TestHang(t *testing.T) {
	if err := Run(t.Context(), []string{"sleep", "1000"}, []string{"PATH=" + os.Getenv("PATH")}, 20*time.Millisecond); err == nil || err.Error() != "it hung, and was killed after 20ms" {
		t.Errorf("%v", err)
	}
}

// TestGroup: what is killed is a program with all that it started.
func TestGroup(t *testing.T) {
	child := filepath.Join(t.TempDir(), "child")
	p := script(t, "sleep 1000 & echo $! >"+child+".new && mv "+child+".new "+child+"; wait\n")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, []string{p}, []string{"PATH=" + os.Getenv("PATH")}, time.Minute) }()
	var text []byte
	for deadline := time.Now().Add(time.Minute); len(text) == 0; text, _ = os.ReadFile(child) {
		if time.Now().After(deadline) {
			t.Fatal("it never started")
		}
	}
	cancel()
	if err := <-ended; err == nil {
		t.Error("it ended well")
	}
	pid := strings.TrimSpace(string(text))
	for deadline := time.Now().Add(time.Minute); ; {
		stat, err := os.ReadFile("/proc/" + pid + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") { // nobody may be there to collect it
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("what it started still runs: %s", stat)
		}
	}
}
