package daemon

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// manyHosts is an inventory of so many hosts that are installed with Debian 13, each with a disk and variables of its own.
func manyHosts(n int) string {
	var b bytes.Buffer
	b.WriteString(`networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
defaults: {users: {root: {password: "$6$salt$hash"}}, vars: {mirror: "http://mirror.example.net/debian"}}
profiles:
  debian13: {kernel: debian13/linux, initrd: debian13/initrd.gz, script: ipxe/debian.ipxe, answers: preseed/debian13.cfg}
hosts:
`)
	for i := range n {
		fmt.Fprintf(&b, "  n%05d: {mac: \"52:54:01:00:%02x:%02x\", profile: debian13, disk: {serial: S6P%05d}, vars: {slot: %d}}\n", i, i>>8, i&255, i, i)
	}
	return b.String()
}

func manyTree(tb testing.TB, n int) string {
	tb.Helper()
	return filepath.Join(writeTree(tb, map[string]string{
		"inventory.yaml": manyHosts(n), "files/debian13/linux": "", "files/debian13/initrd.gz": "", "files/ipxe.efi": "",
	}), "inventory.yaml")
}

// BenchmarkCheck is what a reload of 10,000 hosts costs before anything is swapped: parse, resolve, render and lint all.
func BenchmarkCheck(b *testing.B) {
	file := manyTree(b, 10_000)
	for b.Loop() {
		if _, faults, err := Check(file, noon); err != nil || len(faults) > 0 {
			b.Fatal(faults, err)
		}
	}
}

// BenchmarkCompare is `bootd diff` of 10,000 hosts: nothing differs, one host does, all texts do.
func BenchmarkCompare(b *testing.B) {
	before := manyTree(b, 10_000)
	text, err := os.ReadFile(before)
	if err != nil {
		b.Fatal(err)
	}
	for name, edit := range map[string][2]string{
		"nothing": {}, "one": {"S6P00042", "S6PX0042"}, "all": {`/64"`, `/64", ntp: "2001:db8:1::7"`},
	} {
		after := filepath.Join(filepath.Dir(manyTree(b, 0)), "inventory.yaml")
		if err := os.WriteFile(after, bytes.Replace(text, []byte(edit[0]), []byte(edit[1]), 1), 0o644); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := Compare(before, after, false, noon); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
