package render_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/render"
)

// TestDocumented holds docs/templates.md against what templates see and call.
func TestDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/templates.md")
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for _, of := range []any{render.Data{}, render.NIC{}, inventory.User{}, inventory.Disk{}} {
		typ := reflect.TypeOf(of)
		for i := range typ.NumField() {
			if name := typ.Field(i).Name; typ.Field(i).IsExported() && !strings.Contains(text, "."+name) {
				t.Errorf("docs/templates.md does not name .%s of %s", name, typ)
			}
		}
	}
	urls := reflect.TypeOf(render.URL{})
	for i := range urls.NumField() {
		if name := urls.Field(i).Name; !strings.Contains(text, ".URL."+name) {
			t.Errorf("docs/templates.md does not name .URL.%s", name)
		}
	}
	for _, name := range render.FuncNames() {
		if !strings.Contains(text, "`"+name+" ") && !strings.Contains(text, "`"+name+"`") {
			t.Errorf("docs/templates.md does not name the function %s", name)
		}
	}
}
