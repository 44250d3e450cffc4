package heard

import (
	"context"
	"encoding/binary"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

// clock goes on a second each time it is asked.
type clock struct{ at time.Time }

func (c *clock) now() time.Time {
	c.at = c.at.Add(time.Second)
	return c.at
}

func start() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func book(t *testing.T, path string) *Book {
	t.Helper()
	return Open(path, (&clock{start()}).now, slog.New(slog.NewTextHandler(t.Output(), nil)))
}

func mac(i uint32) ident.MAC {
	m := ident.MAC{2}
	binary.BigEndian.PutUint32(m[2:], i)
	return m
}

func solicit(i uint32, r reason.Reason) timeline.Observation {
	return timeline.Observation{
		Adapter: "dhcp6", Message: "Solicit", Outcome: reason.Outcome{Reason: r, Network: "rack1"}, MAC: mac(i),
		Heard: &timeline.Machine{MAC: mac(i), Network: "rack1", Link: "eth1", Client: "firmware", Arch: "x86_64"},
	}
}

func compare() cmp.Option { return cmpopts.EquateComparable(netip.Addr{}) }

// TestMachines: what a machine says later adds to what it said before, a listed one is not shown, and a restart keeps all.
func TestMachines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heard.json")
	b := book(t, path)
	b.Observe(solicit(1, reason.UnknownHost))
	b.Observe(solicit(2, reason.UnknownHost))
	b.Observe(timeline.Observation{Outcome: reason.Outcome{Reason: reason.Discover}, Heard: &timeline.Machine{
		MAC: mac(1), Serial: "S1", Client: "ipxe", UUID: ident.UUID{1, 2},
	}})
	want := []Machine{{
		Machine: timeline.Machine{
			MAC: mac(1), Network: "rack1", Link: "eth1", Client: "ipxe", Arch: "x86_64", Serial: "S1", UUID: ident.UUID{1, 2},
		},
		First: start().Add(time.Second), Last: start().Add(3 * time.Second), Count: 2, Reason: reason.Discover,
	}}
	listed := func(m ident.MAC) bool { return m == mac(2) }
	if diff := cmp.Diff(want, b.Machines(listed)); diff != "" {
		t.Error(diff)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, book(t, path).Machines(listed)); diff != "" {
		t.Errorf("after a restart:\n%s", diff)
	}
}

// TestDamaged: a file that cannot be read costs what it held.
func TestDamaged(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heard.json")
	if err := os.WriteFile(path, []byte(`[{"mac":`), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := book(t, path).Machines(nobody); len(got) != 0 {
		t.Errorf("got %v", got)
	}
}

// TestFlood: invented machines push out neither the bounds nor what a true one said.
func TestFlood(t *testing.T) {
	b := book(t, "")
	told := solicit(1<<30, reason.UnknownHost)
	told.Heard.Serial = "S1"
	b.Observe(told)
	for i := range uint32(3 * MaxCards) {
		b.Observe(solicit(i, reason.UnknownHost))
		b.Observe(timeline.Observation{Foreign: &timeline.Foreign{Kind: timeline.OtherServer, DUID: ident.NewDUIDLL(mac(i))}})
	}
	found := false
	for _, m := range b.Machines(nobody) {
		found = found || m.Serial == "S1"
	}
	if !found {
		t.Error("the machine that said who it is was forgotten")
	}
	if n, c, f := len(b.machines), len(b.cards), len(b.foreign); n > MaxMachines || c > MaxCards || f > MaxForeign {
		t.Errorf("%d machines, %d cards, %d foreign", n, c, f)
	}
}

func TestOutcomes(t *testing.T) {
	b := book(t, "")
	for range MaxOutcomes + 3 {
		b.Observe(solicit(1, reason.UnknownHost))
	}
	b.Observe(timeline.Observation{Adapter: "http", Message: "script", MAC: mac(1), Outcome: reason.Outcome{Reason: reason.LocalDisk, Host: "a"}})
	got := b.Outcomes(mac(1))
	want := Outcome{
		Time: start().Add((MaxOutcomes + 4) * time.Second), Adapter: "http", Message: "script",
		Outcome: reason.Outcome{Reason: reason.LocalDisk, Host: "a"},
	}
	if diff := cmp.Diff(want, got[len(got)-1]); diff != "" || len(got) != MaxOutcomes {
		t.Errorf("%d outcomes, the last one:\n%s", len(got), diff)
	}
}

// TestForeign: a router is one entry whatever it says next.
func TestForeign(t *testing.T) {
	b := book(t, "")
	r := timeline.Foreign{Kind: timeline.OtherRouter, Link: "eth1", Addr: netip.MustParseAddr("fe80::9"), Lifetime: time.Hour}
	b.Observe(timeline.Observation{Foreign: &r})
	r.Lifetime = 0
	b.Observe(timeline.Observation{Foreign: &r})
	want := []Foreign{{Foreign: r, First: start().Add(time.Second), Last: start().Add(2 * time.Second)}}
	if diff := cmp.Diff(want, b.Foreign(), compare()); diff != "" {
		t.Error(diff)
	}
}

// TestForeignRelays: a link that no network names is one entry, whoever asks for it; a network's is one for each address that its
// relays do not send from.
func TestForeignRelays(t *testing.T) {
	b := book(t, "")
	for _, network := range []string{"", "rack2"} {
		for _, from := range []string{"2001:db8:f::11", "2001:db8:f::12"} {
			f := timeline.Foreign{
				Kind: timeline.OtherRelay, Link: "eth0", Network: network, Addr: netip.MustParseAddr(from), Relay: netip.MustParseAddr("2001:db8:2::1"),
			}
			b.Observe(timeline.Observation{Foreign: &f})
		}
	}
	var got []string
	for _, f := range b.Foreign() {
		got = append(got, f.Network+" "+f.Addr.String())
	}
	slices.Sort(got)
	if diff := cmp.Diff([]string{" 2001:db8:f::12", "rack2 2001:db8:f::11", "rack2 2001:db8:f::12"}, got); diff != "" {
		t.Error(diff)
	}
}
