package importer

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
		preferred := secondsOf(own.value)
		late := preferred // t1 must not come later than t2, nor than the end of preferred
		if at := n.get("t2"); at != nil {
			late = min(late, secondsOf(at.value))
		} else if t2 != nil && secondsOf(t2.value) > preferred {
			late = max(preferred/5*4, 1)
			d.earlier(n, t2, late, own)
		}
		if t1 != nil && n.get("t1") == nil && secondsOf(t1.value) > late {
			d.earlier(n, t1, max(min(preferred/2, late), 1), own)
		}
	}
}

// earlier writes a time of renewal of one network.
func (d *draft) earlier(n, late *node, at uint64, preferred *node) {
	d.add(Corrected, late.from, "%s %s comes too late for %s, which is preferred for %s: there it is %s",
		late.key, late.value, n.key, preferred.value, duration(at))
	n.kids = append(n.kids, &node{key: late.key, value: duration(at), from: preferred.from, said: "of its preferred lifetime"})
}
