package daemon

import (
	"fmt"
	"strings"
)

// programs says what programs need to use prefixes that are bound as a whole.
func (p *Plan) programs() []string {
	var six, four []string
	for _, a := range p.Snapshot.AnyIP {
		if a.Prefix.IsValid() && a.Prefix.Addr().Is4() {
			four = append(four, a.Wanted)
		} else {
			six = append(six, a.Wanted)
		}
	}
	var out []string
	if len(six) > 0 {
		out = append(out, fmt.Sprintf("anyip %s: a program that listens on [::] answers on every address; to bind a single one it sets IPV6_FREEBIND on its socket "+
			"(systemd: FreeBind=yes), or the machine has net.ipv6.ip_nonlocal_bind=1", strings.Join(six, ", ")))
	}
	if len(four) > 0 {
		out = append(out, fmt.Sprintf("anyip %s: any program binds an address of IPv4 without further ado", strings.Join(four, ", ")))
	}
	return out
}
