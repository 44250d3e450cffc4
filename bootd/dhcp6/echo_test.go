package dhcp6

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv6"

	"bootd.internal/bootd/decide/address"
	"bootd.internal/bootd/store/memory"
)

// codes writes which options a reply carries, in their order, and those inside its IAs.
func codes(t testing.TB, b []byte) string {
	t.Helper()
	m, err := dhcpv6.MessageFromBytes(b)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, o := range m.Options.Options {
		s := fmt.Sprint(uint16(o.Code()))
		switch o := o.(type) {
		case *dhcpv6.OptIANA:
			for _, in := range o.Options.Options {
				s += fmt.Sprintf("(%d)", in.Code())
			}
		case *dhcpv6.OptStatusCode:
			s += fmt.Sprintf("=%d", o.StatusCode)
		}
		out = append(out, s)
	}
	return fmt.Sprintf("%d: %s", b[0], strings.Join(out, " "))
}

// TestReplyCarries: what each kind of answer carries, and nothing else (RFC 8415 sections 16 and 18.3). Transaction and
// Client Identifier come back; a client that waits for long (8), would take a Reconfigure (20) or shows a key (11) is answered
// like others; rapid commit (14), SOL_MAX_RT (82) and INF_MAX_RT (83) come to those who ask.
func TestReplyCarries(t *testing.T) {
	client, _, snap := start(t, memory.New(), nil)
	id := clientID()
	server := opt(dhcpv6.OptionServerID, []byte(snap.ServerDUID)...)
	na := ia(dhcpv6.OptionIANA)
	long, accept, auth := opt(dhcpv6.OptionElapsedTime, 0xff, 0xff), opt(dhcpv6.OptionReconfAccept), opt(dhcpv6.OptionAuth, make([]byte, 11)...)
	oro := opt(dhcpv6.OptionORO, 0, 82, 0, 83)
	for i, c := range []struct {
		name string
		msg  address.Msg
		opts [][]byte
		want string
	}{
		{"Solicit", address.Solicit, [][]byte{id, na}, "2: 1 2 7 3(5)"},
		{"what is not for us", address.Solicit, [][]byte{long, auth, accept, id, na}, "2: 1 2 7 3(5)"},
		{"limits when asked for", address.Solicit, [][]byte{id, na, oro}, "2: 1 2 7 3(5) 82 83"},
		{"Request", address.RequestMsg, [][]byte{id, server, na}, "7: 1 2 3(5)"},
		{"rapid commit", address.Solicit, [][]byte{id, na, opt(dhcpv6.OptionRapidCommit)}, "7: 1 2 14 3(5)"},
		{"rapid commit belongs to a Solicit", address.RequestMsg, [][]byte{id, server, na, opt(dhcpv6.OptionRapidCommit)}, "7: 1 2 3(5)"},
		{"Renew", address.Renew, [][]byte{id, server, na}, "7: 1 2 3(5)"},
		{"Rebind", address.Rebind, [][]byte{id, na}, "7: 1 2 3(5)"},
		{"Information-request", address.InformationRequest, [][]byte{id, oro}, "7: 1 2 82 83"},
		{"Release", address.Release, [][]byte{id, server, na}, "7: 1 2 13=0 3(13)"},
		{"Decline", address.Decline, [][]byte{id, server, na, oro}, "7: 1 2 13=0 3(13)"},
	} {
		xid := []byte{9, 9, byte(i)}
		got := ask(t, client, slices.Concat([]byte{byte(c.msg)}, xid, slices.Concat(c.opts...)))
		if diff := cmp.Diff(c.want, codes(t, got)); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		if !slices.Equal(got[1:4], xid) || !strings.Contains(string(got), string(id)) || !strings.Contains(string(got), string(server)) {
			t.Errorf("%s: identifiers are missing in % x", c.name, got)
		}
	}
}
