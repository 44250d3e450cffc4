package journal

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/store"
)

func leaseKey(id string) store.Key { return store.Key{Table: store.TableLease, ID: id} }

// put commits one value.
func put(t testing.TB, e *Engine, id, value string) {
	t.Helper()
	if err := set(t, e, id, value); err != nil {
		t.Fatalf("putting %s: %v", id, err)
	}
}

func set(t testing.TB, e *Engine, id, value string) error {
	return e.Update(t.Context(), func(store.View) []store.Op {
		return []store.Op{{Key: leaseKey(id), Value: []byte(value)}}
	})
}

// leases is the content of the lease table.
func leases(e *Engine) map[string]string {
	all := map[string]string{}
	for k, v := range e.Scan(store.TableLease, "") {
		all[k.ID] = string(v)
	}
	return all
}

func wantLeases(t testing.TB, e *Engine, want map[string]string) {
	t.Helper()
	if d := cmp.Diff(want, leases(e)); d != "" {
		t.Errorf("leases (-want +got):\n%s", d)
	}
}

// sample is a state directory with n transactions in its journal, one in each frame.
type sample struct {
	dir    string
	ends   []int // where each frame ends; the first is the end of the header
	states []map[string]string
}

func newSample(t *testing.T, n int) sample {
	t.Helper()
	s := sample{dir: t.TempDir()}
	e, err := Open(s.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range n + 1 {
		if i > 0 {
			put(t, e, fmt.Sprintf("2001:db8::%x/128", i%7), strings.Repeat("v", i))
		}
		s.ends, s.states = append(s.ends, headerSize+int(e.Stats().JournalOctets)), append(s.states, leases(e))
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return s
}

// before is how many transactions lie wholly before offset at.
func (s sample) before(at int) int {
	n := -1
	for n+1 < len(s.ends) && s.ends[n+1] <= at {
		n++
	}
	return n
}

// openCopy opens what is in dir without writing there.
func openCopy(t *testing.T, dir string) (*Engine, error) {
	t.Helper()
	e, err := Open(dir, newDisk(t, dir).options())
	if err == nil {
		t.Cleanup(func() { _ = e.Close() })
	}
	return e, err
}

// wantDamage checks the whole of a DamageError.
func wantDamage(t *testing.T, err error, want DamageError) {
	t.Helper()
	var got *DamageError
	if !errors.As(err, &got) {
		t.Fatalf("open: %v, want damage", err)
	}
	if d := cmp.Diff(want, *got); d != "" {
		t.Errorf("damage (-want +got):\n%s", d)
	}
}

func TestJournalTornAtEveryOctet(t *testing.T) {
	t.Parallel()
	s := newSample(t, 12)
	path := filepath.Join(s.dir, journalName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(whole); cut >= 0; cut-- {
		if err := os.Truncate(path, int64(cut)); err != nil {
			t.Fatal(err)
		}
		e, err := openCopy(t, s.dir)
		if cut < headerSize {
			wantDamage(t, err, DamageError{
				journalName(1), 0, fmt.Sprintf("file ends inside its header, after %d of 48 octets", cut),
				"restore the directory from a backup",
			})
			continue
		}
		if err != nil {
			t.Fatalf("cut at %d: %v", cut, err)
		}
		n := s.before(cut)
		want := Recovery{Records: len(s.states[n]), Transactions: uint64(n)}
		if torn := bytes.TrimRight(whole[s.ends[n]:cut], "\x00"); len(torn) > 0 {
			want.Torn, want.TornOffset, want.TornOctets = journalName(1), int64(s.ends[n]), int64(len(torn))
		}
		if d := cmp.Diff(want, e.Stats().Recovery); d != "" {
			t.Errorf("cut at %d: recovery (-want +got):\n%s", cut, d)
		}
		wantLeases(t, e, s.states[n])
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRoomIsNoDamage opens what a process leaves that was killed: zeros behind the last frame, which is whole or torn.
func TestRoomIsNoDamage(t *testing.T) {
	e, d := openDisk(t)
	put(t, e, "a", "1")
	put(t, e, "b", "2")
	end := headerSize + int(e.Stats().JournalOctets)
	dir := d.afterExit(t)
	path := filepath.Join(dir, journalName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := end + roomStep; len(whole) >= want || len(whole) <= end || len(bytes.TrimRight(whole[end:], "\x00")) > 0 {
		t.Fatalf("the journal has %d octets, %d of them frames", len(whole), end)
	}
	for name, c := range map[string]struct {
		at   int
		want Recovery
	}{
		"whole": {-1, Recovery{Records: 2, Transactions: 2}},
		"torn": {end - 1, Recovery{
			Records: 1, Transactions: 1, Torn: journalName(1), TornOffset: int64(headerSize + (end-headerSize)/2), TornOctets: int64((end - headerSize) / 2),
		}},
	} {
		data := bytes.Clone(whole)
		if c.at >= 0 {
			data[c.at] ^= 1
		}
		writeFile(t, dir, journalName(1), data)
		again, err := openCopy(t, dir)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if d := cmp.Diff(c.want, again.Stats().Recovery); d != "" {
			t.Errorf("%s: recovery (-want +got):\n%s", name, d)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	closed := d.afterExit(t)
	if info, err := os.Stat(filepath.Join(closed, journalName(1))); err != nil || info.Size() != int64(end) {
		t.Errorf("closed: %v, error %v, want %d octets", info, err, end)
	}
}

func TestTornJournalIsWrittenToAgain(t *testing.T) {
	s := newSample(t, 5)
	for i := range 3 {
		path := filepath.Join(s.dir, journalName(uint64(i+1)))
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(path, info.Size()-1); err != nil {
			t.Fatal(err)
		}
		e, err := Open(s.dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		want := s.states[4]
		wantLeases(t, e, want)
		put(t, e, "torn next time", "x")
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJournalFlippedAtEveryOctet(t *testing.T) {
	s := newSample(t, 8)
	path := filepath.Join(s.dir, journalName(1))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		bad := append([]byte(nil), whole...)
		bad[at] ^= 0x41
		writeFile(t, s.dir, journalName(1), bad)
		e, err := openCopy(t, s.dir)
		n := s.before(at)
		switch {
		case at < headerSize:
			var damage *DamageError
			if !errors.As(err, &damage) || damage.File != journalName(1) || damage.Offset != 0 {
				t.Errorf("flip at %d: %v, want damage at 0", at, err)
			}
		case n+2 < len(s.ends):
			wantDamage(t, err, DamageError{
				journalName(1), int64(s.ends[n]), "a record's checksum does not match and valid ones follow",
				fmt.Sprintf("restore the directory from a backup, or keep what precedes and lose what follows: truncate -s %d journal-00000001", s.ends[n]),
			})
		case err != nil:
			t.Errorf("flip at %d, in the last record: %v", at, err)
		default:
			wantLeases(t, e, s.states[n])
		}
		if e != nil {
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRemedyWorks does what the error says.
func TestRemedyWorks(t *testing.T) {
	s := newSample(t, 8)
	path := filepath.Join(s.dir, journalName(1))
	bad, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	bad[s.ends[3]+20] ^= 1
	writeFile(t, s.dir, journalName(1), bad)
	before := readDir(t, s.dir)
	_, err = Open(s.dir, Options{})
	want := fmt.Sprintf("opening store %s: journal-00000001 is damaged at offset %d: a record's checksum does not match and valid ones follow; "+
		"restore the directory from a backup, or keep what precedes and lose what follows: truncate -s %[2]d journal-00000001", s.dir, s.ends[3])
	if err == nil || err.Error() != want {
		t.Fatalf("open: %v\nwant: %s", err, want)
	}
	if d := cmp.Diff(before, readDir(t, s.dir)); d != "" {
		t.Errorf("open changed a damaged directory (-before +after):\n%s", d)
	}
	if err := os.Truncate(path, int64(s.ends[3])); err != nil {
		t.Fatal(err)
	}
	wantLeases(t, mustOpen(t, s.dir, Options{}), s.states[3])
}

func TestSnapshotDamagedAtEveryOctet(t *testing.T) {
	t.Parallel()
	s := newSample(t, 8)
	e, err := Open(s.dir, Options{}) // puts the eight transactions into the snapshot
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(filepath.Join(s.dir, snapshotName))
	if err != nil {
		t.Fatal(err)
	}
	for at := range whole {
		bad := append([]byte(nil), whole...)
		bad[at] ^= 0x41
		for what, data := range map[string][]byte{"flip": bad, "cut": whole[:at]} {
			writeFile(t, s.dir, snapshotName, data)
			var damage *DamageError
			if _, err := openCopy(t, s.dir); !errors.As(err, &damage) || damage.File != snapshotName {
				t.Errorf("%s at %d: %v, want damage", what, at, err)
			}
		}
	}
	writeFile(t, s.dir, snapshotName, append(whole, 0))
	_, err = openCopy(t, s.dir)
	var damage *DamageError
	if !errors.As(err, &damage) {
		t.Errorf("octets behind the end: %v, want damage", err)
	}
}

func TestMissingFiles(t *testing.T) {
	s := newSample(t, 3)
	e, err := Open(s.dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	put(t, e, "a", "1")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	files := readDir(t, s.dir)
	for missing, want := range map[string]DamageError{
		journalName(2): {journalName(2), 0, "the file is missing", "restore it, or restore the directory from a backup"},
		snapshotName:   {journalName(1), 0, "the file is missing", "restore it, or restore the directory from a backup"},
	} {
		dir := t.TempDir()
		for name, data := range files {
			if name != missing {
				writeFile(t, dir, name, []byte(data))
			}
		}
		_, err := openCopy(t, dir)
		wantDamage(t, err, want)
	}
}

// TestValidFrameWithBadContent covers what a checksum cannot: content of another version or of a fault in bootd.
func TestValidFrameWithBadContent(t *testing.T) {
	h := header{magic: magicJournal, gen: 1}
	for want, body := range map[string][]byte{
		"table 77 does not exist":                         {1, 77, 1, 0, 0},
		"action 9 does not exist":                         {1, 1, 9, 0, 0},
		"record ends inside a field":                      {1, 1, 1, 5, 'a'},
		"2 octets behind the last record":                 {1, 1, 2, 0, 0, 0},
		"length 600 where at most 512 is allowed":         {1, 1, 1, 0xd8, 0x04},
		"length 2097152 where at most 1048576 is allowed": {1, 1, 1, 0, 0x80, 0x80, 0x80, 0x01},
	} {
		dir := t.TempDir()
		frame := append(beginFrame(nil), body...)
		sealFrame(frame, h.salt, 1, kindBatch, 1)
		writeFile(t, dir, journalName(1), append(h.encode(), frame...))
		_, err := openCopy(t, dir)
		wantDamage(t, err, DamageError{
			journalName(1), headerSize, want,
			"restore the directory from a backup, or keep what precedes and lose what follows: truncate -s 48 journal-00000001",
		})
	}
}

func TestOtherFormat(t *testing.T) {
	for want, change := range map[string]func([]byte){
		`file begins with "bootdsnp", not "bootdjnl"`: func(b []byte) { copy(b, magicSnapshot) },
		"checksum of the file header does not match":  func(b []byte) { b[8] = 2 },
	} {
		b := header{magic: magicJournal, gen: 1}.encode()
		change(b)
		if _, err := parseHeader(b, magicJournal); err == nil || err.Error() != want {
			t.Errorf("header: %v, want %s", err, want)
		}
	}
}
