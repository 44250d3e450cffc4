// Package phone answers one question: which of its files is a Yealink phone given, and may it have it? It decides HTTP
// requests below /yealink/ by the name of the file and by who asks: the MAC that the network shows, a token in the URL, a
// password or a device certificate, as the inventory wants it. It is pure: snapshot, store view, request, templates and
// time go in, one Decision comes out.
//
// The package never gives a phone's own file to anybody else, and never lets a password travel over plain HTTP unless the
// inventory allows it. A phone is a host like any other: what it boots is no matter of bootd/decide/boot.
package phone

import (
	"crypto/subtle"
	"fmt"
	"strings"
	"time"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/yealink"
)

// MaxLocal is how much of a <mac>-local.cfg is taken, in octets: phones write some kilobytes.
const MaxLocal = 128 << 10

// Path is where a request goes below /yealink/.
type Path struct {
	// Token is the part before the file's name, or empty.
	Token string
	File  yealink.File
	// Outside: it leads somewhere else, which is refused.
	Outside bool
}

// ParsePath reads a decoded path; false: it is none of a phone's. Repeated slashes count as one.
func ParsePath(p string) (Path, bool) {
	parts := strings.FieldsFunc(p, func(r rune) bool { return r == '/' })
	if len(parts) == 0 || parts[0] != site.PhonesPath {
		return Path{}, false
	}
	parts = parts[1:]
	none := Path{File: yealink.File{Kind: yealink.Other}}
	for _, s := range parts {
		if s == "." || s == ".." || strings.ContainsAny(s, "\\\x00") {
			none.Outside = true
			return none, true
		}
	}
	switch {
	case len(parts) == 1:
		return Path{File: yealink.ParseFile(parts[0])}, true
	case len(parts) == 2:
		return Path{Token: parts[0], File: yealink.ParseFile(parts[1])}, true
	}
	return none, true
}

// Request is one request, as far as it decides anything.
type Request struct {
	At       site.Arrival
	Network  *site.Network
	Path     Path
	Evidence []who.Evidence
	// Put: the phone uploads; Body is what.
	Put  bool
	Body []byte
	// Head: only the headers are wanted.
	Head bool
	// TLS: it came over HTTPS. Device is the MAC in the phone's certificate, where it showed one that is signed.
	TLS    bool
	Device ident.MAC
	// User and Password are those of HTTP Basic; Basic: they were there.
	Basic          bool
	User, Password string
	// Agent is the User-Agent header.
	Agent string
}

// Renderer is the templates in force; *render.Set is one.
type Renderer interface {
	Phone(d render.Data, what render.PhoneText) ([]byte, error)
	Render(name string, d render.Data) ([]byte, error)
	// Secret gives the value of a secret.
	SecretOf(name string) (string, error)
}

// Decision is everything that follows from a Request.
type Decision struct {
	reason.Outcome
	Status int
	Type   string
	Body   []byte
	// Challenge: the answer asks for a user and a password.
	Challenge bool
	// Authority: the certificate of bootd's own authority answers.
	Authority bool
	Ops       []store.Op
	Events    []timeline.Event
	// MAC is who asked, as far as it can be seen; Seen what the phone tells of itself, nil for what is no phone.
	MAC  ident.MAC
	Seen *timeline.Phone
}

// HTTP status codes (RFC 9110 section 15).
const (
	statusOK           = 200
	statusUnauthorized = 401
	statusForbidden    = 403
	statusNotFound     = 404
	statusTooLarge     = 413
	statusUnavailable  = 503
)

const typeText = "text/plain; charset=utf-8"

// Key is the record of what a phone uploaded.
func Key(m ident.MAC) store.Key { return store.Key{Table: store.TablePhone, ID: m.String()} }

// asker is one request with what was found out about it.
type asker struct {
	snap   *site.Snapshot
	view   store.View
	req    Request
	render Renderer
	now    time.Time
	match  who.Match
	agent  yealink.Agent
	isOne  bool
	// host is the phone that the asked file belongs to, nil for common files.
	host *site.Host
}

// Decide answers a request; snap.Phones must be set.
func Decide(snap *site.Snapshot, v store.View, r Request, tmpl Renderer, now time.Time) Decision {
	a := asker{snap: snap, view: v, req: r, render: tmpl, now: now}
	a.match = who.Identify(snap, v, r.Network, r.Evidence)
	a.agent, a.isOne = yealink.ParseAgent(r.Agent)
	d := a.decide()
	d.MAC = a.match.Observed
	if a.match.NIC != nil {
		d.MAC = a.match.NIC.MAC
	}
	a.tell(&d)
	return d
}

func (a *asker) decide() Decision {
	f := a.req.Path.File
	switch {
	case a.req.Path.Outside:
		return a.refuse(reason.OutsideRoot, statusNotFound, "no such file")
	case a.req.Network == nil:
		return a.refuse(reason.NotServedLink, statusForbidden, "this link has no network")
	case f.Kind == yealink.Authority && !a.req.Put:
		d := a.answer(reason.Answered, nil)
		d.Authority = true
		return d
	case f.Kind == yealink.Other, a.req.Put && f.Kind != yealink.Local:
		return a.refuse(reason.NotFound, statusNotFound, "no such file")
	case f.Kind == yealink.Common || f.Kind == yealink.CommonBoot:
		return a.common(f)
	}
	nic, ok := a.snap.NIC(f.MAC)
	if !ok || nic.Host.Phone == nil {
		return a.refuse(reason.UnknownHost, statusNotFound, "no such file")
	}
	a.host = nic.Host
	if d, ok := a.admit(); !ok {
		return d
	}
	return a.own(f)
}

// admit says whether whoever asks is the phone that the file belongs to.
func (a *asker) admit() (Decision, bool) {
	p, want := a.snap.Phones, a.req.Path.File.MAC
	seen := a.match.Observed
	if a.match.NIC != nil {
		seen = a.match.NIC.MAC
	}
	token := a.shows(want)
	switch {
	case seen.Valid() && seen != want:
		return a.thief(reason.OtherPhone, fmt.Sprintf("%s asked for the file of %s", seen, a.host.Name)), false
	case a.match.Reason == reason.WrongNetwork:
		return a.refuse(reason.WrongNetwork, statusForbidden, a.host.Name+" is not listed for this network"), false
	case !seen.Valid() && p.Access == site.ByAddress && !a.req.Device.Valid():
		return a.refuse(reason.UnknownHost, statusForbidden, "who asks cannot be seen from here"), false
	case a.req.Path.Token != "" && !token || p.Access == site.ByToken && !token:
		return a.wrongToken(), false
	case a.req.TLS && a.req.Device != want && (p.ClientCA != "" || a.req.Device.Valid()):
		return a.thief(reason.Unauthorized, "no certificate of this phone was shown"), false
	}
	if p.Access == site.ByPassword && (a.req.TLS || p.PlainSecrets) {
		return a.password()
	}
	return Decision{}, true
}

// shows reports whether the URL has a phone's token, in a time that tells nothing of it.
func (a *asker) shows(phone ident.MAC) bool {
	return subtle.ConstantTimeCompare([]byte(a.req.Path.Token), []byte(a.snap.PhoneToken(phone))) == 1
}

// wrongToken tells another phone's token from one that nobody has.
func (a *asker) wrongToken() Decision {
	for _, h := range a.snap.Hosts {
		if h.Phone != nil && a.shows(h.MAC()) {
			return a.thief(reason.TokenOtherHost, "the token of "+h.Name+" was shown for the file of "+a.host.Name)
		}
	}
	return a.refuse(reason.TokenUnknown, statusForbidden, "no such token")
}

func (a *asker) password() (Decision, bool) {
	want, err := a.render.SecretOf(a.snap.Phones.Password)
	if err != nil {
		return a.failed(err), false
	}
	same := subtle.ConstantTimeCompare([]byte(a.req.Password), []byte(want)) & subtle.ConstantTimeCompare([]byte(a.req.User), []byte(a.snap.Phones.User))
	if same == 1 {
		return Decision{}, true
	}
	d := a.refuse(reason.Unauthorized, statusUnauthorized, "user and password, please")
	if a.req.Basic {
		d.Events = []timeline.Event{a.event(timeline.Warning, reason.Unauthorized, "a wrong password was given for the file of "+a.host.Name)}
	}
	d.Challenge = true
	return d, false
}

// own gives a phone what belongs to it.
func (a *asker) own(f yealink.File) Decision {
	bare := !a.req.TLS && a.snap.Phones.HTTPS && !a.snap.Phones.PlainSecrets
	switch {
	case f.Kind == yealink.OwnBoot:
		return a.answer(reason.PhoneFile, bootFile(a.host.Phone.Model.Common(), yealink.Plain(f.MAC)+".cfg"))
	case f.Kind == yealink.Local && bare:
		return a.refuse(reason.PhoneBootstrap, statusNotFound, "come over https")
	case f.Kind == yealink.Local:
		return a.local(f.MAC)
	case bare:
		text, err := a.render.Render(render.PhoneBootstrap, a.data())
		if err != nil {
			return a.failed(err)
		}
		return a.answer(reason.PhoneBootstrap, text)
	}
	text, err := a.render.Phone(a.data(), render.OwnText)
	if err != nil {
		return a.failed(err)
	}
	return a.answer(reason.PhoneFile, text)
}

func (a *asker) data() render.Data {
	return render.Of(a.snap, a.host, a.host.NICs[0], a.req.Network)
}

// local keeps what people set at the phone, and gives it back.
func (a *asker) local(m ident.MAC) Decision {
	kept, ok := a.view.Peek(Key(m))
	switch {
	case !a.snap.Phones.Local:
		return a.refuse(reason.NotFound, statusNotFound, "no such file")
	case a.req.Put && len(a.req.Body) > MaxLocal:
		return a.refuse(reason.Oversized, statusTooLarge, "too much")
	case a.req.Put:
		d := a.answer(reason.Changed, nil)
		d.Ops = []store.Op{{Key: Key(m), Value: a.req.Body}}
		return d
	case !ok:
		return a.refuse(reason.NotFound, statusNotFound, "no such file")
	}
	return a.answer(reason.PhoneFile, kept)
}

// common gives what every phone of a model may know: to listed phones, and to others where the inventory says so.
func (a *asker) common(f yealink.File) Decision {
	asks := a.match.Host
	if asks != nil && asks.Phone == nil || asks == nil && !a.snap.Phones.Unlisted {
		return a.refuse(reason.UnknownHost, statusNotFound, "no such file")
	}
	m, known := yealink.ByNumber(f.Number)
	switch {
	case asks != nil && (f.Kind == yealink.CommonBoot || asks.Phone.Model.Number == f.Number):
		m, known = asks.Phone.Model, true
	case f.Kind == yealink.CommonBoot:
		if m, known = yealink.ByName(a.agent.Model); !known {
			return a.refuse(reason.NotFound, statusNotFound, "no such file")
		}
	}
	if f.Kind == yealink.CommonBoot {
		return a.answer(reason.PhoneFile, bootFile(m.Common(), "$mac.cfg"))
	}
	if !known {
		m = yealink.Model{Name: "unknown", Number: f.Number}
	}
	text, err := a.render.Phone(render.Unlisted(a.snap, a.req.Network, m), render.CommonText)
	if err != nil {
		return a.failed(err)
	}
	d := a.answer(reason.PhoneFile, text)
	if !known {
		d.Events = append(d.Events, a.event(timeline.Warning, reason.PhoneFile,
			fmt.Sprintf("no model is known for y%012d.cfg: its phone says %q", f.Number, clip(a.req.Agent))))
	}
	return d
}

// bootFile names the files that a phone fetches, the later one wins ("Boot Files", Yealink's Auto Provisioning Guide V81).
func bootFile(names ...string) []byte {
	var b strings.Builder
	b.WriteString(yealink.Header + "\n")
	for _, n := range names {
		fmt.Fprintf(&b, "include:config \"%s\"\n", n)
	}
	b.WriteString("overwrite_mode = 1\n")
	return []byte(b.String())
}
