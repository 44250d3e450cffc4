package who

import (
	"encoding/json"
	"fmt"
	"slices"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
)

// MaxLearned bounds the identities learned of one host; the oldest goes first.
const MaxLearned = 16

// maxUUIDs bounds those of them that are UUIDs: both byte orders, before and after a new mainboard.
const maxUUIDs = 4

// Learned is what a host was seen to call itself while its MAC was in evidence. DUIDs that hold a MAC are not learned:
// they speak for themselves, and Debian's installer makes a new one at each boot.
type Learned struct {
	UUIDs []ident.UUID `json:"uuids,omitempty"`
	DUIDs []ident.DUID `json:"duids,omitempty"`
}

// trace leads from an identity back to the host whose Learned lists it. Two hosts that show the same one (cloned disks,
// boards with a stock UUID) make it no identity.
type trace struct {
	Host   string `json:"host,omitempty"`
	Shared bool   `json:"shared,omitempty"`
}

// LearnedKey is where a host's Learned lives.
func LearnedKey(host string) store.Key { return store.Key{Table: store.TableLearned, ID: host} }

// Host names hold no colon, so these cannot meet a LearnedKey.
func duidKey(d ident.DUID) store.Key {
	return store.Key{Table: store.TableLearned, ID: fmt.Sprintf("duid:%x", string(d))}
}

func uuidKey(u ident.UUID) store.Key {
	return store.Key{Table: store.TableLearned, ID: "uuid:" + u.String()}
}

// DecodeLearned reads the record at LearnedKey.
func DecodeLearned(b []byte) (Learned, error) {
	var l Learned
	if err := json.Unmarshal(b, &l); err != nil {
		return Learned{}, fmt.Errorf("decoding learned identities: %w", err)
	}
	return l, nil
}

// Learn gives the writes that keep what the evidence adds to a match; none when nothing is new. Only a match by a MAC
// teaches: an identity never vouches for another.
func Learn(v store.View, m Match, ev []Evidence) []store.Op {
	if m.Host == nil || m.Rule == 0 || m.Rule > EUI64 {
		return nil
	}
	var known Learned
	if raw, ok := v.Get(LearnedKey(m.Host.Name)); ok {
		known, _ = DecodeLearned(raw) // a damaged record is learned anew
	}
	l := lesson{view: v, host: m.Host.Name, next: Learned{
		UUIDs: slices.Clone(known.UUIDs), DUIDs: slices.Clone(known.DUIDs),
	}}
	if e, ok := find(ev, SMBIOSUUID); ok && e.UUID.Identifies() && !slices.Contains(known.UUIDs, e.UUID) &&
		l.own(uuidKey(e.UUID)) {
		l.next.UUIDs = append(l.next.UUIDs, e.UUID)
	}
	if e, ok := find(ev, LearnedDUID); ok && !slices.Contains(known.DUIDs, e.DUID) && l.own(duidKey(e.DUID)) {
		l.next.DUIDs = append(l.next.DUIDs, e.DUID)
	}
	if len(l.next.UUIDs)+len(l.next.DUIDs) > len(known.UUIDs)+len(known.DUIDs) {
		l.trim()
		l.ops = append(l.ops, store.Op{Key: LearnedKey(m.Host.Name), Value: encode(l.next)})
	}
	return l.ops
}

// lesson collects the writes of one Learn.
type lesson struct {
	view store.View
	host string
	next Learned
	ops  []store.Op
}

// own leads k to the host and reports whether the host may list it: another host's identity becomes a shared one.
func (l *lesson) own(k store.Key) bool {
	raw, ok := l.view.Get(k)
	if !ok {
		l.ops = append(l.ops, store.Op{Key: k, Value: encode(trace{Host: l.host})})
		return true
	}
	var t trace
	if err := json.Unmarshal(raw, &t); err != nil || t.Shared || t.Host == l.host {
		return false
	}
	l.ops = append(l.ops, store.Op{Key: k, Value: encode(trace{Host: t.Host, Shared: true})})
	return false
}

// trim forgets the oldest identities beyond the bounds. A trace goes with the list that it stands in, even if it is
// shared: so the traces are bounded too.
func (l *lesson) trim() {
	for len(l.next.UUIDs) > maxUUIDs {
		l.ops = append(l.ops, store.Op{Key: uuidKey(l.next.UUIDs[0])})
		l.next.UUIDs = l.next.UUIDs[1:]
	}
	for len(l.next.UUIDs)+len(l.next.DUIDs) > MaxLearned {
		l.ops = append(l.ops, store.Op{Key: duidKey(l.next.DUIDs[0])})
		l.next.DUIDs = l.next.DUIDs[1:]
	}
}

// learned follows a trace to a host that is still listed.
func learned(snap *site.Snapshot, v store.View, k store.Key) *site.Host {
	if v == nil {
		return nil
	}
	raw, ok := v.Get(k)
	if !ok {
		return nil
	}
	var t trace
	if json.Unmarshal(raw, &t) != nil || t.Shared {
		return nil
	}
	h, _ := snap.Host(t.Host)
	return h
}

func encode[T Learned | trace](r T) []byte {
	b, err := json.Marshal(r)
	if err != nil { // every field marshals
		panic(err)
	}
	return b
}
