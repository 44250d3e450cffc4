package render

import (
	"cmp"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"sync"

	"bootd.internal/bootd/site"
)

// Problem is one template fault and the hosts that suffer.
type Problem struct {
	Err *Error
	// Hosts in the order of the inventory; empty: every host.
	Hosts []string
}

// Error names the first hosts and counts the rest.
func (p Problem) Error() string {
	const most = 3
	names := strings.Join(p.Hosts[:min(most, len(p.Hosts))], ", ")
	if more := len(p.Hosts) - most; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return p.Err.text(names)
}

// Check renders every template of every host, with placeholders for tokens, and reports what fails, one Problem for each
// fault whatever the number of hosts. An address of ours that is not there yet is no fault.
func Check(snap *site.Snapshot, s *Set) []Problem {
	faults := make([][]*Error, len(snap.Hosts))
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), 8)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < len(snap.Hosts); i += workers {
				faults[i] = s.checkHost(snap, snap.Hosts[i])
			}
		})
	}
	wg.Wait()
	return gather(snap, faults)
}

// checkHost renders what a host may be given.
func (s *Set) checkHost(snap *site.Snapshot, h *site.Host) []*Error {
	d := Preview(snap, h)
	names := []string{LocalScript, ErrorScript, AutoexecScript}
	if h.Profile != nil {
		names = append(names, h.Profile.Script, h.Profile.Answers)
	}
	var errs []*Error
	for _, name := range names {
		if name == "" {
			continue
		}
		if err := s.render(name, d, func([]byte) {}); err != nil {
			errs = append(errs, located(err, name, h.Name))
		}
	}
	return errs
}

// Preview is what the templates of a host would see on its own network; where we have no address yet, one that nobody has
// stands for ours.
func Preview(snap *site.Snapshot, h *site.Host) Data {
	var nic *site.NIC
	var n *site.Network
	if len(h.NICs) > 0 {
		nic = h.NICs[0]
		n = nic.Network
	}
	if n == nil && len(snap.Networks) > 0 {
		n = snap.Networks[0]
	}
	if n == nil || !n.Own.IsValid() {
		var stand site.Network
		if n != nil {
			stand = *n
		}
		stand.Own = netip.MustParseAddr("2001:db8::1")
		if len(stand.Nameservers) == 0 {
			stand.Nameservers = []netip.Addr{stand.Own}
		}
		n = &stand
	}
	d := Of(snap, h, nic, n)
	d.Reason = "nothing, this is a preview"
	return d
}

func gather(snap *site.Snapshot, faults [][]*Error) []Problem {
	type key struct {
		template string
		line     int
		what     string
	}
	found := map[key]*Problem{}
	var order []key
	for i, errs := range faults {
		for _, e := range errs {
			k := key{e.Template, e.Line, e.Key + "\x00" + e.Msg}
			if e.Key != "" {
				k.what = e.Key
			}
			p, ok := found[k]
			if !ok {
				p = &Problem{Err: e}
				found[k], order = p, append(order, k)
			}
			if name := snap.Hosts[i].Name; !slices.Contains(p.Hosts[max(0, len(p.Hosts)-1):], name) {
				p.Hosts = append(p.Hosts, name)
			}
		}
	}
	problems := make([]Problem, 0, len(order))
	for _, k := range order {
		problems = append(problems, *found[k])
	}
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Err.Template, b.Err.Template), cmp.Compare(a.Err.Line, b.Err.Line))
	})
	return problems
}
