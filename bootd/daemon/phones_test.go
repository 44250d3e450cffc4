package daemon

import (
	"bytes"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/authority"
	"bootd.internal/bootd/decide/phone"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
)

const phonesPlan = `networks:
  phones: {interface: eth1, prefix: "2001:db8:40::/64"}
yealink: {server: sip.example.net, name: p.example.net, certificate: c.pem, key: k.pem, client_ca: ca.pem}
phones:
  desk12: {mac: 80:5e:c0:00:00:12, model: T41S, account: {user: "1012", password: {secret: a}}}
secrets: {a: {file: a}}
`

// certificates writes c.pem and k.pem, made on a day.
func certificates(t *testing.T, dir string, day time.Time) {
	t.Helper()
	own, err := authority.Open(t.TempDir(), func() time.Time { return day })
	if err != nil {
		t.Fatal(err)
	}
	c, err := own.Certificate([]string{"p.example.net"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{
		"c.pem":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		"k.pem":  pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(c.PrivateKey.(*rsa.PrivateKey))}),
		"ca.pem": own.PEM(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestCheckPhones: what keeps phones from their files has its line, and no secret is repeated.
func TestCheckPhones(t *testing.T) {
	for name, tc := range map[string]struct {
		secret string
		made   time.Time
		spoil  string
		want   []string
	}{
		"nothing":   {"geheim\n", noon.Add(-time.Hour), "", nil},
		"expired":   {"geheim\n", noon.AddDate(-2, 0, 0), "", []string{"DIR/inventory.yaml:3:70: yealink.certificate: DIR/c.pem expired on " + noon.AddDate(-2, 0, 398).Format(time.DateOnly) + ": phones refuse it"}},
		"no key":    {"geheim\n", noon.Add(-time.Hour), "k.pem", []string{"DIR/inventory.yaml:3:70: yealink.certificate: reading the certificate for phones: stat DIR/k.pem: no such file or directory"}},
		"no CA":     {"geheim\n", noon.Add(-time.Hour), "ca.pem", []string{"DIR/inventory.yaml:3:100: yealink.client_ca: reading the authorities of phones: open DIR/ca.pem: no such file or directory"}},
		"two lines": {"geheim\nzweite\n", noon.Add(-time.Hour), "", []string{"DIR/inventory.yaml:6:21: secrets.a: is a phone's password: it holds a line break or another control character, which a phone's file cannot carry"}},
		"a blank":   {" geheim\n", noon.Add(-time.Hour), "", []string{"DIR/inventory.yaml:6:21: secrets.a: is a phone's password: it begins or ends with a blank, which a phone takes off"}},
		"very long": {strings.Repeat("x", 100), noon.Add(-time.Hour), "", []string{"DIR/inventory.yaml:6:21: secrets.a: is a phone's password: it has more than 99 octets, which phones take at most"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeTree(t, map[string]string{"inventory.yaml": phonesPlan, "a": tc.secret, "files/ipxe.efi": ""})
			certificates(t, dir, tc.made)
			if tc.spoil != "" {
				if err := os.Remove(filepath.Join(dir, tc.spoil)); err != nil {
					t.Fatal(err)
				}
			}
			_, faults, err := Check(filepath.Join(dir, "inventory.yaml"), noon)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range faults {
				text := strings.ReplaceAll(f.String(), dir, "DIR")
				if strings.Contains(text, "geheim") {
					t.Errorf("a secret is told: %s", text)
				}
				if !strings.Contains(text, "no secret is named a") { // what follows from the first
					got = append(got, text)
				}
			}
			if d := cmp.Diff(tc.want, got); d != "" {
				t.Errorf("-want +got:\n%s", d)
			}
		})
	}
}

// TestPlainSecretsAreSaid: what is allowed and unwise is a note.
func TestPlainSecretsAreSaid(t *testing.T) {
	for yealink, want := range map[string][]string{
		"server: s.example.net":                                    nil,
		"server: s.example.net, plain_secrets: true":               {"passwords of phones may travel over plain http, where everybody on the way reads them (yealink.plain_secrets)"},
		"server: s.example.net, scheme: http, plain_secrets: true": {"passwords of phones travel over plain http, where everybody on the way reads them (yealink.scheme)"},
	} {
		text := strings.Replace(phonesPlan, "server: sip.example.net, name: p.example.net, certificate: c.pem, key: k.pem, client_ca: ca.pem", yealink, 1)
		dir := writeTree(t, map[string]string{"inventory.yaml": text, "a": "geheim"})
		plan, err := NewPlan(filepath.Join(dir, "inventory.yaml"), noon)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, plan.Notes()); d != "" {
			t.Errorf("%s: -want +got:\n%s", yealink, d)
		}
	}
}

// TestPhonesWithoutATrust: an authority that cannot be read keeps phones from their files, and nobody else from anything.
func TestPhonesWithoutATrust(t *testing.T) {
	var log bytes.Buffer
	k, _ := keeper(t, &log)
	d := k.daemon
	dir := writeTree(t, map[string]string{"phones-ca.crt": "", "phones-ca.key": ""})
	d.cfg.State = dir
	d.world.Replace(sitetest.Inventory(t, `networks: {rack1: {interface: eth1, prefix: "2001:db8:1::/64"}}
yealink: {server: s.example.net, client_ca: missing.pem}
phones: {desk12: {mac: 80:5e:c0:00:00:12, model: T41S, account: {user: a, password: {secret: a}}}}
secrets: {a: {file: a}}
`))
	d.openAuthority(d.world.Snapshot())
	cfg := d.phones.tls(d.world.Snapshot())
	if _, err := cfg.GetCertificate(nil); err == nil {
		t.Error("there is a certificate")
	}
	if cfg.ClientAuth != tls.VerifyClientCertIfGiven || cfg.ClientCAs == nil || !cfg.ClientCAs.Equal(x509.NewCertPool()) {
		t.Error("somebody's certificate is believed")
	}
	if d.phones.PEM() != nil {
		t.Error("it is served")
	}
	var got []string
	for _, f := range d.faults {
		got = append(got, strings.ReplaceAll(f.Msg, dir, "DIR"))
	}
	want := []string{
		"reading the authority of phones: tls: failed to find any PEM data in certificate input",
		"reading the authorities of phones: open missing.pem: no such file or directory",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems: -want +got:\n%s", diff)
	}
	if n := strings.Count(log.String(), "phones are not served over https"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log.String())
	}
}

// TestEachAddressOnce: a hundred networks behind relays do not make the certificate a hundred addresses longer, nor does their order
// make another one.
func TestEachAddressOnce(t *testing.T) {
	own, err := authority.Open(t.TempDir(), func() time.Time { return noon })
	if err != nil {
		t.Fatal(err)
	}
	one, two := netip.MustParseAddr("2001:db8:1::1"), netip.MustParseAddr("2001:db8:2::1")
	p := &phones{own: own}
	var first *tls.Certificate
	for _, servers := range [][]netip.Addr{{two, one}, {one, two}} {
		snap := &site.Snapshot{Phones: &site.Phones{}}
		for range 100 {
			snap.Networks = append(snap.Networks, &site.Network{Servers: servers})
		}
		c, err := p.ownCertificate(snap)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(c.Leaf.IPAddresses); n != 2 {
			t.Errorf("%d addresses", n)
		}
		if first != nil && c != first {
			t.Error("another order is another certificate")
		}
		first = c
	}
}

// TestUploadsAreForgotten: of phones that nobody lists any more, and of no others.
func TestUploadsAreForgotten(t *testing.T) {
	var log bytes.Buffer
	k, _ := keeper(t, &log)
	const inv = `networks: {rack1: {interface: eth1, prefix: "2001:db8:1::/64"}}
yealink: {server: s.example.net}
phones: {desk12: {mac: 80:5e:c0:00:00:12, model: T41S, account: {user: a, password: {secret: a}}}}
secrets: {a: {file: a}}
`
	k.daemon.world.Replace(sitetest.Inventory(t, inv))
	desk, gone := ident.MAC{0x80, 0x5e, 0xc0, 0, 0, 0x12}, ident.MAC{0x80, 0x5e, 0xc0, 0, 0, 0x13}
	err := k.daemon.store.Update(t.Context(), func(store.View) []store.Op {
		return []store.Op{{Key: phone.Key(desk), Value: []byte("a")}, {Key: phone.Key(gone), Value: []byte("b")}}
	})
	if err != nil {
		t.Fatal(err)
	}
	k.forget(t.Context())
	var left []string
	for key := range k.daemon.store.Scan(store.TablePhone, "") {
		left = append(left, key.ID)
	}
	if d := cmp.Diff([]string{desk.String()}, left); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}
