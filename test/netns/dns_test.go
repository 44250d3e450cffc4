package netns_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/lab"
	"bootd.internal/lab/labtest"
)

// TestDNS asks for the hosts' names and addresses, over UDP and TCP.
func TestDNS(t *testing.T) {
	r := newRack(t)
	n := host(t, r)
	const (
		ptr = "1.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
	)
	cases := []struct {
		name string
		args []string
		want string
	}{
		{"AAAA", []string{"r1n01.rack.example.net", "AAAA"}, "NOERROR 2001:db8:1::101\n"},
		{"AAAA over TCP", []string{"+tcp", "r1n01.rack.example.net", "AAAA"}, "NOERROR 2001:db8:1::101\n"},
		{"case does not matter", []string{"R1N01.Rack.Example.NET", "AAAA"}, "NOERROR 2001:db8:1::101\n"},
		{"A of a host: it exists, without data", []string{"r1n01.rack.example.net", "A"}, "NOERROR "},
		{"PTR", []string{ptr, "PTR"}, "NOERROR r1n01.rack.example.net.\n"},
		{"a host that is not there", []string{"r1n99.rack.example.net", "AAAA"}, "NXDOMAIN "},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, dig(t, n, c.args...)); diff != "" {
				t.Errorf("dig (-want +got):\n%s", diff)
			}
		})
	}
}

// dig returns the status and the short answer.
func dig(t *testing.T, n *lab.Node, args ...string) string {
	t.Helper()
	args = append([]string{"dig", "-6", "@2001:db8:1::1", "+tries=1", "+time=3"}, args...)
	out, err := n.Command(labtest.Context(t, patience), "sh", append([]string{
		"-c",
		`"$@" +noall +comments | sed -n 's/.*status: \([A-Z]*\),.*/\1/p' | tr '\n' ' '; "$@" +short`, "sh",
	}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}
