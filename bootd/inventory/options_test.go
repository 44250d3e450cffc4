package inventory

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestOptions reads every form of option.
func TestOptions(t *testing.T) {
	data, err := os.ReadFile("testdata/good/options.yaml")
	if err != nil {
		t.Fatal(err)
	}
	inv := mustParse(t, string(data))
	type told struct {
		code       uint16
		name, text string
	}
	of := func(all []Value[Option]) (out []told) {
		for _, o := range all {
			out = append(out, told{o.V.Code, o.V.Name, o.V.String()})
		}
		return out
	}
	want := []told{
		{7, "preference", "100"},
		{17, "vendor-opts", "enterprise 343, 1: 0a0b, 2: 78; enterprise 4491"},
		{21, "sip-server-dns", "a.example.net, b.example.net"},
		{22, "sip-server-addr", "2001:db8::5060"},
		{29, "nis-domain-name", "nis.example.net"},
		{31, "sntp-servers", "2001:db8::123, 2001:db8::124 (always)"},
		{41, "new-posix-timezone", `"CET-1CEST,M3.5.0,M10.5.0/3"`},
		{42, "new-tzdb-timezone", `"Europe/Oslo"`},
		{56, "ntp-servers", "ntp.example.net, 2001:db8::123, ff05::101"},
		{82, "sol-max-rt", "10m"},
		{103, "captive-portal", `"urn:ietf:params:capport:unrestricted"`},
		{136, "v6-sztp-redirect", `"https://a.example.net/", "https://b.example.net/"`},
		{144, "dnr", `priority 2, dns.example.net, 2001:db8::53, alpn dot h2, port 8443, path "/dns-query{?dns}"; priority 1, plain.example.net`},
		{36, "geoconf-civic", "0001"},
		{73, "mip6-haf", `74657874 ("text")`},
		{234, "234", "20010db8000000000000000000000001ff050000000000000000000000000001 (always)"},
		{65001, "65001", `74657874 ("text")`},
	}
	if diff := cmp.Diff(want, of(inv.Networks[0].Options), cmp.AllowUnexported(told{})); diff != "" {
		t.Error(diff)
	}
	want = []told{
		{103, "captive-portal", "never"},
		{23, "dns-servers", "2001:db8::53"},
		{24, "domain-search", "lab.example.net"},
		{234, "234", "never"},
	}
	if diff := cmp.Diff(want, of(inv.Hosts[0].Options), cmp.AllowUnexported(told{})); diff != "" {
		t.Error(diff)
	}
	if o := inv.Hosts[0].Options[1]; o.Pos != (Pos{29, 59}) || o.From != "hosts.r1n01" {
		t.Errorf("dns-servers was set at %v by %s", o.Pos, o.From)
	}
	if r := inv.Networks[0].InformationRefresh; brief(r.V) != "1h" {
		t.Errorf("information_refresh is %s", r.V)
	}
}
