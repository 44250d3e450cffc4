package memory

import (
	"math/rand/v2"
	"strings"
)

// Record is one stored value and the transaction that wrote it. It never changes: a later write makes another
// Record, so two equal pointers mean that nothing was written in between.
type Record struct {
	// Value must not be modified.
	Value []byte
	// Seq numbers the transaction that wrote the value.
	Seq uint64
}

// node is one entry of a persistent treap: a search tree by id that is a heap by a random priority. Nodes that are
// reachable from a State never change, so readers need no lock and an older State costs only what differs.
type node struct {
	id          string
	rec         *Record
	prio        uint32
	left, right *node
}

// find returns the record of id, nil when there is none.
func (n *node) find(id string) *Record {
	for n != nil {
		switch c := strings.Compare(id, n.id); {
		case c < 0:
			n = n.left
		case c > 0:
			n = n.right
		default:
			return n.rec
		}
	}
	return nil
}

// with returns a tree that holds rec under id besides all that n holds.
func (n *node) with(id string, rec *Record) *node {
	if n == nil {
		return &node{id: id, rec: rec, prio: rand.Uint32()}
	}
	c := *n
	switch order := strings.Compare(id, n.id); {
	case order < 0:
		l := n.left.with(id, rec)
		if l.prio <= c.prio {
			c.left = l
			break
		}
		// l is a fresh copy, so it may be turned in place.
		c.left, l.right = l.right, &c
		return l
	case order > 0:
		r := n.right.with(id, rec)
		if r.prio <= c.prio {
			c.right = r
			break
		}
		c.right, r.left = r.left, &c
		return r
	default:
		c.rec = rec
	}
	return &c
}

// without returns a tree that lacks id; id must be in n.
func (n *node) without(id string) *node {
	c := *n
	switch order := strings.Compare(id, n.id); {
	case order < 0:
		c.left = n.left.without(id)
	case order > 0:
		c.right = n.right.without(id)
	default:
		return merge(n.left, n.right)
	}
	return &c
}

// merge joins two trees; every id of l sorts before every id of r.
func merge(l, r *node) *node {
	switch {
	case l == nil:
		return r
	case r == nil:
		return l
	case l.prio >= r.prio:
		c := *l
		c.right = merge(l.right, r)
		return &c
	default:
		c := *r
		c.left = merge(l, r.left)
		return &c
	}
}

// walk yields the records whose id starts with prefix in ascending order, until yield returns false. It returns
// false when nothing further can match.
func (n *node) walk(prefix string, yield func(string, *Record) bool) bool {
	if n == nil {
		return true
	}
	if n.id >= prefix {
		if !n.left.walk(prefix, yield) {
			return false
		}
		if !strings.HasPrefix(n.id, prefix) || !yield(n.id, n.rec) {
			return false
		}
	}
	return n.right.walk(prefix, yield)
}

// build makes a tree of ids in ascending order in linear time: the usual right-spine construction.
func build(ids []string, rec func(id string) *Record) *node {
	var spine []*node
	for _, id := range ids {
		n := &node{id: id, rec: rec(id), prio: rand.Uint32()}
		for len(spine) > 0 && spine[len(spine)-1].prio < n.prio {
			n.left = spine[len(spine)-1]
			spine = spine[:len(spine)-1]
		}
		if len(spine) > 0 {
			spine[len(spine)-1].right = n
		}
		spine = append(spine, n)
	}
	if len(spine) == 0 {
		return nil
	}
	return spine[0]
}
