package importer

import (
	"encoding/hex"
	"net/netip"
	"strconv"
	"strings"
)

// optionDef is one option as a configuration names it.
type optionDef struct {
	name string
	code int
	// kind is the type, in the words of Kea: ipv6-address, string, fqdn, uint8, uint16, uint32, boolean, binary, record.
	kind  string
	array bool
	space string
}

// knownOptions are options of RFC 8415 and of IANA's registry with Kea's names; dhcpd's are the same after "dhcp6." but for
// those of dhcpdOptions.
func knownOptions() []optionDef {
	def := func(code int, name, kind string, array bool) optionDef {
		return optionDef{name: name, code: code, kind: kind, array: array, space: "dhcp6"}
	}
	return []optionDef{
		def(7, "preference", "uint8", false), def(12, "unicast", "ipv6-address", false),
		def(13, "status-code", "record", false),
		def(optUserClass, "user-class", "binary", false), def(optVendorClass, "vendor-class", "binary", false),
		def(17, "vendor-opts", "uint32", false),
		def(21, "sip-server-dns", "fqdn", true), def(22, "sip-server-addr", "ipv6-address", true),
		def(optDNS, "dns-servers", "ipv6-address", true), def(optSearch, "domain-search", "fqdn", true),
		def(27, "nis-servers", "ipv6-address", true), def(28, "nisp-servers", "ipv6-address", true),
		def(29, "nis-domain-name", "fqdn", true), def(30, "nisp-domain-name", "fqdn", true),
		def(optSNTP, "sntp-servers", "ipv6-address", true), def(32, "information-refresh-time", "uint32", false),
		def(33, "bcmcs-server-dns", "fqdn", true), def(34, "bcmcs-server-addr", "ipv6-address", true),
		def(36, "geoconf-civic", "record", false), def(40, "pana-agent", "ipv6-address", true),
		def(41, "new-posix-timezone", "string", false), def(42, "new-tzdb-timezone", "string", false),
		def(51, "v6-lost", "fqdn", false), def(56, "ntp-server", "binary", false),
		def(57, "v6-access-domain", "fqdn", false), def(58, "sip-ua-cs-list", "fqdn", true),
		def(optBootfileURL, "bootfile-url", "string", false), def(60, "bootfile-param", "tuple", true),
		def(optArch, "client-arch-type", "uint16", true), def(optNII, "nii", "record", false),
		def(64, "aftr-name", "fqdn", false), def(65, "erp-local-domain-name", "fqdn", false),
		def(82, "sol-max-rt", "uint32", false), def(83, "inf-max-rt", "uint32", false),
		def(103, "v6-captive-portal", "string", false),
	}
}

// Options that settings hold.
const (
	optDNS    = 23
	optSearch = 24
	optSNTP   = 31
)

type keaDef = optionDef

// optionDefs reads the definitions of own options.
func (k *kea) optionDefs(v *jvalue) {
	for _, d := range v.list {
		own := optionDef{space: "dhcp6"}
		for _, m := range d.members {
			switch m.name {
			case "name":
				own.name = m.value.text
			case "code":
				own.code, _ = strconv.Atoi(m.value.text)
			case "type":
				own.kind = m.value.text
			case "array":
				own.array = m.value.text == "true"
			case "space":
				own.space = m.value.text
			case "record-types", "encapsulate":
				if m.value.text != "" {
					own.kind = "record"
				}
			}
		}
		switch {
		case own.space != "dhcp6":
			k.lost(d.Place, "option-def %s: the option space %s: only options of DHCPv6 itself", oneLine(own.name), oneLine(own.space))
		case own.code < 1 || own.code > 65535 || own.name == "":
			k.lost(d.Place, "option-def wants a name and a code from 1 to 65535")
		default:
			k.defs = append(k.defs, own)
		}
	}
}

// find gives the definition of an option by name or by code; own definitions first.
func findOption(defs []optionDef, name string, code int) (optionDef, bool) {
	for _, d := range append(append([]optionDef{}, defs...), knownOptions()...) {
		if d.space == "dhcp6" && (name != "" && d.name == name || name == "" && d.code == code) {
			return d, true
		}
	}
	return optionDef{code: code, kind: "binary"}, false
}

// option is an entry of option-data.
func (k *kea) option(v *jvalue, path string, to *node) {
	var name, data, space string
	code, csv, always := 0, true, false
	for _, m := range v.members {
		switch m.name {
		case "name":
			name = m.value.text
		case "code":
			code, _ = strconv.Atoi(m.value.text)
		case "data":
			data = m.value.text
		case "space":
			space = m.value.text
		case "csv-format":
			csv = m.value.text == "true"
		case "always-send":
			always = m.value.text == "true"
		case "comment", "user-context":
		default:
			k.lost(m.Place, "%s.%s", path, m.name)
		}
	}
	def, ok := findOption(k.defs, name, code)
	switch {
	case space != "" && space != "dhcp6":
		k.lost(v.Place, "%s: options of the space %s", path, oneLine(space))
	case !ok && (name != "" || code == 0):
		k.lost(v.Place, "%s: the option %q is defined nowhere", path, name)
	case !csv:
		k.hexOption(to, def, data, always, v.Place)
	default:
		if !ok {
			k.hexOption(to, def, data, always, v.Place)
			return
		}
		values := csvFields(data)
		if !def.array && (def.kind == "string" || def.kind == "binary") {
			values = []string{strings.ReplaceAll(data, `\,`, ",")}
		}
		if def.kind == "binary" {
			k.hexOption(to, def, data, always, v.Place)
			return
		}
		k.sendOption(to, def, values, always, v.Place)
	}
}

// csvFields splits at commas; a comma after a backslash is none.
func csvFields(s string) []string {
	if s == "" {
		return nil
	}
	parts := strings.Split(strings.ReplaceAll(s, `\,`, "\x00"), ",")
	for i, p := range parts {
		parts[i] = strings.TrimSpace(strings.ReplaceAll(p, "\x00", ","))
	}
	return parts
}

// hexOption is an option whose content is written in hex.
func (d *draft) hexOption(to *node, def optionDef, data string, always bool, at Place) {
	digits := strings.NewReplacer(" ", "", ":", "").Replace(strings.TrimPrefix(strings.TrimSpace(data), "0x"))
	b, err := hex.DecodeString(digits)
	if err != nil {
		d.lost(at, "option %s: %q is not hex", optionName(def), data)
		return
	}
	def.kind = "binary"
	d.sendOption(to, def, []string{string(b)}, always, at)
}

func optionName(def optionDef) string {
	if def.name != "" {
		return oneLine(def.name) + " (" + strconv.Itoa(def.code) + ")"
	}
	return strconv.Itoa(def.code)
}

// sendOption makes a setting of an option where there is one, else an entry of options.
func (d *draft) sendOption(to *node, def optionDef, values []string, always bool, at Place) {
	if len(values) == 0 {
		d.lost(at, "option %s without content", optionName(def))
		return
	}
	switch {
	case def.code == optDNS && def.kind == "ipv6-address" && to.key != hostKey:
		d.put(to, list("nameservers", quoted(values), at))
	case def.code == optSearch && def.kind == "fqdn" && to.key != hostKey:
		d.put(to, list("search", quoted(lower(values)), at))
	case def.code == optSNTP && def.kind == "ipv6-address":
		d.put(to, list("ntp", quoted(values), at))
	case def.code == 32 && to.key != hostKey:
		d.seconds(to, "information_refresh", values[0], at)
	case def.code == 7 && values[0] == "255":
		d.itself(at, "option preference 255: always")
	case def.code == optBootfileURL && to.key == hostKey:
		d.hostBoot(values[0], to, at)
	case def.code == optBootfileURL:
		d.lost(at, "option bootfile-url %s: what a network's machines boot is decided by architecture and user class, for all networks", oneLine(values[0]))
	case def.code == 12:
		d.lost(at, "option unicast: firmware would send to the server past its relay; bootd does not tell it")
	case def.code == 60:
		d.lost(at, "option bootfile-param: firmware reads it as a file size and stops; parameters stand in the profile's script")
	default:
		d.optionKey(to, def, values, always, at)
	}
}

func (d *draft) seconds(to *node, key, value string, at Place) {
	n, err := strconv.ParseUint(value, 10, 32)
	if err != nil {
		d.lost(at, "%s: %q is not a number of seconds", key, value)
		return
	}
	d.set(to, key, duration(n), at)
}

// optionKeys are the names that an inventory has for options of some kind.
func optionKeys() map[int]string {
	return map[int]string{
		7: "preference", 21: "sip-server-dns", 22: "sip-server-addr", optDNS: "dns-servers", optSearch: "domain-search", 27: "nis-servers",
		28: "nisp-servers", 29: "nis-domain-name", 30: "nisp-domain-name", optSNTP: "sntp-servers", 33: "bcmcs-server-dns",
		34: "bcmcs-server-addr", 40: "pana-agent", 41: "new-posix-timezone", 42: "new-tzdb-timezone", 51: "lost-server",
		57: "v6-access-domain", 58: "sip-ua-cs-list", 64: "aftr-name", 65: "erp-local-domain-name", 82: "sol-max-rt", 83: "inf-max-rt",
		103: "captive-portal",
	}
}

// optionKey writes an entry of options: by name where the inventory has one, else by number.
func (d *draft) optionKey(to *node, def optionDef, values []string, always bool, at Place) {
	line := &node{from: at}
	key, named := optionKeys()[def.code]
	switch {
	case named && (def.code == 82 || def.code == 83):
		n, err := strconv.ParseUint(values[0], 10, 32)
		if err != nil {
			d.lost(at, "option %s: %q is not a number of seconds", optionName(def), values[0])
			return
		}
		line.value = duration(n)
	case named && def.kind == "uint8":
		n, err := strconv.ParseUint(values[0], 0, 8)
		if err != nil {
			d.lost(at, "option %s: %q is not a number from 0 to 255", optionName(def), values[0])
			return
		}
		line.value = strconv.FormatUint(n, 10)
	case named && def.kind != "binary":
		line.value = flow(quoted(values))
	default:
		named = false
		if line.value = octets(def, values); line.value == "" {
			d.lost(at, "option %s = %s", optionName(def), oneLine(strings.Join(values, ", ")))
			return
		}
	}
	if !named {
		key = strconv.Itoa(def.code)
		line.said = oneLine(def.name)
	}
	if line.key = key; always {
		if named {
			line.value = "{value: " + line.value + ", always: true}"
		} else {
			line.value = strings.TrimSuffix(line.value, "}") + ", always: true}"
		}
	}
	d.put(to.under("options", at), line)
}

func flow(values []string) string {
	if len(values) == 1 {
		return values[0]
	}
	return "[" + strings.Join(values, ", ") + "]"
}

// octets is the content of an option as hex, addresses or text; empty where it cannot be written.
func octets(def optionDef, values []string) string {
	switch def.kind {
	case "ipv6-address":
		return "{addresses: [" + strings.Join(quoted(values), ", ") + "]}"
	case "string":
		return "{string: " + quote(strings.Join(values, ", ")) + "}"
	}
	var b []byte
	for _, v := range values {
		var ok bool
		if b, ok = appendField(b, def.kind, v); !ok {
			return ""
		}
	}
	if len(b) == 0 {
		return ""
	}
	return `{hex: "` + hex.EncodeToString(b) + `"}`
}

// appendField encodes one field of an option.
func appendField(b []byte, kind, v string) ([]byte, bool) {
	bits := map[string]int{"uint8": 8, "uint16": 16, "uint32": 32}[kind]
	switch {
	case kind == "binary":
		return append(b, v...), true
	case kind == "boolean" && (v == "true" || v == "on" || v == "1"):
		return append(b, 1), true
	case kind == "boolean" && (v == "false" || v == "off" || v == "0"):
		return append(b, 0), true
	case bits > 0:
		n, err := strconv.ParseUint(v, 0, bits)
		for i := bits - 8; i >= 0; i -= 8 {
			b = append(b, byte(n>>i))
		}
		return b, err == nil
	}
	if kind != "fqdn" {
		return b, false
	}
	for l := range strings.SplitSeq(strings.TrimSuffix(v, "."), ".") {
		if l == "" || len(l) > 63 {
			return b, false
		}
		b = append(append(b, byte(len(l))), l...)
	}
	return append(b, 0), true
}

func quoted(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		if a, err := netip.ParseAddr(v); err == nil {
			v = a.String()
		}
		out[i] = quote(v)
	}
	return out
}

func lower(values []string) []string {
	out := make([]string, len(values))
	for i, v := range values {
		out[i] = strings.ToLower(strings.TrimSuffix(v, "."))
	}
	return out
}
