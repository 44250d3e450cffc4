package journal

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"bootd.internal/bootd/store"
)

// childDir tells the test binary to be the process that is killed, and where its state is.
const childDir = "BOOTD_JOURNAL_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := writeForever(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
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
	dir := t.TempDir()
	var promised []string
	for round := range 3 {
		promised = append(promised, killAfter(t, dir, 500+round*2500)...)
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
		t.Logf("killed after %d promises: %d records, torn %d octets", len(promised), s.Records, s.Recovery.TornOctets)
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killAfter runs the child until it has made n promises, kills it, and returns all it made.
func killAfter(t *testing.T, dir string, n int) []string {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), childDir+"="+dir)
	cmd.Stderr = os.Stderr
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var promised []string
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
	if err := cmd.Wait(); err == nil || cmd.ProcessState.String() != "signal: killed" {
		t.Errorf("child ended with %v, want signal: killed", err)
	}
	if len(promised) < n {
		t.Fatalf("child made %d promises, want %d", len(promised), n)
	}
	return promised
}
