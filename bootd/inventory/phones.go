package inventory

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"gopkg.in/yaml.v3"

	"bootd.internal/bootd/yealink"
)

// Phone is what a host of the section `phones:` has besides what every host has.
type Phone struct {
	// Model is a name of yealink.Models.
	Model    Value[string]
	Accounts []Account
	// Keys are the line keys, the first one first.
	Keys []PhoneKey
	// Firmware is the URL of a ROM file, instead of that of its model in the section yealink.
	Firmware Value[string]
	// Settings are lines of its file, the last word.
	Settings []Setting
}

// Account is one SIP account.
type Account struct {
	Pos Pos
	// User is the SIP user; Auth, Label and Display are User where they are unset.
	User, Auth, Label, Display Value[string]
	// Password names a secret.
	Password Value[string]
	// Server, Port and Transport are those of the section yealink where they are unset.
	Server    Value[string]
	Port      Value[int]
	Transport Value[string]
}

// PhoneKey is one line key.
type PhoneKey struct {
	// Type is a word of yealink.KeyTypes.
	Type, Value, Label Value[string]
	// Line is the account that the key uses, from 1.
	Line Value[int]
}

// Setting is one line of a phone's file.
type Setting struct {
	Name  string
	Value Value[string]
}

type phoneEntry struct {
	hostEntry
	phone Phone
}

var phoneFields = append([]field[phoneEntry]{
	ofHost("mac"), ofHost("address"), ofHost("network"), ofHost("dns"),
	{name: "model", set: put(func(e *phoneEntry) *Value[string] { return &e.phone.Model }, (*parser).phoneModel)},
	{name: "account", set: func(p *parser, e *phoneEntry, v value) { p.accounts(e, v) }},
	{name: "accounts", set: func(p *parser, e *phoneEntry, v value) { p.accounts(e, v) }},
	{name: "keys", set: func(p *parser, e *phoneEntry, v value) { e.phone.Keys, _ = listOf((*parser).phoneKey)(p, v) }},
	{name: "firmware", set: put(func(e *phoneEntry) *Value[string] { return &e.phone.Firmware }, (*parser).webURL)},
	{name: "settings", set: func(p *parser, e *phoneEntry, v value) { e.phone.Settings = p.phoneSettings(v) }},
}, phoneInherits()...)

// ofHost is a key that means for a phone what it means for a host.
func ofHost(name string) field[phoneEntry] {
	i := slices.IndexFunc(hostFields, func(f field[hostEntry]) bool { return f.name == name })
	return field[phoneEntry]{name: name, set: func(p *parser, e *phoneEntry, v value) { hostFields[i].set(p, &e.hostEntry, v) }}
}

// phoneInherits are the settings that mean something for a phone; the others are of machines that boot.
func phoneInherits() []field[phoneEntry] {
	var all []field[phoneEntry]
	for _, f := range settingsFields {
		g := field[phoneEntry]{name: f.name}
		switch f.name {
		case "domain", "ntp", "preferred", "valid", "language", "timezone", "vars", "options":
			g.set = func(p *parser, e *phoneEntry, v value) { f.set(p, &e.Settings, v) }
		default:
			g.misplaced = "is nothing that a phone has"
		}
		all = append(all, g)
	}
	return all
}

// aPhone reads one entry of the section phones: a host, so that it has a lease and a name as every host has.
func (p *parser) aPhone(key *yaml.Node, v value) {
	e := phoneEntry{hostEntry: hostEntry{Host: Host{Name: key.Value, Pos: Pos{key.Line, key.Column}}, one: NIC{Name: DefaultNIC}}}
	p.hostName(e.Pos, v.path, e.Name)
	if v.node.Kind == yaml.ScalarNode {
		p.bad(v, "wants {mac: ..., model: ..., account: {user: ..., password: {secret: NAME}}}") // it may be a password: not repeated
		return
	}
	before := len(p.faults)
	walk(p, v, phoneFields, &e)
	if len(p.faults) == before {
		switch {
		case !e.one.MAC.Set():
			p.fault(e.Pos, v.path, "has no mac")
		case !e.phone.Model.Set():
			p.fault(e.Pos, v.path, "has no model, such as T41S")
		case len(e.phone.Accounts) == 0:
			p.fault(e.Pos, v.path, "has no account: write account: {user: ..., password: {secret: NAME}}")
		}
	}
	if e.one.MAC.Set() {
		e.NICs = []NIC{e.one}
	}
	e.Phone = &e.phone
	p.inv.Hosts = append(p.inv.Hosts, e.Host)
}

func (p *parser) phoneModel(v value) (string, bool) {
	s, ok := p.text(v)
	if !ok {
		return "", false
	}
	m, known := yealink.ByName(s)
	if !known {
		p.bad(v, "no model is named %s%s: docs/modules/yealink.md lists them", shorten(s), strings.TrimSuffix(suggest(s, yealink.Names()), "?"))
		return "", false
	}
	return m.Name, true
}

// accounts reads `account:` or `accounts:`, which may not both be there.
func (p *parser) accounts(e *phoneEntry, v value) {
	if len(e.phone.Accounts) > 0 {
		p.bad(v, "account and accounts mean the same: write one of them")
		return
	}
	e.phone.Accounts, _ = someOf((*parser).account)(p, v)
}

var accountFields = []field[Account]{
	{name: "user", set: put(func(a *Account) *Value[string] { return &a.User }, phoneText(99))},
	{name: "auth", set: put(func(a *Account) *Value[string] { return &a.Auth }, phoneText(99))},
	{name: "password", set: func(p *parser, a *Account, v value) { a.Password = p.secretLine(v) }},
	{name: "label", set: put(func(a *Account) *Value[string] { return &a.Label }, phoneText(99))},
	{name: "display", set: put(func(a *Account) *Value[string] { return &a.Display }, phoneText(99))},
	{name: "server", set: put(func(a *Account) *Value[string] { return &a.Server }, (*parser).server)},
	{name: "port", set: put(func(a *Account) *Value[int] { return &a.Port }, between(1, 65535))},
	{name: "transport", set: put(func(a *Account) *Value[string] { return &a.Transport }, oneOf([]string{"udp", "tcp", "tls"}))},
}

func (p *parser) account(v value) (Account, bool) {
	a := Account{Pos: v.pos()}
	before := len(p.faults)
	if v.node.Kind != yaml.MappingNode {
		p.bad(v, "wants {user: ..., password: {secret: NAME}}") // what stands there may be a password: it is not repeated
		return a, false
	}
	walk(p, v, accountFields, &a)
	if len(p.faults) == before {
		switch {
		case !a.User.Set():
			p.bad(v, "has no user")
		case !a.Password.Set():
			p.bad(v, "has no password: the SIP server would refuse it; write password: {secret: NAME}")
		}
	}
	p.paths[a.Pos] = v.path
	return a, len(p.faults) == before
}

// secretLine reads {secret: NAME} where the secret becomes one line of a phone's file.
func (p *parser) secretLine(v value) Value[string] {
	if v.node.Kind != yaml.MappingNode {
		p.bad(v, "wants {secret: NAME}: a password itself must not stand here")
		return Value[string]{}
	}
	name, ok := p.reference(v)
	if !ok {
		return Value[string]{}
	}
	p.wanted[len(p.wanted)-1].line = true
	return keep(p, v, name)
}

var phoneKeyFields = []field[PhoneKey]{
	{name: "type", set: put(func(k *PhoneKey) *Value[string] { return &k.Type }, oneOf([]string{"line", "blf", "speeddial", "park", "none"}))},
	{name: "value", set: put(func(k *PhoneKey) *Value[string] { return &k.Value }, phoneText(99))},
	{name: "label", set: put(func(k *PhoneKey) *Value[string] { return &k.Label }, phoneText(99))},
	{name: "line", set: put(func(k *PhoneKey) *Value[int] { return &k.Line }, between(1, 16))},
}

func (p *parser) phoneKey(v value) (PhoneKey, bool) {
	var k PhoneKey
	before := len(p.faults)
	walk(p, v, phoneKeyFields, &k)
	if len(p.faults) == before {
		needs := k.Type.V == "blf" || k.Type.V == "speeddial" || k.Type.V == "park"
		switch {
		case !k.Type.Set():
			p.bad(v, "has no type, such as blf")
		case needs && !k.Value.Set():
			p.bad(v, "a key of type %s wants a value: the number that it calls or watches", k.Type.V)
		}
	}
	return k, len(p.faults) == before
}

// phoneSettings reads lines of a file: names that the firmware knows, with text or numbers.
func (p *parser) phoneSettings(v value) []Setting {
	var all []Setting
	p.each(v, func(key *yaml.Node, child value) {
		if fault := yealink.KeyFault(key.Value); fault != "" {
			p.fault(Pos{key.Line, key.Column}, child.path, "%s", fault)
			return
		}
		if yealink.Secret(key.Value) {
			p.bad(child, "is a password, which must not stand here: put it into templates/yealink/phone.cfg with {{.Secret \"NAME\"}}")
			return
		}
		if x, ok := p.settingValue(child); ok {
			all = append(all, Setting{key.Value, keep(p, child, x)})
		}
	})
	return all
}

func (p *parser) settingValue(v value) (string, bool) {
	n := v.node
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!int":
		return n.Value, true
	case n.Kind == yaml.ScalarNode && n.Tag == "!!bool":
		p.bad(v, "wants text or a number, got %s: phones write 1 and 0", n.Value)
		return "", false
	case n.Kind == yaml.ScalarNode && n.Tag == "!!str" && n.Value == "":
		return "", true
	}
	return phoneText(511)(p, v)
}

// phoneText reads text that a line `name = value` can carry: valid UTF-8 without control characters, and without blanks at
// its ends, which phones take off. Quotes make numbers of YAML text: a bare one is taken as it stands.
func phoneText(most int) func(*parser, value) (string, bool) {
	return func(p *parser, v value) (string, bool) {
		s := v.node.Value
		if v.node.Kind != yaml.ScalarNode || v.node.Tag != "!!int" {
			var ok bool
			if s, ok = p.multiline(v); !ok {
				return "", false
			}
		}
		if fault := lineFault(s); fault != "" {
			p.bad(v, "%s", fault)
			return "", false
		}
		if len(s) > most {
			p.bad(v, "has %d octets: phones take %d at most", len(s), most)
			return "", false
		}
		return s, true
	}
}

func lineFault(s string) string {
	switch {
	case !utf8.ValidString(s):
		return "is not UTF-8, which a phone's file is made of"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "holds a line break or another control character, which a phone's file cannot carry"
	case s != strings.TrimSpace(s):
		return "begins or ends with a blank, which a phone takes off"
	case strings.HasPrefix(s, "%NULL%"):
		return "is %NULL%, by which a phone's file means nothing"
	}
	return ""
}

// LineFault says why a secret cannot stand in a phone's file, without repeating it; empty: it can.
func LineFault(s string) string {
	if len(s) > 99 {
		return "has more than 99 octets, which phones take at most"
	}
	return lineFault(s)
}

// phones finds what is wrong between phones, models and the section yealink.
func (c *checker) phones() {
	first := map[string]*Host{}
	for i := range c.inv.Hosts {
		h := &c.inv.Hosts[i]
		if h.Phone == nil {
			first[h.Name] = h
			continue
		}
		if other, dup := first[h.Name]; dup {
			c.fault(h.Pos, h.path(), "%s is already the name of %s (line %d)", h.Name, other.path(), other.Pos.Line)
		}
		c.aPhone(h)
	}
	c.yealink()
}

func (c *checker) aPhone(h *Host) {
	m, _ := yealink.ByName(h.Phone.Model.V)
	if n := len(h.Phone.Accounts); m.Accounts > 0 && n > m.Accounts {
		c.badAt(h.Phone.Accounts[m.Accounts].Pos, "a %s has %d accounts at most, this is number %d", m.Name, m.Accounts, m.Accounts+1)
	}
	if n := len(h.Phone.Keys); m.Keys > 0 && n > m.Keys {
		c.badAt(h.Phone.Keys[m.Keys].Type.Pos, "a %s has %d line keys at most, this is number %d", m.Name, m.Keys, m.Keys+1)
	}
	for _, k := range h.Phone.Keys {
		if k.Line.V > len(h.Phone.Accounts) {
			c.badAt(k.Line.Pos, "the phone has no account %d", k.Line.V)
		}
	}
	for _, a := range h.Phone.Accounts {
		if !a.Server.Set() && !c.inv.Yealink.Server.Set() {
			c.badAt(a.Pos, "has no server: write server here, or once in the section yealink")
		}
	}
}

// HasPhones reports whether the inventory lists a phone.
func (inv *Inventory) HasPhones() bool {
	for i := range inv.Hosts {
		if inv.Hosts[i].Phone != nil {
			return true
		}
	}
	return false
}

// path is the key path of a host.
func (h *Host) path() string {
	if h.Phone != nil {
		return "phones." + pathKey(h.Name)
	}
	return "hosts." + pathKey(h.Name)
}
