package ident

import (
	"encoding"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var mac = MAC{0x52, 0x54, 0x00, 0xaa, 0x01, 0xf1}

func TestParseMAC(t *testing.T) {
	for text, want := range map[string]string{
		"52:54:00:aa:01:f1": "52:54:00:aa:01:f1", "52-54-00-AA-01-F1": "52:54:00:aa:01:f1", "525400aa01f1": "52:54:00:aa:01:f1",
		"00:00:00:00:00:00": "00:00:00:00:00:00",
		"":                  "", ":": "", "52:54:00:aa:01": "", "52:54:00:aa:01:f1:00": "", "52:54:00:aa:01:g1": "", "5254:00aa:01f1": "",
		"52:54::00:aa:01:f1": "", "52:54:00-aa:01:f1": "", ":52:54:00:aa:01:f1": "", "52:54:00:aa:01:f1:": "", "2:54:00:aa:01:f1": "",
		"525400aa01f": "", " 52:54:00:aa:01:f1": "", "52.54.00.aa.01.f1": "", "５２:54:00:aa:01:f1": "",
	} {
		m, err := ParseMAC(text)
		got := m.String()
		if err != nil {
			got = ""
			if m != (MAC{}) || err.Error() != "not a MAC address of six octets, such as 52:54:00:aa:01:01" {
				t.Errorf("%q: %v with error %v", text, m, err)
			}
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
	if got, want := mac.Hyphens(), "52-54-00-aa-01-f1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestMACFrom has the lengths that option 79 carried in the attack of CVE-2017-14493.
func TestMACFrom(t *testing.T) {
	for _, n := range []int{0, 1, 5, 7, 8, 17, 200} {
		b := make([]byte, n)
		for i := range b {
			b[i] = 2
		}
		if m, ok := MACFrom(b); ok {
			t.Errorf("%d octets give %v", n, m)
		}
	}
	for text, want := range map[string]bool{"52:54:00:aa:01:f1": true, "00:00:00:00:00:00": false, "33:33:00:00:00:01": false, "ff:ff:ff:ff:ff:ff": false} {
		m, _ := ParseMAC(text)
		if got, ok := MACFrom(m[:]); ok != want || got != m {
			t.Errorf("%s: %v %t, want %t", text, got, ok, want)
		}
	}
}

func TestEUI64(t *testing.T) {
	p := netip.MustParsePrefix("2001:db8:1:2::5/64")
	a := mac.EUI64(p)
	if want := netip.MustParseAddr("2001:db8:1:2:5054:ff:feaa:1f1"); a != want {
		t.Errorf("got %s, want %s", a, want)
	}
	if got, ok := MACFromEUI64(a); !ok || got != mac {
		t.Errorf("back: %s %t", got, ok)
	}
	for _, s := range []string{"2001:db8::1", "192.0.2.1", "::ffff:192.0.2.1", "2001:db8::200:ff:fe00:0", "2001:db8::300:ff:fe00:1", "fe80::5054:ff:ffaa:1f1"} {
		if m, ok := MACFromEUI64(netip.MustParseAddr(s)); ok {
			t.Errorf("%s gives %s", s, m)
		}
	}
	if _, ok := MACFromEUI64(netip.Addr{}); ok {
		t.Error("no address gives a MAC")
	}
}

func TestParseUUID(t *testing.T) {
	want := UUID{0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	for _, text := range []string{"00112233-4455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-AABBCCDDEEFF", "00112233445566778899aabbccddeeff"} {
		if got, err := ParseUUID(text); err != nil || got != want {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{
		"", "-", "0011", "00112233-4455-6677-8899-aabbccddeef", "00112233-4455-6677-8899-aabbccddeeff0", "001122334455-6677-8899-aabb-ccddeeff",
		"{0112233-4455-6677-8899-aabbccddeeff}", "0011223-34455-6677-8899-aabbccddeeff", "00112233-4455-6677-8899-aabbccddee-f",
	} {
		if got, err := ParseUUID(text); err == nil || got != (UUID{}) || err.Error() != "not a UUID, such as 00112233-4455-6677-8899-aabbccddeeff" {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	if got, want := want.Swapped().String(), "33221100-5544-7766-8899-aabbccddeeff"; got != want {
		t.Errorf("swapped: %s, want %s", got, want)
	}
	ones, _ := ParseUUID(strings.Repeat("f", 32))
	if (UUID{}).Identifies() || ones.Identifies() || !want.Identifies() {
		t.Error("all zeros or all ones identify, or a real UUID does not")
	}
}

func TestDUID(t *testing.T) {
	uuid, _ := ParseUUID("00112233-4455-6677-8899-aabbccddeeff")
	type facts struct {
		Valid bool
		Type  uint16
		MAC   string
		UUID  string
	}
	for text, want := range map[string]facts{
		"00:03:00:01:52:54:00:aa:01:f1":                         {true, DUIDLL, "52:54:00:aa:01:f1", ""},
		"00:01:00:01:1e:47:7e:66:52:54:00:d6:c2:a9":             {true, DUIDLLT, "52:54:00:d6:c2:a9", ""},
		"00:04:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff": {true, DUIDUUID, "", uuid.String()},
		"00:02:00:00:ab:11:01":                                  {true, DUIDEN, "", ""},
		"00:03:00:06:52:54:00:aa:01:f1":                         {true, DUIDLL, "", ""}, // not Ethernet
		"00:03:00:01:33:33:00:00:00:01":                         {true, DUIDLL, "", ""}, // a group address
		"00:03:00:01:52:54:00:aa:01":                            {true, DUIDLL, "", ""},
		"00:03:00:01:52:54:00:aa:01:f1:00":                      {true, DUIDLL, "", ""},
		"00:01:00:01:1e:47:7e:66:52:54:00:d6:c2":                {true, DUIDLLT, "", ""},
		"00:04" + strings.Repeat(":00", 16):                     {true, DUIDUUID, "", ""},
		"00:04" + strings.Repeat(":ff", 16):                     {true, DUIDUUID, "", ""},
		"00:04:11":                                              {true, DUIDUUID, "", ""},
		"00:03":                                                 {},
		"":                                                      {},
		"00:03:0":                                               {},
		"00" + strings.Repeat(":00", 129):                       {true, 0, "", ""},
		"00" + strings.Repeat(":00", 130):                       {},
	} {
		var got facts
		d, err := ParseDUID(text)
		if got.Valid = err == nil; got.Valid {
			got.Type = d.Type()
			if m, ok := d.MAC(); ok {
				got.MAC = m.String()
			}
			if u, ok := d.UUID(); ok {
				got.UUID = u.String()
			}
			if d.String() != text {
				t.Errorf("%s is written as %s", text, d)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s differs (-want +got):\n%s", text, diff)
		}
	}
	if got, _ := NewDUIDUUID(uuid).UUID(); got != uuid {
		t.Errorf("NewDUIDUUID holds %s", got)
	}
	if got, _ := NewDUIDLL(mac).MAC(); got != mac {
		t.Errorf("NewDUIDLL holds %s", got)
	}
	if DUID("").Type() != 0 || DUID("\x00").Type() != 0 {
		t.Error("a DUID without type has one")
	}
}

func TestText(t *testing.T) {
	type all struct {
		M MAC
		U UUID
		D DUID
	}
	uuid, _ := ParseUUID("00112233-4455-6677-8899-aabbccddeeff")
	for _, c := range []struct {
		v    all
		text string
	}{
		{all{mac, uuid, NewDUIDLL(mac)}, `{"M":"52:54:00:aa:01:f1","U":"00112233-4455-6677-8899-aabbccddeeff","D":"00:03:00:01:52:54:00:aa:01:f1"}`},
		{all{}, `{"M":"00:00:00:00:00:00","U":"","D":""}`},
	} {
		b, err := json.Marshal(c.v)
		if err != nil || string(b) != c.text {
			t.Errorf("got %s, %v, want %s", b, err, c.text)
		}
		var back all
		if err := json.Unmarshal(b, &back); err != nil || back != c.v {
			t.Errorf("%s reads back as %v, %v", b, back, err)
		}
	}
	for _, v := range []encoding.TextUnmarshaler{new(MAC), new(UUID), new(DUID)} {
		if err := v.UnmarshalText(nil); err != nil {
			t.Errorf("%T: the empty text: %v", v, err)
		}
		if err := v.UnmarshalText([]byte("x")); err == nil {
			t.Errorf("%T takes x", v)
		}
	}
	if got := IAID(0xabc).String(); got != "00000abc" {
		t.Errorf("IAID is %s", got)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"52:54:00:aa:01:f1", "525400aa01f1", "00112233-4455-6677-8899-aabbccddeeff", "00:03:00:01:52:54:00:aa:01:f1",
		"00:04:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff", ":", "-", "", "0", "\x00",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m, err := ParseMAC(s); err == nil {
			if back, err := ParseMAC(m.String()); err != nil || back != m {
				t.Errorf("%q: %s reads back as %s, %v", s, m, back, err)
			}
			if back, err := ParseMAC(m.Hyphens()); err != nil || back != m {
				t.Errorf("%q: %s reads back as %s, %v", s, m.Hyphens(), back, err)
			}
			p := netip.MustParsePrefix("2001:db8::/64")
			if back, ok := MACFromEUI64(m.EUI64(p)); back != m || ok != m.Valid() || !p.Contains(m.EUI64(p)) {
				t.Errorf("%s: EUI-64 gives %s, %t", m, back, ok)
			}
			if got, ok := NewDUIDLL(m).MAC(); got != m || ok != m.Valid() {
				t.Errorf("%s: its DUID gives %s, %t", m, got, ok)
			}
		}
		if u, err := ParseUUID(s); err == nil {
			if back, err := ParseUUID(u.String()); err != nil || back != u || u.Swapped().Swapped() != u {
				t.Errorf("%q: %s reads back as %s, %v", s, u, back, err)
			}
		}
		if d, err := ParseDUID(s); err == nil {
			if back, err := ParseDUID(d.String()); err != nil || back != d {
				t.Errorf("%q: %s reads back as %s, %v", s, d, back, err)
			}
		}
	})
}

// FuzzDUID takes octets as they stand in a packet.
func FuzzDUID(f *testing.F) {
	for _, s := range []string{"", "\x00", "\x00\x03\x00\x01\x52\x54\x00\xaa\x01\xf1", "\x00\x01\x00\x01", "\x00\x04" + strings.Repeat("\xff", 16), strings.Repeat("x", 131)} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, ok := DUIDFrom(b)
		if ok != (len(b) >= 3 && len(b) <= 130) {
			t.Fatalf("%d octets: %t", len(b), ok)
		}
		if !ok {
			return
		}
		if back, err := ParseDUID(d.String()); err != nil || back != d {
			t.Errorf("%s reads back as %s, %v", d, back, err)
		}
		if m, ok := d.MAC(); ok && !m.Valid() {
			t.Errorf("%s gives %s", d, m)
		}
		if u, ok := d.UUID(); ok && !u.Identifies() {
			t.Errorf("%s gives %s", d, u)
		}
	})
}
