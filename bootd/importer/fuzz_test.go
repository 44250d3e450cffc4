package importer

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bootd.internal/bootd/inventory"
)

// seeds adds every file of the tests that one parser reads.
func seeds(f *testing.F, kind string, names ...string) {
	f.Helper()
	for _, pattern := range append(names, "bad/*."+kind) {
		files, err := filepath.Glob("testdata/" + pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
}

// patience is far more than any of the inputs takes: a stall shows, a slow machine does not.
const patience = 20 * time.Second

// tryImport imports and checks what every import promises: an error with a line, or an inventory without fault; bounded notes.
// Includes name the input itself or nothing.
func tryImport(t *testing.T, kind string, data []byte) {
	t.Helper()
	if len(data) > 64<<10 {
		return
	}
	began := time.Now()
	r, err := importAs(kind, "input", data, func(_, name string) ([]byte, error) {
		if strings.HasPrefix(name, "again") {
			return data, nil // under other names: the bound on includes ends it
		}
		return nil, os.ErrNotExist
	})
	if took := time.Since(began); took > patience {
		t.Fatalf("it took %v", took)
	}
	var bad *SyntaxError
	switch {
	case errors.Is(err, errNothing), errors.Is(err, errTooLarge), errors.Is(err, errTooMany), errors.Is(err, os.ErrNotExist):
		return
	case errors.As(err, &bad):
		if bad.Line < 1 || bad.File == "" {
			t.Fatalf("an error without a line: %v", err)
		}
		return
	case err != nil:
		t.Fatalf("an error that is none of the kinds: %v", err)
	}
	if _, faults := inventory.Parse("inventory.yaml", r.Inventory); len(faults) > 0 {
		t.Fatalf("the inventory has faults: %v\n%s", faults[0], r.Inventory)
	}
	if len(r.Notes) > maxNotes {
		t.Fatalf("%d notes", len(r.Notes))
	}
	for _, n := range r.Notes {
		if n.Line < 1 || n.File == "" || strings.ContainsAny(n.Text, "\n\r\x1b") {
			t.Fatalf("a note that a terminal should not get, or without a line: %q", n)
		}
	}
}

func FuzzKea(f *testing.F) {
	seeds(f, "kea", "*/kea-dhcp6.conf", "*/reservations.json")
	f.Add([]byte(`{ "Dhcp6": { "subnet6": [ <?include "again1"?> ] } }`))
	f.Add([]byte(strings.Repeat(`{"Dhcp6":[`, 100)))
	// The same note twice: once, the second one left an empty note behind.
	f.Add([]byte(`{"Dhcp6":{"option-data":[{"":"","":""}],"subnet6":[{"subnet":"1::/64","interface":"0"}]}}`))
	f.Add([]byte(`{"Dhcp6":{"option-data":[{"name":"preference","data":"\"x"}],"subnet6":[{"subnet":"2001:db8:1::/64","interface":"e"}]}}`))
	f.Add([]byte(`{"Dhcp6":{"subnet6":[{"subnet":"2001:db8:1::/64","interface":"true\n","id":"\u0007"}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) { tryImport(t, "kea", data) })
}

func FuzzDhcpd(f *testing.F) {
	seeds(f, "dhcpd", "*/dhcpd.conf", "*/options.conf")
	f.Add([]byte(`include "again1"; include "again2";`))
	f.Add([]byte(strings.Repeat("group {", 100)))
	f.Add([]byte("if " + strings.Repeat("(", 200) + ` { option dhcp6.bootfile-url "tftp://[::1]/x"; }`))
	f.Add([]byte("subnet6 2001:db8::/64 { prefix6 :: ffff:ffff:ffff:ffff:: /64; }"))
	f.Fuzz(func(t *testing.T, data []byte) { tryImport(t, "dhcpd", data) })
}

func FuzzRadvd(f *testing.F) {
	seeds(f, "radvd", "*/radvd.conf")
	f.Fuzz(func(t *testing.T, data []byte) { tryImport(t, "radvd", data) })
}

func FuzzUnbound(f *testing.F) {
	seeds(f, "unbound", "*/unbound.conf")
	f.Add([]byte("include: again1\ninclude: again2\n"))
	f.Fuzz(func(t *testing.T, data []byte) { tryImport(t, "unbound", data) })
}

// TestMany: ten thousand reservations in a second or so, not in minutes.
func TestMany(t *testing.T) {
	var b strings.Builder
	b.WriteString(`{ "Dhcp6": { "subnet6": [ { "id": 1, "subnet": "2001:db8:1::/64", "interface": "eth1", "reservations": [` + "\n")
	for i := range 10000 {
		b.WriteString(`{ "hw-address": "52:54:00:` + hex2(i>>16) + ":" + hex2(i>>8) + ":" + hex2(i) + `", "ip-addresses": [ "2001:db8:1::` + hex2(i>>8) + hex2(i) + `:1" ] },` + "\n")
	}
	b.WriteString("] } ] } }")
	began := time.Now()
	r, err := Kea("kea.conf", []byte(b.String()), Known{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(r.Inventory), "mac:"); n != 10000 || len(r.Notes) > 0 {
		t.Errorf("%d hosts, notes: %v", n, r.Notes[:min(3, len(r.Notes))])
	}
	if took := time.Since(began); took > patience {
		t.Errorf("it took %v", took)
	}
}

func hex2(i int) string {
	const digits = "0123456789abcdef"
	return string([]byte{digits[i>>4&15], digits[i&15]})
}
