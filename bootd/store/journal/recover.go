package journal

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"bootd.internal/bootd/store/memory"
)

const (
	snapshotName  = "snapshot"
	journalPrefix = "journal-"
	tempSuffix    = ".tmp"
)

func journalName(gen uint64) string { return fmt.Sprintf("%s%08d", journalPrefix, gen) }

// Recovery says what Open found.
type Recovery struct {
	Records      int
	Transactions uint64 // replayed from journals, besides the snapshot
	// Torn is the name of a journal whose last frame was incomplete or failed its checksum, as a crash in the middle
	// of a write leaves it; empty when there was none. Nobody was promised what it held.
	Torn       string
	TornOffset int64 // where the frame began
	TornOctets int64 // what was cut
}

// recovered is the content of a state directory.
type recovered struct {
	Recovery
	state *memory.State
	// journals in ascending order, those a snapshot has overtaken included.
	journals []uint64
	last     header // of the newest journal; zero when there is none
	lastSize int64  // octets of it that count
	temps    []string
	fresh    bool
}

// reader replays a directory.
type reader struct {
	root *os.Root
	load memory.Loader
	seq  uint64
	out  recovered
}

// recoverDir reads the state from root and changes nothing there.
func recoverDir(root *os.Root) (*recovered, error) {
	r := &reader{root: root}
	snapshot, err := r.list()
	if err != nil {
		return nil, err
	}
	first := uint64(1)
	switch {
	case snapshot:
		if first, err = r.snapshot(); err != nil {
			return nil, err
		}
	case len(r.out.journals) == 0:
		r.out.fresh = true
	}
	if !r.out.fresh {
		if err := r.chain(first); err != nil {
			return nil, err
		}
	}
	r.out.state = r.load.State(r.seq)
	r.out.Records = r.out.state.Len()
	return &r.out, nil
}

// list sorts the directory's files into snapshot, journals and leftovers of a crash.
func (r *reader) list() (snapshot bool, err error) {
	entries, err := fs.ReadDir(r.root.FS(), ".")
	if err != nil {
		return false, fmt.Errorf("listing the directory: %w", err)
	}
	for _, e := range entries {
		name := e.Name()
		number, isJournal := strings.CutPrefix(name, journalPrefix)
		gen, err := strconv.ParseUint(number, 10, 64)
		switch {
		case name == snapshotName:
			snapshot = true
		case strings.HasSuffix(name, tempSuffix) && (isJournal || name == snapshotName+tempSuffix):
			r.out.temps = append(r.out.temps, name)
		case isJournal && err == nil && name == journalName(gen):
			r.out.journals = append(r.out.journals, gen)
		}
	}
	slices.Sort(r.out.journals)
	return snapshot, nil
}

// snapshot loads the snapshot and returns the journal that goes on from it.
func (r *reader) snapshot() (uint64, error) {
	damage := func(at int, reason string) error {
		remedy := "restore the directory from a backup, or move it aside to begin without leases"
		return &DamageError{snapshotName, int64(at), reason, remedy}
	}
	data, err := r.root.ReadFile(snapshotName)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", snapshotName, err)
	}
	h, err := parseHeader(data, magicSnapshot)
	if err != nil {
		return 0, damage(0, err.Error())
	}
	rest, records := data[headerSize:], 0
	for chunk := uint64(0); ; chunk++ {
		at := len(data) - len(rest)
		payload, tail, err := cutFrame(rest, h.salt, chunk)
		if err != nil {
			return 0, damage(at, "a part is incomplete or its checksum does not match")
		}
		rest = tail
		k, count, body := payloadKind(payload)
		switch {
		case k == kindEnd && int(count) == records && len(body)+len(rest) == 0:
			r.seq = h.base
			return h.gen, nil
		case k == kindChunk:
			records += int(count)
			if err := decodeChunk(body, count, r.load.Apply); err != nil {
				return 0, damage(at, err.Error())
			}
		default:
			return 0, damage(at, fmt.Sprintf("a part of kind %d for %d records does not belong there", k, count))
		}
	}
}

// chain replays the journals from first on.
func (r *reader) chain(first uint64) error {
	from, found := slices.BinarySearch(r.out.journals, first)
	if !found {
		remedy := "restore it, or restore the directory from a backup"
		return &DamageError{journalName(first), 0, "the file is missing", remedy}
	}
	gens := r.out.journals[from:]
	heads, files := make([]header, len(gens)), make([][]byte, len(gens))
	for i, gen := range gens {
		name := journalName(gen)
		remedy := "restore the directory from a backup"
		if gen != first+uint64(i) {
			return &DamageError{journalName(first + uint64(i)), 0, "the file is missing", remedy}
		}
		data, err := r.root.ReadFile(name)
		if err != nil {
			return fmt.Errorf("reading %s: %w", name, err)
		}
		h, err := parseHeader(data, magicJournal)
		if err == nil && h.gen != gen {
			err = fmt.Errorf("header is that of %s", journalName(h.gen))
		}
		if err != nil {
			return &DamageError{name, 0, err.Error(), remedy}
		}
		heads[i], files[i] = h, data
	}
	for i, h := range heads {
		if h.base != r.seq {
			reason := fmt.Sprintf("it follows transaction %d, but what precedes it ends with %d", h.base, r.seq)
			return &DamageError{journalName(h.gen), 0, reason, "restore the directory from a backup"}
		}
		size := int64(len(files[i]))
		if i+1 < len(heads) {
			size = int64(min(heads[i+1].prev, 1<<62))
		}
		if err := r.journal(h, files[i], size, gens[i+1:]); err != nil {
			return err
		}
	}
	return nil
}

// journal replays one file, of which size octets count; later are the journals that follow it.
func (r *reader) journal(h header, data []byte, size int64, later []uint64) error {
	name := journalName(h.gen)
	if size < headerSize || size > int64(len(data)) {
		reason := fmt.Sprintf("the file has %d octets, %d were synced", len(data), size)
		return &DamageError{name, int64(len(data)), reason, "restore the directory from a backup"}
	}
	data = data[:size]
	rest := data[headerSize:]
	for len(rest) > 0 {
		at := len(data) - len(rest)
		payload, tail, err := cutFrame(rest, h.salt, r.seq+1)
		if err != nil {
			if behind := findFrame(rest[1:], h.salt, r.seq+2); behind >= 0 || len(later) > 0 {
				return &DamageError{name, int64(at), "a record's checksum does not match and valid ones follow", cutRemedy(name, at, later)}
			}
			if torn := bytes.TrimRight(rest, "\x00"); len(torn) > 0 { // zeros alone are room for more
				r.out.Torn, r.out.TornOffset, r.out.TornOctets = name, int64(at), int64(len(torn))
			}
			data = data[:at]
			break
		}
		k, count, body := payloadKind(payload)
		if k != kindBatch {
			return &DamageError{name, int64(at), fmt.Sprintf("a record of kind %d does not belong there", k), cutRemedy(name, at, later)}
		}
		if err := decodeBatch(body, count, r.load.Apply); err != nil {
			return &DamageError{name, int64(at), err.Error(), cutRemedy(name, at, later)}
		}
		r.seq += uint64(count)
		r.out.Transactions += uint64(count)
		rest = tail
	}
	r.out.last, r.out.lastSize = h, int64(len(data))
	return nil
}

// cutRemedy says how to keep what precedes the damage.
func cutRemedy(name string, at int, later []uint64) string {
	var b bytes.Buffer
	fmt.Fprintf(&b, "restore the directory from a backup, or keep what precedes and lose what follows: truncate -s %d %s", at, name)
	for _, gen := range later {
		fmt.Fprintf(&b, " && rm %s", journalName(gen))
	}
	return b.String()
}

// nextGen numbers the journal that Open begins.
func (r *recovered) nextGen() uint64 {
	if len(r.journals) == 0 {
		return 1
	}
	return r.journals[len(r.journals)-1] + 1
}
