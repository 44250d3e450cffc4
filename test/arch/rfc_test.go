package arch

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestStandardsNameWhatExists holds docs/rfc.md against the code: each row of its tables names what does the thing and at
// least one test that would fail without it, and all of these are there.
func TestStandardsNameWhatExists(t *testing.T) { namesWhatExists(t, "docs/rfc.md", "section", 4) }

// TestRulesNameWhatExists is the same for the rules of racks, prefixes and moving in.
func TestRulesNameWhatExists(t *testing.T) {
	namesWhatExists(t, "docs/conformance-racks.md", "rule", 3)
}

// TestPromisesNameWhatExists is the same for what DHCPv6 promises.
func TestPromisesNameWhatExists(t *testing.T) {
	namesWhatExists(t, "docs/conformance-dhcp6.md", "promise", 4)
}

// TestNetworkNamesWhatExists is the same for what an IPv6-only network needs.
func TestNetworkNamesWhatExists(t *testing.T) {
	namesWhatExists(t, "docs/conformance-ipv6-only.md", "section", 4)
}

// namesWhatExists reads tables of so many cells, of which the last two name functions and tests; head is the first cell of each.
func namesWhatExists(t *testing.T, file, head string, width int) {
	t.Helper()
	text, err := os.ReadFile("../../" + file)
	if err != nil {
		t.Fatal(err)
	}
	quoted := regexp.MustCompile("`([^`]*)`")
	found, rows := declarations{}, 0
	for i, line := range strings.Split(string(text), "\n") {
		cells := strings.Split(strings.Trim(line, "| "), "|")
		if !strings.HasPrefix(line, "|") || strings.HasPrefix(line, "|---") || strings.TrimSpace(cells[0]) == head {
			continue
		}
		rows++
		if len(cells) != width {
			t.Errorf("%s:%d: a row has %d cells, the last ones function and test", file, i+1, width)
			continue
		}
		for n, cell := range cells[width-2:] {
			names := quoted.FindAllStringSubmatch(cell, -1)
			if len(names) == 0 {
				t.Errorf("%s:%d: %s has no function or no test", file, i+1, cells[0])
			}
			for _, m := range names {
				kind, ok := found.find(t, m[1])
				switch {
				case !ok:
					t.Errorf("%s:%d: there is no %s: write directory.Name or directory.Type.Method, such as bootd/dhcp6.parse", file, i+1, m[1])
				case n == 0 && kind == aTest:
					t.Errorf("%s:%d: %s is a test, and stands where the function belongs", file, i+1, m[1])
				case n == 1 && kind != aTest:
					t.Errorf("%s:%d: %s is no test", file, i+1, m[1])
				}
			}
		}
	}
	if rows < 20 {
		t.Errorf("%s: only %d rows were read: are they still tables of %d cells?", file, rows, width)
	}
}

// kind tells a test from all else.
type kind int

const (
	code kind = iota + 1
	aTest
)

// declarations are what each directory declares, read when first asked for.
type declarations map[string]map[string]kind

// find looks for directory.Name or directory.Type.Method.
func (d declarations) find(t *testing.T, name string) (kind, bool) {
	t.Helper()
	slash := strings.LastIndex(name, "/") + 1
	dir, decl, ok := strings.Cut(name[slash:], ".")
	if !ok {
		return 0, false
	}
	dir = name[:slash] + dir
	if d[dir] == nil {
		d[dir] = declared(t, filepath.Join("../..", dir))
	}
	k, ok := d[dir][decl]
	return k, ok
}

func declared(t *testing.T, dir string) map[string]kind {
	t.Helper()
	out := map[string]kind{}
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		inTest := strings.HasSuffix(file, "_test.go")
		for _, decl := range f.Decls {
			for _, name := range namesOf(decl) {
				switch isTest := strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Fuzz"); {
				case inTest && isTest && name != "TestMain":
					out[name] = aTest
				case !inTest:
					out[name] = code
				}
			}
		}
	}
	return out
}

// namesOf gives what a declaration names; a method goes by its type.
func namesOf(d ast.Decl) []string {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		of := d.Recv.List[0].Type
		if p, ok := of.(*ast.StarExpr); ok {
			of = p.X
		}
		if x, ok := of.(*ast.IndexExpr); ok {
			of = x.X
		}
		if id, ok := of.(*ast.Ident); ok {
			return []string{id.Name + "." + d.Name.Name}
		}
	case *ast.GenDecl:
		var names []string
		for _, s := range d.Specs {
			switch s := s.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, n := range s.Names {
					names = append(names, n.Name)
				}
			}
		}
		return names
	}
	return nil
}
