package inventory

import (
	"net/netip"
	"slices"

	"gopkg.in/yaml.v3"
)

var serveFields = []field[Serve]{
	{name: "files", set: put(func(s *Serve) *Value[string] { return &s.Files }, (*parser).text)},
	{name: "templates", set: put(func(s *Serve) *Value[string] { return &s.Templates }, (*parser).text)},
	{name: "loaders", set: loaders},
	{name: "forward", set: put(func(s *Serve) *Value[[]Upstream] { return &s.Forward }, listOf((*parser).upstream))},
	{name: "http_port", set: put(func(s *Serve) *Value[int] { return &s.HTTPPort }, between(1, 65535))},
	{name: "address", set: put(func(s *Serve) *Value[netip.Addr] { return &s.Address }, (*parser).unicast)},
	{name: "transit", set: put(func(s *Serve) *Value[[]string] { return &s.Transit }, someOf((*parser).ifname))},
	{name: "unreachable", set: func(p *parser, s *Serve, v value) { s.Unreachable, _ = someOf(placed((*parser).delegable))(p, v) }},
	{name: "metrics", set: put(func(s *Serve) *Value[netip.AddrPort] { return &s.Metrics }, (*parser).metrics)},
}

// Architectures are the names that serve.loaders knows, in the order of the documents.
func Architectures() []string { return []string{"bios", "x86", "x86_64", "arm", "arm64"} }

func loaders(p *parser, s *Serve, v value) {
	s.Loaders = map[string]Value[string]{}
	p.each(v, func(key *yaml.Node, child value) {
		if !slices.Contains(Architectures(), key.Value) {
			p.fault(Pos{key.Line, key.Column}, child.path, "unknown architecture%s", suggestArch(key.Value))
			return
		}
		if path, ok := p.below(child); ok {
			s.Loaders[key.Value] = keep(p, child, path)
		}
	})
}

// suggestArch knows what distributions and firmware call the architectures.
func suggestArch(s string) string {
	switch s {
	case "amd64", "x64", "x86-64", "efi64":
		return ", did you mean x86_64?"
	case "aarch64":
		return ", did you mean arm64?"
	case "i386", "ia32":
		return ", did you mean x86?"
	case "pc", "legacy":
		return ", did you mean bios?"
	}
	return suggest(s, Architectures())
}

func (p *parser) metrics(v value) (netip.AddrPort, bool) {
	if v.node.Kind == yaml.ScalarNode && (v.node.Value == "off" || v.node.Value == "false") {
		return netip.AddrPort{}, true
	}
	return p.addrPort(v, 0, "of the form [::1]:9547, nor off")
}
