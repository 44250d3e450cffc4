package inventory

import (
	"os"
	"testing"
)

// TestExample reads the inventory that the README shows.
func TestExample(t *testing.T) {
	data, err := os.ReadFile("../../inventory.yaml")
	if err != nil {
		t.Fatal(err)
	}
	inv := mustParse(t, string(data))
	if len(inv.Networks) != 2 || len(inv.Profiles) != 2 || len(inv.Hosts) != 6 {
		t.Errorf("%d networks, %d profiles, %d hosts", len(inv.Networks), len(inv.Profiles), len(inv.Hosts))
	}
}
