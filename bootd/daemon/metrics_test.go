package daemon

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

// scrape is what a scraper reads whose names begin with one of the prefixes.
func scrape(t testing.TB, m *Metrics, prefixes ...string) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if got, want := w.Header().Get("Content-Type"), "text/plain; version=0.0.4"; w.Code != http.StatusOK || !strings.HasPrefix(got, want) {
		t.Fatalf("status %d, type %s", w.Code, got)
	}
	var out strings.Builder
	for line := range strings.Lines(w.Body.String()) {
		name := strings.TrimPrefix(strings.TrimPrefix(line, "# HELP "), "# TYPE ")
		if slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			out.WriteString(line)
		}
	}
	return out.String()
}

// value is what a gauge shows.
func value(t testing.TB, m *Metrics, g gauge) float64 {
	t.Helper()
	var out dto.Metric
	if err := m.gauges[g].Write(&out); err != nil {
		t.Fatal(err)
	}
	return out.GetGauge().GetValue()
}

// TestMetricsAtStart: a value that was never set is zero, not missing, or no alert could look at it.
func TestMetricsAtStart(t *testing.T) {
	want := `# HELP bootd_hosts Hosts in the inventory that is served.
# TYPE bootd_hosts gauge
bootd_hosts 0
# HELP bootd_info Always 1; the label says the version.
# TYPE bootd_info gauge
bootd_info{version="v1"} 1
# HELP bootd_inventory_reload_failed 1 while the inventory on disk has a fault and an older one is served.
# TYPE bootd_inventory_reload_failed gauge
bootd_inventory_reload_failed 0
# HELP bootd_problems Parts of the site that do not work now.
# TYPE bootd_problems gauge
bootd_problems 0
# HELP bootd_ready 1 while the daemon serves.
# TYPE bootd_ready gauge
bootd_ready 0
# HELP bootd_router_conflicts_total Advertisements of other routers that contradict ours, by what (RFC 4861 section 6.2.7).
# TYPE bootd_router_conflicts_total counter
bootd_router_conflicts_total{conflict="default-router"} 0
bootd_router_conflicts_total{conflict="foreign-prefix"} 0
bootd_router_conflicts_total{conflict="hop-limit"} 0
bootd_router_conflicts_total{conflict="managed"} 0
bootd_router_conflicts_total{conflict="mtu"} 0
bootd_router_conflicts_total{conflict="other"} 0
bootd_router_conflicts_total{conflict="prefix-flags"} 0
bootd_router_conflicts_total{conflict="prefix-lifetime"} 0
bootd_router_conflicts_total{conflict="reachable-time"} 0
bootd_router_conflicts_total{conflict="resolver"} 0
bootd_router_conflicts_total{conflict="retrans-timer"} 0
# HELP bootd_store_failed 1 while the store takes no writes.
# TYPE bootd_store_failed gauge
bootd_store_failed 0
`
	m := NewMetrics("v1")
	if d := cmp.Diff(want, scrape(t, m, "bootd_")); d != "" {
		t.Error(d)
	}
	for _, name := range []string{
		"process_start_time_seconds", "process_resident_memory_bytes", "process_open_fds", "go_goroutines",
		"go_memstats_heap_alloc_bytes", "go_memstats_sys_bytes",
	} {
		if scrape(t, m, name+" ") == "" {
			t.Errorf("no %s", name)
		}
	}
}

// TestMetricsAreOwn: two daemons in one process share nothing.
func TestMetricsAreOwn(t *testing.T) {
	a, b := NewMetrics("a"), NewMetrics("b")
	a.set(gaugeReady, 1)
	if got := value(t, b, gaugeReady); got != 0 {
		t.Errorf("another's gauge is %v", got)
	}
}

func TestMessageLabelIsBounded(t *testing.T) {
	m := NewMetrics("v1")
	for i := range 4 * maxMessages {
		m.observe(timeline.Observation{Adapter: "x", Message: strings.Repeat("a", i), Outcome: reason.Outcome{Reason: reason.Answered}})
	}
	if n := strings.Count(scrape(t, m, "bootd_decisions_total{"), "\n"); n != maxMessages+1 {
		t.Errorf("%d label sets, want %d", n, maxMessages+1)
	}
}

// TestCount: answers that were given together are counted each.
func TestCount(t *testing.T) {
	m := NewMetrics("test")
	for _, n := range []int{0, 1, 5} {
		m.observe(timeline.Observation{Adapter: "dns", Message: "AAAA", Outcome: reason.Outcome{Reason: reason.Cached}, Took: 1, Count: n})
	}
	got := scrape(t, m, "bootd_decisions_total", "bootd_decision_seconds_count")
	for _, want := range []string{`adapter="dns",message="AAAA",reason="cached"} 7`, `bootd_decision_seconds_count{adapter="dns"} 7`} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
}

// TestRouterConflicts: each advertisement that contradicts us counts, by what, and what was never seen is zero.
func TestRouterConflicts(t *testing.T) {
	m := NewMetrics("v1")
	m.observe(timeline.Observation{Foreign: &timeline.Foreign{Kind: timeline.OtherRouter, Conflicts: []string{"mtu", "default-router"}}})
	m.observe(timeline.Observation{Foreign: &timeline.Foreign{Kind: timeline.OtherRouter, Conflicts: []string{"mtu"}}})
	want := `bootd_router_conflicts_total{conflict="default-router"} 1
bootd_router_conflicts_total{conflict="foreign-prefix"} 0
bootd_router_conflicts_total{conflict="hop-limit"} 0
bootd_router_conflicts_total{conflict="managed"} 0
bootd_router_conflicts_total{conflict="mtu"} 2
bootd_router_conflicts_total{conflict="other"} 0
bootd_router_conflicts_total{conflict="prefix-flags"} 0
bootd_router_conflicts_total{conflict="prefix-lifetime"} 0
bootd_router_conflicts_total{conflict="reachable-time"} 0
bootd_router_conflicts_total{conflict="resolver"} 0
bootd_router_conflicts_total{conflict="retrans-timer"} 0
`
	if diff := cmp.Diff(want, scrape(t, m, "bootd_router_conflicts_total{")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
