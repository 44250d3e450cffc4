package importer

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strings"

	"bootd.internal/bootd/ident"
)

// reservation is a host.
func (k *kea) reservation(v *jvalue, path string, l *keaLink) {
	h := newHost{draft: k.draft, at: v.Place, path: path, more: node{key: hostKey}}
	k.each(v, path, map[string]entry{
		"hw-address": func(m jmember) { h.setMAC(m.value.text, m.Place) },
		"duid":       func(m jmember) { h.setDUID(m.value.text, m.Place) },
		"flex-id":    func(m jmember) { k.flexID(&h, m, l) },
		"hostname":   func(m jmember) { h.setName(m.value.text, m.Place) },
		"ip-addresses": func(m jmember) {
			for _, x := range m.value.list {
				h.address(x.text, x.Place)
			}
		},
		"prefixes": func(m jmember) {
			for _, x := range m.value.list {
				h.prefix(x.text, x.Place)
			}
		},
		"option-data": func(m jmember) {
			k.items(m, path, func(v *jvalue, path string) { k.option(v, path, &h.more) })
		},
		"client-classes": func(m jmember) {
			if len(m.value.list) > 0 {
				k.lost(m.Place, "%s.client-classes: bootd has no classes: what a host gets stands with the host, or in its profile", path)
			}
		},
	})
	h.write(k.hostNames, k.byMAC)
}

// newHost is a host to be.
type newHost struct {
	*draft
	at                  Place
	path, name, domain  string
	mac, duid, port     *node
	addresses, prefixes []*node
	more                node
	// unknown: it is known by nothing that bootd knows.
	nameAt Place
}

func (h *newHost) setMAC(s string, at Place) {
	m, err := ident.ParseMAC(strings.TrimSpace(s))
	if err != nil {
		h.lost(at, "%s: %q is not the MAC of an Ethernet card", h.path, s)
		return
	}
	h.mac = &node{key: "mac", value: m.String(), from: at}
}

// setDUID reads octets in hex, with colons or without.
func (h *newHost) setDUID(s string, at Place) {
	digits := colonHex(strings.TrimSpace(s))
	if !strings.Contains(s, ":") {
		digits = strings.TrimPrefix(strings.TrimSpace(s), "0x")
	}
	b, err := hex.DecodeString(digits)
	if err != nil || len(b) < 3 || len(b) > 130 {
		h.lost(at, "%s: %q is not a DUID", h.path, s)
		return
	}
	h.duid = &node{key: "duid", value: quote(colons(b)), from: at}
}

// colons writes octets as people write them.
func colons(b []byte) string {
	parts := make([]string, len(b))
	for i, c := range b {
		parts[i] = fmt.Sprintf("%02x", c)
	}
	return strings.Join(parts, ":")
}

// setName splits a full name; the inventory's are labels in lower case.
func (h *newHost) setName(s string, at Place) {
	s = strings.ToLower(strings.TrimSuffix(s, "."))
	h.name, h.domain, _ = strings.Cut(s, ".")
	h.nameAt = at
}

func (h *newHost) address(s string, at Place) {
	h.addresses = append(h.addresses, &node{key: "-", value: quote(strings.TrimSpace(s)), from: at})
}

func (h *newHost) prefix(s string, at Place) {
	p, ok := prefixText(s)
	if !ok {
		h.lost(at, "%s: %q is not an IPv6 prefix", h.path, s)
		return
	}
	h.prefixes = append(h.prefixes, &node{key: "-", value: quote(p.String()), from: at})
}

// write puts the host into the section hosts. A card that is listed already gets what is new of it: other servers want a
// reservation for each subnet, an inventory has one host.
func (h *newHost) write(names map[string]bool, byMAC map[string]*node) {
	who := cmp.Or(h.mac, h.duid, h.port)
	if who == nil {
		h.lost(h.at, "%s: the host is known by nothing that bootd knows a machine by", h.path)
		return
	}
	n := byMAC[who.value]
	if n == nil {
		n = h.hosts.add(h.unique(names), "", h.at)
		byMAC[who.value] = n
	} else if h.name != "" && h.name != n.key {
		h.lost(h.nameAt, "%s: the machine is called %s already (%s)", h.path, n.key, n.from)
	}
	for _, x := range []*node{h.mac, h.duid, h.port} {
		if x != nil {
			h.put(n, x)
		}
	}
	appendTo(n, "address", h.addresses)
	appendTo(n, "delegate", h.prefixes)
	if h.domain != "" {
		h.set(n, "domain", quote(h.domain), h.nameAt)
	}
	for _, x := range h.more.kids {
		h.put(n, x)
	}
}

// appendTo adds to a list that may be there already.
func appendTo(n *node, key string, items []*node) {
	old := n.get(key)
	if old == nil {
		if k := gathered(key, items); k != nil {
			n.kids = append(n.kids, k)
		}
		return
	}
	if old.value != "" {
		old.kids = []*node{{key: "-", value: old.value, from: old.from}}
		old.value = ""
	}
	old.kids = append(old.kids, items...)
}

// unique is a name that no host has.
func (h *newHost) unique(names map[string]bool) string {
	name := hostLabel(h.name)
	if name == "" {
		name = "host-port"
		if id := cmp.Or(h.mac, h.duid); id != nil {
			digits := strings.NewReplacer(":", "", `"`, "").Replace(id.value)
			name = "host-" + digits[max(0, len(digits)-12):]
		}
	}
	base := name
	for i := 2; names[name]; i++ {
		name = fmt.Sprintf("%s-%d", base[:min(len(base), 55)], i)
	}
	if h.name != "" && name != h.name {
		h.review(h.nameAt, "%s: the name %q became %s", h.path, h.name, name)
	}
	names[name] = true
	return name
}

// hostLabel makes a name that hosts may have; empty where nothing is left.
func hostLabel(s string) string {
	s = strings.Trim(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '-'
	}, strings.ToLower(s)), "-")
	s = strings.TrimRight(s[:min(len(s), 60)], "-")
	if s != "" && quote(s) != s && s[0] >= 'a' {
		s += "-1" // yes and null are no text in YAML
	}
	return s
}
