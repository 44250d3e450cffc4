package inventory

import (
	"encoding/hex"
	"errors"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"

	"bootd.internal/bootd/option"
)

// Option is one DHCPv6 option that clients are told.
type Option struct {
	Code uint16
	Name string
	// Data are its contents, one for each time that it is sent: most are sent once.
	Data [][]byte
	// Always: it is sent whether the client asks for it or not (RFC 8415 section 21.7).
	Always bool
	// Never takes away what a wider section says.
	Never bool
}

// String is the option's value for people.
func (o Option) String() string {
	if o.Never {
		return "never"
	}
	all := make([]string, 0, len(o.Data)+1)
	for _, d := range o.Data {
		all = append(all, option.Value(o.Code, d))
	}
	text := strings.Join(all, "; ")
	if o.Always {
		text += " (always)"
	}
	return text
}

const (
	// maxOptionData is what one option may have in octets: all of a message have 1024 together.
	maxOptionData = 1000
	// minMaxRT and maxMaxRT bound SOL_MAX_RT and INF_MAX_RT (RFC 8415 sections 21.24 and 21.25).
	minMaxRT = time.Minute
	maxMaxRT = 24 * time.Hour
	// Codes of options that have a rule of their own.
	codeDNS        = 23
	codeSearch     = 24
	codePOSIXZone  = 41
	codeTZDatabase = 42
)

// options reads the key options: a name or number for each, with its value.
func options(p *parser, s *Settings, v value) {
	seen := map[uint16]bool{}
	p.each(v, func(key *yaml.Node, child value) {
		d, ok := p.optionKey(Pos{key.Line, key.Column}, key.Value, child)
		if !ok {
			return
		}
		if seen[d.Code] {
			p.fault(Pos{key.Line, key.Column}, child.path, "option %d is there twice, by its number and by its name", d.Code)
			return
		}
		seen[d.Code] = true
		if o, ok := p.option(d, child); ok {
			s.Options = append(s.Options, keep(p, child, o))
		}
	})
}

// optionKey finds the option that a key names, and refuses those that nobody may set.
func (p *parser) optionKey(at Pos, key string, v value) (d option.Def, ok bool) {
	code, err := strconv.ParseUint(key, 10, 16)
	known := false
	if (err == nil && code == 0) || errors.Is(err, strconv.ErrRange) {
		p.fault(at, v.path, "is no option: they count from 1 to 65535")
		return d, false
	}
	if err == nil {
		if d, known = option.ByCode(uint16(code)); !known {
			d = option.Def{Code: uint16(code), Name: key}
		}
	} else if d, known = option.ByName(key); !known {
		switch key {
		case "nameservers", "search", "ntp", "timezone", "information_refresh":
			p.fault(at, v.path, "is a key of its own: it stands beside options, not in it")
		default:
			meant := suggest(key, option.Writable())
			if !strings.Contains(meant, "did you mean") {
				meant = ": any other is written by its number, such as 234: {hex: \"0a0b\"}"
			}
			p.fault(at, v.path, "unknown option%s", meant)
		}
		return d, false
	}
	wide := v.from == "defaults" || strings.HasPrefix(v.from, "networks.")
	switch {
	case d.Instead != "":
		p.fault(at, v.path, "option %d (%s) %s", d.Code, d.Name, d.Instead)
	case wide && d.Code == codeDNS:
		p.fault(at, v.path, "write nameservers: beside options, which router advertisements tell, too; in profiles and hosts dns-servers replaces it")
	case wide && d.Code == codeSearch:
		p.fault(at, v.path, "write search: beside options, which router advertisements tell, too; in profiles and hosts domain-search replaces it")
	case err == nil && d.Kind != option.Opaque:
		p.fault(at, v.path, "option %d is written %s", d.Code, d.Name)
	default:
		return d, true
	}
	return d, false
}

// longOption is an option with more than its value. Those without a form of their own have one of hex, addresses, string.
type longOption struct {
	value         value
	always, never Value[bool]
	hex, text     Value[string]
	addresses     Value[[]netip.Addr]
}

var optionFields = []field[longOption]{
	{name: "value", set: func(_ *parser, o *longOption, v value) { o.value = v }},
	{name: "always", set: put(func(o *longOption) *Value[bool] { return &o.always }, (*parser).boolean)},
	{name: "never", set: put(func(o *longOption) *Value[bool] { return &o.never }, (*parser).boolean)},
}

var octetFields = []field[longOption]{
	{name: "hex", set: put(func(o *longOption) *Value[string] { return &o.hex }, (*parser).hexText)},
	{name: "addresses", set: put(func(o *longOption) *Value[[]netip.Addr] { return &o.addresses }, someOf((*parser).groupOrAddr))},
	{name: "string", set: put(func(o *longOption) *Value[string] { return &o.text }, (*parser).text)},
	{name: "always", set: put(func(o *longOption) *Value[bool] { return &o.always }, (*parser).boolean)},
	{name: "never", set: put(func(o *longOption) *Value[bool] { return &o.never }, (*parser).boolean)},
}

// option reads the value of one option, alone or with always and never.
func (p *parser) option(d option.Def, v value) (o Option, ok bool) {
	o = Option{Code: d.Code, Name: d.Name}
	before := len(p.faults)
	var long longOption
	switch {
	case d.Kind == option.Opaque:
		o.Data = p.octets(v, &long)
	case isLong(v.node):
		walk(p, v, optionFields, &long)
		switch {
		case long.value.node != nil:
			o.Data = p.contents(d, long.value)
		case !long.never.V && len(p.faults) == before:
			p.bad(v, "has no value: write {value: ..., always: true}")
		}
	default:
		o.Data = p.contents(d, v)
	}
	o.Always, o.Never = long.always.V, long.never.V
	if o.Never && (o.Always || len(o.Data) > 0) && len(p.faults) == before {
		p.bad(v, "never stands alone: it takes away what a wider section says")
	}
	size := 0
	for _, data := range o.Data {
		size += len(data) + 4
	}
	if size > maxOptionData {
		p.bad(v, "is %d octets long, all options of a message have 1024 together", size)
	}
	return o, len(p.faults) == before && (o.Never || len(o.Data) > 0)
}

// isLong tells {value: ..., always: true} from a value that is a mapping itself.
func isLong(n *yaml.Node) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i < len(n.Content); i += 2 {
		if slices.Contains([]string{"value", "always", "never"}, n.Content[i].Value) {
			return true
		}
	}
	return false
}

// octets reads {hex: ...}, {addresses: [...]} or {string: ...}.
func (p *parser) octets(v value, long *longOption) [][]byte {
	before := len(p.faults)
	if v.node.Kind != yaml.MappingNode {
		p.bad(v, "wants {hex: \"0a0b\"}, {addresses: [...]} or {string: ...}, got %s", describe(v.node))
		return nil
	}
	walk(p, v, octetFields, long)
	if len(p.faults) > before {
		return nil
	}
	var all [][]byte
	if long.hex.Set() {
		b, _ := hex.DecodeString(long.hex.V) // hexText has read it
		all = append(all, b)
	}
	if long.addresses.Set() {
		all = append(all, option.PutAddrs(long.addresses.V))
	}
	if long.text.Set() {
		all = append(all, []byte(long.text.V))
	}
	if len(all) != 1 && !(long.never.V && len(all) == 0) {
		p.bad(v, "wants one of hex, addresses and string")
		return nil
	}
	return all
}

// hexText reads octets in hex, with or without colons.
func (p *parser) hexText(v value) (string, bool) {
	if v.node.Kind == yaml.ScalarNode && v.node.Tag != "!!str" && !v.null() {
		p.bad(v, "wants octets in hex in quotes, such as \"0a0b\", got %s", describe(v.node))
		return "", false
	}
	s, ok := p.text(v)
	if !ok {
		return "", false
	}
	plain := strings.ReplaceAll(strings.TrimPrefix(s, "0x"), ":", "")
	if b, err := hex.DecodeString(plain); err != nil || len(b) == 0 {
		p.bad(v, "%q is not octets in hex, such as \"0a0b\"", shorten(s))
		return "", false
	}
	return plain, true
}

// groupOrAddr reads an IPv6 address that may be a multicast one.
func (p *parser) groupOrAddr(v value) (netip.Addr, bool) {
	if v.node.Kind == yaml.ScalarNode {
		if a, err := netip.ParseAddr(v.node.Value); err == nil && a.IsMulticast() && a.Is6() && a.Zone() == "" {
			return a, true
		}
	}
	return p.addr(v)
}

// timeServer reads a name, an address or a multicast address (RFC 5908 section 4).
func (p *parser) timeServer(v value) (string, bool) {
	if v.node.Kind == yaml.ScalarNode {
		if a, err := netip.ParseAddr(v.node.Value); err == nil && a.IsMulticast() && a.Is6() && a.Zone() == "" {
			return a.String(), true
		}
	}
	return p.server(v)
}

// one makes the contents of an option that is sent once.
func one(b []byte, ok bool) [][]byte {
	if !ok {
		return nil
	}
	return [][]byte{b}
}

// contents reads the value of an option that has a form of its own.
func (p *parser) contents(d option.Def, v value) [][]byte {
	switch d.Kind {
	case option.Addrs:
		a, ok := someOf((*parser).addr)(p, v)
		return one(option.PutAddrs(a), ok)
	case option.Name:
		s, ok := p.domain(v)
		b, _ := option.PutName(s)
		return one(b, ok)
	case option.Names:
		all, ok := someOf((*parser).domain)(p, v)
		return one(option.PutNames(all), ok)
	case option.Text:
		s, ok := p.zone(d.Code, v)
		return one([]byte(s), ok)
	case option.URI:
		s, ok := p.uri(v)
		return one([]byte(s), ok)
	case option.URIs:
		all, ok := someOf((*parser).uri)(p, v)
		return one(option.PutURIs(all), ok)
	case option.Seconds:
		t, ok := within(minMaxRT, maxMaxRT, " (RFC 8415)")(p, v)
		return one(option.PutSeconds(uint32(t/time.Second)), ok)
	case option.Number:
		n, ok := between(0, 255)(p, v)
		return one([]byte{byte(n)}, ok)
	case option.NTP:
		all, ok := someOf((*parser).timeServer)(p, v)
		return one(option.PutNTP(all), ok)
	case option.Vendor:
		return p.vendors(v)
	case option.DNR:
		all, ok := someOf((*parser).resolver)(p, v)
		if !ok {
			return nil
		}
		return all
	}
	return nil
}

// zone reads a time zone, as POSIX writes it or by its name (RFC 4833).
func (p *parser) zone(code uint16, v value) (string, bool) {
	switch code {
	case codePOSIXZone:
		return matching(120, chars("+-:,./<>"), "CET-1CEST,M3.5.0,M10.5.0/3")(p, v)
	case codeTZDatabase:
		return matching(60, chars("_/+-"), "Europe/Amsterdam")(p, v)
	}
	return p.text(v)
}

func (p *parser) uri(v value) (string, bool) {
	s, ok := p.text(v)
	if !ok {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || !u.IsAbs() || u.Host == "" && u.Opaque == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		p.bad(v, "%q is not a whole URI, such as https://portal.example.net/", shorten(s))
		return "", false
	}
	return s, true
}

// vendors reads enterprise number: {code: {hex: ...}} (RFC 8415 section 21.17).
func (p *parser) vendors(v value) [][]byte {
	var all [][]byte
	p.each(v, func(key *yaml.Node, child value) {
		enterprise, err := strconv.ParseUint(key.Value, 10, 32)
		if err != nil {
			p.fault(Pos{key.Line, key.Column}, child.path, "is not an enterprise number, such as 343")
			return
		}
		var subs []option.Sub
		p.each(child, func(key *yaml.Node, child value) {
			code, err := strconv.ParseUint(key.Value, 10, 16)
			if err != nil {
				p.fault(Pos{key.Line, key.Column}, child.path, "is not the number of one of the vendor's options")
				return
			}
			var long longOption
			for _, b := range p.octets(child, &long) {
				subs = append(subs, option.Sub{Code: uint16(code), Data: b})
			}
			if long.always.Set() || long.never.Set() {
				p.bad(child, "always and never are of the whole option: write vendor-opts: {value: ..., always: true}")
			}
		})
		all = append(all, option.PutVendor(uint32(enterprise), subs))
	})
	if len(all) == 0 && v.node.Kind == yaml.MappingNode && len(v.node.Content) == 0 {
		p.bad(v, "is empty: write {343: {1: {hex: \"0a0b\"}}}")
	}
	return all
}

// encrypted is one entry of dnr as it is written.
type encrypted struct {
	name      Value[string]
	priority  Value[int]
	addresses Value[[]netip.Addr]
	alpn      Value[[]string]
	port      Value[int]
	path      Value[string]
}

var dnrFields = []field[encrypted]{
	{name: "name", set: put(func(r *encrypted) *Value[string] { return &r.name }, (*parser).domain)},
	{name: "priority", set: put(func(r *encrypted) *Value[int] { return &r.priority }, between(1, 65535))},
	{name: "addresses", set: put(func(r *encrypted) *Value[[]netip.Addr] { return &r.addresses }, someOf((*parser).addr))},
	{name: "alpn", set: put(func(r *encrypted) *Value[[]string] { return &r.alpn }, someOf(oneOf([]string{"dot", "doq", "h2", "h3"})))},
	{name: "port", set: put(func(r *encrypted) *Value[int] { return &r.port }, between(1, 65535))},
	{name: "path", set: put(func(r *encrypted) *Value[string] { return &r.path }, (*parser).text)},
}

// resolver reads one encrypted resolver (RFC 9463).
func (p *parser) resolver(v value) ([]byte, bool) {
	before := len(p.faults)
	var r encrypted
	if !walk(p, v, dnrFields, &r) || len(p.faults) > before {
		return nil, false
	}
	web := slices.ContainsFunc(r.alpn.V, func(s string) bool { return s == "h2" || s == "h3" })
	switch {
	case !r.name.Set():
		p.bad(v, "has no name: clients check the resolver's certificate by it")
	case !r.addresses.Set() && (r.alpn.Set() || r.port.Set() || r.path.Set()):
		p.bad(v, "has no addresses: alpn, port and path are told only with them (RFC 9463)")
	case r.addresses.Set() && !r.alpn.Set():
		p.bad(v, "has no alpn: write dot, doq, h2 or h3, as the resolver speaks it")
	case web != r.path.Set():
		p.bad(v, "h2 and h3 belong together with path, such as /dns-query{?dns}")
	case r.path.Set() && !strings.HasPrefix(r.path.V, "/"):
		p.badAt(r.path.Pos, "%q does not begin with /", shorten(r.path.V))
	}
	if len(p.faults) > before {
		return nil, false
	}
	return option.PutResolver(option.Resolver{
		Priority: uint16(max(r.priority.V, 1)), Name: r.name.V, Addrs: r.addresses.V, ALPN: r.alpn.V, Port: uint16(r.port.V), Path: r.path.V,
	}), true
}
