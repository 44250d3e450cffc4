package render

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/yealink"
)

// The templates of phones. Beside these, templates/yealink/models/MODEL.cfg is read for a model and templates/yealink/phones/NAME.cfg
// for one phone, where they exist.
const (
	PhoneCommon    = "yealink/common.cfg"
	PhoneOwn       = "yealink/phone.cfg"
	PhoneBootstrap = "yealink/bootstrap.cfg"
	phoneModels    = "yealink/models/"
	phonePhones    = "yealink/phones/"
)

// Phone is what templates of phones see as .Phone.
type Phone struct {
	Model yealink.Model
	// Static is "static." where the firmware wants it before the names of settings of the phone itself, else empty.
	Static string
	// URL is where the phone fetches its files, with its token; empty where it may not know.
	URL string
	// CA is where it fetches the certificate of bootd's own authority; empty: there is none.
	CA string
	// AddressMode is 0 for IPv4, 1 for IPv6, 2 for both.
	AddressMode int
	// Repeat is in minutes; 0: at power-on only. Options are the DHCPv6 options to look at, with commas.
	Repeat  int
	Options string
	// User and Password (the name of a secret) are those of HTTP Basic, empty where nothing is asked.
	User, Password     string
	Firmware, Language string
	Accounts           []PhoneAccount
	Keys               []PhoneKey
	// Settings are the lines that the inventory adds: Common those of all phones, Own of this one.
	Common, Own []yealink.Line
	timezone    string
}

// PhoneAccount is one SIP account; Transport is the firmware's number.
type PhoneAccount struct {
	User, Auth, Label, Display, Secret, Server string
	Port, Transport                            int
}

// PhoneKey is one line key; Type is the firmware's number.
type PhoneKey struct {
	Type, Line   int
	Value, Label string
}

// Zone is how the firmware names a time zone.
type Zone struct{ Offset, Name string }

// Zone gives the phone's time zone, nil where the inventory's settings set local_time.time_zone themselves.
func (p *Phone) Zone() (*Zone, error) {
	for _, l := range slices.Concat(p.Common, p.Own) {
		if l.Name == "local_time.time_zone" {
			return nil, nil
		}
	}
	offset, name, ok := yealink.Zone(p.timezone)
	if !ok {
		return nil, fmt.Errorf("how the firmware names the time zone %s is not known: write local_time.time_zone and local_time.time_zone_name in settings", p.timezone)
	}
	return &Zone{offset, name}, nil
}

// phoneOf gathers what templates may know of a phone; h is nil for one that nobody listed, m then what it says it is.
func phoneOf(snap *site.Snapshot, h *site.Host, n *site.Network, m yealink.Model) *Phone {
	s := snap.Phones
	p := &Phone{
		Model: m, Static: "static.", CA: snap.PhoneCA(n), AddressMode: yealink.AddressModes()[s.Addresses],
		Repeat: int(s.Repeat / time.Minute), Common: lines(s.Settings),
	}
	if m.Old {
		p.Static = ""
	}
	var codes []string
	for _, c := range s.Options {
		codes = append(codes, strconv.Itoa(c))
	}
	p.Options = strings.Join(codes, ",")
	if h == nil {
		return p
	}
	p.URL = snap.PhoneURL(h, n, false)
	if s.Access == site.ByPassword {
		p.User, p.Password = s.User, s.Password
	}
	p.Firmware, p.Own, p.timezone = h.Phone.Firmware, lines(h.Phone.Settings), h.Timezone
	p.Language = yealink.Language(h.Language)
	for _, a := range h.Phone.Accounts {
		p.Accounts = append(p.Accounts, PhoneAccount{
			User: a.User, Auth: a.Auth, Label: a.Label, Display: a.Display, Secret: a.Secret, Server: a.Server, Port: a.Port,
			Transport: yealink.Transports()[a.Transport],
		})
	}
	for _, k := range h.Phone.Keys {
		p.Keys = append(p.Keys, PhoneKey{
			Type: yealink.KeyTypes()[k.Type.V], Line: cmp.Or(k.Line.V, 1), Value: k.Value.V, Label: cmp.Or(k.Label.V, k.Value.V),
		})
	}
	return p
}

func lines(all []inventory.Setting) []yealink.Line {
	out := make([]yealink.Line, 0, len(all))
	for _, s := range all {
		out = append(out, yealink.Line{Name: s.Name, Value: s.Value.V})
	}
	return out
}

// Unlisted is what templates may know of a phone that nobody listed.
func Unlisted(snap *site.Snapshot, n *site.Network, m yealink.Model) Data {
	d := At(snap, n)
	d.Phone = phoneOf(snap, nil, n, m)
	return d
}

// PhoneText is which of a phone's files is rendered.
type PhoneText int

// The files. Each is the one before and more.
const (
	// CommonText is what all phones of a model are told: no secrets.
	CommonText PhoneText = iota
	// OwnText is everything that one phone is told.
	OwnText
)

// part is one template of a phone's file.
type part struct {
	name     string
	optional bool
	// then are the lines of the inventory that follow it.
	then []yealink.Line
}

func (d Data) parts(what PhoneText) []part {
	all := []part{{PhoneCommon, false, nil}, {phoneModels + d.Phone.Model.Name + ".cfg", true, d.Phone.Common}}
	if what == OwnText {
		all = append(all, part{PhoneOwn, false, nil}, part{phonePhones + d.Host + ".cfg", true, d.Phone.Own})
	}
	return all
}

// Phone renders a file of a phone: templates and the lines of the inventory one over the other, the later one wins.
func (s *Set) Phone(d Data, what PhoneText) ([]byte, error) {
	whole, err := s.phoneLines(d, what, nil)
	if err != nil {
		return nil, err
	}
	return yealink.Format(whole), nil
}

// phoneLines renders and reads each template; look sees each text.
func (s *Set) phoneLines(d Data, what PhoneText, look func(name string, text []byte)) ([]yealink.Line, error) {
	var files [][]yealink.Line
	for _, p := range d.parts(what) {
		if p.optional && !s.has(p.name) {
			files = append(files, p.then)
			continue
		}
		err := s.render(p.name, d, func(b []byte) {
			got, _ := yealink.ParseConfig(b)
			files = append(files, got, p.then)
			if look != nil {
				look(p.name, b)
			}
		})
		if err != nil {
			return nil, err
		}
	}
	return yealink.Merge(files...), nil
}

func (s *Set) has(name string) bool {
	f, err := s.fsys.Open(name)
	if err == nil {
		_ = f.Close() // it was only looked for
	}
	return !errors.Is(err, fs.ErrNotExist)
}

// mayHoldSecrets: these templates are given to one phone alone.
func mayHoldSecrets(name string) bool {
	return name == PhoneOwn || strings.HasPrefix(name, phonePhones)
}

// phone renders and inspects what a phone is given, as checker.host does for machines.
func (c checker) phone(h *site.Host) []*Error {
	d := Preview(c.snap, h)
	var errs []*Error
	look := func(name string, b []byte) {
		if c.inspect != nil {
			errs = append(errs, c.located(h, c.inspect(Text{}, Text{}, []Text{{name, b}}))...)
		}
	}
	if err := c.set.render(PhoneBootstrap, d, func(b []byte) { look(PhoneBootstrap, b) }); err != nil {
		errs = append(errs, located(err, PhoneBootstrap, h.Name))
	}
	whole, err := c.set.phoneLines(d, OwnText, look)
	if err != nil {
		return append(errs, located(err, PhoneOwn, h.Name))
	}
	for _, f := range yealink.LintWhole(whole) {
		errs = append(errs, &Error{Template: PhoneOwn, Host: h.Name, Msg: f.Text})
	}
	return errs
}

// line passes a value that can stand behind the = of a phone's file.
func line(v any) (string, error) {
	s := text(v)
	switch {
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", errors.New("a value holds a line break or another control character") // it may be a password: not repeated
	case s != strings.TrimSpace(s):
		return "", errors.New("a value begins or ends with a blank, which a phone takes off")
	}
	return s, nil
}
