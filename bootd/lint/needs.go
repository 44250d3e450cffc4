package lint

import (
	"slices"
	"strings"
)

// need is an answer that an unattended installation stops without, or one that leaves a machine nobody can reach.
type need struct {
	// any of these answers will do.
	any []string
	why string
	// unless reports that it is not needed.
	unless func(get func(string) string) bool
}

// byGuard: the disk, and whether to write at all, may be answered by a program.
func byGuard(get func(string) string) bool { return get("partman/early_command") != "" }

func is(question, value string) func(func(string) string) bool {
	return func(get func(string) string) bool { return get(question) == value }
}

// needs is what installations of Debian 12 and 13 stopped at with priority=critical on a network without IPv4.
var needs = []need{
	{[]string{"debian-installer/locale"}, "the installer asks for the language", nil},
	{[]string{"debian-installer/language"}, "the installer asks for the language where the locale is C", notC},
	{[]string{"debian-installer/country"}, "the installer asks for the continent where the locale is C", notC},
	{[]string{"keyboard-configuration/xkb-keymap"}, "the installer asks for the keyboard", nil},
	{[]string{"mirror/http/hostname"}, "the installer asks for the mirror", nil},
	{[]string{"mirror/http/directory"}, "the installer asks for the directory of the mirror", nil},
	{[]string{"passwd/root-password-crypted", "passwd/root-password"}, "the installer asks for root's password", is("passwd/root-login", "false")},
	{[]string{"passwd/username"}, "the installer asks for the name of a user", is("passwd/make-user", "false")},
	{[]string{"passwd/user-password-crypted", "passwd/user-password"}, "the installer asks for the password of the user", is("passwd/make-user", "false")},
	{[]string{"partman-auto/disk"}, "with several disks the installer asks which", byGuard},
	{[]string{"partman-auto/method"}, "the installer asks how to partition", nil},
	{[]string{"partman-partitioning/confirm_write_new_label"}, "the installer asks before it writes a partition table", nil},
	{[]string{"partman/choose_partition"}, "the installer asks whether partitioning is done", nil},
	{[]string{"partman/confirm"}, "the installer asks before it writes to the disk", byGuard},
	{[]string{"partman/confirm_nooverwrite"}, "the installer asks before it writes to the disk", byGuard},
	{[]string{"finish-install/reboot_in_progress"}, "the installer waits for a key before it reboots", nil},
	{[]string{"preseed/late_command"}, "with M=1 the installer writes no network configuration, and without one the installed system has no network", nil},
}

func notC(get func(string) string) bool {
	l := get("debian-installer/locale")
	return l != "C" && !strings.HasPrefix(l, "C.")
}

// aliases are the short names of questions on a kernel's command line (preseed's own and localechooser's).
var aliases = map[string]string{
	"locale": "debian-installer/locale", "language": "debian-installer/language", "country": "debian-installer/country",
	"keymap": "keyboard-configuration/xkb-keymap", "hostname": "netcfg/get_hostname", "domain": "netcfg/get_domain",
	"interface": "netcfg/choose_interface",
}

// missing finds what neither the answers nor the kernel's command line say.
func (a *answers) missing(arguments []string) []Fault {
	given := make(map[string]string, len(arguments))
	for _, w := range arguments {
		if name, value, ok := strings.Cut(w, "="); ok {
			if full := aliases[name]; full != "" {
				name = full
			}
			given[name] = value
		}
	}
	get := func(q string) string {
		if v, ok := a.values[q]; ok {
			return v.value
		}
		return given[q]
	}
	has := func(q string) bool {
		_, answered := a.values[q]
		_, argued := given[q]
		return answered || argued || slices.Contains(a.without, q)
	}
	var out []Fault
	for _, n := range needs {
		if !slices.ContainsFunc(n.any, has) && (n.unless == nil || !n.unless(get)) {
			out = append(out, Fault{0, n.any[0] + " is not answered: " + n.why})
		}
	}
	return append(out, a.together(get)...)
}

// together finds answers that do not go together.
func (a *answers) together(get func(string) string) []Fault {
	var out []Fault
	at := func(q, text string) { out = append(out, Fault{a.values[q].line, text}) }
	if get("mirror/http/hostname") != "" && get("mirror/country") != "manual" {
		at("mirror/http/hostname", "mirror/http/hostname has no effect without mirror/country string manual")
	}
	if get("anna/standard_modules") == "false" && !strings.Contains(get("anna/choose_modules"), "finish-install") {
		at("anna/standard_modules", "anna/standard_modules is false and anna/choose_modules does not name finish-install: the installation does not end")
	}
	if get("base-installer/debootstrap_variant") == "minbase" && !strings.Contains(get("base-installer/includes"), "debconf-i18n") {
		at("base-installer/debootstrap_variant", "with the variant minbase, base-installer/includes has to name debconf-i18n: apt dies without it")
	}
	return out
}
