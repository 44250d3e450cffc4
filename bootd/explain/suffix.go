package explain

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
)

// bySuffix reads what an inventory writes of an address, ::101, on each network. Where it is somebody's on one of them alone,
// that one is meant.
func (x explainer) bySuffix(suffix netip.Addr) (*site.Host, *site.NIC, error) {
	var all, somebodys []netip.Addr
	var lines []string
	for _, n := range x.Snapshot.Networks {
		for _, p := range n.Prefixes {
			a, ok := inventory.Join(p.Prefix, suffix)
			if !ok || slices.Contains(all, a) {
				continue
			}
			all = append(all, a)
			var says []string
			if a == n.Own {
				says = append(says, "bootd's own address there")
			}
			if nic, ok := x.Snapshot.Holder(a); ok {
				says = append(says, "kept for "+nic.Holder())
			}
			if text, ok := x.lease(a); ok {
				says = append(says, text)
			}
			switch {
			case len(says) > 0:
				somebodys = append(somebodys, a)
			case x.Snapshot.PoolOf(n, a) != nil:
				says = []string{"nobody's, one of its pool"}
			default:
				says = []string{"nobody's"}
			}
			lines = append(lines, fmt.Sprintf("%s on %s is %s: %s", suffix, n.Name, a, strings.Join(says, ", ")))
		}
	}
	switch {
	case len(all) == 0:
		return nil, nil, fmt.Errorf("%s is not a whole address, and fits into no prefix of a network: write the whole address", suffix)
	case len(all) == 1:
		return x.byAddress(all[0])
	}
	for _, l := range lines {
		x.note("%s", l)
	}
	if len(somebodys) == 1 {
		return x.byAddress(somebodys[0])
	}
	x.r.Kind = BySuffix
	x.note("ask for a whole address to see more")
	return nil, nil, nil
}
