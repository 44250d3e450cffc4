package address

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/who"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
)

// TestSwappedBoard: a card that nobody listed, in a machine whose UUID is a host's, listed or learned, gets nothing; people
// get the line to change.
func TestSwappedBoard(t *testing.T) {
	snap, s := snapshot(t), memory.New()
	listed := ident.UUID{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	learned := ident.UUID{0: 1, 15: 5}
	fresh := ident.MAC{2, 0, 0, 0, 0, 9}
	ask := func(m ident.MAC, u ident.UUID, msg Msg) []string {
		q := from(m, msg)
		q.Client = ident.NewDUIDUUID(u)
		q.Evidence = append(who.Frame(m), who.Client(q.Client)...)
		d := decide(t, snap, s, q, sitetest.Now()).Decision
		if m == fresh && d.Reply != nil {
			t.Errorf("%s of an unlisted machine was answered", msg)
		}
		var told []string
		for _, e := range d.Events {
			if e.Kind == timeline.BoardChanged {
				told = append(told, e.Host+": "+e.Detail)
			}
		}
		return told
	}
	for _, c := range []struct {
		name string
		m    ident.MAC
		u    ident.UUID
		msg  Msg
		want []string
	}{
		{"a known card teaches its UUID", macA(), learned, RequestMsg, nil},
		{"listed UUID", fresh, listed, Solicit, []string{": this machine says UUID 00112233-4455-6677-8899-aabbccddeeff, which is that of b: if its board was replaced, change 52:54:00:aa:01:02 to 02:00:00:00:00:09 in inventory.yaml line 7"}},
		{"listed UUID, other byte order", fresh, listed.Swapped(), Solicit, []string{": this machine says UUID 33221100-5544-7766-8899-aabbccddeeff, which is that of b: if its board was replaced, change 52:54:00:aa:01:02 to 02:00:00:00:00:09 in inventory.yaml line 7"}},
		{"learned UUID", fresh, learned, Solicit, []string{": this machine says UUID 01000000-0000-0000-0000-000000000005, which is that of a: if its board was replaced, change 52:54:00:aa:01:01 to 02:00:00:00:00:09 in inventory.yaml line 6"}},
		{"said once a boot", fresh, learned, RequestMsg, nil},
		{"a UUID of nobody", fresh, ident.UUID{9}, Solicit, nil},
		{"no UUID", fresh, ident.UUID{}, Solicit, nil},
	} {
		if d := cmp.Diff(c.want, ask(c.m, c.u, c.msg)); d != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, d)
		}
	}
}
