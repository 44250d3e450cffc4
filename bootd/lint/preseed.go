package lint

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// answers is what was read of a preseed file.
type answers struct {
	faults []Fault
	// values by question; the last one counts.
	values map[string]answer
	// without are questions that a comment says are left out on purpose.
	without []string
}

type answer struct {
	line  int
	value string
}

// types are debconf's (debconf-devel(7)); seen is debconf-set-selections' own.
var types = []string{"string", "boolean", "select", "multiselect", "password", "note", "text", "title", "error", "seen"}

var (
	owner = regexp.MustCompile(`^[a-z0-9][a-z0-9+.-]+$`)
	// installers are the first parts of questions that only the installer asks: another owner is a slip.
	installers = strings.Fields(`
		debian-installer auto-install anna apt-setup base-installer cdrom-detect choose-mirror clock-setup disk-detect
		finish-install grub-installer hw-detect localechooser mirror netcfg network-console partman partman-auto
		partman-auto-crypto partman-auto-lvm partman-auto-raid partman-basicfilesystems partman-crypto partman-efi
		partman-lvm partman-md partman-partitioning partman-target passwd pkgsel preseed time`)
)

const (
	// withoutMark begins a comment that names questions which are left to the installer on purpose.
	withoutMark = "# bootd: without "
	// The comments around a script, as the template function script writes them.
	blockBegin, blockEnd = "#= ", "\n#=\n"
)

func readAnswers(text []byte) *answers {
	a := &answers{values: make(map[string]answer, 64)}
	line := 0
	for len(text) > 0 {
		var one []byte
		one, text, _ = bytes.Cut(text, []byte("\n"))
		line++
		if len(one) > 0 && one[0] == '#' {
			if rest, ok := bytes.CutPrefix(one, []byte(withoutMark)); ok {
				a.without = append(a.without, strings.Fields(string(rest))...)
			}
			if bytes.HasPrefix(one, []byte(blockBegin)) { // most of a preseed is scripts in comments, and this is much faster
				end := max(bytes.Index(text, []byte(blockEnd)), 0)
				line += bytes.Count(text[:end], []byte("\n"))
				text = text[end:]
			}
			continue
		}
		from := line
		for bytes.HasSuffix(one, []byte(`\`)) && len(text) > 0 {
			var more []byte
			more, text, _ = bytes.Cut(text, []byte("\n"))
			line++
			one = append(one[:len(one)-1:len(one)-1], more...)
		}
		a.line(from, strings.TrimSpace(string(one)))
	}
	return a
}

func (a *answers) bad(line int, format string, args ...any) {
	a.faults = append(a.faults, Fault{line, fmt.Sprintf(format, args...)})
}

// line reads owner, question, type and value. No fault repeats the value.
func (a *answers) line(n int, one string) {
	if one == "" || one[0] == '#' {
		return
	}
	if strings.HasSuffix(one, `\`) {
		a.bad(n, "the last line ends in a backslash, which joins it to a line that is not there")
	}
	who, rest := word(one)
	question, rest := word(rest)
	kind, text := word(rest)
	switch {
	case question == "" || kind == "":
		a.bad(n, "debconf cannot parse this line: it wants owner, question, type and value, as in d-i passwd/make-user boolean false")
		return
	case who != "d-i" && (!owner.MatchString(who) || near(who, "d-i")):
		a.bad(n, "%q is no owner of %s: write d-i for the installer, or the name of a package", shorten(who), shorten(question))
	case who != "d-i" && slices.Contains(installers, prefix(question)):
		a.bad(n, "%s is the installer's: its owner is d-i, not %s", shorten(question), shorten(who))
	case !strings.Contains(question, "/"):
		a.bad(n, "%q is no question: it has no /", shorten(question))
	}
	if !slices.Contains(types, kind) {
		a.bad(n, "%s: %s", shorten(question), noType(kind))
		return
	}
	if kind == "boolean" && text != "true" && text != "false" {
		a.bad(n, "%s is true or false, nothing else", shorten(question))
	}
	if kind == "seen" {
		return
	}
	a.values[question] = answer{n, text}
	a.value(n, question, text)
}

// noType says what is wrong with a type. Where one was left out, a value stands in its place: it is not repeated.
func noType(kind string) string {
	if kind == "true" || kind == "false" {
		return "the type boolean is missing before " + kind
	}
	for _, t := range types {
		if near(kind, t) {
			return fmt.Sprintf("%q is no type of debconf, did you mean %s?", kind, t)
		}
	}
	return "no type of debconf stands between the question and its value (" + strings.Join(types[:6], ", ") + ")"
}

// value looks at values that installers choke on.
func (a *answers) value(n int, question, text string) {
	switch question {
	case "mirror/http/hostname":
		if strings.Count(text, ":") > 1 && !strings.HasPrefix(text, "[") {
			a.bad(n, "mirror/http/hostname: an IPv6 address stands in brackets here, as in [2001:db8::5]:8080")
		}
	case "mirror/protocol":
		if text == "https" {
			a.bad(n, "mirror/protocol: the installer's wget speaks no https: write http (packages are signed)")
		}
	case "passwd/root-password-crypted", "passwd/user-password-crypted":
		if text != "!" && text != "*" && !strings.HasPrefix(text, "$") {
			a.bad(n, "%s holds no crypt(5) hash", question)
		}
	}
}

func prefix(question string) string {
	p, _, _ := strings.Cut(question, "/")
	return p
}

// word takes the first word off.
func word(s string) (first, rest string) {
	s = strings.TrimLeft(s, " \t")
	i := strings.IndexAny(s, " \t")
	if i < 0 {
		return s, ""
	}
	return s[:i], strings.TrimLeft(s[i:], " \t")
}
