package main

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/trace"
)

// relayed is a Relay-forward that holds a Solicit, and silence for it.
func relayed(t *testing.T) trace.Exchange {
	t.Helper()
	query, err := hex.DecodeString("0c00" + strings.Repeat("0", 64) + "00120003657468" + "00090010" + "010a0b0c" + "00010003000100" + "00080001" + "00")
	if err != nil {
		t.Fatal(err)
	}
	return trace.Exchange{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 6000, time.Local), Link: "eth1", Client: netip.MustParseAddrPort("[2001:db8::9]:547"),
		Server: netip.MustParseAddr("2001:db8::1"), MAC: ident.MAC{2, 0, 0, 0, 0, 9}, Query: query, Reason: reason.UnknownHost, Network: "rack1", Lost: 3,
	}
}

// TestWriteExchange: a relayed message without an answer, lost ones, and an answer that something was left out of. A real
// exchange is in test/netns.
func TestWriteExchange(t *testing.T) {
	var out strings.Builder
	x := relayed(t)
	if err := writeExchange(&out, x); err != nil {
		t.Fatal(err)
	}
	x.Lost, x.MAC, x.Link, x.Reason = 0, ident.MAC{}, "", reason.Answered
	x.Query, x.Reply, x.LeftOut, x.Took, x.Err = []byte{11, 1, 2, 3}, []byte{7, 1, 2, 3}, []uint16{24, 234}, 1234*time.Microsecond, "sending failed"
	x.Client = netip.MustParseAddrPort("[fe80::9]:546")
	if err := writeExchange(&out, x); err != nil {
		t.Fatal(err)
	}
	const want = `-- 3 messages before this are missing: they came faster than they could be shown
03:04:05.000006 eth1 in Relay-forward, [2001:db8::9]:547 (02:00:00:00:00:09) > 2001:db8::1
    hops 0, link-address ::, peer-address ::
    interface-id             657468 ("eth")
    relay-msg
      Solicit xid 0a0b0c
        client-id            00:01:00
        elapsed-time         00
    = unknown-host: no answer, network rack1

03:04:05.000006 ? in Information-request xid 010203, fe80::9 > 2001:db8::1
03:04:05.001240 ? out Reply xid 010203, ? > fe80::9
    = answered, network rack1, left out for want of room: domain-search, 234, sending failed, 1.23ms

`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if err := writeExchange(full{}, x); !errors.Is(err, errFull) {
		t.Errorf("a pipe that is gone: %v", err)
	}
}

var errFull = errors.New("nobody reads")

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestJSONExchange(t *testing.T) {
	text, err := json.Marshal(jsonExchange(relayed(t)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"reason":"unknown-host"`, `"name":"Relay-forward"`, `"xid":"0a0b0c"`, `"query":"DAAA`, `"lost":3`, `"name":"interface-id"`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s is missing in %s", want, text)
		}
	}
	if strings.Contains(string(text), `"answer"`) {
		t.Errorf("silence has an answer: %s", text)
	}
}

// TestTraceKeepsCapture: an order that comes to nothing leaves an older capture as it is, and makes none.
func TestTraceKeepsCapture(t *testing.T) {
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, "old.pcap"), filepath.Join(dir, "new.pcap")
	if err := os.WriteFile(old, []byte("a capture"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{old, fresh} {
		a := app{stdout: io.Discard, stderr: io.Discard, getenv: func(string) string { return "" }}
		if code := a.run(t.Context(), []string{"trace", "--run", dir, "--pcap", file}); code != exitFault {
			t.Errorf("without a daemon the exit code is %d", code)
		}
	}
	if data, err := os.ReadFile(old); err != nil || string(data) != "a capture" {
		t.Errorf("the old capture is %q, %v", data, err)
	}
	if _, err := os.Stat(fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a capture was made: %v", err)
	}
}
