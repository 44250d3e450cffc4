package docker

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var eighty = netip.MustParsePrefix("2001:db8:0:3::/80")

// TestMerge: what others wrote stays as they wrote it.
func TestMerge(t *testing.T) {
	for _, x := range []struct{ name, in, want string }{
		{"empty", "", "{\n  \"ipv6\": true,\n  \"fixed-cidr-v6\": \"2001:db8:0:3::/80\"\n}\n"},
		{"no keys", "{}\n", "{\n  \"fixed-cidr-v6\": \"2001:db8:0:3::/80\",\n  \"ipv6\": true\n}\n"},
		{
			"others' keys, tabs and order", "{\n\t\"log-driver\" : \"journald\",\n\t\"hosts\": [ \"fd://\",\n\t\t\"unix:///x\" ]\n}",
			"{\n\t\"log-driver\" : \"journald\",\n\t\"hosts\": [ \"fd://\",\n\t\t\"unix:///x\" ],\n\t\"fixed-cidr-v6\": \"2001:db8:0:3::/80\",\n\t\"ipv6\": true\n}",
		},
		{"one line", `{"debug":true}`, `{"debug":true, "fixed-cidr-v6": "2001:db8:0:3::/80", "ipv6": true}`},
		{
			"another prefix", "{ \"fixed-cidr-v6\" : \"2001:db8:9::/64\" , \"ipv6\":false, \"x\": {\"ipv6\": 1} }\n",
			"{ \"fixed-cidr-v6\" : \"2001:db8:0:3::/80\" , \"ipv6\":true, \"x\": {\"ipv6\": 1} }\n",
		},
		{"the same in other words", `{"ipv6": true, "fixed-cidr-v6": "2001:db8:0:3::\/80"}`, `{"ipv6": true, "fixed-cidr-v6": "2001:db8:0:3::\/80"}`},
	} {
		got, err := Merge([]byte(x.in), eighty)
		if err != nil {
			t.Errorf("%s: %v", x.name, err)
		}
		if diff := cmp.Diff(x.want, string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", x.name, diff)
		}
		again, err := Merge(got, eighty)
		if err != nil || string(again) != string(got) {
			t.Errorf("%s: a second time: %v\n%s", x.name, err, again)
		}
	}
}

// TestBroken: the line is said.
func TestBroken(t *testing.T) {
	for in, want := range map[string]string{
		"{\n  \"debug\": true\n  \"ipv6\": true\n}":                      "line 3: invalid character '\"' after object key:value pair",
		"{\n  \"debug\": true,\n}\n":                                     "line 3: invalid character '}'",
		"{\n  \"debug\": tru\n}":                                         "line 2: invalid character '\\n' in literal true (expecting 'e')",
		"{\n        \"a\": 1,\n        \"b\": 2,\n        \"c\": tru\n}": "line 4: invalid character '\\n' in literal true (expecting 'e')",
		"{\n\n\n  \"a\nb\": 1}":                                          "line 4: invalid character '\\n' in string literal",
		"[]":                                                             "line 1: is not an object: { ... } is wanted",
		"{\n\"a\": 1":                                                    "line 2: it ends too early",
		"{\n\"a\": 1}\n{}":                                               "line 3: something stands behind the last }",
		"{\"ipv6\": 1,\n\"ipv6\": 2}":                                    "line 2: the key \"ipv6\" is there twice",
		"# comment\n{}":                                                  "line 1: invalid character '#' looking for beginning of value",
		"\ufeff{}":                                                       "line 1: invalid character 'ï' looking for beginning of value",
	} {
		_, err := Merge([]byte(in), eighty)
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v, want %s", in, err, want)
		}
	}
}

// FuzzMerge: what is JSON before is JSON after, with the same other keys.
func FuzzMerge(f *testing.F) {
	for _, s := range []string{"", "{}", `{"a": [1, {"ipv6": 2}], "ipv6": null}`, "{\n\t\"b\":\"\\u007d\"\n}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		out, err := Merge(data, eighty)
		if err != nil {
			return
		}
		var before, after map[string]any
		if json.Unmarshal(out, &after) != nil {
			t.Fatalf("%q became %q", data, out)
		}
		if json.Unmarshal(data, &before) != nil {
			before = map[string]any{}
		}
		before["ipv6"], before["fixed-cidr-v6"] = true, eighty.String()
		if diff := cmp.Diff(before, after); diff != "" {
			t.Errorf("%q became %q: %s", data, out, diff)
		}
	})
}
