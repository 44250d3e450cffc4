package importer

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// keaLink is a network to be: the subnets of one interface, of one shared network, or behind one relay.
type keaLink struct {
	node  *node
	named bool // by an interface or a relay
	// relay is the one that hosts of its subnets, or of the subnet that is read, are behind.
	relay           string
	prefixes, pools []*node
	delegates       []*node
	relays          []*node
}

// link finds or makes the network of an interface; an empty key makes a new one.
func (k *kea) link(key, name string, at Place) *keaLink {
	if l := k.links[key]; l != nil && key != "" {
		return l
	}
	base := entryName(name)
	for i := 2; k.networks.get(entryName(name)) != nil; i++ {
		name = fmt.Sprintf("%s-%d", base, i)
	}
	l := &keaLink{node: k.networks.add(entryName(name), "", at)}
	if key == "" {
		key = "\x00" + name // nobody looks for it
	}
	k.links[key] = l
	return l
}

// entryName makes a name that networks may have.
func entryName(s string) string {
	s = strings.TrimLeft(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' || r == '_' || r == '.' {
			return r
		}
		return '-'
	}, s), "-.")
	s = s[:min(len(s), 50)]
	if s == "" || quote(s) != s {
		s = "net" + s
	}
	return s
}

// keaPlace is where a subnet or a shared network says that it is.
func (k *kea) where(v *jvalue) (iface string) {
	if i := v.get("interface"); i != nil {
		return i.text
	}
	if v.get("relay") == nil && v.get("interface-id") == nil {
		return k.only
	}
	return ""
}

// shared is a shared network: one link with several prefixes.
func (k *kea) shared(v *jvalue, path string, above keaTimers) {
	iface, name := k.where(v), "shared"
	if n := v.get("name"); n != nil {
		name = n.text
	}
	subnets := v.get("subnet6")
	if subnets != nil && v.get("interface") == nil { // the subnets may name it
		for _, s := range subnets.list {
			if i := s.get("interface"); i != nil {
				iface = i.text
			}
		}
	}
	l := k.link(iface, name, v.Place)
	t := k.timers(v, above)
	shared := relayOf(v)
	if subnets != nil {
		for i, s := range subnets.list {
			if s.kind == jMap {
				l.relay = shared
				k.subnet(s, fmt.Sprintf("%s.subnet6[%d]", path, i), l, t)
			}
		}
	}
	l.relay = shared
	// What the shared network says counts where no subnet of it said anything.
	own := &node{key: l.node.key}
	k.each(v, path, k.common(own, path, t, k.linkKeys(l, own, path, map[string]entry{
		"name":    func(jmember) {},
		"subnet6": func(jmember) {},
	})))
	for _, n := range own.kids {
		l.node.inherit(n)
	}
}

// linkKeys are the keys by which a subnet or a shared network says where it is, and whom it has.
func (k *kea) linkKeys(l *keaLink, to *node, path string, more map[string]entry) map[string]entry {
	table := map[string]entry{
		"interface": func(m jmember) {
			if m.value.text != "" {
				l.named = true
				k.set(to, "interface", quote(m.value.text), m.Place)
			}
		},
		"interface-id": func(m jmember) {
			if l.relay != "" {
				k.itself(m.Place, "%s.interface-id: the link-address of the relay names the network", path)
				return
			}
			k.lost(m.Place, "%s.interface-id: a network behind a relay is known by the relay's link-address: name it with --relay", path)
		},
		"relay": func(m jmember) {
			k.each(m.value, path+".relay", map[string]entry{
				"ip-addresses": func(m jmember) {
					for _, x := range m.value.list {
						l.relays = append(l.relays, &node{key: "-", value: quote(x.text), from: x.Place})
					}
				},
				"ip-address": func(m jmember) {
					l.relays = append(l.relays, &node{key: "-", value: quote(m.value.text), from: m.Place})
				},
			})
		},
		"reservations": func(m jmember) {
			k.items(m, path, func(v *jvalue, path string) { k.reservation(v, path, l) })
		},
		"client-class": func(m jmember) {
			k.lost(m.Place, "%s.client-class %s: a network serves every machine on its link", path, oneLine(m.value.text))
		},
		"require-client-classes": func(m jmember) {
			if len(m.value.list) > 0 {
				k.lost(m.Place, "%s.require-client-classes", path)
			}
		},
	}
	for name, e := range more {
		table[name] = e
	}
	return table
}

// subnet is one prefix of a network.
func (k *kea) subnet(v *jvalue, path string, l *keaLink, above keaTimers) {
	if l == nil {
		name := "subnet"
		if id := v.get("id"); id != nil {
			name += id.text
		}
		l = k.link(k.where(v), name, v.Place)
	}
	if r := relayOf(v); r != "" {
		l.relay = r
	}
	t := k.timers(v, above)
	k.each(v, path, k.common(l.node, path, t, k.linkKeys(l, l.node, path, map[string]entry{
		"id": func(jmember) {},
		"subnet": func(m jmember) {
			p, ok := prefixText(m.value.text)
			if !ok {
				k.lost(m.Place, "%s.subnet: %q is not an IPv6 prefix", path, m.value.text)
				return
			}
			l.prefixes = append(l.prefixes, &node{key: "-", value: quote(p.String()), from: m.Place})
		},
		"pools":    func(m jmember) { k.items(m, path, func(v *jvalue, path string) { k.pool(v, path, l) }) },
		"pd-pools": func(m jmember) { k.items(m, path, func(v *jvalue, path string) { k.pdPool(v, path, l) }) },
	})))
	if l.node.get("interface") == nil && v.get("interface") == nil && v.get("relay") == nil && k.only != "" {
		l.named = true
		l.node.inherit(&node{key: "interface", value: quote(k.only), from: v.Place, said: "the only one that the server listens on"})
	}
}

// pool is a range: first - last, or a prefix.
func (k *kea) pool(v *jvalue, path string, l *keaLink) {
	k.each(v, path, map[string]entry{
		"pool": func(m jmember) {
			text, ok := rangeText(m.value.text)
			if !ok {
				k.lost(m.Place, "%s.pool: %q is neither FIRST - LAST nor a prefix", path, m.value.text)
				return
			}
			l.pools = append(l.pools, &node{key: "-", value: quote(text), from: m.Place})
		},
		"option-data": func(m jmember) {
			if len(m.value.list) > 0 {
				k.lost(m.Place, "%s.option-data: options are those of a network or of a host, not of a pool", path)
			}
		},
		"*": func(m jmember) { k.lost(m.Place, "%s.%s: a pool gives to every machine on its link", path, m.name) },
	})
}

// rangeText is a range of addresses as an inventory has it.
func rangeText(s string) (string, bool) {
	if p, ok := prefixText(s); ok {
		return p.String(), true
	}
	first, last, ok := strings.Cut(s, "-")
	a, err := netip.ParseAddr(strings.TrimSpace(first))
	b, err2 := netip.ParseAddr(strings.TrimSpace(last))
	if !ok || err != nil || err2 != nil || !a.Is6() || !b.Is6() {
		return "", false
	}
	return a.String() + "-" + b.String(), true
}

// pdPool is a prefix out of which shorter ones are delegated.
func (k *kea) pdPool(v *jvalue, path string, l *keaLink) {
	number := func(key string) string {
		if x := v.get(key); x != nil {
			return x.text
		}
		return ""
	}
	pool, ok := prefixText(number("prefix") + "/" + number("prefix-len"))
	length, err := strconv.Atoi(number("delegated-len"))
	if !ok || err != nil {
		k.lost(v.Place, "%s wants prefix, prefix-len and delegated-len", path)
		return
	}
	text := fmt.Sprintf("pool: %s, length: %d", quote(pool.String()), length)
	if x := v.get("excluded-prefix"); x != nil {
		if p, ok := prefixText(x.text + "/" + number("excluded-prefix-len")); ok {
			text += ", exclude: " + quote(p.String())
		} else {
			k.lost(x.Place, "%s.excluded-prefix wants a prefix and excluded-prefix-len", path)
		}
	}
	d := &node{key: "-", value: "{" + text + "}", from: v.Place}
	l.delegates = append(l.delegates, d)
	skip := func(jmember) {}
	k.each(v, path, map[string]entry{
		"prefix": skip, "prefix-len": skip, "delegated-len": skip, "excluded-prefix": skip, "excluded-prefix-len": skip,
		"option-data": func(m jmember) {
			if len(m.value.list) > 0 {
				k.lost(m.Place, "%s.option-data: options are those of a network or of a host, not of a pool", path)
			}
		},
		"*": func(m jmember) { k.lost(m.Place, "%s.%s: a pool gives to every machine on its link", path, m.name) },
	})
}

// finish writes what was gathered of each network: prefixes first.
func (k *kea) finish() {
	for _, l := range k.links {
		if len(l.relays) > 0 && l.node.get("interface") == nil && k.listens != nil && len(k.listens.kids) > 0 && k.serve.get("transit") == nil {
			k.put(k.serve, k.listens)
		}
		var head []*node
		if i := l.node.get("interface"); i != nil {
			head = append(head, i)
		}
		head = append(head, gathered("relay", l.relays), gathered("prefix", l.prefixes))
		if len(l.pools) > 0 {
			head = append(head, &node{key: "unknown", value: "pool", from: l.pools[0].from}, gathered("pool", l.pools))
		} else if len(l.delegates) > 0 {
			head = append(head, prefixesAlone(l.delegates[0].from)...)
		}
		head = append(head, gathered("delegate", l.delegates))
		for _, n := range l.node.kids {
			if n.key != "interface" {
				head = append(head, n)
			}
		}
		l.node.kids = nil
		for _, n := range head {
			if n != nil {
				l.node.kids = append(l.node.kids, n)
			}
		}
	}
}

// prefixesAlone is a pool of prefixes beside which there is none of addresses.
func prefixesAlone(from Place) []*node {
	return []*node{{key: "unknown", value: "pool", from: from}, {key: "pool", value: "none", from: from}}
}

// gathered is a key with one value or a list.
func gathered(key string, items []*node) *node {
	switch {
	case len(items) == 0:
		return nil
	case len(items) == 1:
		return &node{key: key, value: items[0].value, from: items[0].from, said: items[0].said}
	}
	return &node{key: key, kids: items, from: items[0].from}
}
