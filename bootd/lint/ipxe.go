package lint

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// script is what was read of an iPXE script.
type script struct {
	faults []Fault
	// arguments are the words of the kernel's command line.
	arguments []string
	kernel    int // its line, 0: none
	labels    []string
	jumps     []jump
}

type jump struct {
	line  int
	label string
}

// commands are those of iPXE 2.0 with everything switched on. A build may have fewer; no build has more.
var commands = strings.Fields(`
	autoboot cachectl certfree certstat certstore chain clear colour config console cpair cpuid dhcp dhcpv6 echo exit
	fcels fcstat fdt form goto gdbstub help ibmgmt ibstat ifclose ifconf iflinkwait ifopen ifstat imgargs imgdecrypt imgexec
	imgextract imgfetch imgfree imgload imgmem imgselect imgsha1sum imgsha256sum imgsha512sum imgmd5sum imgsingle imgstat
	imgtrust imgverify initrd inc ipstat iseq isset item iwlist iwstat kernel login lotest md5sum menu module neighbour
	nslookup nstat ntp param params pciscan ping pool poweroff present profstat prompt pxebs read reboot route sanboot
	sanhook sanunhook set sha1sum sha256sum sha512sum shell shim show sleep sleepms startpxe stoppxe sync time unset
	usbscan vcreate vdestroy wol boot choose ucode digest allowfile iflink eth`)

var known = setOf(commands)

func setOf(words []string) map[string]bool {
	set := make(map[string]bool, len(words))
	for _, w := range words {
		set[w] = true
	}
	return set
}

// fetchers take a URI as their first argument that is no option. Options with a value of their own come with them.
var fetchers = map[string]string{
	"chain": "-n --name -t --timeout", "kernel": "-n --name -t --timeout", "initrd": "-n --name -t --timeout",
	"imgfetch": "-n --name -t --timeout", "module": "-n --name -t --timeout", "imgselect": "-n --name -t --timeout",
	"imgload": "-n --name -t --timeout", "imgexec": "-n --name -t --timeout", "imgargs": "-n --name -t --timeout",
	"imgverify": "-s --signer -t --timeout", "shim": "-t --timeout",
}

func readScript(text []byte) *script {
	s := &script{}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	if string(bytes.TrimRight(first, " \t\r")) != "#!ipxe" {
		s.bad(1, "an iPXE script begins with the line #!ipxe, else iPXE does not know it for one")
	}
	line := 0
	for len(text) > 0 {
		var one []byte
		one, text, _ = bytes.Cut(text, []byte("\n"))
		line++
		s.line(line, string(bytes.TrimSpace(one)))
	}
	for _, j := range s.jumps {
		if !slices.Contains(s.labels, j.label) {
			s.bad(j.line, "goto %s: there is no line :%[1]s", shorten(j.label))
		}
	}
	return s
}

func (s *script) bad(line int, format string, args ...any) {
	s.faults = append(s.faults, Fault{line, fmt.Sprintf(format, args...)})
}

// line reads the commands of one line; words apart from them are separated by blanks (core/exec.c).
func (s *script) line(n int, text string) {
	switch {
	case text == "" || text[0] == '#':
		return
	case text[0] == ':':
		s.labels = append(s.labels, strings.TrimSpace(text[1:]))
		return
	}
	var words []string
	for _, w := range strings.Fields(text) {
		if w == "||" || w == "&&" {
			s.command(n, words)
			words = nil
			continue
		}
		words = append(words, w)
	}
	s.command(n, words)
}

func (s *script) command(n int, words []string) {
	if len(words) == 0 || strings.Contains(words[0], "${") {
		return
	}
	name, rest := words[0], words[1:]
	if !known[name] {
		s.bad(n, "iPXE has no command %q%s", shorten(name), meant(name))
		return
	}
	switch name {
	case "goto":
		if len(rest) > 0 && !strings.Contains(rest[len(rest)-1], "${") {
			s.jumps = append(s.jumps, jump{n, rest[len(rest)-1]})
		}
	case "imgargs":
		if len(rest) > 1 {
			s.arguments = append(s.arguments, rest[1:]...)
		}
	}
	valued, ok := fetchers[name]
	if !ok {
		return
	}
	i := positional(rest, strings.Fields(valued))
	if i >= len(rest) {
		if name == "kernel" || name == "initrd" || name == "chain" && len(rest) == 0 {
			s.bad(n, "%s wants a URI", name)
		}
		return
	}
	s.uri(n, name, rest[i])
	if name == "kernel" {
		s.kernel = n
		s.arguments = append(s.arguments, rest[i+1:]...)
	}
}

// positional finds the first word that is neither an option nor the value of one.
func positional(words, valued []string) int {
	for i := 0; i < len(words); i++ {
		switch {
		case !strings.HasPrefix(words[i], "-"):
			return i
		case slices.Contains(valued, words[i]):
			i++
		}
	}
	return len(words)
}

var (
	scheme = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+._-]*:`)
	// schemes are those of core/uri.c's users: what stands before any other first colon is taken for one all the same.
	schemes = strings.Fields("http https tftp tftm mtftp x-tftm slam ftp nfs file iscsi aoe fcp srp ib_srp usb pxe data embedded")
	// colons are settings that expand to something with a colon in it: addresses of cards and IPv6 addresses.
	colons = regexp.MustCompile(`\$\{(?:[^}:]*[/.])?(?:mac|busloc|ip6|gateway6|dns6|dhcpv6\.[a-z]+)\}|\$\{[^}:]+:(?:hex|hexcolon|ipv6)\}`)
)

// uri finds relative URIs with a colon: iPXE takes all that is before the first colon for a scheme, and fails.
func (s *script) uri(n int, command, uri string) {
	if strings.HasPrefix(uri, "${") {
		return // it may well be a whole address
	}
	if m := scheme.FindString(uri); m != "" && slices.Contains(schemes, strings.ToLower(m[:len(m)-1])) {
		return
	}
	literal := regexpExpansion.ReplaceAllString(uri, "")
	switch {
	case strings.Contains(literal, ":"):
		s.bad(n, "%s %s: a relative URI with : in it, iPXE takes what is before it for a scheme: write it from http:// on", command, shorten(uri))
	case colons.MatchString(uri):
		s.bad(n, "%s %s: %s expands to a text with :, which no relative URI may have: write the URI from http:// on, or :hexhyp", command, shorten(uri), colons.FindString(uri))
	}
}

var regexpExpansion = regexp.MustCompile(`\$\{[^}]*\}`)

// unattended finds what Debian's installer lacks on its command line. Answers that come over the network come too late
// for these.
func (s *script) unattended() []Fault {
	if s.kernel == 0 || !s.has("url", "preseed/url", "file", "preseed/file") {
		return nil
	}
	var out []Fault
	for _, w := range []struct {
		why   string
		names []string
	}{
		{"auto=true: the installer asks for language and keyboard before it has its answers", []string{"auto", "auto-install/enable"}},
		{"priority=critical: the installer asks what the answers do not say", []string{"priority", "debconf/priority"}},
	} {
		if !s.has(w.names...) {
			out = append(out, Fault{s.kernel, "the kernel's command line has no " + w.why})
		}
	}
	return out
}

func (s *script) has(names ...string) bool {
	return slices.ContainsFunc(s.arguments, func(w string) bool {
		name, _, ok := strings.Cut(w, "=")
		return ok && slices.Contains(names, name)
	})
}

// meant names the command that differs in one place.
func meant(name string) string {
	for _, c := range commands {
		if near(name, c) {
			return ", did you mean " + c + "?"
		}
	}
	return ""
}

// near: one letter changed, added, dropped, or two neighbours swapped.
func near(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 1:
		return a[i:] == b[i+1:] && len(a) > 1
	case 0:
		if i == len(a) || len(a) < 3 {
			return false
		}
		return a[i+1:] == b[i+1:] || i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
	}
	return false
}
