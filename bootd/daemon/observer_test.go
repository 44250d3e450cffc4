package daemon

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

type recorder struct{ events []timeline.Event }

func (r *recorder) Record(e ...timeline.Event) { r.events = append(r.events, e...) }

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// plain drops the time of log lines.
func plain(w *bytes.Buffer, level slog.Level) *slog.Logger {
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

func TestObserverFeedsLogHistoryAndMetrics(t *testing.T) {
	var log bytes.Buffer
	rec, m := &recorder{}, NewMetrics("v1")
	o := NewObserver(m, plain(&log, slog.LevelDebug), rec, func() time.Time { return noon })
	for _, obs := range []timeline.Observation{
		{
			Adapter: "dhcp6", Message: "Request", Took: 2 * time.Millisecond, Peer: `"[fe80::1%eth1]:546"`,
			Outcome: reason.Outcome{Reason: reason.Changed, Host: "r1n01", Network: "rack1", Rule: "frame-mac"},
			Events:  []timeline.Event{{Kind: timeline.DHCPLease, Host: "r1n01", Addr: "2001:db8:1::101"}},
		},
		{Adapter: "dhcp6", Message: "Solicit", Outcome: reason.Outcome{Reason: reason.UnknownHost}, Took: 200 * time.Microsecond},
		{Adapter: "http", Message: "GET", Outcome: reason.Outcome{Reason: reason.TemplateError}, Err: errors.New("rendering: no key")},
		{Adapter: "tftp", Message: "RRQ", Outcome: reason.Outcome{Reason: reason.Answered}, Events: []timeline.Event{{Kind: timeline.LoaderFetched, Host: "r1n01"}}},
	} {
		o.Observe(obs)
	}
	wantLog := `level=INFO msg=observed adapter=dhcp6 message=Request reason=changed host=r1n01 network=rack1 rule=frame-mac peer=[fe80::1%eth1]:546 event=dhcp-lease addr=2001:db8:1::101 took=2ms
level=DEBUG msg=observed adapter=dhcp6 message=Solicit reason=unknown-host took=200µs
level=ERROR msg=observed adapter=http message=GET reason=template-error error="rendering: no key"
level=INFO msg=observed adapter=tftp message=RRQ reason=answered event=loader-fetched
`
	if d := cmp.Diff(wantLog, log.String()); d != "" {
		t.Errorf("log: -want +got:\n%s", d)
	}
	wantEvents := []timeline.Event{
		{Kind: timeline.DHCPLease, Host: "r1n01", Addr: "2001:db8:1::101", Adapter: "dhcp6"},
		{Kind: timeline.LoaderFetched, Host: "r1n01", Adapter: "tftp"},
	}
	if d := cmp.Diff(wantEvents, rec.events); d != "" {
		t.Errorf("events: -want +got:\n%s", d)
	}
	wantText := `# HELP bootd_decision_seconds Seconds from a packet's arrival to the end of its answer.
# TYPE bootd_decision_seconds histogram
bootd_decision_seconds_bucket{adapter="dhcp6",le="0.0001"} 0
bootd_decision_seconds_bucket{adapter="dhcp6",le="0.0003"} 1
bootd_decision_seconds_bucket{adapter="dhcp6",le="0.001"} 1
bootd_decision_seconds_bucket{adapter="dhcp6",le="0.003"} 2
bootd_decision_seconds_bucket{adapter="dhcp6",le="0.01"} 2
bootd_decision_seconds_bucket{adapter="dhcp6",le="0.03"} 2
bootd_decision_seconds_bucket{adapter="dhcp6",le="0.1"} 2
bootd_decision_seconds_bucket{adapter="dhcp6",le="0.3"} 2
bootd_decision_seconds_bucket{adapter="dhcp6",le="1"} 2
bootd_decision_seconds_bucket{adapter="dhcp6",le="5"} 2
bootd_decision_seconds_bucket{adapter="dhcp6",le="+Inf"} 2
bootd_decision_seconds_sum{adapter="dhcp6"} 0.0022
bootd_decision_seconds_count{adapter="dhcp6"} 2
# HELP bootd_decisions_total Packets and requests by what came of them.
# TYPE bootd_decisions_total counter
bootd_decisions_total{adapter="dhcp6",message="Request",reason="changed"} 1
bootd_decisions_total{adapter="dhcp6",message="Solicit",reason="unknown-host"} 1
bootd_decisions_total{adapter="http",message="GET",reason="template-error"} 1
bootd_decisions_total{adapter="tftp",message="RRQ",reason="answered"} 1
# HELP bootd_faults_total Internal faults, each with a log line at error level.
# TYPE bootd_faults_total counter
bootd_faults_total{adapter="http"} 1
`
	if d := cmp.Diff(wantText, scrape(t, m, "bootd_decision", "bootd_faults")); d != "" {
		t.Errorf("metrics: -want +got:\n%s", d)
	}
}

func TestStrangersCannotFloodTheHistory(t *testing.T) {
	now := noon
	var log bytes.Buffer
	rec := &recorder{}
	o := NewObserver(NewMetrics("v1"), plain(&log, slog.LevelInfo), rec, func() time.Time { return now })
	stranger := func() {
		o.Observe(timeline.Observation{Adapter: "dhcp6", Message: "Solicit", Events: []timeline.Event{{Kind: timeline.DHCPIgnored}}})
	}
	for range 1000 {
		stranger()
	}
	o.Observe(timeline.Observation{Adapter: "dhcp6", Message: "Solicit", Events: []timeline.Event{{Kind: timeline.DHCPSolicit, Host: "r1n01"}}})
	if n := len(rec.events); n != strangersPerSecond+1 || rec.events[n-1].Host != "r1n01" {
		t.Errorf("%d events kept, want %d of strangers and the host's", n, strangersPerSecond)
	}
	now = now.Add(time.Second)
	stranger()
	if n := len(rec.events); n != strangersPerSecond+2 {
		t.Errorf("%d events a second later", n)
	}
	if want := "level=WARN msg=\"events of unlisted machines not kept\" count=980\n"; log.String() != want {
		t.Errorf("log %q, want %q", log.String(), want)
	}
}

// TestStrangersWithoutACard: behind a router no card is seen, and warnings about such machines are bounded, too; our own are not.
func TestStrangersWithoutACard(t *testing.T) {
	rec := &recorder{}
	o := NewObserver(NewMetrics("v1"), slog.New(slog.DiscardHandler), rec, func() time.Time { return noon })
	for range 1000 {
		o.Observe(timeline.Observation{Adapter: "http", Events: []timeline.Event{{Kind: timeline.Warning, Addr: "2001:db8:9::1", Detail: "a wrong password"}}})
	}
	o.Observe(timeline.Observation{Adapter: "daemon", Events: []timeline.Event{{Kind: timeline.Warning, Detail: "a pool is full"}}})
	if n := len(rec.events); n != strangersPerSecond+1 || rec.events[n-1].Detail != "a pool is full" {
		t.Errorf("%d events kept, want %d of strangers and our own", n, strangersPerSecond)
	}
}

func TestTheLogIsBounded(t *testing.T) {
	now := noon
	const counted = `bootd_decisions_total{adapter="dhcp6",message="Request",reason="changed"} 1000` + "\n"
	for _, c := range []struct {
		level slog.Level
		want  int
	}{{slog.LevelInfo, linesPerSecond}, {slog.LevelDebug, 1000}} {
		var log bytes.Buffer
		rec, m := &recorder{}, NewMetrics("v1")
		o := NewObserver(m, plain(&log, c.level), rec, func() time.Time { return now })
		changed := timeline.Observation{
			Adapter: "dhcp6", Message: "Request", Outcome: reason.Outcome{Reason: reason.Changed, Host: "r1n01"},
			Events: []timeline.Event{{Kind: timeline.DHCPLease, Host: "r1n01"}},
		}
		for range 1000 {
			o.Observe(changed)
		}
		if got := strings.Count(log.String(), "\n"); got != c.want || len(rec.events) != 1000 || scrape(t, m, "bootd_decisions_total{") != counted {
			t.Errorf("%v: %d lines, want %d; %d events", c.level, got, c.want, len(rec.events))
		}
		log.Reset()
		now = now.Add(time.Second)
		o.Observe(changed)
		if got := strings.Contains(log.String(), "msg=\"log lines held back\" count=800"); got != (c.level == slog.LevelInfo) {
			t.Errorf("%v: %s", c.level, log.String())
		}
	}
}
