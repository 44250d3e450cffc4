package address

import (
	"cmp"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
)

// Bootfile is what a client is told to boot.
type Bootfile struct {
	// URL is option 59; empty: none.
	URL string
	// Reason: BootScript (iPXE), BootLoader (firmware), PhoneURL (a phone), or why there is no URL: NoBootClass, NoLoader, NoServerAddress.
	Reason reason.Reason
	// HTTPClient: UEFI HTTP boot asks, and takes no offer without an echo of its class.
	HTTPClient bool
	// Phone: the client is a phone, and URL is where its files are; it is told whatever it asks for.
	Phone bool
}

// Processor architecture types (RFC 5970 section 3.3 and IANA's list) that a rack shows.
const (
	archBIOS      = 0
	archX86       = 6
	archX8664     = 7
	archEBC       = 9 // by the letter of RFC 4578 the x86-64 of today: treated as such
	archARM       = 10
	archARM64     = 11
	archHTTPX86   = 15
	archHTTPX8664 = 16
	archHTTPEBC   = 17
	archHTTPARM   = 18
	archHTTPARM64 = 19
)

// optBootfileURL is OPT_BOOTFILE_URL (RFC 5970 section 3.1).
const optBootfileURL = 59

// ChooseBootfile picks the boot file by class and architecture; host is nil for a machine that nobody listed. A UEFI iPXE shows firmware's architecture too: its user
// class goes first, or it would be given itself for ever. Firmware's PXE takes tftp URLs only and its HTTP boot http URLs
// only; both want our address in figures, and TFTP no port.
func ChooseBootfile(snap *site.Snapshot, net *site.Network, host *site.Host, req Request) Bootfile {
	arch, known := archOf(req)
	own := ""
	switch {
	case host != nil && host.Phone != nil:
		return phoneURL(snap, net, host)
	case host != nil:
		own = host.Loader
	}
	httpClient := strings.HasPrefix(req.Vendor, "HTTPClient") || known && arch >= archHTTPX86 && arch <= archHTTPARM64
	b := Bootfile{HTTPClient: httpClient}
	var scheme, path string
	switch {
	case slices.ContainsFunc(req.Classes, func(c []byte) bool { return string(c) == "iPXE" }):
		b = Bootfile{Reason: reason.BootScript}
		scheme, path = "http", "boot.ipxe"
	case httpClient:
		scheme, path = "http", loader(snap, own, arch, known)
	case strings.HasPrefix(req.Vendor, "PXEClient") || known && archName(arch) != "":
		scheme, path = "tftp", loader(snap, own, arch, known)
	case slices.Contains(req.ORO, optBootfileURL) && own != "":
		scheme, path = "tftp", own // GRUB's net_bootp6 and U-Boot show no class
	default:
		b.Reason = reason.NoBootClass
		return b
	}
	switch {
	case path == "":
		b.Reason = reason.NoLoader
	case !net.Own.IsValid():
		b.Reason = reason.NoServerAddress
	default:
		b.URL = bootURL(scheme, net.Own, snap.HTTPPort, path)
		b.Reason = cmp.Or(b.Reason, reason.BootLoader)
	}
	return b
}

// archOf is option 61, or what the vendor class says: PXEClient:Arch:00007:UNDI:003000.
func archOf(req Request) (uint16, bool) {
	for _, a := range req.Arch { // a list in order of preference (RFC 5970 section 3.3)
		if archName(a) != "" {
			return a, true
		}
	}
	if len(req.Arch) > 0 {
		return req.Arch[0], true
	}
	fields := strings.Split(req.Vendor, ":")
	if len(fields) < 3 || fields[1] != "Arch" {
		return 0, false
	}
	n, err := strconv.ParseUint(fields[2], 10, 16)
	return uint16(n), err == nil
}

// archName is the inventory's name of an architecture, empty for those that it has none for.
func archName(a uint16) string {
	switch a {
	case archBIOS:
		return "bios"
	case archX86, archHTTPX86:
		return "x86"
	case archX8664, archEBC, archHTTPX8664, archHTTPEBC:
		return "x86_64"
	case archARM, archHTTPARM:
		return "arm"
	case archARM64, archHTTPARM64:
		return "arm64"
	}
	return ""
}

// loader is the host's own, else the architecture's.
func loader(snap *site.Snapshot, own string, arch uint16, known bool) string {
	if own != "" || !known {
		return own
	}
	return snap.Loaders[archName(arch)]
}

func bootURL(scheme string, own netip.Addr, port int, path string) string {
	host := "[" + own.String() + "]"
	if scheme == "http" && port != 0 && port != 80 {
		host = netip.AddrPortFrom(own, uint16(port)).String()
	}
	u := url.URL{Scheme: scheme, Host: host, Path: "/" + strings.TrimPrefix(path, "/")}
	return u.String()
}
