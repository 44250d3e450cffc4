package authority

import (
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
)

type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

func noon() time.Time { return time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC) }

func open(t *testing.T, dir string, c *clock) *Own {
	t.Helper()
	o, err := Open(dir, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func served(t *testing.T, o *Own, names []string, addrs ...netip.Addr) *tls.Certificate {
	t.Helper()
	c, err := o.Certificate(names, addrs)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestOwn: the authority stays over restarts; its certificates hold for the names and addresses of the day, and no others.
func TestOwn(t *testing.T) {
	dir, at := t.TempDir(), &clock{noon()}
	o := open(t, dir, at)
	for _, name := range []string{caFile, caKey} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, st.Mode(), err)
		}
	}
	again := open(t, dir, at)
	if string(again.PEM()) != string(o.PEM()) {
		t.Error("a restart made another authority")
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(o.PEM())
	one, two := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::2")
	c := served(t, again, []string{"p.example.net"}, one)
	for name, want := range map[string]bool{"p.example.net": true, "[2001:db8::1]": true, "q.example.net": false, "[2001:db8::2]": false} {
		_, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: name, CurrentTime: noon()})
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if served(t, again, []string{"p.example.net"}, one) != c {
		t.Error("it was made anew although nothing changed")
	}
	if served(t, again, []string{"p.example.net"}, one, two) == c {
		t.Error("a new address is not in it")
	}
	at.at = noon().Add(leafLife - renewLeaf)
	if got := served(t, again, []string{"p.example.net"}, one, two); !got.Leaf.NotAfter.After(noon().Add(leafLife)) {
		t.Errorf("it ends at %s and was not renewed", got.Leaf.NotAfter)
	}
}

func TestOwnThatCannotBeUsed(t *testing.T) {
	at := &clock{noon()}
	for name, tc := range map[string]struct {
		spoil func(dir string) error
		want  string
	}{
		"no key":         {func(dir string) error { return os.Truncate(filepath.Join(dir, caKey), 0) }, "reading the authority of phones: tls: failed to find any PEM data in key input"},
		"no certificate": {func(dir string) error { return os.Truncate(filepath.Join(dir, caFile), 0) }, "reading the authority of phones: tls: failed to find any PEM data in certificate input"},
		"a lost key":     {func(dir string) error { return os.Remove(filepath.Join(dir, caKey)) }, "phones-ca.crt has lost its key phones-ca.key: bring it back, or move the certificate away, and bootd makes another one"},
	} {
		dir := t.TempDir()
		open(t, dir, at)
		if err := tc.spoil(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(dir, at.now); err == nil || strings.ReplaceAll(err.Error(), dir+"/", "") != tc.want {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := Open(filepath.Join(t.TempDir(), "not", "there"), at.now); err == nil {
		t.Error("a directory that is not there was taken")
	}
}

// TestOwnThatEnded: it is read, so that a clock that is set right later is enough; until then the day is told.
func TestOwnThatEnded(t *testing.T) {
	dir, at := t.TempDir(), &clock{noon()}
	open(t, dir, at)
	at.at = noon().Add(caLife + time.Hour)
	o := open(t, dir, at)
	want := "phones-ca.crt in the state directory expired on 2045-12-28: move it away, and bootd makes another one at its next start"
	if _, err := o.Certificate(nil, nil); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	at.at = noon()
	served(t, o, nil)
}

// TestNoCertificateWithoutItsKey: a key that cannot be written leaves no certificate behind.
func TestNoCertificateWithoutItsKey(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, caKey), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, noon); err == nil {
		t.Error("a key was written over a directory")
	}
	if _, err := os.Stat(filepath.Join(dir, caFile)); err == nil {
		t.Error("there is a certificate whose key is lost")
	}
	if err := os.Remove(filepath.Join(dir, caKey)); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, noon); err != nil {
		t.Errorf("a later start: %v", err)
	}
}

// TestWrongClock: an authority and a certificate that were made while the clock was wrong are good when it is right.
func TestWrongClock(t *testing.T) {
	for _, wrong := range []time.Time{time.Unix(0, 0), time.Date(2050, 1, 1, 0, 0, 0, 0, time.UTC)} {
		at := &clock{wrong}
		o := open(t, t.TempDir(), at)
		served(t, o, []string{"p.example.net"})
		at.at = noon()
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(o.PEM())
		c := served(t, o, []string{"p.example.net"})
		if _, err := c.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: "p.example.net", CurrentTime: noon()}); err != nil {
			t.Errorf("made in %d: %v", wrong.Year(), err)
		}
	}
}

// TestGiven: files are read again when they change, and an end is told by its day.
func TestGiven(t *testing.T) {
	dir, at := t.TempDir(), &clock{noon()}
	own := open(t, t.TempDir(), at)
	g := &Given{Cert: filepath.Join(dir, "c.pem"), Key: filepath.Join(dir, "k.pem"), Now: at.now}
	put := func(name string, when time.Time) {
		t.Helper()
		c := served(t, own, []string{name})
		for file, block := range map[string]*pem.Block{
			g.Cert: {Type: "CERTIFICATE", Bytes: c.Certificate[0]},
			g.Key:  {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(c.PrivateKey.(*rsa.PrivateKey))},
		} {
			if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(file, when, when); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := g.Certificate(); err == nil || !strings.HasPrefix(err.Error(), "reading the certificate for phones: ") {
		t.Errorf("no file: %v", err)
	}
	for i, name := range []string{"a.example.net", "b.example.net"} {
		put(name, noon().Add(time.Duration(i)*time.Minute))
		c, err := g.Certificate()
		if err != nil || c.Leaf.DNSNames[0] != name {
			t.Errorf("%s: %v, %v", name, c, err)
		}
	}
	at.at = noon().Add(leafLife + time.Hour)
	want := g.Cert + " expired on 2027-02-04: phones refuse it"
	if _, err := g.Certificate(); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestClients(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	if _, err := Clients(file); err == nil {
		t.Error("no file was taken")
	}
	if err := os.WriteFile(file, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Clients(file); err == nil || err.Error() != "reading "+file+": it holds no certificate in PEM" {
		t.Error(err)
	}
	if err := os.WriteFile(file, open(t, t.TempDir(), &clock{noon()}).PEM(), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Clients(file); err != nil {
		t.Error(err)
	}
}
