package netns_test

import (
	"os"
	"testing"

	"bootd.internal/lab"
)

// TestImportedAnswersLikeDHCPD asks Debian's isc-dhcp-server with the configurations of cases 1 and 3 and with
// one that says hardly anything, and bootd with what bootd
// import made of each, the same questions, and compares the answers as TestImportedAnswersLikeKea does.
func TestImportedAnswersLikeDHCPD(t *testing.T) {
	found := map[string]string{}
	for _, o := range []original{
		{
			name: "dhcpd", dir: "case1", conf: "dhcpd.conf", more: []string{"--radvd", "radvd.conf", "--unbound", "unbound.conf"}, prefix: "2001:db8::1/64",
			silent: map[string][]string{"Confirm": {"dhcpd"}, "Solicit without an IA": {"dhcpd"}}, // it has no address to confirm
			run:    (*both).dhcpd, steps: []step{
				{"UEFI's PXE", booting("", 0, 7), nil},
				{"iPXE of UEFI", booting("iPXE", 0, 7), nil},
				{"iPXE of a BIOS", booting("iPXE", 0, 0), nil},
				{"PXE of a BIOS", booting("", 0, 0), nil},
			},
		},
		{
			name: "dhcpd", dir: "case3", conf: "dhcpd.conf", more: []string{"--radvd", "radvd.conf"}, prefix: "2001:db8:0:1::1/64",
			silent: map[string][]string{"Confirm": {"dhcpd", "bootd"}, "Solicit without an IA": {"dhcpd"}},
			run:    (*both).dhcpd,
		},
		{
			name: "dhcpd", dir: "plain-dhcpd", conf: "dhcpd.conf", prefix: "2001:db8::1/64",
			silent: map[string][]string{"Solicit without an IA": {"dhcpd"}},
			run:    (*both).dhcpd,
		},
	} {
		t.Run(o.dir, func(t *testing.T) {
			_, here := compare(t, o)
			for d, where := range here {
				found[d] = o.dir + ": " + where
			}
		})
	}
	listed(t, "dhcpd", found)
}

// booting asks for a boot file.
func booting(class string, arch ...byte) func(*machine, *peer) question {
	return func(m *machine, _ *peer) question {
		return question{kind: msgInfoRequest, duid: m.duid, oro: []uint16{23, 59}, arch: arch, class: class}
	}
}

// dhcpd runs dhcpd until the test ends.
func (r *both) dhcpd(t *testing.T, n *lab.Node, conf string) {
	t.Helper()
	leases := r.Path("dhcpd.leases")
	if err := os.WriteFile(leases, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	r.until(t, n, "Server starting service", "dhcpd", "-6", "-f", "-d", "--no-pid", "-cf", conf, "-lf", leases, "eth1")
}
