package render

import (
	"bytes"
	"net/netip"
)

// Followed is what the template of a follower sees, as its dot.
type Followed struct {
	// Name is the entry's.
	Name string
	// Prefix is the prefix with its length, Network its first address, Address the one after it, Length its length.
	Prefix, Network, Address string
	Length                   int
}

// NewFollowed describes a prefix.
func NewFollowed(name string, p netip.Prefix) Followed {
	return Followed{Name: name, Prefix: p.String(), Network: p.Addr().String(), Address: p.Addr().Next().String(), Length: p.Bits()}
}

// RenderFollowed executes a follower's template. The error is an *Error.
func (s *Set) RenderFollowed(name string, d Followed) ([]byte, error) {
	t, err := s.load(name, nil)
	var out []byte
	if err == nil {
		err = s.execute(t, d, func(b []byte) { out = bytes.Clone(b) })
	}
	if err != nil {
		return nil, located(err, name, d.Name)
	}
	return out, nil
}
