package importer

import (
	"net/netip"
	"strings"
)

// unboundLine is one key of unbound.conf with its value, and the clause it stands in.
type unboundLine struct {
	Place
	clause     int
	key, value string
}

// unbound reads unbound.conf: resolvers to ask, and who may ask.
func (d *dhcpd) unbound(f File, open Open) error {
	r := &unboundReader{open: open}
	if err := r.read(f.Name, f.Data, Place{f.Name, 1}); err != nil {
		return err
	}
	forwards := false
	for i, l := range r.lines {
		switch {
		case l.value == "" && isClause(l.key):
			if l.key == "forward-zone" {
				forwards = d.forward(clause(r.lines[i:], l.clause)) || forwards
			}
		case l.clause >= 0 && r.clauses[l.clause] == "forward-zone":
		case l.clause >= 0 && r.clauses[l.clause] == "remote-control":
			d.itself(l.Place, "%s: bootd status, events and reload talk to a socket of its own", l.key)
		case l.clause >= 0 && r.clauses[l.clause] != "server":
			d.lost(l.Place, "%s: %s: %s", r.clauses[l.clause], l.key, oneLine(l.value))
		default:
			d.unboundKey(l)
		}
	}
	if !forwards {
		d.lost(Place{f.Name, 1}, "without a forward-zone for \".\" unbound finds names by itself, from the root servers: bootd asks resolvers, write dns: {upstreams: ...}")
	}
	return nil
}

func clause(lines []unboundLine, n int) []unboundLine {
	for i, l := range lines {
		if l.clause != n {
			return lines[:i]
		}
	}
	return lines
}

func isClause(key string) bool {
	switch key {
	case "server", "forward-zone", "stub-zone", "auth-zone", "remote-control", "view", "python", "dynlib", "dnscrypt", "cachedb", "redis", "rpz", "dnstap", "ipset":
		return true
	}
	return false
}

// unboundItself says what bootd does without being told.
var unboundItself = map[string]string{
	"interface":           "DNS is served on the links of networks, at bootd's own addresses",
	"interface-automatic": "answers come from the address that was asked",
	"do-ip6":              "IPv6 is all there is", "do-ip4": "IPv6 is all there is", "prefer-ip6": "IPv6 is all there is",
	"do-udp": "UDP and TCP", "do-tcp": "UDP and TCP", "port": "port 53",
	"verbosity": "--log says how much", "use-syslog": "it logs to standard error", "logfile": "it logs to standard error",
	"num-threads": "it uses the processors there are", "hide-identity": "it tells neither name nor version", "hide-version": "it tells neither name nor version",
	"username": "the systemd unit says who it runs as", "chroot": "the systemd unit confines it", "directory": "it needs none",
	"pidfile": "systemd watches over it", "so-reuseport": "it uses the processors there are", "prefetch": "answers in use are fetched before they run out",
	"serve-expired": "answers that have run out are given when no upstream answers", "use-caps-for-id": "questions are in mixed case",
	"harden-glue": "it asks resolvers only", "minimal-responses": "it passes on what resolvers answer", "qname-minimisation": "it asks resolvers only",
}

func (d *dhcpd) unboundKey(l unboundLine) {
	if l.key == "access-control" {
		d.access(l)
		return
	}
	if text, ok := unboundItself[l.key]; ok {
		d.itself(l.Place, "%s: %s: %s", l.key, oneLine(l.value), text)
		return
	}
	why := ""
	switch l.key {
	case "include", "include-toplevel":
		why = ": files are not read by a pattern: import the one that matters itself"
	case "local-data", "local-zone", "local-data-ptr":
		why = ": names of the site are those of its hosts, list the machine"
	case "auto-trust-anchor-file", "trust-anchor-file", "trust-anchor", "module-config", "val-permissive-mode":
		why = ": signatures are checked by the resolvers that are asked"
	}
	d.lost(l.Place, "%s: %s%s", l.key, oneLine(l.value), why)
}

// access reads who may ask; the machines of networks may anyway.
func (d *dhcpd) access(l unboundLine) {
	netText, action, _ := strings.Cut(l.value, " ")
	if a, err := netip.ParseAddr(netText); err == nil {
		netText = netip.PrefixFrom(a, a.BitLen()).String()
	}
	p, ok := prefixText(netText)
	switch {
	case !ok:
		d.lost(l.Place, "access-control: %s: bootd serves IPv6 only", oneLine(l.value))
	case !strings.HasPrefix(strings.TrimSpace(action), "allow"): // allow_snoop and its like let ask, too
		d.itself(l.Place, "access-control: %s: nobody else may ask", oneLine(l.value))
	case p.Addr().IsLoopback():
		d.itself(l.Place, "access-control: %s: questions come in on links of networks; this machine asks bootd's address there", oneLine(l.value))
	default:
		for _, n := range d.nets {
			for _, own := range n.prefixes {
				if own == p {
					d.itself(l.Place, "access-control: %s: the machines of networks may ask", oneLine(l.value))
					return
				}
			}
		}
		a := d.dns.under("access", l.Place)
		a.add("-", quote(p.String()), l.Place)
	}
}

// forward reads a forward-zone; the one for everything becomes the upstreams.
func (d *dhcpd) forward(lines []unboundLine) bool {
	name, tls := "", false
	for _, l := range lines[1:] {
		switch l.key {
		case "name":
			name = l.value
		case "forward-tls-upstream", "forward-ssl-upstream":
			tls = l.value == "yes"
		}
	}
	if name != "." {
		d.lost(lines[0].Place, "forward-zone %s: bootd asks the same resolvers for every name", oneLine(name))
		return false
	}
	found := false
	for _, l := range lines[1:] {
		switch l.key {
		case "name", "forward-tls-upstream", "forward-ssl-upstream":
		case "forward-addr":
			text, ok := upstream(l.value, tls)
			if !ok {
				d.lost(l.Place, "forward-addr: %s: want an IPv6 address", oneLine(l.value))
				continue
			}
			found = true
			d.dns.under("upstreams", l.Place).add("-", quote(text), l.Place)
		default:
			d.lost(l.Place, "forward-zone: %s: %s", l.key, oneLine(l.value))
		}
	}
	return found
}

// upstream turns ADDRESS@PORT#NAME into what an inventory has.
func upstream(s string, tls bool) (string, bool) {
	s, name, _ := strings.Cut(s, "#")
	s, port, _ := strings.Cut(s, "@")
	a, err := netip.ParseAddr(s)
	if err != nil || !a.Is6() {
		return "", false
	}
	switch {
	case tls && name != "" && (port == "" || port == "853"):
		return "tls://[" + a.String() + "]#" + name, true
	case tls:
		if port == "" {
			port = "853"
		}
		return "tls://[" + a.String() + "]:" + port + "#" + name, true
	case port != "" && port != "53":
		return "[" + a.String() + "]:" + port, true
	}
	return a.String(), true
}

// unboundReader splits unbound.conf into lines with a key each.
type unboundReader struct {
	open     Open
	stack    []string
	included int
	octets   int
	lines    []unboundLine
	clauses  []string
}

func (r *unboundReader) read(file string, data []byte, at Place) error {
	if r.octets += len(data); r.octets > maxOctets {
		return syntax(at, "more than %d MB, includes counted, is not read", maxOctets>>20)
	}
	r.stack = append(r.stack, file)
	defer func() { r.stack = r.stack[:len(r.stack)-1] }()
	n := 0
	for text := range strings.SplitSeq(string(data), "\n") {
		n++
		here := Place{file, n}
		for text = strings.TrimSpace(text); text != "" && text[0] != '#'; {
			key, rest, ok := strings.Cut(text, ":")
			if !ok || strings.ContainsAny(key, " \t\"") {
				return syntax(here, "wants key: value, got %s", oneLine(text[:min(len(text), 60)]))
			}
			rest = strings.TrimSpace(rest)
			if isClause(key) {
				r.clauses = append(r.clauses, key)
				r.lines = append(r.lines, unboundLine{here, len(r.clauses) - 1, key, ""})
				text = rest
				continue
			}
			value, err := unboundValue(rest, here)
			if err != nil {
				return err
			}
			if err := r.line(unboundLine{here, len(r.clauses) - 1, key, value}); err != nil {
				return err
			}
			break
		}
	}
	return nil
}

func (r *unboundReader) line(l unboundLine) error {
	if l.key != "include" && l.key != "include-toplevel" || r.open == nil || strings.ContainsAny(l.value, "*?[") {
		r.lines = append(r.lines, l)
		return nil
	}
	file, data, err := included(r.open, r.stack, l.value, l.Place, &r.included)
	if err != nil {
		return err
	}
	return r.read(file, data, l.Place)
}

// unboundValue is the rest of a line without its comment and quotes.
func unboundValue(s string, at Place) (string, error) {
	if s != "" && (s[0] == '"' || s[0] == '\'') {
		end := strings.IndexByte(s[1:], s[0])
		if end < 0 {
			return "", syntax(at, "the text is not closed on its line: a quote is missing")
		}
		return s[1 : 1+end], nil
	}
	for _, mark := range []string{" #", "\t#"} {
		s, _, _ = strings.Cut(s, mark)
	}
	return strings.Join(strings.Fields(s), " "), nil
}
