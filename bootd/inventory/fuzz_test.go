package inventory

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("testdata/*/*.yaml")
	if err != nil || len(files) < 100 {
		f.Fatalf("found %d seeds: %v", len(files), err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		start := time.Now()
		inv, faults := Parse("f.yaml", data)
		// The floor is for machines that are busy; TestHostile measures what grows.
		if took, most := time.Since(start), 30*time.Second+10*time.Millisecond*time.Duration(len(data)>>10); took > most {
			t.Errorf("parsing %d octets took %s", len(data), took)
		}
		if (inv == nil) != (len(faults) > 0) {
			t.Fatalf("inventory %v with %d faults", inv, len(faults))
		}
		for _, x := range faults {
			if x.Pos.Line < 1 || x.Pos.Col < 1 || x.Msg == "" || len(x.Error()) > 2000 || strings.ContainsAny(x.Error(), "\n\x00\x1b") {
				t.Errorf("fault without place, too long or with control characters: %q", x.Error())
			}
		}
		if !slices.IsSortedFunc(faults, func(a, b Fault) int {
			return (a.Pos.Line-b.Pos.Line)*1_000_000 + min(a.Pos.Col-b.Pos.Col, 1)
		}) && len(data) < 1000 {
			t.Errorf("faults out of order: %v", faults)
		}
		again, faultsAgain := Parse("f.yaml", data)
		if diff := cmp.Diff(faults, faultsAgain); diff != "" {
			t.Errorf("a second run differs: %s", diff)
		}
		if diff := cmp.Diff(inv, again, comparers()...); diff != "" {
			t.Errorf("a second run differs: %s", diff)
		}
	})
}

// TestHostile gives texts that a careless parser needs quadratic or exponential time for.
func TestHostile(t *testing.T) {
	network := "networks: {rack1: {interface: eth1, prefix: \"2001:db8:1::/64\"}}\n"
	many := func(n int, line func(i int) string) string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return b.String()
	}
	for name, text := range map[string]string{
		"flow nesting":    strings.Repeat("[", 100_000),
		"mapping nesting": strings.Repeat("{a: ", 30_000),
		"block nesting":   many(600, func(i int) string { return strings.Repeat(" ", i) + "a:\n" }),
		"billion laughs": "a: &a [x,x,x,x,x,x,x,x,x]\n" + many(9, func(i int) string {
			return fmt.Sprintf("%c: &%c [%s]\n", 'b'+i, 'b'+i, strings.Repeat(fmt.Sprintf("*%c,", 'a'+i), 9))
		}),
		"many aliases": network + "defaults:\n  vars:\n    x: &x y\n    l: [" + strings.Repeat("*x,", 30_000) + "]\n",
		"one long key": strings.Repeat("k", 300_000) + ": 1\n",
		"unknown keys": many(20_000, func(i int) string { return fmt.Sprintf("defualts%d: 1\n", i) }),
		"unknown profiles": network + many(1, func(int) string { return "profiles:\n" }) + many(3000, func(i int) string { return fmt.Sprintf("  p%d: {script: x}\n", i) }) + "hosts:\n" + many(3000, func(i int) string {
			return fmt.Sprintf("  h%d: {mac: 52:54:00:00:%02x:%02x, profile: q%d}\n", i, i/256, i%256, i)
		}),
		"overlaps": "networks:\n" + many(5000, func(i int) string { return fmt.Sprintf("  n%d: {interface: e%d, prefix: \"2001:db8::/64\"}\n", i, i) }),
		"networks by hosts": "networks:\n" + many(3000, func(i int) string {
			return fmt.Sprintf("  n%d: {interface: e%d, prefix: \"2001:db8:%x::/64\"}\n", i, i, i)
		}) + "hosts:\n" + many(3000, func(i int) string {
			return fmt.Sprintf("  h%d: {mac: 52:54:00:00:%02x:%02x, address: \"::%x\"}\n", i, i/256, i%256, i+1)
		}),
		"same address": network + "hosts:\n" + many(5000, func(i int) string {
			return fmt.Sprintf("  h%d: {mac: 52:54:00:00:%02x:%02x, address: \"::5\"}\n", i, i/256, i%256)
		}),
		"comments":        strings.Repeat("# c\n", 50_000) + network,
		"comment in list": "a: [\n" + strings.Repeat("# c\n", 20_000) + "]\n",
		"quotes":          strings.Repeat("\"\\x00", 50_000),
		"anchors":         many(20_000, func(i int) string { return fmt.Sprintf("k%d: &a%d x\n", i, i) }),
		"tabs":            strings.Repeat("\t", 200_000),
		"long number":     network + "serve: {http_port: " + strings.Repeat("9", 200_000) + "}\n",
		"long duration":   network + "defaults: {valid: " + strings.Repeat("1d", 100_000) + "}\n",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			_, faults := Parse("f.yaml", []byte(text))
			took := time.Since(start)
			t.Logf("%d octets, %d faults, %s", len(text), len(faults), took)
			// What grows with the square of these texts takes minutes; the floor is for busy machines.
			if most := 30*time.Second + 10*time.Millisecond*time.Duration(len(text)>>10); took > most {
				t.Errorf("parsing %d octets took %s, more than %s", len(text), took, most)
			}
			for _, f := range faults {
				if len(f.Error()) > 2000 {
					t.Fatalf("a fault of %d characters", len(f.Error()))
				}
			}
		})
	}
}

func TestTooLong(t *testing.T) {
	_, faults := Parse("f.yaml", bytes.Repeat([]byte("#"), maxFile+1))
	want := "f.yaml:1:1: the file has 33554433 octets, an inventory has at most 33554432"
	if len(faults) != 1 || faults[0].Error() != want {
		t.Errorf("got %v, want %s", faults, want)
	}
}
