package netns_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestRouterAdvertisement solicits one with rdisc6 and compares all of it. The
// lifetime as a router is there because this server forwards and has a default
// route.
func TestRouterAdvertisement(t *testing.T) {
	r := newRack(t)
	n := r.Client(t, "asker", listedMAC)
	linkLocal(t, n)
	started := time.Now()
	got := run(t, n, "rdisc6", "-1", "-r", "1", "-w", "500", "eth0")
	if took := time.Since(started); took > 700*time.Millisecond {
		t.Errorf("the answer took %s: Debian's installer waits 500 ms", took)
	}
	_, got, _ = strings.Cut(got, "\n\n")
	want := `Hop limit                 :           64 (      0x40)
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("router advertisement (-want +got):\n%s", diff)
	}
}
