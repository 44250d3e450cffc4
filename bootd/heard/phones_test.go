package heard

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

func asks(i uint32, host, agent, file string, r reason.Reason, tls bool) timeline.Observation {
	p := &timeline.Phone{Host: host, MAC: mac(i), File: file, Reason: r, TLS: tls, Agent: agent}
	if agent == "Yealink SIP-T41S 66.86.0.15" {
		p.Model, p.Firmware = "T41S", "66.86.0.15"
	}
	return timeline.Observation{Adapter: "http", Message: "phone-" + file, Outcome: reason.Outcome{Reason: r, Host: host}, Phone: p}
}

// TestPhonesAreKept: what a phone said last, and when it asked for what, also after a restart.
func TestPhonesAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heard.json")
	b := book(t, path)
	b.Observe(asks(1, "desk12", "Yealink SIP-T41S 66.86.0.15", "mac", reason.PhoneBootstrap, false))
	b.Observe(asks(1, "desk12", "Yealink SIP-T41S 66.86.0.15", "mac", reason.PhoneFile, true))
	b.Observe(asks(1, "desk12", "curl/8", "common", reason.PhoneFile, true)) // says nothing: what was known stays
	at := start()
	want := []Phone{{
		Phone: timeline.Phone{
			Host: "desk12", MAC: mac(1), Model: "T41S", Firmware: "66.86.0.15", Agent: "Yealink SIP-T41S 66.86.0.15", File: "common",
			Reason: reason.PhoneFile, TLS: true,
		},
		First: at.Add(1e9), Last: at.Add(3e9), Count: 3,
		Files: map[string]Fetched{"mac": {at.Add(2e9), reason.PhoneFile, true}, "common": {at.Add(3e9), reason.PhoneFile, true}},
	}}
	if d := cmp.Diff(want, b.Phones()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want, book(t, path).Phones()); d != "" {
		t.Errorf("after a restart: -want +got:\n%s", d)
	}
}

// TestAllPhonesAreReadAgain: also when every one of them says as much as it can, and asked for everything.
func TestAllPhonesAreReadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "heard.json")
	b := book(t, path)
	long := strings.Repeat("<", 128) // printable keeps no more; JSON writes six octets for each
	for i := range uint32(MaxPhones) {
		for _, file := range []string{"mac-boot", "common-boot", "common", "mac", "mac-local", "ca", "other"} {
			for _, put := range []bool{false, true} {
				o := asks(i, "desk12", long, file, reason.TokenOtherHost, false)
				o.Phone.Put, o.Phone.Network, o.Phone.Addr = put, strings.Repeat("n", 63), "2001:db8:1111:2222:3333:4444:5555:6666"
				o.Phone.Model, o.Phone.Firmware = strings.Repeat("M", 32), strings.Repeat("9", 32)
				b.Observe(o)
			}
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if got, want := len(book(t, path).Phones()), len(b.Phones()); got != want || want == 0 {
		t.Errorf("%d phones after a restart, want %d", got, want)
	}
}

// TestPhonesAreBounded: a flood of MACs drops those that nobody listed.
func TestPhonesAreBounded(t *testing.T) {
	b := book(t, "")
	b.Observe(asks(1, "desk12", "Yealink SIP-T41S 66.86.0.15", "mac", reason.PhoneFile, true))
	for i := range uint32(3 * MaxPhones) {
		b.Observe(asks(100+i, "", "", "common", reason.UnknownHost, false))
	}
	all := b.Phones()
	if len(all) > MaxPhones || all[0].Host != "desk12" {
		t.Errorf("%d phones, first %+v", len(all), all[0])
	}
}
