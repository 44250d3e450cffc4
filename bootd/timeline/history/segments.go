package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"bootd.internal/bootd/timeline"
)

// segments is a directory of event files: <kind>-<first sequence number, 20 digits>.ndjson.
type segments struct {
	dir, kind string

	max  int64
	keep int

	mu     sync.Mutex
	file   *os.File
	size   int64
	broken bool
}

// maxLine bounds one event on disk in octets; a longer line is damage.
const maxLine = 64 << 10

func (s *segments) name(seq uint64) string {
	return filepath.Join(s.dir, fmt.Sprintf("%s-%020d.ndjson", s.kind, seq))
}

// list gives the segments, oldest first.
func (s *segments) list() ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("listing events: %w", err)
	}
	var names []string
	for _, e := range entries {
		if n := e.Name(); strings.HasPrefix(n, s.kind+"-") && strings.HasSuffix(n, ".ndjson") {
			names = append(names, filepath.Join(s.dir, n))
		}
	}
	slices.Sort(names)
	return names, nil
}

// load reads every event in order. A line that is none, such as one torn by a crash, is skipped.
func (s *segments) load(take func(timeline.Event)) error {
	names, err := s.list()
	if err != nil {
		return err
	}
	var faults []error
	for _, name := range names {
		if err := loadFile(name, take); err != nil {
			faults = append(faults, err)
		}
	}
	return errors.Join(faults...)
}

func loadFile(name string, take func(timeline.Event)) error {
	f, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("opening events: %w", err)
	}
	defer f.Close()
	in := bufio.NewReaderSize(f, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		var e timeline.Event
		if (err == nil || errors.Is(err, io.EOF)) && json.Unmarshal(line, &e) == nil && e.Seq > 0 {
			take(e)
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("reading events %s: %w", name, err)
		}
	}
}

func (s *segments) failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken
}

// write appends events, each on a line of its own, and begins a new segment where the old one is full.
func (s *segments) write(events []timeline.Event) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.append(events)
	s.broken = err != nil
	if err != nil && s.file != nil {
		s.file.Close() // the next write begins a segment of its own: this one may end in half a line
		s.file = nil
	}
	return err
}

func (s *segments) append(events []timeline.Event) error {
	if s.file != nil && s.size >= s.max {
		err := s.file.Close()
		s.file = nil
		if err != nil {
			return fmt.Errorf("closing events: %w", err)
		}
	}
	if s.file == nil {
		if err := s.begin(events[0].Seq); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	out := json.NewEncoder(&b)
	for _, e := range events {
		if err := out.Encode(e); err != nil {
			return fmt.Errorf("encoding event %d: %w", e.Seq, err)
		}
	}
	n, err := s.file.Write(b.Bytes())
	s.size += int64(n)
	if err != nil {
		return fmt.Errorf("appending events: %w", err)
	}
	return nil
}

// begin opens a new segment. Each start of the daemon begins one, so a line torn by a crash stays the last of its file.
func (s *segments) begin(seq uint64) error {
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return fmt.Errorf("making the events directory: %w", err)
	}
	f, err := os.OpenFile(s.name(seq), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fmt.Errorf("opening events: %w", err)
	}
	s.file, s.size = f, 0
	if st, err := f.Stat(); err == nil && st.Size() > 0 { // the same number again: only a torn line was in it
		s.size = st.Size()
		if _, err := f.WriteString("\n"); err != nil {
			return fmt.Errorf("ending a torn event: %w", err)
		}
	}
	return s.prune()
}

// prune removes the oldest segments beyond the octets that are kept.
func (s *segments) prune() error {
	names, err := s.list()
	if err != nil {
		return err
	}
	left := s.max * int64(s.keep)
	for i, name := range slices.Backward(names) {
		if st, err := os.Stat(name); err == nil {
			left -= st.Size()
		}
		if left >= 0 && len(names)-i <= maxFiles {
			continue
		}
		if err := os.Remove(name); err != nil {
			return fmt.Errorf("removing old events: %w", err)
		}
	}
	return nil
}

// maxFiles bounds the segments of a daemon that is started over and over.
const maxFiles = 200

func (s *segments) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file != nil {
		s.file.Close() // nothing was promised about events
		s.file = nil
	}
}
