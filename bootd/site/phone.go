package site

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/yealink"
)

// PhonesPath is the first part of the path of everything that phones fetch.
const PhonesPath = "yealink"

// Access says what a phone shows besides its address.
type Access string

// The ways to show who one is.
const (
	ByAddress  Access = "address"
	ByToken    Access = "token"
	ByPassword Access = "password"
)

// Phones is what all phones share.
type Phones struct {
	// HTTPS: their files are served over TLS on Port; over plain HTTP they are told to come there.
	HTTPS bool
	Port  int
	// Name is how URLs name bootd; empty: by its address on the phone's network.
	Name string
	// Certificate, Key and ClientCA are files as the inventory names them, relative to it; empty: bootd's own authority, and
	// no certificates of phones.
	Certificate, Key, ClientCA string
	Access                     Access
	// User is the one of HTTP Basic, Password the name of its secret.
	User, Password string
	// PlainSecrets lets passwords travel over plain HTTP.
	PlainSecrets bool
	// Options are the DHCPv6 options that carry the provisioning URL; Enterprise is the number of options 16 and 17.
	Options    []int
	Enterprise int
	// Unlisted: phones that nobody listed are given the common files.
	Unlisted bool
	// Local keeps <mac>-local.cfg.
	Local bool
	// Addresses is ipv6, ipv4 or dual; Repeat 0: at power-on only.
	Addresses string
	Repeat    time.Duration
	Settings  []inventory.Setting
}

// Phone is what a host that is a phone has besides what every host has.
type Phone struct {
	Model    yealink.Model
	Accounts []Account
	Keys     []inventory.PhoneKey
	// Firmware is the URL of a ROM file, or empty.
	Firmware string
	Settings []inventory.Setting
}

// Account is one SIP account with its defaults filled in.
type Account struct {
	// Secret names the secret that holds the password.
	User, Auth, Label, Display, Secret string
	Server                             string
	Port                               int
	// Transport is udp, tcp or tls.
	Transport string
}

// phones takes what the section yealink says over what is built in.
func (r *resolver) phones() {
	y, b := &r.inv.Yealink, inventory.BuiltinYealink()
	listed := r.inv.HasPhones()
	if !listed && !y.Unlisted.V {
		return
	}
	r.snap.Phones = &Phones{
		HTTPS: y.Scheme.Or(b.Scheme).V == "https", Port: y.Port.Or(b.Port).V, Name: y.Name.V,
		Certificate: y.Certificate.V, Key: y.Key.V, ClientCA: y.ClientCA.V, Access: Access(y.Access.Or(b.Access).V),
		User: y.User.V, Password: y.Password.V, PlainSecrets: y.PlainSecrets.V, Options: slices.Clone(y.DHCPOptions.Or(b.DHCPOptions).V),
		Enterprise: y.Enterprise.V, Unlisted: y.Unlisted.V, Local: y.Local.V, Addresses: y.Addresses.Or(b.Addresses).V,
		Repeat: y.Repeat.Or(b.Repeat).V, Settings: slices.Clone(y.Settings),
	}
}

func (r *resolver) phone(in *inventory.Host) *Phone {
	y, b := &r.inv.Yealink, inventory.BuiltinYealink()
	m, _ := yealink.ByName(in.Phone.Model.V)
	out := &Phone{
		Model: m, Keys: slices.Clone(in.Phone.Keys), Settings: slices.Clone(in.Phone.Settings),
		Firmware: in.Phone.Firmware.Or(y.Firmware[m.Name]).V,
	}
	for _, a := range in.Phone.Accounts {
		t := a.Transport.Or(y.Transport).Or(b.Transport).V
		port := 5060
		if t == "tls" {
			port = 5061 // RFC 3261 section 19.1.2
		}
		out.Accounts = append(out.Accounts, Account{
			User: a.User.V, Auth: cmp.Or(a.Auth.V, a.User.V), Label: cmp.Or(a.Label.V, a.User.V), Display: cmp.Or(a.Display.V, a.User.V),
			Secret: a.Password.V, Server: a.Server.Or(y.Server).V, Port: cmp.Or(a.Port.V, y.ServerPort.V, port), Transport: t,
		})
	}
	return out
}

// MAC is a phone's only card.
func (h *Host) MAC() ident.MAC {
	if len(h.NICs) == 0 {
		return ident.MAC{}
	}
	return h.NICs[0].MAC
}

// PhoneToken is what a phone shows in its URL with access: token: computed, so that nothing of it is kept, from the MAC and
// the secret of this server.
func (s *Snapshot) PhoneToken(m ident.MAC) string {
	h := hmac.New(sha256.New, s.Secret[:])
	h.Write([]byte("bootd phone token\x00"))
	h.Write(m[:])
	return strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(h.Sum(nil)[:15]))
}

// PhoneURL is where a phone on a network fetches its files, with a slash at its end; empty while bootd has no address there.
// h is nil for one that nobody listed, whose URL has no token. shown hides a token: for people and logs.
func (s *Snapshot) PhoneURL(h *Host, n *Network, shown bool) string {
	if s.Phones == nil {
		return ""
	}
	return s.phoneURL(h, n, shown, s.Phones.HTTPS)
}

// FirstURL is what a phone is told by DHCPv6, or what is typed in: PhoneURL, but over plain HTTP where the certificate is of
// bootd's own authority, which a phone does not know before it was told.
func (s *Snapshot) FirstURL(h *Host, n *Network, shown bool) string {
	if s.Phones == nil {
		return ""
	}
	return s.phoneURL(h, n, shown, s.Phones.HTTPS && s.Phones.Certificate != "")
}

func (s *Snapshot) phoneURL(h *Host, n *Network, shown, https bool) string {
	p := s.Phones
	if n == nil || !n.Own.IsValid() {
		return ""
	}
	path := PhonesPath + "/"
	if p.Access == ByToken && h != nil {
		token := "TOKEN"
		if !shown {
			token = s.PhoneToken(h.MAC())
		}
		path += token + "/"
	}
	if https {
		return webURL("https", p.Name, n.Own, p.Port, 443, path)
	}
	return webURL("http", p.Name, n.Own, s.HTTPPort, 80, path)
}

// PhoneCA is where a phone fetches the certificate of bootd's own authority; empty: there is none.
func (s *Snapshot) PhoneCA(n *Network) string {
	p := s.Phones
	if p == nil || !p.HTTPS || p.Certificate != "" || n == nil || !n.Own.IsValid() {
		return ""
	}
	return webURL("http", p.Name, n.Own, s.HTTPPort, 80, PhonesPath+"/"+yealink.AuthorityFile)
}

func webURL(scheme, name string, own netip.Addr, port, usual int, path string) string {
	host := name
	if host == "" {
		host = "[" + own.String() + "]"
	}
	if port != 0 && port != usual {
		host += ":" + strconv.Itoa(port)
	}
	u := url.URL{Scheme: scheme, Host: host, Path: "/" + path}
	return u.String()
}
