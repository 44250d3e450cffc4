package lint_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/lint"
)

func lines(faults []lint.Fault) string {
	var b strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&b, "%d: %s\n", f.Line, f.Text)
	}
	return b.String()
}

func TestScript(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"fine", "#!ipxe\n# a comment\n:again\nset base http://[2001:db8::1]\nchain --autofree ${base}/a?mac=${mac} || goto again\n" +
			"kernel http://[2001:db8::1]:8080/linux a=b:c initrd=i\ninitrd --name i http://x/i ||\nchain b.ipxe?mac=${mac:hexhyp}&s=${serial:uristring}\nboot || shell\n", ""},
		{"no magic", "#ipxe\nboot\n", "1: an iPXE script begins with the line #!ipxe, else iPXE does not know it for one\n"},
		{"empty", "", "1: an iPXE script begins with the line #!ipxe, else iPXE does not know it for one\n"},
		{"unknown commands", "#!ipxe\nboto || slep 5\nwget http://x/y\n", `2: iPXE has no command "boto", did you mean goto?
2: iPXE has no command "slep", did you mean sleep?
3: iPXE has no command "wget"
`},
		{
			"relative with a colon", "#!ipxe\nchain boot.ipxe?mac=52:54:00:aa:01:01\nkernel linux?mac=${net0/mac}\ninitrd i?a=${net0/ip6} ||\nchain a/b.ipxe\n",
			`2: chain boot.ipxe?mac=52:54:00:aa:01:01: a relative URI with : in it, iPXE takes what is before it for a scheme: write it from http:// on
3: kernel linux?mac=${net0/mac}: ${net0/mac} expands to a text with :, which no relative URI may have: write the URI from http:// on, or :hexhyp
4: initrd i?a=${net0/ip6}: ${net0/ip6} expands to a text with :, which no relative URI may have: write the URI from http:// on, or :hexhyp
`,
		},
		{"no URI, no label", "#!ipxe\nkernel\ngoto nowhere\ngoto ${there}\n", "2: kernel wants a URI\n3: goto nowhere: there is no line :nowhere\n"},
	} {
		if d := cmp.Diff(c.want, lines(lint.Script([]byte(c.text)))); d != "" {
			t.Errorf("%s: -want +got:\n%s", c.name, d)
		}
	}
}

// whole is a preseed with everything that an unattended installation needs.
const whole = `d-i debian-installer/locale string en_US.UTF-8
d-i keyboard-configuration/xkb-keymap select us
d-i mirror/country string manual
d-i mirror/http/hostname string [2001:db8::5]:8080
d-i mirror/http/directory string /debian
d-i passwd/root-password-crypted password $6$salt$hash
d-i passwd/make-user boolean false
d-i partman/early_command string sh /tmp/guard
d-i partman-auto/method string regular
d-i partman-partitioning/confirm_write_new_label boolean true
d-i partman/choose_partition select finish
d-i finish-install/reboot_in_progress note
d-i preseed/late_command string sh \
  /tmp/late
tasksel tasksel/first multiselect standard
postfix postfix/main_mailer_type select No configuration
#= late
#|d-i this is no answer
#=
`

const script = "#!ipxe\nkernel http://x/linux auto=true priority=critical url=http://x/preseed.cfg\nboot\n"

func TestHost(t *testing.T) {
	for _, c := range []struct{ name, script, answers, ofScript, ofAnswers string }{
		{"whole", script, whole, "", ""},
		{"no preseed", "#!ipxe\nboot\n", "#cloud-config\nautoinstall: {}\n", "", ""},
		{"nobody may ask", "#!ipxe\nkernel http://x/linux url=http://x/p\nboot\n", whole, `2: the kernel's command line has no auto=true: the installer asks for language and keyboard before it has its answers
2: the kernel's command line has no priority=critical: the installer asks what the answers do not say
`, ""},
		{
			"lines", script, whole + "d-i foo\nD-I a/b string c\nxx netcfg/get_hostname string c\nd-i nothing string c\nd-i a/b strin c\nd-i passwd/make-user true\nd-i a/b boolean yes\nd-i a/b seen false\nd-i a/b string c \\\n", "",
			`20: debconf cannot parse this line: it wants owner, question, type and value, as in d-i passwd/make-user boolean false
21: "D-I" is no owner of a/b: write d-i for the installer, or the name of a package
22: netcfg/get_hostname is the installer's: its owner is d-i, not xx
23: "nothing" is no question: it has no /
24: a/b: "strin" is no type of debconf, did you mean string?
25: passwd/make-user: the type boolean is missing before true
26: a/b is true or false, nothing else
28: the last line ends in a backslash, which joins it to a line that is not there
`,
		},
		{
			"values", script, whole + "d-i mirror/http/hostname string 2001:db8::5\nd-i mirror/protocol string https\nd-i passwd/root-password-crypted password hunter2\n", "",
			`20: mirror/http/hostname: an IPv6 address stands in brackets here, as in [2001:db8::5]:8080
21: mirror/protocol: the installer's wget speaks no https: write http (packages are signed)
22: passwd/root-password-crypted holds no crypt(5) hash
`,
		},
		{
			"together", script, strings.Replace(whole, "string manual", "string NL", 1) + "d-i anna/standard_modules boolean false\nd-i base-installer/debootstrap_variant string minbase\n", "",
			`4: mirror/http/hostname has no effect without mirror/country string manual
20: anna/standard_modules is false and anna/choose_modules does not name finish-install: the installation does not end
21: with the variant minbase, base-installer/includes has to name debconf-i18n: apt dies without it
`,
		},
		{
			"C has no country", script, strings.Replace(whole, "en_US.UTF-8", "C", 1), "",
			"0: debian-installer/language is not answered: the installer asks for the language where the locale is C\n" +
				"0: debian-installer/country is not answered: the installer asks for the continent where the locale is C\n",
		},
		{"on the command line", strings.Replace(script, "auto=true", "auto=true language=en country=US locale=C", 1), strings.Replace(whole, "d-i debian-installer/locale string en_US.UTF-8\n", "", 1), "", ""},
		{
			"left out on purpose", script, "# bootd: without debian-installer/locale\n" + strings.Replace(whole, "d-i debian-installer/locale string en_US.UTF-8\n", "", 1), "", "",
		},
		{
			"a user instead of root, no guard", script, strings.NewReplacer("passwd/root-password-crypted password $6$salt$hash", "passwd/root-login boolean false",
				"d-i passwd/make-user boolean false\n", "", "d-i partman/early_command string sh /tmp/guard\n", "").Replace(whole), "",
			`0: passwd/username is not answered: the installer asks for the name of a user
0: passwd/user-password-crypted is not answered: the installer asks for the password of the user
0: partman-auto/disk is not answered: with several disks the installer asks which
0: partman/confirm is not answered: the installer asks before it writes to the disk
0: partman/confirm_nooverwrite is not answered: the installer asks before it writes to the disk
`,
		},
		{"nothing answered", script, "d-i a/b note\n", "", `0: debian-installer/locale is not answered: the installer asks for the language
0: keyboard-configuration/xkb-keymap is not answered: the installer asks for the keyboard
0: mirror/http/hostname is not answered: the installer asks for the mirror
0: mirror/http/directory is not answered: the installer asks for the directory of the mirror
0: passwd/root-password-crypted is not answered: the installer asks for root's password
0: passwd/username is not answered: the installer asks for the name of a user
0: passwd/user-password-crypted is not answered: the installer asks for the password of the user
0: partman-auto/disk is not answered: with several disks the installer asks which
0: partman-auto/method is not answered: the installer asks how to partition
0: partman-partitioning/confirm_write_new_label is not answered: the installer asks before it writes a partition table
0: partman/choose_partition is not answered: the installer asks whether partitioning is done
0: partman/confirm is not answered: the installer asks before it writes to the disk
0: partman/confirm_nooverwrite is not answered: the installer asks before it writes to the disk
0: finish-install/reboot_in_progress is not answered: the installer waits for a key before it reboots
0: preseed/late_command is not answered: with M=1 the installer writes no network configuration, and without one the installed system has no network
`},
	} {
		ofScript, ofAnswers := lint.Host([]byte(c.script), []byte(c.answers))
		if d := cmp.Diff(c.ofScript, lines(ofScript)); d != "" {
			t.Errorf("%s: script: -want +got:\n%s", c.name, d)
		}
		if d := cmp.Diff(c.ofAnswers, lines(ofAnswers)); d != "" {
			t.Errorf("%s: answers: -want +got:\n%s", c.name, d)
		}
	}
}

// TestValuesAreNotRepeated: a value may be a secret, whatever is wrong with its line.
func TestValuesAreNotRepeated(t *testing.T) {
	for _, line := range []string{
		"d-i passwd/root-password-crypted password hunter2", "d-i passwd/root-password boolean hunter2", "d-1 passwd/root-password password hunter2",
		"x passwd/root-password password hunter2", "d-i passwd password hunter2", "d-i passwd/root-password passwrd hunter2", "d-i passwd/root-password hunter2",
	} {
		_, faults := lint.Host([]byte(script), []byte(line+"\n"+whole))
		if len(faults) == 0 || strings.Contains(lines(faults), "hunter2") {
			t.Errorf("%s: %s", line, lines(faults))
		}
	}
}

func FuzzHost(f *testing.F) {
	f.Add([]byte(script), []byte(whole))
	f.Add([]byte("#!ipxe\nchain --name\ngoto\n:\n|| && ${"), []byte("d-i \\\n\\\n#= x\n#=\nd-i a/b boolean\n"))
	f.Fuzz(func(t *testing.T, script, answers []byte) {
		before := bytes.Clone(answers)
		ofScript, ofAnswers := lint.Host(script, answers)
		if !bytes.Equal(before, answers) {
			t.Error("the text was changed")
		}
		for _, of := range []struct {
			text   []byte
			faults []lint.Fault
		}{{script, ofScript}, {answers, ofAnswers}} {
			for _, x := range of.faults {
				if x.Line < 0 || x.Line > bytes.Count(of.text, []byte("\n"))+1 || x.Text == "" {
					t.Errorf("%+v", x)
				}
			}
		}
	})
}
