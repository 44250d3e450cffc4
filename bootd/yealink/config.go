package yealink

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Header is the first line of every file; without it the phone takes the file for none of its own (Yealink's Auto Provisioning
// Guide V81, "Boot Files").
const Header = "#!version:1.0.0.1"

// Line is one setting of a file: Name = Value.
type Line struct {
	// Number counts from 1.
	Number      int
	Name, Value string
}

// Fault is what a phone would stumble over. It never repeats a value, which may be a password.
type Fault struct {
	// Line counts from 1; 0: something is missing.
	Line int
	Text string
}

// ParseConfig reads a file as phones do: lines of the form name = value; a line that begins with # is a comment.
func ParseConfig(text []byte) (lines []Line, faults []Fault) {
	bad := func(n int, format string, args ...any) {
		faults = append(faults, Fault{n, fmt.Sprintf(format, args...)})
	}
	if !utf8.Valid(text) {
		bad(0, "is not UTF-8")
		return nil, faults
	}
	for n, raw := range bytes.Split(text, []byte("\n")) {
		number, s := n+1, strings.TrimSpace(string(raw))
		switch {
		case number == 1 && s != Header:
			bad(1, "the first line is not %s, without which phones take no file", Header)
		case number == 1 || s == "" || strings.HasPrefix(s, "#"):
			continue
		}
		if number == 1 && (s == "" || strings.HasPrefix(s, "#")) {
			continue
		}
		name, value, ok := strings.Cut(s, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		switch fault := KeyFault(name); {
		case !ok:
			bad(number, "is no line of the form name = value")
			continue
		case fault != "":
			bad(number, "%s: %s", shorten(name), fault)
		case strings.ContainsFunc(value, unicode.IsControl):
			bad(number, "%s: its value holds a control character", name)
		}
		lines = append(lines, Line{number, name, value})
	}
	return lines, faults
}

// Lint finds what is wrong in one file: names that no firmware knows, and names that are there twice.
func Lint(text []byte) []Fault {
	lines, faults := ParseConfig(text)
	seen := map[string]int{}
	for _, l := range lines {
		// The one name that phones take several times, once for each login.
		if l.Name == "static.security.user_password" || l.Name == "security.user_password" {
			continue
		}
		if first, dup := seen[l.Name]; dup {
			faults = append(faults, Fault{l.Number, fmt.Sprintf("%s is there twice, first on line %d", l.Name, first)})
			continue
		}
		seen[l.Name] = l.Number
	}
	slices.SortStableFunc(faults, func(a, b Fault) int { return a.Line - b.Line })
	return faults
}

// LintWhole finds what a phone's whole configuration lacks: accounts that are on and have no name, password or server.
func LintWhole(lines []Line) []Fault {
	values := make(map[string]string, len(lines))
	for _, l := range lines {
		values[l.Name] = l.Value
	}
	var faults []Fault
	for n := 1; n <= 16; n++ {
		at := "account." + strconv.Itoa(n) + "."
		if values[at+"enable"] != "1" {
			continue
		}
		for _, want := range []string{"user_name", "password", "sip_server.1.address"} {
			if values[at+want] == "" {
				faults = append(faults, Fault{0, fmt.Sprintf("account %d is on and has no %s%s", n, at, want)})
			}
		}
	}
	return faults
}

// Merge puts files one over the other: a name of a later one wins, in the place where the name stood first.
func Merge(files ...[]Line) []Line {
	var out []Line
	at := map[string]int{}
	for _, f := range files {
		for _, l := range f {
			if i, ok := at[l.Name]; ok && !strings.HasSuffix(l.Name, "security.user_password") {
				out[i].Value = l.Value
				continue
			}
			at[l.Name] = len(out)
			out = append(out, l)
		}
	}
	return out
}

// Format writes a file.
func Format(lines []Line) []byte {
	var b bytes.Buffer
	b.WriteString(Header + "\n")
	for _, l := range lines {
		b.WriteString(strings.TrimRight(l.Name+" = "+l.Value, " ") + "\n")
	}
	return b.Bytes()
}

// sections are the first words of the names that Yealink's parameter lists for V73 to V86 know.
func sections() []string {
	return []string{
		"account", "action_uri", "action_url", "anonymous_call_rejection", "auto_dst", "auto_provision", "auto_redial", "autoanswer",
		"backgrounds", "blf", "blf_list", "bluetooth", "bw", "call_completion", "call_waiting", "custom_factory_configuration",
		"custom_mac_cfg", "custom_softkey_call_in", "dialplan", "dialplan_dialnow", "dialplan_replace", "directory_setting",
		"distinctive_ring_tones", "dnd", "download_dst_list", "edk", "expansion_module", "features", "firmware", "forward",
		"forward_international", "gui_input_method", "gui_lang", "handset", "hoteling", "hotdesking", "intercom", "ldap", "lang", "linekey",
		"local_contact", "local_time", "managementserver", "memorykey", "multicast", "network", "network_directory", "openvpn",
		"ozvision", "phone_setting", "power_saving", "programablekey", "push_xml", "remote_phonebook", "ringtone", "rtcp", "screensaver",
		"security", "server_certificates", "sfb", "short_url", "sip", "softkey", "static", "super_search", "syslog", "transfer", "trusted_certificates",
		"voice", "voice_mail", "vpm", "wallpaper_upload", "warnings_display", "web_item_level", "wifi", "wui", "wui_lang", "xsi", "zero_touch",
	}
}

// wellKnown are names that people write most, in their canonical form; what is nearly one of them is a mistake.
func wellKnown() []string {
	return []string{
		"account.1.enable", "account.1.label", "account.1.display_name", "account.1.user_name", "account.1.auth_name", "account.1.password",
		"account.1.sip_server.1.address", "account.1.sip_server.1.port", "account.1.sip_server.1.transport_type", "account.1.transport",
		"account.1.sip_server.1.expires", "account.1.srtp_encryption", "account.1.outbound_proxy_enable", "account.1.outbound_proxy.1.address",
		"account.1.outbound_proxy.1.port", "account.1.dtmf.type", "account.1.dtmf.info_type", "account.1.subscribe_mwi", "account.1.cid_source",
		"account.1.codec.g722.enable", "account.1.codec.pcma.enable", "account.1.codec.pcmu.enable", "account.1.codec.g729.enable", "account.1.codec.opus.enable",
		"call_waiting.enable", "features.dnd.large_icon.enable", "lang.gui", "lang.wui", "local_time.time_zone", "local_time.time_zone_name",
		"local_time.summer_time", "local_time.ntp_server1", "local_time.ntp_server2", "local_time.date_format", "local_time.time_format",
		"linekey.1.type", "linekey.1.line", "linekey.1.value", "linekey.1.label", "linekey.1.extension",
		"static.network.ip_address_mode", "static.network.ipv6_internet_port.type", "static.network.ipv6_icmp_v6.enable",
		"static.network.vlan.internet_port_enable", "static.network.vlan.internet_port_vid", "static.network.lldp.enable",
		"static.auto_provision.server.url", "static.auto_provision.server.username", "static.auto_provision.server.password",
		"static.auto_provision.power_on", "static.auto_provision.repeat.enable", "static.auto_provision.repeat.minutes", "static.auto_provision.pnp_enable",
		"static.auto_provision.custom.protect", "static.auto_provision.custom.sync", "static.auto_provision.dhcp_option.enable",
		"static.auto_provision.dhcp_option.list_user6_options", "static.auto_provision.dhcp_option.list_user_options",
		"static.auto_provision.user_agent_mac.enable", "static.firmware.url", "static.security.trust_certificates", "static.security.ca_cert",
		"static.security.dev_cert", "static.security.cn_validation", "static.security.user_password", "static.trusted_certificates.url",
		"static.syslog.enable", "static.syslog.server", "static.zero_touch.enable", "static.wui.http_enable", "static.wui.https_enable",
		"voice.tone.country", "voice_mail.number.1", "phone_setting.backlight_time", "phone_setting.ring_type",
		"remote_phonebook.data.1.url", "remote_phonebook.data.1.name",
	}
}

// KeyFault says what is wrong with the name of a setting; empty: nothing that is known.
func KeyFault(name string) string {
	legal := name != "" && len(name) <= 127 && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_'
	})
	first, rest, dotted := strings.Cut(name, ".")
	switch {
	case !legal || !dotted || rest == "":
		return "is not the name of a setting, such as account.1.label"
	case !slices.Contains(sections(), first):
		return "unknown key" + nearest(first, sections(), 2)
	}
	plain, digits := canonical(name)
	known := wellKnown()
	if slices.Contains(known, plain) {
		return ""
	}
	if near := nearest(plain, known, 1); near != "" {
		return "unknown key" + withDigits(near, digits)
	}
	return ""
}

// canonical puts 1 for each number between dots, so that account.7.label is known where account.1.label is.
func canonical(name string) (plain string, digits []string) {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		if _, err := strconv.Atoi(p); err == nil {
			digits, parts[i] = append(digits, p), "1"
		}
	}
	return strings.Join(parts, "."), digits
}

// withDigits gives a suggestion the numbers back that stood in the name.
func withDigits(s string, digits []string) string {
	parts := strings.Split(s, ".")
	for i, p := range parts {
		if p == "1" && len(digits) > 0 {
			parts[i], digits = digits[0], digits[1:]
		}
	}
	return strings.Join(parts, ".")
}

// nearest is ", did you mean x?" for a name that is at most so many letters away.
func nearest(s string, names []string, most int) string {
	best := ""
	for _, n := range names {
		if d := distance(s, n); d > 0 && d <= most && len(n) > 2*most {
			best, most = n, d-1
		}
	}
	if best == "" {
		return ""
	}
	return ", did you mean " + best + "?"
}

// distance counts the letters to change, add, drop or swap with their neighbour (optimal string alignment).
func distance(a, b string) int {
	if len(a)-len(b) > 2 || len(b)-len(a) > 2 {
		return len(a) + len(b)
	}
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}

// Secret reports whether a setting of this name is a password or key.
func Secret(name string) bool {
	last := name[strings.LastIndexByte(name, '.')+1:]
	return strings.Contains(last, "password") || last == "psk" || strings.Contains(name, ".aes_key")
}

func shorten(s string) string {
	const most = 60
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}
