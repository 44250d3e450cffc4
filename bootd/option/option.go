// Package option knows the options of DHCPv6 by name and number (IANA's registry, RFC 8415 section 24): how a server's are
// written on the wire, and how any message reads for people.
//
// The package never decides who gets which option and takes nothing that a client sent for true: bootd/dhcp6 reads packets
// for the decisions, this one for eyes.
package option

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// Kind is how the content of an option is written.
type Kind uint8

// The kinds of options. Those up to DNR can be written by a person, the others stand in messages only.
const (
	Opaque  Kind = iota // octets
	Addrs               // IPv6 addresses
	Name                // one domain name
	Names               // domain names
	Text                // text to the end
	URI                 // an absolute URI to the end
	URIs                // absolute URIs, each with its length
	Seconds             // 32 bits of seconds
	Number              // one octet
	NTP                 // suboptions of RFC 5908
	Vendor              // an enterprise number and its own options
	DNR                 // an encrypted resolver (RFC 9463)

	duid
	ianaKind
	iata
	iapd
	iaAddr
	iaPrefix
	codes
	centiseconds
	status
	empty
	classes
	vendorClass
	fqdn
	archs
	nii
	relayed
	linkLayer
)

// Def is one option of the registry.
type Def struct {
	Code uint16
	Name string
	Kind Kind
	// Instead says what to write in its place where nobody may set the option by hand, because bootd makes it itself or
	// because a server must not send it.
	Instead string
}

const (
	ofClients = "is what clients send"
	ofRelays  = "is between relays and servers"
)

// registry is in order of code. Names are IANA's without OPTION_, written as Kea and ISC do.
var registry = []Def{
	{1, "client-id", duid, "is the client's own, echoed by bootd"},
	{2, "server-id", duid, "is made by bootd and never changes"},
	{3, "ia-na", ianaKind, "is made by bootd: write address: for the host's card"},
	{4, "ia-ta", iata, "is made by bootd: temporary addresses are not given"},
	{5, "iaaddr", iaAddr, "is made by bootd: write address: for the host's card"},
	{6, "oro", codes, ofClients},
	{7, "preference", Number, ""},
	{8, "elapsed-time", centiseconds, ofClients},
	{9, "relay-msg", relayed, ofRelays},
	{11, "auth", Opaque, "is not supported"},
	{12, "unicast", Addrs, "is obsolete (RFC 9915), and firmware that is told to use unicast gets no further"},
	{13, "status-code", status, "is made by bootd for each answer"},
	{14, "rapid-commit", empty, "is made by bootd: a client that asks for it gets it"},
	{15, "user-class", classes, ofClients},
	{16, "vendor-class", vendorClass, "is made by bootd: UEFI HTTP boot gets it back, and firmware that gets any other one fails"},
	{17, "vendor-opts", Vendor, ""},
	{18, "interface-id", Opaque, ofRelays},
	{19, "reconf-msg", Opaque, "is not supported"},
	{20, "reconf-accept", empty, "is not supported"},
	{21, "sip-server-dns", Names, ""},
	{22, "sip-server-addr", Addrs, ""},
	{23, "dns-servers", Addrs, ""},
	{24, "domain-search", Names, ""},
	{25, "ia-pd", iapd, "is made by bootd"},
	{26, "iaprefix", iaPrefix, "is made by bootd"},
	{27, "nis-servers", Addrs, ""},
	{28, "nisp-servers", Addrs, ""},
	{29, "nis-domain-name", Name, ""},
	{30, "nisp-domain-name", Name, ""},
	{31, "sntp-servers", Addrs, ""},
	{32, "information-refresh-time", Seconds, "is made by bootd: write information_refresh: in defaults or in a network"},
	{33, "bcmcs-server-dns", Names, ""},
	{34, "bcmcs-server-addr", Addrs, ""},
	{36, "geoconf-civic", Opaque, ""},
	{37, "remote-id", Opaque, ofRelays},
	{38, "subscriber-id", Opaque, ofRelays},
	{39, "client-fqdn", fqdn, "is made by bootd: a client that asks for its name gets the host's name and domain"},
	{40, "pana-agent", Addrs, ""},
	{41, "new-posix-timezone", Text, ""},
	{42, "new-tzdb-timezone", Text, ""},
	{43, "ero", codes, ofRelays},
	{44, "lq-query", Opaque, "is not supported"},
	{45, "client-data", Opaque, "is not supported"},
	{46, "clt-time", Seconds, "is not supported"},
	{47, "lq-relay-data", Opaque, "is not supported"},
	{48, "lq-client-link", Addrs, "is not supported"},
	{49, "mip6-hnidf", Opaque, ""},
	{50, "mip6-vdinf", Opaque, ""},
	{51, "lost-server", Name, ""},
	{52, "capwap-ac-v6", Addrs, ""},
	{53, "relay-id", duid, ofRelays},
	{54, "ipv6-address-mos", Opaque, ""},
	{55, "ipv6-fqdn-mos", Opaque, ""},
	{56, "ntp-servers", NTP, ""},
	{57, "v6-access-domain", Name, ""},
	{58, "sip-ua-cs-list", Names, ""},
	{59, "bootfile-url", Text, "is made by bootd: write loader: for the host, or serve.loaders"},
	{60, "bootfile-param", Opaque, "makes firmware fail when it is anything but a file size; write kernel_args: for the installer's kernel"},
	{61, "client-arch-type", archs, ofClients},
	{62, "nii", nii, ofClients},
	{63, "geolocation", Opaque, ""},
	{64, "aftr-name", Name, ""},
	{65, "erp-local-domain-name", Name, ""},
	{66, "rsoo", Opaque, ofRelays},
	{67, "pd-exclude", Opaque, "is made by bootd"},
	{68, "vss", Opaque, ofRelays},
	{69, "mip6-idinf", Opaque, ""},
	{70, "mip6-udinf", Opaque, ""},
	{71, "mip6-hnp", Opaque, ""},
	{72, "mip6-haa", Opaque, ""},
	{73, "mip6-haf", Opaque, ""},
	{74, "rdnss-selection", Opaque, ""},
	{75, "krb-principal-name", Opaque, ""},
	{76, "krb-realm-name", Opaque, ""},
	{77, "krb-default-realm-name", Opaque, ""},
	{78, "krb-kdc", Opaque, ""},
	{79, "client-linklayer-addr", linkLayer, ofRelays},
	{80, "link-address", Addrs, ofRelays},
	{81, "radius", Opaque, ofRelays},
	{82, "sol-max-rt", Seconds, ""},
	{83, "inf-max-rt", Seconds, ""},
	{84, "addrsel", Opaque, ""},
	{85, "addrsel-table", Opaque, ""},
	{86, "v6-pcp-server", Addrs, ""},
	{87, "dhcpv4-msg", Opaque, "is not supported"},
	{88, "dhcp4o6-server-addr", Addrs, ""},
	{94, "s46-cont-mape", Opaque, ""},
	{95, "s46-cont-mapt", Opaque, ""},
	{96, "s46-cont-lw", Opaque, ""},
	{97, "4rd", Opaque, ""},
	{103, "captive-portal", URI, ""},
	{104, "mpl-parameters", Opaque, ""},
	{135, "relay-port", Opaque, ofRelays},
	{136, "v6-sztp-redirect", URIs, ""},
	{141, "dots-ri", Name, ""},
	{142, "dots-address", Addrs, ""},
	{143, "ipv6-address-andsf", Addrs, ""},
	{144, "dnr", DNR, ""},
	{145, "registered-domain", Name, ""},
	{146, "forward-dist-manager", Opaque, ""},
	{147, "reverse-dist-manager", Opaque, ""},
	{148, "addr-reg-enable", empty, "is not supported: addresses that clients make themselves are not registered"},
}

// ByCode finds an option by its number.
func ByCode(code uint16) (Def, bool) {
	i, ok := slices.BinarySearchFunc(registry, code, func(d Def, c uint16) int { return int(d.Code) - int(c) })
	if !ok {
		return Def{}, false
	}
	return registry[i], true
}

// ByName finds an option by its name.
func ByName(name string) (Def, bool) {
	i := slices.IndexFunc(registry, func(d Def) bool { return d.Name == name })
	if i < 0 {
		return Def{}, false
	}
	return registry[i], true
}

// Writable lists the names that a person may write, in order of code.
func Writable() []string {
	var names []string
	for _, d := range registry {
		if d.Instead == "" && d.Kind <= DNR {
			names = append(names, d.Name)
		}
	}
	return names
}

// PutAddrs writes a list of addresses.
func PutAddrs(addrs []netip.Addr) []byte {
	out := make([]byte, 0, 16*len(addrs))
	for _, a := range addrs {
		out = append(out, a.AsSlice()...)
	}
	return out
}

// maxLabel and maxName are what a domain name may have in octets (RFC 1035 section 2.3.4).
const (
	maxLabel = 63
	maxName  = 255
)

// PutName writes a domain name with its root and without compression (RFC 8415 section 10), false where it has no wire form.
func PutName(name string) ([]byte, bool) {
	var out []byte
	for label := range strings.SplitSeq(strings.TrimSuffix(name, "."), ".") {
		if label == "" || len(label) > maxLabel {
			return nil, false
		}
		out = append(append(out, byte(len(label))), label...)
	}
	return append(out, 0), len(out) < maxName
}

// PutNames writes a list of domain names; those without wire form are left out.
func PutNames(names []string) []byte {
	var out []byte
	for _, n := range names {
		if b, ok := PutName(n); ok {
			out = append(out, b...)
		}
	}
	return out
}

// Suboptions of option 56 (RFC 5908 section 4).
const (
	ntpAddr      = 1
	ntpMulticast = 2
	ntpName      = 3
)

// PutNTP writes time servers, each an address, a multicast address or a name (RFC 5908).
func PutNTP(servers []string) []byte {
	var out []byte
	for _, s := range servers {
		a, err := netip.ParseAddr(s)
		switch {
		case err == nil && a.IsMulticast():
			out = put(out, ntpMulticast, a.AsSlice())
		case err == nil:
			out = put(out, ntpAddr, a.AsSlice())
		default:
			if b, ok := PutName(s); ok {
				out = put(out, ntpName, b)
			}
		}
	}
	return out
}

// PutSeconds writes 32 bits of seconds.
func PutSeconds(s uint32) []byte { return binary.BigEndian.AppendUint32(nil, s) }

// PutURIs writes URIs with their lengths (RFC 8572 section 8.3).
func PutURIs(uris []string) []byte {
	var out []byte
	for _, u := range uris {
		out = append(binary.BigEndian.AppendUint16(out, uint16(len(u))), u...)
	}
	return out
}

// Sub is one option inside the vendor's own (RFC 8415 section 21.17).
type Sub struct {
	Code uint16
	Data []byte
}

// PutVendor writes the options of one enterprise.
func PutVendor(enterprise uint32, subs []Sub) []byte {
	out := binary.BigEndian.AppendUint32(nil, enterprise)
	for _, s := range subs {
		out = put(out, s.Code, s.Data)
	}
	return out
}

// Resolver is an encrypted DNS resolver (RFC 9463 section 4). Without Addrs only its name is told, and clients ask for the
// rest themselves.
type Resolver struct {
	// Priority: the lowest is preferred, 0 is not allowed here.
	Priority uint16
	Name     string
	Addrs    []netip.Addr
	// ALPN are protocols such as dot, h2, doq; Port 0 is the protocol's own; Path is the template of DNS over HTTPS.
	ALPN []string
	Port uint16
	Path string
}

// Keys of service parameters (RFC 9460 section 14.3, RFC 9461).
const (
	svcALPN    = 1
	svcPort    = 3
	svcDoHPath = 7
)

// PutResolver writes one resolver.
func PutResolver(r Resolver) []byte {
	name, _ := PutName(r.Name)
	out := binary.BigEndian.AppendUint16(nil, r.Priority)
	out = append(binary.BigEndian.AppendUint16(out, uint16(len(name))), name...)
	if len(r.Addrs) == 0 {
		return out
	}
	addrs := PutAddrs(r.Addrs)
	out = append(binary.BigEndian.AppendUint16(out, uint16(len(addrs))), addrs...)
	if len(r.ALPN) > 0 {
		var ids []byte
		for _, p := range r.ALPN {
			ids = append(append(ids, byte(len(p))), p...)
		}
		out = put(out, svcALPN, ids)
	}
	if r.Port != 0 {
		out = put(out, svcPort, binary.BigEndian.AppendUint16(nil, r.Port))
	}
	if r.Path != "" {
		out = put(out, svcDoHPath, []byte(r.Path))
	}
	return out
}

// put appends what has a code and a length of 16 bits each.
func put(b []byte, code uint16, data []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, code)
	b = binary.BigEndian.AppendUint16(b, uint16(len(data)))
	return append(b, data...)
}
