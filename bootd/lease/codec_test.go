package lease

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/ident"
)

func full() Binding {
	return Binding{
		Holder: "r1n01/net0", Network: "rack1", MAC: ident.MAC{0x52, 0x54, 0, 1, 2, 3}, State: Resting,
		Claims: []Claim{
			{DUID: ident.NewDUIDLL(ident.MAC{0x52, 0x54, 0, 1, 2, 3}), IAID: 7},
			{DUID: "\x00\x02\x00\x00", IAID: 0xffffffff},
		},
		PreferredUntil: time.Date(2026, 11, 23, 12, 0, 0, 1, time.UTC),
		ValidUntil:     time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC),
		Via:            netip.MustParseAddr("fe80::1"), Link: "eth1",
	}
}

func TestCodec(t *testing.T) {
	for name, want := range map[string]Binding{"full": full(), "empty": {}} {
		got, err := Decode(want.Encode())
		if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Addr{})); err != nil || d != "" {
			t.Errorf("%s: error %v, difference:\n%s", name, err, d)
		}
	}
}

func TestDecodeRefusesWhatIsCutOrTooLong(t *testing.T) {
	record := full().Encode()
	for n := range record {
		if b, err := Decode(record[:n]); err == nil {
			t.Errorf("%d of %d octets decode to %+v", n, len(record), b)
		}
	}
	if b, err := Decode(append(record, 0)); err == nil {
		t.Errorf("an octet too many decodes to %+v", b)
	}
	if b, err := Decode([]byte(`{"holder":"r1n01/net0"}`)); err == nil {
		t.Errorf("JSON decodes to %+v", b)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(full().Encode())
	f.Add(Binding{}.Encode())
	f.Fuzz(func(t *testing.T, record []byte) {
		b, err := Decode(record)
		if err != nil {
			return
		}
		again, err := Decode(b.Encode())
		if d := cmp.Diff(b, again, cmpopts.EquateComparable(netip.Addr{})); err != nil || d != "" {
			t.Errorf("error %v, difference:\n%s", err, d)
		}
	})
}
