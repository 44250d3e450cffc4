package render_test

import (
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/templates"
	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

const golden = `serve: {http_port: 8080}
defaults:
  domain: example.net
  profile: debian13
  ntp: [ntp.example.net]
  users:
    root: {ssh_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB root@desk"]}
    ops: {password: "$6$salt$hash", sudo: true, ssh_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC ops@desk"]}
    deploy: {sudo: true, ssh_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMD"]}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64", search: [example.net, rack1.example.net]}
profiles:
  debian13:
    kernel: debian13/linux
    initrd: [debian13/initrd.gz, debian13/firmware.cpio.gz]
    script: ipxe/debian.ipxe
    answers: preseed/debian13.cfg
    console: ttyS0,115200n8
    packages: [chrony, tmux]
    disk: {model: "ACME 100", min_size: 1GB, wipe: true}
    vars:
      mirror: "http://[2001:db8::5]:8080/debian/"
      security_mirror: http://mirror.example.net/debian-security
      preseed: [d-i netcfg/enable boolean false]
  debian12:
    kernel: debian12/linux
    initrd: debian12/initrd.gz
    script: ipxe/debian.ipxe
    answers: preseed/debian12.cfg
    addressing: slaac
    disk: {serial: S6P}
    vars: {mirror: http://mirror.example.net/debian}
hosts:
  r1n01:
    kernel_args: quiet nomodeset
    nics:
      net0: {mac: 52:54:00:aa:01:01, address: "::101"}
      net1: {mac: 52:54:00:aa:01:02, address: ["::102", "::103"]}
  r1n02: {mac: 52:54:00:aa:01:03, profile: debian12}
`

func goldenSite(t *testing.T) *site.Snapshot {
	return sitetest.Snapshot(t, golden, sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
}

// sample is what r1n01 of the golden site sees.
func sample() render.Data {
	return render.Data{
		Host: "r1n01", FQDN: "r1n01.example.net", Domain: "example.net", Network: "rack1", Profile: "debian13", Answers: "preseed/debian13.cfg",
		MAC: "52:54:00:aa:01:01", BootIF: "01-52-54-00-aa-01-01",
		NICs:   []render.NIC{{Name: "net0", MAC: "52:54:00:aa:01:01", Addresses: []string{"2001:db8:1::101/64"}}},
		Server: "[2001:db8:1::1]", Base: "http://[2001:db8:1::1]", Addr: "2001:db8:1::1", Port: 80,
		Kernel: "http://[2001:db8:1::1]/linux", Initrd: []string{"http://[2001:db8:1::1]/initrd.gz"},
		URL: render.URL{
			Answers:   "http://[2001:db8:1::1]/t/" + render.PlaceholderAnswers + "/preseed.cfg",
			Progress:  "http://[2001:db8:1::1]/t/" + render.PlaceholderInstalled + "/progress",
			Failed:    "http://[2001:db8:1::1]/t/" + render.PlaceholderInstalled + "/failed",
			Installed: "http://[2001:db8:1::1]/t/" + render.PlaceholderInstalled + "/installed",
			FirstBoot: "http://[2001:db8:1::1]/t/" + render.PlaceholderFirstBoot + "/first-boot",
		},
		Locale: "C.UTF-8", Language: "en", Country: "US", Keyboard: "us", Timezone: "Etc/UTC", Addressing: "static",
		Nameservers: []string{"2001:db8:1::1"}, HasDisk: true, Disk: inventory.Disk{Serial: "S6P"},
		Vars: map[string]any{"mirror": "http://mirror.example.net/debian"},
	}
}

func TestGolden(t *testing.T) {
	snap, set := goldenSite(t), render.New(templates.FS())
	for _, tc := range []struct{ file, host, template string }{
		{"debian13.ipxe", "r1n01", "ipxe/debian.ipxe"},
		{"debian12.ipxe", "r1n02", "ipxe/debian.ipxe"},
		{"local.ipxe", "r1n01", "ipxe/local.ipxe"},
		{"error.ipxe", "r1n01", "ipxe/error.ipxe"},
		{"autoexec.ipxe", "r1n01", "ipxe/autoexec.ipxe"},
		{"debian13.cfg", "r1n01", "preseed/debian13.cfg"},
		{"debian12.cfg", "r1n02", "preseed/debian12.cfg"},
	} {
		t.Run(tc.file, func(t *testing.T) {
			h, _ := snap.Host(tc.host)
			d := render.Preview(snap, h)
			d.Reason = "r1n01 is not armed ${uuid} || exit\n\x1b[31m"
			got, err := set.Render(tc.template, d)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Join("testdata", "golden", tc.file)
			if *update {
				if err := os.WriteFile(name, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if strings.HasSuffix(tc.file, ".cfg") {
				lintPreseed(t, string(got))
			} else {
				lintScript(t, string(got))
			}
		})
	}
}

// lintPreseed checks what the installer's debconf-set-selections would make of each line.
func lintPreseed(t *testing.T, text string) {
	t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if line == "" || line[0] == '#' {
			continue
		}
		f := strings.Fields(line)
		if len(f) < 3 || !strings.Contains(f[1], "/") || strings.HasSuffix(line, `\`) {
			t.Errorf("not an answer: %q", line)
			continue
		}
		switch f[2] {
		case "string", "boolean", "select", "multiselect", "password", "note":
		default:
			t.Errorf("unknown type in %q", line)
		}
		if seen[f[1]] {
			t.Errorf("%s is answered twice", f[1])
		}
		seen[f[1]] = true
	}
	if seen["partman-auto/disk"] || seen["partman/confirm"] || seen["grub-installer/bootdev"] {
		t.Error("what only the guard may answer is answered")
	}
	for _, shell := range shells(t) {
		for name, script := range unpack(t, []byte(text)) {
			c := exec.Command(shell[0], append(shell[1:], "-n")...)
			c.Stdin = strings.NewReader(script)
			if out, err := c.CombinedOutput(); err != nil {
				t.Errorf("script %s: %v\n%s", name, err, out)
			}
		}
	}
}

// lintScript checks for commands that iPXE of 2019 does not have.
func lintScript(t *testing.T, text string) {
	t.Helper()
	if !strings.HasPrefix(text, "#!ipxe\n") {
		t.Error("does not begin with #!ipxe")
	}
	known := map[string]bool{}
	for _, c := range []string{"echo", "kernel", "initrd", "boot", "sleep", "iseq", "exit", "sanboot", "isset", "set", "chain", "ifconf", "goto"} {
		known[c] = true
	}
	for line := range strings.Lines(text) {
		for part := range strings.SplitSeq(strings.ReplaceAll(strings.TrimSpace(line), "&&", "||"), "||") {
			f := strings.Fields(part)
			if len(f) == 0 || f[0][0] == '#' || f[0][0] == ':' {
				continue
			}
			if !known[f[0]] {
				t.Errorf("unknown command in %q", line)
			}
		}
		if len(line) > 1800 {
			t.Errorf("a line of %d octets; a kernel takes 2048", len(line))
		}
	}
}
