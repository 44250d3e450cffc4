package render_test

import (
	"fmt"
	"testing"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/render"
	"bootd.internal/templates"
)

func TestTmp(t *testing.T) {
	d := render.Data{
		Host: "r1n01", FQDN: "r1n01.example.net", Domain: "example.net", Profile: "debian13", MAC: "52:54:00:aa:01:01", BootIF: "01-52-54-00-aa-01-01",
		Server: "[2001:db8:1::1]", Base: "http://[2001:db8:1::1]", Addr: "2001:db8:1::1", Port: 80, Kernel: "http://[2001:db8:1::1]/debian13/linux", Initrd: []string{"http://[2001:db8:1::1]/debian13/initrd.gz"},
		HasDisk: true, Disk: inventory.Disk{Serial: "S6P"}, Vars: map[string]any{"mirror": "http://[2001:db8::5]:8080/debian/"}, Console: "ttyS0,115200n8",
		NICs: []render.NIC{{MAC: "52:54:00:aa:01:01", Addresses: []string{"2001:db8:1::101/64"}}}, Nameservers: []string{"2001:db8:1::1"}, Users: []inventory.User{{Name: "root", SSHKeys: []string{"ssh-ed25519 AAA it's"}}, {Name: "ops", Sudo: true, SSHKeys: []string{"k"}}},
	}
	s := render.New(templates.FS())
	for _, n := range []string{"ipxe/install.ipxe", "ipxe/local.ipxe", "ipxe/error.ipxe", "preseed/debian13.cfg"} {
		b, err := s.Render(n, d)
		fmt.Printf("=== %s %v\n%s", n, err, b)
	}
	delete(d.Vars, "mirror")
	_, err := s.Render("preseed/debian13.cfg", d)
	fmt.Println(err)
}
