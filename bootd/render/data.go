package render

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
)

// Data is what a template sees, as its dot. docs/templates.md lists it for people who write templates.
type Data struct {
	// Host is the host's name, FQDN the name with its domain.
	Host, FQDN, Domain string
	// Network is the name of the network that the host boots on.
	Network string
	// Profile is the name of the host's profile, Answers the template that its answers come from.
	Profile, Answers string
	// MAC is the booting card's, with colons; BootIF is how PXELINUX and Debian's installer write it (01-52-54-...).
	MAC, BootIF string
	// NICs are all cards of the host.
	NICs []NIC
	// Server is our address on the host's link, in brackets, with the port when it is not 80. Base is http:// and Server.
	// Addr and Port are the same without brackets, for what takes no URL.
	Server, Base, Addr string
	Port               int
	// Kernel and Initrd are absolute URLs.
	Kernel string
	Initrd []string
	// URL are the host's own secret addresses; placeholders unless the host is being installed.
	URL URL
	// Reason says why the host gets this script (a sentence for its console).
	Reason string

	Locale, Language, Country, Keyboard, Timezone string
	// Addressing of the installed system: static or slaac.
	Addressing string
	// Nameservers, Search and NTP are those of the network or the host.
	Nameservers, Search, NTP []string
	Users                    []inventory.User
	Packages                 []string
	// HasDisk says whether the inventory chooses a disk; Disk says which.
	HasDisk bool
	Disk    inventory.Disk
	// Console is such as ttyS0,115200n8 or empty; KernelArgs are what the inventory appends to the command line.
	Console, KernelArgs string
	// Vars are the free values of the inventory. A missing one is an error; (.Var "name" default) is not.
	Vars map[string]any
	// Phone is nil for machines that are none.
	Phone *Phone
	// secret gives the value of a secret to the method Secret.
	secret func(string) (string, error)
}

// NIC is one network card as templates see it.
type NIC struct {
	Name, MAC string
	// Network is where the card belongs, empty when it is served wherever it appears.
	Network string
	// Addresses are its fixed addresses with their prefix length, such as 2001:db8:1::101/64.
	Addresses []string
}

// URL are addresses that only this host may use, and only during this installation.
type URL struct {
	// Answers is where the installer finds its answers (GET).
	Answers string
	// Progress takes ?stage=NAME, Failed ?why=TEXT; both may be called while the installer runs.
	Progress, Failed string
	// Installed is called once, when the installer is done; FirstBoot once, by the installed system.
	Installed, FirstBoot string
}

// Placeholder stands where a token will be. It is as long as a token.
const (
	PlaceholderAnswers   = "0000000000000000bootd-answers000"
	PlaceholderInstalled = "0000000000000000bootd-installed0"
	PlaceholderFirstBoot = "0000000000000000bootd-first-boot"
)

// Reveal puts the tokens of one script fetch where their placeholders are.
func Reveal(text []byte, answers, installed, firstBoot string) []byte {
	return []byte(strings.NewReplacer(PlaceholderAnswers, answers, PlaceholderInstalled, installed,
		PlaceholderFirstBoot, firstBoot).Replace(string(text)))
}

// Var gives a free value of the inventory, or def where it is not set.
func (d Data) Var(name string, def any) any {
	if v, ok := d.Vars[name]; ok {
		return v
	}
	return def
}

// At is what templates may know of a network when nobody knows the host.
func At(snap *site.Snapshot, n *site.Network) Data {
	d := Data{Network: n.Name}
	if n.Own.IsValid() {
		d.at(n.Own, snap.HTTPPort)
	}
	return d
}

// Of gathers what templates may know of a host that boots through nic on network n. The URLs hold placeholders.
func Of(snap *site.Snapshot, h *site.Host, nic *site.NIC, n *site.Network) Data {
	d := Data{
		Host: h.Name, FQDN: h.FQDN, Domain: h.Domain,
		Locale: h.Locale, Language: h.Language, Country: h.Country, Keyboard: h.Keyboard, Timezone: h.Timezone,
		Addressing: h.Addressing, NTP: h.NTP, Users: h.Users, Packages: h.Packages,
		HasDisk: h.HasDisk, Disk: h.Disk, Console: h.Console, KernelArgs: h.KernelArgs, Vars: h.Vars,
	}
	for _, c := range h.NICs {
		d.NICs = append(d.NICs, nicOf(c, n))
	}
	if nic != nil {
		d.MAC, d.BootIF = nic.MAC.String(), "01-"+nic.MAC.Hyphens()
	}
	if n != nil {
		d.Network, d.Search = n.Name, n.Search
		for _, a := range n.Nameservers {
			d.Nameservers = append(d.Nameservers, a.String())
		}
		if len(d.NTP) == 0 {
			d.NTP = n.NTP
		}
		if n.Own.IsValid() {
			d.at(n.Own, snap.HTTPPort)
		}
	}
	if h.Phone != nil && n != nil {
		d.Phone = phoneOf(snap, h, n, h.Phone.Model)
	}
	if p := h.Profile; p != nil {
		d.Profile, d.Answers = p.Name, p.Answers
		d.Kernel = d.fileURL(p.Kernel)
		for _, f := range p.Initrd {
			d.Initrd = append(d.Initrd, d.fileURL(f))
		}
	}
	return d
}

// at sets everything that depends on our own address.
func (d *Data) at(own netip.Addr, port int) {
	if port == 0 {
		port = 80
	}
	d.Server, d.Addr, d.Port = "["+own.String()+"]", own.String(), port
	if port != 80 {
		d.Server += ":" + strconv.Itoa(port)
	}
	d.Base = "http://" + d.Server
	d.URL = URL{
		Answers:   d.Base + "/t/" + PlaceholderAnswers + "/preseed.cfg",
		Progress:  d.Base + "/t/" + PlaceholderInstalled + "/progress",
		Failed:    d.Base + "/t/" + PlaceholderInstalled + "/failed",
		Installed: d.Base + "/t/" + PlaceholderInstalled + "/installed",
		FirstBoot: d.Base + "/t/" + PlaceholderFirstBoot + "/first-boot",
	}
}

func (d *Data) fileURL(path string) string {
	if path == "" {
		return ""
	}
	u := url.URL{Path: "/" + strings.TrimPrefix(path, "/")}
	return d.Base + u.EscapedPath()
}

func nicOf(c *site.NIC, n *site.Network) NIC {
	v := NIC{Name: c.Name, MAC: c.MAC.String()}
	if c.Network != nil {
		v.Network, n = c.Network.Name, c.Network
	}
	if n == nil {
		return v
	}
	for _, a := range c.Addresses(n.Name) {
		bits := 128
		for _, p := range n.Prefixes {
			if p.Contains(a) {
				bits = p.Bits()
			}
		}
		v.Addresses = append(v.Addresses, netip.PrefixFrom(a, bits).String())
	}
	return v
}

// problems lists what a host lacks before any template is asked: no template can repair these.
func (d Data) faulty() error {
	for _, s := range slices.Concat([]string{d.Host, d.FQDN, d.Domain, d.Console, d.KernelArgs}, d.Packages) {
		if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
			return fmt.Errorf("%q holds a control character", s)
		}
	}
	return nil
}
