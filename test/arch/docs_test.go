package arch

import (
	"os"
	"strings"
	"testing"

	"bootd.internal/bootd/reason"
)

// TestEveryReasonIsDocumented holds docs/operating.md against the enum: people look there first.
func TestEveryReasonIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/operating.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range reason.All() {
		if !strings.Contains(string(text), "`"+r.String()+"`") {
			t.Errorf("docs/operating.md says nothing about the reason %s", r)
		}
	}
}
