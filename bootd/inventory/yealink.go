package inventory

import (
	"net/netip"
	"net/url"
	"slices"
	"time"

	"gopkg.in/yaml.v3"

	"bootd.internal/bootd/yealink"
)

// Yealink is the section `yealink:`: what all phones share.
type Yealink struct {
	// Scheme is https or http: how phones fetch their files.
	Scheme Value[string]
	// Port is the TCP port of HTTPS; plain HTTP is on Serve.HTTPPort.
	Port Value[int]
	// Name is how the provisioning URL names bootd; unset: by its address on the phone's network.
	Name Value[string]
	// Certificate and Key are PEM files instead of bootd's own authority, ClientCA one that device certificates of phones are
	// signed by; relative to the inventory.
	Certificate, Key, ClientCA Value[string]
	// Access says what a phone shows besides its address: address (nothing), token (in its URL) or password (HTTP Basic).
	Access Value[string]
	// User and Password are those of HTTP Basic; Password names a secret.
	User, Password Value[string]
	// PlainSecrets lets passwords travel over plain HTTP.
	PlainSecrets Value[bool]
	// DHCPOptions are the DHCPv6 options that carry the provisioning URL; Enterprise is the number of options 16 and 17.
	DHCPOptions Value[[]int]
	Enterprise  Value[int]
	// Unlisted: phones that nobody listed are given the common files, and the URL where they are given an address.
	Unlisted Value[bool]
	// Local keeps <mac>-local.cfg, which phones upload.
	Local Value[bool]
	// Server, ServerPort and Transport are those of accounts that name none.
	Server     Value[string]
	ServerPort Value[int]
	Transport  Value[string]
	// Addresses is ipv6, ipv4 or dual.
	Addresses Value[string]
	// Repeat is how often a phone looks for new files; 0: at power-on only.
	Repeat Value[time.Duration]
	// Firmware are URLs of ROM files by model.
	Firmware map[string]Value[string]
	// Settings are lines of every phone's file.
	Settings []Setting
}

var yealinkFields = []field[Yealink]{
	{name: "scheme", set: put(func(y *Yealink) *Value[string] { return &y.Scheme }, oneOf([]string{"https", "http"}))},
	{name: "port", set: put(func(y *Yealink) *Value[int] { return &y.Port }, between(1, 65535))},
	{name: "name", set: put(func(y *Yealink) *Value[string] { return &y.Name }, (*parser).domain)},
	{name: "certificate", set: put(func(y *Yealink) *Value[string] { return &y.Certificate }, (*parser).text)},
	{name: "key", set: put(func(y *Yealink) *Value[string] { return &y.Key }, (*parser).text)},
	{name: "client_ca", set: put(func(y *Yealink) *Value[string] { return &y.ClientCA }, (*parser).text)},
	{name: "access", set: put(func(y *Yealink) *Value[string] { return &y.Access }, oneOf([]string{"address", "token", "password"}))},
	{name: "user", set: put(func(y *Yealink) *Value[string] { return &y.User }, phoneText(32))},
	{name: "password", set: func(p *parser, y *Yealink, v value) { y.Password = p.secretLine(v) }},
	{name: "plain_secrets", set: put(func(y *Yealink) *Value[bool] { return &y.PlainSecrets }, (*parser).boolean)},
	{name: "dhcp_options", set: put(func(y *Yealink) *Value[[]int] { return &y.DHCPOptions }, someOf((*parser).urlOption))},
	{name: "enterprise", set: put(func(y *Yealink) *Value[int] { return &y.Enterprise }, between(1, 1<<31-1))},
	{name: "unlisted", set: put(func(y *Yealink) *Value[bool] { return &y.Unlisted }, (*parser).boolean)},
	{name: "local", set: put(func(y *Yealink) *Value[bool] { return &y.Local }, (*parser).boolean)},
	{name: "server", set: put(func(y *Yealink) *Value[string] { return &y.Server }, (*parser).server)},
	{name: "server_port", set: put(func(y *Yealink) *Value[int] { return &y.ServerPort }, between(1, 65535))},
	{name: "transport", set: put(func(y *Yealink) *Value[string] { return &y.Transport }, oneOf([]string{"udp", "tcp", "tls"}))},
	{name: "addresses", set: put(func(y *Yealink) *Value[string] { return &y.Addresses }, oneOf([]string{"ipv6", "ipv4", "dual"}))},
	{name: "repeat", set: put(func(y *Yealink) *Value[time.Duration] { return &y.Repeat }, (*parser).repeat)},
	{name: "firmware", set: func(p *parser, y *Yealink, v value) { y.Firmware = p.firmwares(v) }},
	{name: "settings", set: func(p *parser, y *Yealink, v value) { y.Settings = p.phoneSettings(v) }},
}

// BuiltinYealink is what the section yealink is when it says nothing.
func BuiltinYealink() Yealink {
	return Yealink{
		Scheme: builtin("https"), Port: builtin(443), Access: builtin("address"), PlainSecrets: builtin(false),
		DHCPOptions: builtin([]int{optBootfileURL}), Unlisted: builtin(false), Local: builtin(false), Transport: builtin("tls"),
		Addresses: builtin("ipv6"), Repeat: builtin(24 * time.Hour),
	}
}

const (
	optVendorClass = 16
	optVendorOpts  = 17
	optBootfileURL = 59
)

// urlOption reads the code of an option that can carry a URL: option 59 (RFC 5970), 16 and 17 (RFC 8415 sections 21.16 and
// 21.17), or a code that no standard uses.
func (p *parser) urlOption(v value) (int, bool) {
	n, ok := between(1, 65535)(p, v)
	if ok && n < 144 && n != optVendorClass && n != optVendorOpts && n != optBootfileURL {
		p.bad(v, "option %d has a meaning of its own: write 59, 16, 17 or a code from 144 on", n)
		return 0, false
	}
	return n, ok
}

func (p *parser) repeat(v value) (time.Duration, bool) {
	if v.node.Kind == yaml.ScalarNode && (v.node.Value == "off" || v.node.Value == "false") {
		return 0, true
	}
	d, ok := within(yealink.MinRepeat, yealink.MaxRepeat, "")(p, v)
	if ok && d%time.Minute != 0 {
		p.bad(v, "%s is not whole minutes, in which phones count", v.node.Value)
		return 0, false
	}
	return d, ok
}

func (p *parser) firmwares(v value) map[string]Value[string] {
	all := map[string]Value[string]{}
	p.each(v, func(key *yaml.Node, child value) {
		m, ok := yealink.ByName(key.Value)
		if !ok {
			p.fault(Pos{key.Line, key.Column}, child.path, "no model is named %s%s", shorten(key.Value), suggest(key.Value, yealink.Names()))
			return
		}
		if s, ok := p.webURL(child); ok {
			all[m.Name] = keep(p, child, s)
		}
	})
	return all
}

// webURL reads an http or https URL.
func (p *parser) webURL(v value) (string, bool) {
	s, ok := phoneText(511)(p, v)
	if !ok {
		return "", false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil {
		p.bad(v, "is not a URL such as http://[2001:db8::1]/firmware/T41S.rom")
		return "", false
	}
	return s, true
}

// yealink finds values of the section that do not fit together.
func (c *checker) yealink() {
	y, b := &c.inv.Yealink, BuiltinYealink()
	https := y.Scheme.Or(b.Scheme).V == "https"
	switch {
	case y.Certificate.Set() != y.Key.Set():
		c.badAt(y.Certificate.Or(y.Key).Pos, "certificate and key belong together")
	case y.Certificate.Set() && !y.Name.Set():
		c.badAt(y.Certificate.Pos, "a certificate is for a name: write name, the one that it is for")
	}
	if !https && (y.Certificate.Set() || y.ClientCA.Set()) {
		c.badAt(y.Certificate.Or(y.ClientCA).Pos, "is of no use with scheme: http")
	}
	vendor := slices.ContainsFunc(y.DHCPOptions.V, func(n int) bool { return n == optVendorClass || n == optVendorOpts })
	if vendor && !y.Enterprise.Set() {
		c.badAt(y.DHCPOptions.Pos, "options 16 and 17 carry an enterprise number: write enterprise")
	}
	if access := y.Access.Or(b.Access); access.V == "password" && (!y.Password.Set() || !y.User.Set()) {
		c.badAt(access.Pos, "wants user and password: {secret: NAME}")
	}
	phones := c.inv.HasPhones()
	if !https && !y.PlainSecrets.V && phones {
		c.badAt(y.Scheme.Pos, "passwords of phones would travel over plain http: write https, or allow it with plain_secrets: true")
	}
	if _, err := netip.ParseAddr(y.Name.V); err == nil {
		c.badAt(y.Name.Pos, "is an address: leave name out, and phones are told bootd's address")
	}
}
