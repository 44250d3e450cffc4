package importer

import (
	"cmp"
	"slices"
)

// renewals gives a network whose addresses are preferred for less time than the file's times of renewal times of its own: half
// and four fifths, which is what bootd takes where nothing is written (RFC 8415 section 21.4). The others keep those of all.
func (d *draft) renewals() {
	t1, t2, all := d.defaults.get("t1"), d.defaults.get("t2"), d.defaults.get("preferred")
	if t1 == nil && t2 == nil || all == nil {
		return
	}
	for _, n := range d.networks.kids {
		own := n.get("preferred")
		if own == nil {
			continue // what is told to all is late for all
		}
		first, second := cmp.Or(n.get("t1"), t1), cmp.Or(n.get("t2"), t2)
		preferred := secondsOf(own.value)
		late := preferred // t1 must not come later than t2, nor than the end of preferred
		switch {
		case second == nil:
		case secondsOf(second.value) <= preferred:
			late = secondsOf(second.value)
		default:
			late = max(preferred/5*4, 1)
			if at := n.get("t1"); at != nil && secondsOf(at.value) <= preferred {
				late = max(late, secondsOf(at.value))
			}
			d.earlier(n, second, late, own)
		}
		if first != nil && secondsOf(first.value) > late {
			d.earlier(n, first, max(min(preferred/2, late), 1), own)
		}
	}
}

// earlier writes a time of renewal of one network.
func (d *draft) earlier(n, late *node, at uint64, preferred *node) {
	d.add(Corrected, late.from, "%s %s comes too late for %s, which is preferred for %s: there it is %s",
		late.key, late.value, n.key, preferred.value, duration(at))
	n.kids = slices.DeleteFunc(n.kids, func(k *node) bool { return k == late })
	n.kids = append(n.kids, &node{key: late.key, value: duration(at), from: preferred.from, said: "of its preferred lifetime"})
}
