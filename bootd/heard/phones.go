package heard

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

// MaxPhones bounds the phones; listed ones outlive those that nobody listed, then the oldest goes first.
const MaxPhones = 2048

// maxPhonesFile is more than MaxPhones can take, in octets: a User-Agent may grow sixfold when it is written down.
const maxPhonesFile = MaxPhones * (4 << 10)

// Phone is what a phone told last, with when it asked for each kind of file; the kinds are a closed set.
type Phone struct {
	timeline.Phone
	First time.Time          `json:"first"`
	Last  time.Time          `json:"last"`
	Count int                `json:"count"`
	Files map[string]Fetched `json:"files"`
}

// Fetched is the last request for one kind of file.
type Fetched struct {
	Time   time.Time     `json:"time"`
	Reason reason.Reason `json:"reason"`
	TLS    bool          `json:"tls"`
}

func (b *Book) phone(p timeline.Phone, now time.Time) {
	if !p.MAC.Valid() {
		return
	}
	old, ok := b.phones[p.MAC]
	if !ok {
		makeRoom(b.phones, MaxPhones, func(x, y *Phone) int {
			return cmp.Or(boolean(x.Host != "", y.Host != ""), x.Last.Compare(y.Last))
		})
		old = &Phone{First: now, Files: map[string]Fetched{}}
		b.phones[p.MAC] = old
	}
	if p.Agent == "" || p.Firmware == "" { // a browser on the same address, or a phone that says nothing of itself
		p.Model, p.Firmware, p.Agent = old.Model, old.Firmware, cmp.Or(old.Agent, p.Agent)
	}
	name := p.File
	if p.Put {
		name += "-put"
	}
	old.Phone, old.Last = p, now
	old.Count++
	old.Files[name] = Fetched{now, p.Reason, p.TLS}
	b.phonesDirty = true
}

// Phones lists what phones told, in the order of their MACs.
func (b *Book) Phones() []Phone {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := make([]Phone, 0, len(b.phones))
	for _, p := range b.phones {
		c := *p
		c.Files = make(map[string]Fetched, len(p.Files))
		for k, v := range p.Files {
			c.Files[k] = v
		}
		out = append(out, c)
	}
	slices.SortFunc(out, func(x, y Phone) int { return slices.Compare(x.MAC[:], y.MAC[:]) })
	return out
}

// phonesPath is beside the file of unlisted machines; it is written only once a phone was heard.
func (b *Book) phonesPath() string { return b.path + ".phones" }

func (b *Book) loadPhones() {
	f, err := os.Open(b.phonesPath())
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	var all []Phone
	if err == nil {
		defer f.Close()
		err = json.NewDecoder(io.LimitReader(f, maxPhonesFile)).Decode(&all)
	}
	if err != nil {
		b.log.Warn("reading the phones of last time failed", "error", fmt.Errorf("reading %s: %w", b.phonesPath(), err))
		return
	}
	for _, p := range all[:min(len(all), MaxPhones)] {
		if p.Files == nil {
			p.Files = map[string]Fetched{}
		}
		b.phones[p.MAC] = &p
	}
}

func (b *Book) savePhones() {
	b.mu.Lock()
	dirty := b.phonesDirty && b.path != ""
	b.phonesDirty = false
	b.mu.Unlock()
	if !dirty {
		return
	}
	if err := write(b.phonesPath(), b.Phones()); err != nil {
		b.log.Warn("writing down phones failed", "error", err)
	}
}
