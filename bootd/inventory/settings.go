package inventory

import (
	"net/netip"
	"strconv"
	"time"

	"gopkg.in/yaml.v3"
)

// scope is a set of sections.
type scope uint8

const (
	inDefaults scope = 1 << iota
	inNetworks
	inProfiles
	inHosts
	everywhere = inDefaults | inNetworks | inProfiles | inHosts
	// onLinks: what a network tells every machine on it; a host has no other.
	onLinks = inDefaults | inNetworks
)

// maxLifetime is the last whole day below 0xffffffff seconds, which mean infinity (RFC 8415 section 7.7).
const maxLifetime = 49710 * 24 * time.Hour

// Infinite is a lifetime that never ends (RFC 8415 section 7.7).
const Infinite = 0xffffffff * time.Second

// minRefresh is IRT_MINIMUM (RFC 8415 section 7.6).
const minRefresh = 10 * time.Minute

var settingsFields = []field[Settings]{
	{name: "domain", in: everywhere, set: put(func(s *Settings) *Value[string] { return &s.Domain }, (*parser).domain)},
	{name: "profile", in: everywhere &^ inProfiles, set: put(func(s *Settings) *Value[string] { return &s.Profile }, (*parser).text)},
	{name: "unknown", in: onLinks, set: put(func(s *Settings) *Value[string] { return &s.Unknown },
		oneOf([]string{"ignore", "discover", "pool"}))},
	{name: "nameservers", in: onLinks, set: put(func(s *Settings) *Value[[]netip.Addr] { return &s.Nameservers },
		listOf((*parser).addr))},
	{name: "search", in: onLinks, set: put(func(s *Settings) *Value[[]string] { return &s.Search }, listOf((*parser).domain))},
	{name: "dns64", in: onLinks, set: put(func(s *Settings) *Value[DNS64] { return &s.DNS64 }, (*parser).dns64)},
	{name: "ntp", in: everywhere, set: put(func(s *Settings) *Value[[]string] { return &s.NTP }, listOf((*parser).server))},
	{name: "preferred", in: everywhere, set: put(func(s *Settings) *Value[time.Duration] { return &s.Preferred }, (*parser).lifetime)},
	{name: "valid", in: everywhere, set: put(func(s *Settings) *Value[time.Duration] { return &s.Valid }, (*parser).lifetime)},
	{name: "t1", in: onLinks, set: put(func(s *Settings) *Value[time.Duration] { return &s.T1 }, within(time.Second, maxLifetime, ""))},
	{name: "t2", in: onLinks, set: put(func(s *Settings) *Value[time.Duration] { return &s.T2 }, within(time.Second, maxLifetime, ""))},
	{name: "information_refresh", in: onLinks, set: put(func(s *Settings) *Value[time.Duration] { return &s.InformationRefresh },
		within(minRefresh, maxLifetime, " (RFC 8415)"))},
	{name: "relay_from", in: onLinks, set: put(func(s *Settings) *Value[[]netip.Prefix] { return &s.RelayFrom }, (*parser).relayFrom)},
	{name: "relay_hops", in: onLinks, set: put(func(s *Settings) *Value[int] { return &s.RelayHops }, between(1, maxRelayHops))},
	{name: "locale", in: everywhere, set: put(func(s *Settings) *Value[string] { return &s.Locale },
		matching(40, chars("_.@-"), "en_US.UTF-8"))},
	{name: "language", in: everywhere, set: put(func(s *Settings) *Value[string] { return &s.Language },
		matching(8, chars("_"), "en"))},
	{name: "country", in: everywhere, set: put(func(s *Settings) *Value[string] { return &s.Country },
		matching(2, func(r rune) bool { return r >= 'A' && r <= 'Z' }, "US"))},
	{name: "keyboard", in: everywhere, set: put(func(s *Settings) *Value[string] { return &s.Keyboard },
		matching(40, chars("_()-"), "us"))},
	{name: "timezone", in: everywhere, set: put(func(s *Settings) *Value[string] { return &s.Timezone },
		matching(60, chars("_/+-"), "Europe/Amsterdam"))},
	{name: "users", in: everywhere, set: put(func(s *Settings) *Value[[]User] { return &s.Users }, (*parser).users)},
	{name: "packages", in: everywhere, set: put(func(s *Settings) *Value[[]string] { return &s.Packages },
		listOf(matching(120, chars("+.:/=_^~-"), "openssh-server")))},
	{name: "disk", in: everywhere, set: put(func(s *Settings) *Value[Disk] { return &s.Disk }, (*parser).disk)},
	{name: "addressing", in: everywhere, set: put(func(s *Settings) *Value[string] { return &s.Addressing },
		oneOf([]string{"static", "slaac"}))},
	{name: "kernel_args", in: everywhere, set: put(func(s *Settings) *Value[string] { return &s.KernelArgs }, (*parser).text)},
	{name: "console", in: everywhere, set: put(func(s *Settings) *Value[string] { return &s.Console },
		matching(40, chars(","), "ttyS0,115200n8"))},
	{name: "loader", in: everywhere, set: put(func(s *Settings) *Value[string] { return &s.Loader }, (*parser).below)},
	{name: "protected", in: everywhere, set: put(func(s *Settings) *Value[bool] { return &s.Protected }, (*parser).boolean)},
	{name: "vars", in: everywhere, set: vars},
	{name: "options", in: everywhere, set: options},
}

var defaultsFields = withSettings(nil, inDefaults, func(s *Settings) *Settings { return s })

// withSettings adds the settings of a section to its own keys.
func withSettings[T any](own []field[T], in scope, get func(*T) *Settings) []field[T] {
	all := own
	for _, f := range settingsFields {
		g := field[T]{name: f.name}
		switch {
		case f.set == nil:
		case f.in&in == 0 && f.in == onLinks:
			g.misplaced = "belongs in defaults or in a network: it is the same for every machine on a link"
		case f.in&in == 0:
			g.misplaced = "belongs in defaults, a network or a host"
		default:
			g.set = func(p *parser, t *T, v value) { f.set(p, get(t), v) }
		}
		all = append(all, g)
	}
	return all
}

func vars(p *parser, s *Settings, v value) {
	s.Vars = map[string]Value[any]{}
	p.each(v, func(key *yaml.Node, child value) {
		if !identifier(key.Value) {
			p.fault(Pos{key.Line, key.Column}, child.path, "a variable's name is made of letters, digits and _, as templates write it")
			return
		}
		if x, ok := p.variable(child); ok {
			s.Vars[key.Value] = keep(p, child, x)
		}
	})
}

// variable reads a string, a whole number, true or false, or a list of strings.
func (p *parser) variable(v value) (any, bool) {
	n := v.node
	switch {
	case n.Kind == yaml.SequenceNode:
		return listOf((*parser).multiline)(p, v)
	case n.Kind != yaml.ScalarNode || n.Tag == "!!float" || v.null():
		p.bad(v, "wants text, a whole number, true or false, or a list of texts, got %s", describe(n))
		return nil, false
	case n.Tag == "!!bool":
		return p.boolean(v)
	case n.Tag == "!!int":
		i, err := strconv.Atoi(n.Value)
		if err != nil {
			p.bad(v, "%s is not a plain whole number: put it in quotes", shorten(n.Value))
			return nil, false
		}
		return i, true
	case n.Tag == "!!str" && n.Value == "":
		return "", true // a template may ask whether it is set
	}
	return p.multiline(v)
}

func identifier(s string) bool {
	if s == "" || len(s) > 63 || s[0] >= '0' && s[0] <= '9' {
		return false
	}
	for _, r := range s {
		if !chars("_")(r) {
			return false
		}
	}
	return true
}
