package importer

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestDocumented: the example of docs/migrating.md is printed as it stands there, out of the files that stand there.
func TestDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/migrating.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(before string) string {
		t.Helper()
		m := regexp.MustCompile("(?s)" + regexp.QuoteMeta(before) + "\n\n```[a-z]*\n(.*?)```").FindStringSubmatch(string(doc))
		if m == nil {
			t.Fatalf("docs/migrating.md has no block behind %q", before)
		}
		return m[1]
	}
	var in ISC
	for name, to := range map[string]*File{"dhcpd.conf": &in.DHCPD, "radvd.conf": &in.Radvd, "unbound.conf": &in.Unbound} {
		before := "`" + name + "`:"
		*to = File{name, []byte(block(before))}
	}
	r, err := in.Import()
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(block("and `inventory.yaml`:"), string(r.Inventory)); d != "" {
		t.Error(d)
	}
	var said strings.Builder
	for _, n := range r.Notes {
		if n.Kind != Itself {
			fmt.Fprintln(&said, n)
		}
	}
	_, printed, _ := strings.Cut(block("One command:"), "\n")
	if d := cmp.Diff(printed, said.String()); d != "" {
		t.Error(d)
	}
}
