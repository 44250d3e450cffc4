package inventory

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
)

const netsFlow = "networks: {rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}}\n"

func newHost() NewHost { return NewHost{Name: "new1", MAC: ident.MAC{0x52, 0x54, 0, 0xaa, 1, 9}} }

// TestInsert compares the whole text: the line is there, and nothing else changed.
func TestInsert(t *testing.T) {
	const line = "new1: 52:54:00:aa:01:09"
	cases := []struct{ name, before, after string }{
		{"block", netsFlow + "hosts:\n  a: 52:54:00:aa:01:01 # the first\n", netsFlow + "hosts:\n  a: 52:54:00:aa:01:01 # the first\n  " + line + "\n"},
		{"four blanks", "hosts:\n    a: 52:54:00:aa:01:01\n\n# the nets\n" + netsFlow, "hosts:\n    a: 52:54:00:aa:01:01\n    " + line + "\n\n# the nets\n" + netsFlow},
		{
			"long entries",
			"hosts:\n  a:\n    mac: 52:54:00:aa:01:01\n    vars:\n      x: 1\n  # b is gone\n  # b: 52:54:00:aa:01:02\n\n" + netsFlow,
			"hosts:\n  a:\n    mac: 52:54:00:aa:01:01\n    vars:\n      x: 1\n  " + line + "\n  # b is gone\n  # b: 52:54:00:aa:01:02\n\n" + netsFlow,
		},
		{
			"a text that ends like a comment",
			netsFlow + "hosts:\n  a:\n    mac: 52:54:00:aa:01:01\n    vars:\n      x: |\n        one\n        # two\n",
			netsFlow + "hosts:\n  a:\n    mac: 52:54:00:aa:01:01\n    vars:\n      x: |\n        one\n        # two\n  " + line + "\n",
		},
		{"no final newline", netsFlow + "hosts:\n  a: 52:54:00:aa:01:01", netsFlow + "hosts:\n  a: 52:54:00:aa:01:01\n  " + line},
		{"carriage returns", strings.ReplaceAll(netsFlow, "\n", "\r\n") + "hosts:\r\n  a: 52:54:00:aa:01:01\r\n", strings.ReplaceAll(netsFlow, "\n", "\r\n") + "hosts:\r\n  a: 52:54:00:aa:01:01\r\n  " + line + "\r\n"},
		{"nothing there", netsFlow, netsFlow + "\nhosts:\n  " + line + "\n"},
		{"hosts without any", "hosts: # none yet\n" + netsFlow, "hosts: # none yet\n  " + line + "\n" + netsFlow},
		{"flow, none", netsFlow + "hosts: {}\n", netsFlow + "hosts: {" + line + "}\n"},
		{"flow", netsFlow + "hosts: {a: 52:54:00:aa:01:01} # all\n", netsFlow + "hosts: {a: 52:54:00:aa:01:01, " + line + "} # all\n"},
		{"flow, blanks", netsFlow + "hosts: { a: 52:54:00:aa:01:01 }\n", netsFlow + "hosts: { a: 52:54:00:aa:01:01, " + line + " }\n"},
		{
			"flow with braces and quotes",
			netsFlow + "hosts: {a: {mac: 52:54:00:aa:01:01, vars: {x: \"}\\\"}\", y: 'it''s }'}}} # }\n",
			netsFlow + "hosts: {a: {mac: 52:54:00:aa:01:01, vars: {x: \"}\\\"}\", y: 'it''s }'}}, " + line + "} # }\n",
		},
		{
			"flow over lines",
			netsFlow + "hosts: {\n  a: 52:54:00:aa:01:01, # }\n  b: 52:54:00:aa:01:02 # last, {\n}\n",
			netsFlow + "hosts: {\n  a: 52:54:00:aa:01:01, # }\n  b: 52:54:00:aa:01:02, # last, {\n  " + line + "\n}\n",
		},
		{
			"flow over lines with a final comma",
			netsFlow + "hosts: {\n  a: 52:54:00:aa:01:01,\n  }\n",
			netsFlow + "hosts: {\n  a: 52:54:00:aa:01:01,\n  " + line + "\n  }\n",
		},
		{
			"all in braces", "{networks: {rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}}}\n",
			"{networks: {rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}}, hosts: {" + line + "}}\n",
		},
		{"not ASCII before it", netsFlow + "defaults: {vars: {x: \"\u00e4\u00f6\"}}\nhosts: {a: {mac: 52:54:00:aa:01:01, vars: {x: \"\u00fc\"}}}\n", netsFlow + "defaults: {vars: {x: \"\u00e4\u00f6\"}}\nhosts: {a: {mac: 52:54:00:aa:01:01, vars: {x: \"\u00fc\"}}, " + line + "}\n"},
		{"end of the document", "---\n" + netsFlow + "hosts:\n  a: 52:54:00:aa:01:01\n...\n", "---\n" + netsFlow + "hosts:\n  a: 52:54:00:aa:01:01\n  " + line + "\n...\n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Insert("inventory.yaml", []byte(c.before), newHost())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.after, string(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestInsertRefuses(t *testing.T) {
	for _, c := range []struct{ name, before, want string }{
		{"its MAC", netsFlow + "hosts:\n  a: 52:54:00:aa:01:09\n", "inventory.yaml:4:9: hosts.new1: 52:54:00:aa:01:09 is already the MAC of hosts.a (line 3)"},
		{"its name", netsFlow + "hosts:\n  new1: 52:54:00:aa:01:01\n", "inventory.yaml:4:3: hosts.new1: is there twice, first on line 3"},
		{"faults", netsFlow + "hosts:\n  a: 52:54:00\n", "the inventory has faults already (bootd check): inventory.yaml:3:6: hosts.a: \"52:54:00\" is not a MAC address of six octets, such as 52:54:00:aa:01:01"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Insert("inventory.yaml", []byte(c.before), newHost())
			if err == nil {
				t.Fatal("it was written")
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestNewHost(t *testing.T) {
	h := newHost()
	h.Network, h.Serial, h.UUID = "rack1", `S"1\`, ident.UUID{1, 2, 3}
	got, err := Insert("inventory.yaml", []byte(netsFlow), h)
	if err != nil {
		t.Fatal(err)
	}
	inv, faults := Parse("inventory.yaml", got)
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	if x := inv.Hosts[0]; x.Serial.V != h.Serial || x.UUID.V != h.UUID || x.Network.V != "rack1" || x.NICs[0].MAC.V != h.MAC {
		t.Errorf("%s reads back as %+v", h, x)
	}
}

// FuzzInsert: whatever stands in an inventory without fault, a host is added to it and nothing else changes, or nothing is.
func FuzzInsert(f *testing.F) {
	f.Add([]byte(netsFlow + "hosts:\n  a: 52:54:00:aa:01:01\n"))
	f.Add([]byte(netsFlow + "hosts: {a: {mac: 52:54:00:aa:01:01, vars: {x: \"}\"}}} # }\n"))
	f.Add([]byte(netsFlow + "hosts: {\n a: 52:54:00:aa:01:01, # x\n}\n"))
	f.Add([]byte("hosts:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		before, faults := Parse("x", data)
		got, err := Insert("x", data, newHost())
		if err != nil {
			return
		}
		after, more := Parse("x", got)
		if len(faults)+len(more) > 0 || len(after.Hosts) != len(before.Hosts)+1 || len(got) <= len(data) {
			t.Errorf("%q became %q", data, got)
		}
	})
}
