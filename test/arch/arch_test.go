// Package arch holds the walls: who may import whom, and that decisions stay pure. A failure names the arrow and the
// reason it is not allowed.
package arch

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

type pkg struct {
	Dir, ImportPath                    string
	GoFiles                            []string
	Imports, TestImports, XTestImports []string
}

func (p pkg) short() string { return strings.TrimPrefix(p.ImportPath, mod) }

func load(t *testing.T) []pkg {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=Dir,ImportPath,GoFiles,Imports,TestImports,XTestImports", mod+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("listing packages: %v", err)
	}
	var all []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 12 {
		t.Fatalf("only %d packages listed: the test looks at the wrong place", len(all))
	}
	return all
}

func TestArrows(t *testing.T) {
	for _, p := range load(t) {
		name := p.short()
		if isOutside(name) || slices.Contains(wiring, name) {
			continue
		}
		r, ok := rules[name]
		if !ok {
			t.Errorf("%s: no rule in test/arch/rules_test.go: add the package with its arrows and the reason", name)
			continue
		}
		for _, imp := range internal(p.Imports) {
			if !slices.Contains(r.may, imp) {
				t.Errorf("%s imports %s: not allowed (%s: %s)", name, imp, name, r.why)
			}
		}
		for _, imp := range internal(append(p.TestImports, p.XTestImports...)) {
			if imp != name && !slices.Contains(r.may, imp) && !slices.Contains(testOnly, imp) {
				t.Errorf("%s: its tests import %s: not allowed (%s)", name, imp, r.why)
			}
		}
	}
}

func TestOnlyTestsUseFakes(t *testing.T) {
	for _, p := range load(t) {
		for _, imp := range internal(p.Imports) {
			if strings.HasSuffix(imp, "test") && !isOutside(p.short()) {
				t.Errorf("%s imports %s outside its tests", p.short(), imp)
			}
		}
	}
}

func TestPurity(t *testing.T) {
	for _, p := range load(t) {
		if !slices.Contains(pure, p.short()) {
			continue
		}
		for _, imp := range p.Imports {
			why, bad := unclean[imp]
			if _, excepted := exceptions[p.short()+" "+imp]; bad && !excepted {
				t.Errorf("%s imports %s: %s", p.short(), imp, why)
			}
		}
		eachFile(t, p, func(fset *token.FileSet, f *ast.File) {
			ast.Inspect(f, func(n ast.Node) bool {
				if sel, ok := n.(*ast.SelectorExpr); ok {
					x, ok := sel.X.(*ast.Ident)
					if ok && x.Name == "time" && slices.Contains([]string{"Now", "Since", "Until", "Sleep", "After", "NewTimer", "NewTicker", "AfterFunc", "Tick"}, sel.Sel.Name) {
						t.Errorf("%s: time.%s in a pure package: time is an argument", fset.Position(n.Pos()), sel.Sel.Name)
					}
				}
				return true
			})
		})
	}
}

func TestLibrariesStopInTheirAdapter(t *testing.T) {
	for _, p := range load(t) {
		for _, imp := range p.Imports {
			for lib, owner := range libraries {
				if (imp == lib || strings.HasPrefix(imp, lib+"/")) && p.short() != owner && p.short() != owner+"/"+filepath.Base(owner)+"test" && !isOutside(p.short()) {
					t.Errorf("%s imports %s: its types stop inside %s", p.short(), imp, owner)
				}
			}
		}
	}
}

// TestNoHiddenState looks for init functions, package variables that something assigns to, and the global registries
// of the standard library.
func TestNoHiddenState(t *testing.T) {
	for _, p := range load(t) {
		if strings.HasPrefix(p.short(), "test/") {
			continue
		}
		vars := map[string]bool{}
		eachFile(t, p, func(_ *token.FileSet, f *ast.File) {
			for _, d := range f.Decls {
				if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
					for _, s := range g.Specs {
						for _, n := range s.(*ast.ValueSpec).Names {
							vars[n.Name] = true
						}
					}
				}
			}
		})
		eachFile(t, p, func(fset *token.FileSet, f *ast.File) {
			outer := map[*ast.Ident]bool{} // identifiers that the file itself does not declare
			for _, id := range f.Unresolved {
				outer[id] = true
			}
			ast.Inspect(f, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					if n.Recv == nil && n.Name.Name == "init" {
						t.Errorf("%s: func init: wire it where it is used", fset.Position(n.Pos()))
					}
				case *ast.AssignStmt:
					for _, l := range n.Lhs {
						if id, ok := root(l).(*ast.Ident); ok && n.Tok != token.DEFINE && vars[id.Name] && (outer[id] || packageLevel(f, id)) {
							t.Errorf("%s: package variable %s is assigned to: pass it instead", fset.Position(n.Pos()), id.Name)
						}
					}
				case *ast.SelectorExpr:
					if x, ok := n.X.(*ast.Ident); ok && slices.Contains([]string{"http.DefaultServeMux", "http.HandleFunc", "http.Handle", "prometheus.MustRegister", "prometheus.DefaultRegisterer", "promauto.NewCounter"}, x.Name+"."+n.Sel.Name) {
						t.Errorf("%s: %s.%s is global: own one", fset.Position(n.Pos()), x.Name, n.Sel.Name)
					}
				}
				return true
			})
		})
	}
}

func root(e ast.Expr) ast.Expr {
	switch e := e.(type) {
	case *ast.IndexExpr:
		return root(e.X)
	case *ast.SelectorExpr:
		return root(e.X)
	case *ast.StarExpr:
		return root(e.X)
	}
	return e
}

// packageLevel reports whether the file's own resolution leads id to a declaration outside every function.
func packageLevel(f *ast.File, id *ast.Ident) bool {
	if id.Obj == nil {
		return false
	}
	spec, ok := id.Obj.Decl.(*ast.ValueSpec)
	if !ok {
		return false
	}
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && slices.Contains(g.Specs, ast.Spec(spec)) {
			return true
		}
	}
	return false
}

func eachFile(t *testing.T, p pkg, fn func(*token.FileSet, *ast.File)) {
	t.Helper()
	fset := token.NewFileSet()
	for _, name := range p.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		fn(fset, f)
	}
}

func internal(imports []string) []string {
	var in []string
	for _, i := range imports {
		if s, ok := strings.CutPrefix(i, mod); ok {
			in = append(in, s)
		}
	}
	return in
}

func isOutside(name string) bool {
	return slices.ContainsFunc(outside, func(o string) bool { return name == o || strings.HasPrefix(name, strings.TrimSuffix(o, "/")+"/") })
}
