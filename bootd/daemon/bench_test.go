package daemon

import (
	"io"
	"log/slog"
	"testing"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/timeline/history"
)

// BenchmarkObserve is what one granted lease costs beside its answer: metric, log line, two events and their fold.
func BenchmarkObserve(b *testing.B) {
	h := history.Open(history.Config{Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	o := NewObserver(NewMetrics("v1"), slog.New(slog.NewTextHandler(io.Discard, nil)), h, time.Now)
	b.ReportAllocs()
	for b.Loop() {
		o.Observe(timeline.Observation{
			Adapter: "dhcp6", Message: "Request", Took: time.Millisecond, Peer: `"[fe80::1%eth1]:546"`,
			Outcome: reason.Outcome{Reason: reason.Changed, Host: "r1n01", Network: "rack1", Rule: "frame-mac"},
			Events: []timeline.Event{
				{Kind: timeline.DHCPLease, Host: "r1n01", Addr: "2001:db8:1::101", MAC: ident.MAC{2}},
				{Kind: timeline.ScriptOffered, Host: "r1n01", Detail: "http://[2001:db8:1::1]/boot.ipxe", MAC: ident.MAC{2}},
			},
		})
	}
}
