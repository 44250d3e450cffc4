package daemon

import (
	"net/http"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// Metrics counts what came of packets and requests, beside the figures of the process and of Go's runtime, in a registry
// of its own. Labels come from closed sets: adapter, message, reason.
type Metrics struct {
	handler http.Handler
	answers *prometheus.CounterVec
	faults  *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	// conflicts have decide/advert's kinds as label.
	conflicts *prometheus.CounterVec
	gauges    map[gauge]prometheus.Gauge
	pooled    *prometheus.GaugeVec
	upstreams *prometheus.GaugeVec
	// networks are those that pooled shows; one task sets them.
	networks map[string]bool

	mu       sync.Mutex
	messages map[[2]string]bool
}

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

const (
	// maxMessages bounds the message label of all adapters together, should one ever take a name from the wire.
	maxMessages = 128
	// maxScrapes bounds what is answered at once: anybody who reaches the port may ask.
	maxScrapes = 4
)

// NewMetrics starts all at zero. Version is the label of bootd_info.
func NewMetrics(version string) *Metrics {
	m := &Metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bootd_decisions_total", Help: "Packets and requests by what came of them.",
		}, []string{"adapter", "message", "reason"}),
		faults: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bootd_faults_total", Help: "Internal faults, each with a log line at error level.",
		}, []string{"adapter"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "bootd_decision_seconds", Help: "Seconds from a packet's arrival to the end of its answer.",
			Buckets: []float64{.0001, .0003, .001, .003, .01, .03, .1, .3, 1, 5},
		}, []string{"adapter"}),
		conflicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bootd_router_conflicts_total", Help: "Advertisements of other routers that contradict ours, by what (RFC 4861 section 6.2.7).",
		}, []string{"conflict"}),
		pooled: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bootd_pool_addresses", Help: "Addresses of the pools by state: total, bound, resting, declined.",
		}, []string{"network", "state"}),
		upstreams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bootd_upstream_prefixes", Help: "Prefixes that an upstream of the inventory has delegated to this machine.",
		}, []string{"upstream"}),
		gauges: map[gauge]prometheus.Gauge{}, messages: map[[2]string]bool{},
	}
	for _, k := range advert.Kinds() {
		m.conflicts.WithLabelValues(string(k))
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "bootd_info", Help: "Always 1; the label says the version.", ConstLabels: prometheus.Labels{"version": version},
	})
	info.Set(1)
	r := prometheus.NewRegistry()
	r.MustRegister(m.answers, m.faults, m.seconds, m.conflicts, m.pooled, m.upstreams, info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	for g, help := range gaugeHelp {
		m.gauges[g] = prometheus.NewGauge(prometheus.GaugeOpts{Name: string(g), Help: help})
		r.MustRegister(m.gauges[g])
	}
	m.handler = promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: maxScrapes})
	return m
}

// ServeHTTP writes all metrics, in the format that the scraper asks for.
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) { m.handler.ServeHTTP(w, r) }

// pools shows how far the pools are used. Networks are names of the inventory.
func (m *Metrics) pools(use []address.PoolUse) {
	here := map[string]bool{}
	for _, u := range use {
		here[u.Network] = true
		for state, n := range map[string]int{"total": u.Size, "bound": u.Bound, "resting": u.Resting, "declined": u.Declined} {
			m.pooled.WithLabelValues(u.Network, state).Set(float64(n))
		}
	}
	for network := range m.networks {
		if !here[network] { // a pool that is no more; the others are never missing for a moment
			m.pooled.DeletePartialMatch(prometheus.Labels{"network": network})
		}
	}
	m.networks = here
}

// upstream shows how many prefixes an upstream gave; its name is one of the inventory.
func (m *Metrics) upstream(name string, p []site.Prefix) {
	m.upstreams.WithLabelValues(name).Set(float64(len(p)))
}

func (m *Metrics) set(g gauge, v float64) { m.gauges[g].Set(v) }

func (m *Metrics) observe(o timeline.Observation) {
	if o.Outcome.Reason != reason.None {
		m.answers.WithLabelValues(o.Adapter, m.message(o.Adapter, o.Message), o.Outcome.Reason.String()).Add(float64(max(o.Count, 1)))
	}
	if o.Err != nil {
		m.faults.WithLabelValues(o.Adapter).Inc()
	}
	if o.Foreign != nil {
		for _, c := range o.Foreign.Conflicts {
			m.conflicts.WithLabelValues(c).Inc()
		}
	}
	if o.Took > 0 {
		h := m.seconds.WithLabelValues(o.Adapter)
		for range max(o.Count, 1) {
			h.Observe(o.Took.Seconds())
		}
	}
}

func (m *Metrics) message(adapter, message string) string {
	key := [2]string{adapter, message}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.messages[key] {
		return message
	}
	if len(m.messages) >= maxMessages {
		return "other"
	}
	m.messages[key] = true
	return message
}
