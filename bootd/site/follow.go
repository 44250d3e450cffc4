package site

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"
)

// Follower is a program that is told of a prefix: by a file, by a command, or by both.
type Follower struct {
	Name string
	// Prefix is invalid while nobody has given it; Fault says why then. Wanted is what the inventory says.
	Prefix        netip.Prefix
	Wanted, Fault string
	// File is written, out of Template where there is one; Merge: it is a daemon.json of Docker.
	File, Template string
	Merge          bool
	// Command is run for at most Timeout when the file changed; empty: nothing is.
	Command []string
	Timeout time.Duration
}

// Equal reports whether nothing differs.
func (f Follower) Equal(o Follower) bool { return reflect.DeepEqual(f, o) }

// followers takes the sections docker and follow.
func (r *resolver) followers() {
	for i := range r.inv.Follow {
		in := &r.inv.Follow[i]
		f := Follower{
			Name: in.Name, Prefix: in.Prefix.V, Wanted: in.Prefix.V.String(), File: in.File.V, Template: in.Template.V, Merge: in.Merge,
			Command: slices.Clone(in.Command.V), Timeout: in.Timeout.V,
		}
		if in.From.Set() {
			f.Wanted = in.From.String()
			p, ok := r.derive("", in.From, false)
			f.Prefix = p.Prefix
			if !ok {
				_, f.Fault = Derive(in.From, r.facts.Delegated[in.From.Upstream.V], r.now)
			}
		}
		if in.Inner.Set() {
			f.Wanted = fmt.Sprintf("the first /%d of %s", in.Inner.V, f.Wanted)
			if f.Prefix.IsValid() {
				f.Prefix = netip.PrefixFrom(f.Prefix.Addr(), in.Inner.V)
			}
		}
		r.snap.Followers = append(r.snap.Followers, f)
	}
}
