package heard

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"bootd.internal/bootd/ident"
)

// maxFile is more than MaxMachines can take, in octets.
const maxFile = 4 << 20

func (b *Book) load() {
	if b.path == "" {
		return
	}
	b.loadPhones()
	machines, err := read(b.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		b.log.Warn("reading the unlisted machines of last time failed", "error", err)
		return
	}
	for _, m := range machines[:min(len(machines), MaxMachines)] {
		k := key{mac: m.MAC}
		if !m.MAC.Valid() {
			k = key{duid: m.DUID}
		}
		b.machines[k] = &m
	}
}

func read(path string) ([]Machine, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening: %w", err)
	}
	defer f.Close()
	var out []Machine
	if err := json.NewDecoder(io.LimitReader(f, maxFile)).Decode(&out); err != nil {
		return nil, fmt.Errorf("decoding %s: %w", path, err)
	}
	return out, nil
}

// save writes the machines if something is new. A disk that takes nothing costs only this.
func (b *Book) save() {
	b.mu.Lock()
	dirty := b.dirty && b.path != ""
	b.dirty = false
	b.mu.Unlock()
	if !dirty {
		return
	}
	if err := write(b.path, b.Machines(nobody)); err != nil {
		b.log.Warn("writing down unlisted machines failed", "error", err)
	}
}

func write(path string, all any) error {
	data, err := json.Marshal(all)
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	if err := os.WriteFile(path+".new", data, 0o600); err != nil {
		return fmt.Errorf("writing: %w", err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		return fmt.Errorf("renaming: %w", err)
	}
	return nil
}

func nobody(ident.MAC) bool { return false }
