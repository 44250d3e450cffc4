package journal

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"bootd.internal/bootd/store"
)

// childDir tells the test binary to be the process that writes, and where its state is. childLimit is the size in
// octets that the kernel allows its files.
const (
	childDir   = "BOOTD_JOURNAL_TEST_CHILD"
	childLimit = "BOOTD_JOURNAL_TEST_LIMIT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := beChild(dir, os.Getenv(childLimit)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}

func beChild(dir, limit string) error {
	if limit != "" {
		n, err := strconv.ParseUint(limit, 10, 64)
		if err != nil {
			return err
		}
		signal.Ignore(syscall.SIGXFSZ) // so that a write beyond the limit fails instead
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	return writeForever(dir)
}

// writeForever has 64 writers that each print a line for what they were promised.
func writeForever(dir string) error {
	e, err := Open(dir, Options{CompactAt: 64 << 10})
	if err != nil {
		return err
	}
	failed := make(chan error)
	var out sync.Mutex
	for w := range 64 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), w, i)
				err := e.Update(context.Background(), func(v store.View) []store.Op {
					v.Get(leaseKey(id))
					return []store.Op{
						{Key: leaseKey(id), Value: []byte(id)},
						{Key: store.Key{Table: store.TableArm, ID: id}, Value: []byte(id)},
					}
				})
				if err != nil {
					failed <- err
					return
				}
				out.Lock()
				_, err = fmt.Println(id)
				out.Unlock()
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return <-failed
}

// TestKill kills a process with 64 writers, again and again in the same directory: all that it was promised is there,
// and no half of a transaction.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var promised []string
	for round := range 3 {
		lines, how := runChild(t, dir, "", 500+round*2500)
		if how != "signal: killed" {
			t.Errorf("child ended with %s, want signal: killed", how)
		}
		promised = append(promised, lines...)
		checkPromises(t, dir, promised)
	}
}

// TestFileTooLarge has the kernel refuse a write in the middle, as a full disk does.
func TestFileTooLarge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	promised, how := runChild(t, dir, "30000", -1)
	if len(promised) == 0 {
		t.Error("child made no promise")
	}
	const unknown, refused = "commit outcome unknown", "store is read-only"
	const cause = ": writing journal-00000001: file too large\nexit status 1"
	if how != unknown+cause && how != refused+cause {
		t.Errorf("child ended with %q, want %q", how, unknown+cause)
	}
	checkPromises(t, dir, promised)
}

// checkPromises opens dir and looks for all that was promised.
func checkPromises(t *testing.T, dir string, promised []string) {
	t.Helper()
	e, err := Open(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	got := leases(e)
	for _, id := range promised {
		if got[id] != id {
			t.Errorf("%s was promised and is %q", id, got[id])
		}
	}
	arms := 0
	for k, v := range e.Scan(store.TableArm, "") {
		arms++
		if got[k.ID] != string(v) {
			t.Errorf("%s has only half of its transaction", k.ID)
		}
	}
	if arms != len(got) {
		t.Errorf("%d leases with %d arms", len(got), arms)
	}
	s := e.Stats()
	t.Logf("after %d promises: %d records, %d octets torn", len(promised), s.Records, s.Recovery.TornOctets)
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// runChild runs the child until it ends, or until it has made n promises and is killed. It returns all promises and
// how it ended.
func runChild(t *testing.T, dir, limit string, n int) (promised []string, how string) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir, childLimit+"="+limit)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in := bufio.NewReader(pipe)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			break // a line without its end was not told to anybody
		}
		promised = append(promised, strings.TrimSuffix(line, "\n"))
		if len(promised) == n {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	// How it ended is what the caller compares, so Wait's error would only say it twice.
	_ = cmd.Wait()
	return promised, stderr.String() + cmd.ProcessState.String()
}
