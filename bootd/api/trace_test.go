package api_test

import (
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/trace"
)

// TestTrace: who asks gets the exchanges of its machine and of no other, from the moment on that it is told that it begins.
func TestTrace(t *testing.T) {
	f := start(t)
	give := func(host string, n byte) {
		f.traces.Trace(trace.Exchange{
			Client: netip.MustParseAddrPort("[fe80::1]:546"), Server: netip.MustParseAddr("ff02::1:2"), MAC: ident.MAC{2, 0, 0, 0, 0, n},
			Query: []byte{n}, Outcome: reason.Outcome{Reason: reason.Answered, Host: host},
		})
	}
	for who, want := range map[string]byte{"": 1, "r1n02": 2, "02:00:00:00:00:03": 3} {
		var got []trace.Exchange
		err := f.client.Trace(t.Context(), who, func() error {
			give("r1n01", 1)
			give("r1n02", 2)
			give("", 3)
			return nil
		}, func(x trace.Exchange) bool {
			got = append(got, x)
			return false
		})
		if err != nil || len(got) != 1 || got[0].Query[0] != want || got[0].Reason != reason.Answered {
			t.Errorf("%q: %v, %+v", who, err, got)
		}
	}
	full := errors.New("no room")
	if err := f.client.Trace(t.Context(), "", func() error { return full }, nil); !errors.Is(err, full) {
		t.Errorf("an error at its beginning: %v", err)
	}
	err := f.client.Trace(t.Context(), "r9", nil, nil)
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Status != http.StatusNotFound || !strings.Contains(refused.Message, `"r9" names no host`) {
		t.Errorf("a host of nobody: %v", err)
	}
}
