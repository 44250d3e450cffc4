package daemon

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

// Metrics counts what came of packets and requests and writes it in Prometheus' text format 0.0.4. Labels come from
// closed sets: adapter, message, reason. It writes the format itself: counters, gauges and one histogram are all there
// is, and the client library brings a dozen modules along.
type Metrics struct {
	version string
	started time.Time

	mu       sync.Mutex
	answers  map[answerLabels]uint64
	faults   map[string]uint64
	seconds  map[string]*histogram
	messages map[[2]string]bool
	gauges   map[gauge]float64
}

type answerLabels struct{ adapter, message, reason string }

type histogram struct {
	counts [len(secondsBounds)]uint64
	count  uint64
	sum    float64
}

// secondsBounds are the upper bounds of the histogram's buckets in seconds.
var secondsBounds = [...]float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 5}

// gauge names a value that goes up and down.
type gauge string

const (
	gaugeReady    gauge = "bootd_ready"
	gaugeHosts    gauge = "bootd_hosts"
	gaugeProblems gauge = "bootd_problems"
	gaugeStale    gauge = "bootd_inventory_reload_failed"
	gaugeStore    gauge = "bootd_store_failed"
)

var gaugeHelp = map[gauge]string{
	gaugeReady:    "1 while the daemon serves.",
	gaugeHosts:    "Hosts in the inventory that is served.",
	gaugeProblems: "Parts of the site that do not work now.",
	gaugeStale:    "1 while the inventory on disk has a fault and an older one is served.",
	gaugeStore:    "1 while the store takes no writes.",
}

// maxMessages bounds the message label of all adapters together, should one ever take a name from the wire.
const maxMessages = 128

// NewMetrics starts all at zero.
func NewMetrics(version string, started time.Time) *Metrics {
	m := &Metrics{
		version: version, started: started, answers: map[answerLabels]uint64{}, faults: map[string]uint64{},
		seconds: map[string]*histogram{}, messages: map[[2]string]bool{}, gauges: map[gauge]float64{},
	}
	for g := range gaugeHelp {
		m.gauges[g] = 0
	}
	return m
}

func (m *Metrics) set(g gauge, v float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.gauges[g] = v
}

func (m *Metrics) observe(o timeline.Observation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if o.Outcome.Reason != reason.None {
		m.answers[answerLabels{o.Adapter, m.message(o.Adapter, o.Message), o.Outcome.Reason.String()}]++
	}
	if o.Err != nil {
		m.faults[o.Adapter]++
	}
	if o.Took <= 0 {
		return
	}
	h := m.seconds[o.Adapter]
	if h == nil {
		h = &histogram{}
		m.seconds[o.Adapter] = h
	}
	s := o.Took.Seconds()
	h.count++
	h.sum += s
	for i, bound := range secondsBounds {
		if s <= bound {
			h.counts[i]++
		}
	}
}

func (m *Metrics) message(adapter, message string) string {
	key := [2]string{adapter, message}
	if m.messages[key] {
		return message
	}
	if len(m.messages) >= maxMessages {
		return "other"
	}
	m.messages[key] = true
	return message
}

// ServeHTTP writes all metrics.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(m.text()) // a scraper that went away needs nothing
}

func (m *Metrics) text() []byte {
	var b bytes.Buffer
	m.mu.Lock()
	defer m.mu.Unlock()
	head(&b, "bootd_info", "gauge", "Always 1; the label says the version.")
	fmt.Fprintf(&b, "bootd_info{version=%q} 1\n", m.version)
	for _, g := range slices.Sorted(maps.Keys(m.gauges)) {
		head(&b, string(g), "gauge", gaugeHelp[g])
		fmt.Fprintf(&b, "%s %s\n", g, number(m.gauges[g]))
	}
	head(&b, "bootd_decisions_total", "counter", "Packets and requests by what came of them.")
	labels := slices.SortedFunc(maps.Keys(m.answers), func(a, b answerLabels) int {
		return cmp.Or(cmp.Compare(a.adapter, b.adapter), cmp.Compare(a.message, b.message), cmp.Compare(a.reason, b.reason))
	})
	for _, l := range labels {
		fmt.Fprintf(&b, "bootd_decisions_total{adapter=%q,message=%q,reason=%q} %d\n", l.adapter, l.message, l.reason, m.answers[l])
	}
	head(&b, "bootd_faults_total", "counter", "Internal faults, each with a log line at error level.")
	for _, a := range slices.Sorted(maps.Keys(m.faults)) {
		fmt.Fprintf(&b, "bootd_faults_total{adapter=%q} %d\n", a, m.faults[a])
	}
	head(&b, "bootd_decision_seconds", "histogram", "Seconds from a packet's arrival to the end of its answer.")
	for _, a := range slices.Sorted(maps.Keys(m.seconds)) {
		m.seconds[a].write(&b, a)
	}
	m.process(&b)
	return b.Bytes()
}

func (h *histogram) write(b *bytes.Buffer, adapter string) {
	for i, bound := range secondsBounds {
		fmt.Fprintf(b, "bootd_decision_seconds_bucket{adapter=%q,le=%q} %d\n", adapter, number(bound), h.counts[i])
	}
	fmt.Fprintf(b, "bootd_decision_seconds_bucket{adapter=%q,le=\"+Inf\"} %d\n", adapter, h.count)
	fmt.Fprintf(b, "bootd_decision_seconds_sum{adapter=%q} %s\n", adapter, number(h.sum))
	fmt.Fprintf(b, "bootd_decision_seconds_count{adapter=%q} %d\n", adapter, h.count)
}

// process writes what Prometheus' own libraries call these things.
func (m *Metrics) process(b *bytes.Buffer) {
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	head(b, "process_start_time_seconds", "gauge", "When the daemon started, seconds since 1970.")
	fmt.Fprintf(b, "process_start_time_seconds %s\n", number(float64(m.started.UnixMilli())/1000))
	head(b, "go_goroutines", "gauge", "Goroutines.")
	fmt.Fprintf(b, "go_goroutines %d\n", runtime.NumGoroutine())
	head(b, "go_memstats_heap_alloc_bytes", "gauge", "Octets of the heap in use.")
	fmt.Fprintf(b, "go_memstats_heap_alloc_bytes %d\n", mem.HeapAlloc)
	head(b, "go_memstats_sys_bytes", "gauge", "Octets taken from the system.")
	fmt.Fprintf(b, "go_memstats_sys_bytes %d\n", mem.Sys)
}

func head(b *bytes.Buffer, name, kind, help string) {
	fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
