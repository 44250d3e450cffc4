// Package authority gives the certificates that phones are served with over HTTPS: from files that the inventory names, or
// of bootd's own small certificate authority, which is kept in the state directory and made when it is first needed.
// Certificates follow RFC 5280; keys are RSA, which the oldest firmware understands too.
//
// The package never decides who is served, and never writes a key where others can read it.
package authority

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

const (
	caFile, caKey = "phones-ca.crt", "phones-ca.key"
	keyBits       = 2048
	// caLife is how long phones may trust the authority: replacing it means touching each of them.
	caLife = 20 * 365 * 24 * time.Hour
	// leafLife is how long a server certificate lasts, renewLeaf when before its end a new one is made.
	leafLife  = 398 * 24 * time.Hour
	renewLeaf = 30 * 24 * time.Hour
	// early is how long ago a certificate began: clocks of phones that were just switched on are wrong.
	early = 24 * time.Hour
)

// dawn is before any time that a clock in order shows. The authority begins there and lasts from there at least: it is made when
// a machine first starts, whose clock may not be set yet, and it cannot be replaced without touching each phone.
func dawn() time.Time { return time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC) }

// Own is bootd's own authority. It is safe for concurrent use.
type Own struct {
	cert *x509.Certificate
	key  *rsa.PrivateKey
	pem  []byte
	leaf *rsa.PrivateKey
	now  func() time.Time

	mu     sync.Mutex
	served *tls.Certificate
	// names and addrs are whom served is for.
	names []string
	addrs []netip.Addr
}

// Open reads the authority from a directory, or makes one.
func Open(dir string, now func() time.Time) (*Own, error) {
	o := &Own{now: now}
	err := o.load(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = o.create(dir)
	}
	if err != nil {
		return nil, err
	}
	if o.leaf, err = rsa.GenerateKey(rand.Reader, keyBits); err != nil {
		return nil, fmt.Errorf("making a server key: %w", err)
	}
	return o, nil
}

func (o *Own) load(dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, caFile))
	if err != nil {
		return fmt.Errorf("reading the authority of phones: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, caKey)); errors.Is(err, fs.ErrNotExist) {
		// Another one in its place would lock out every phone without a word.
		return fmt.Errorf("%s has lost its key %s: bring it back, or move the certificate away, and bootd makes another one", filepath.Join(dir, caFile), caKey)
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(dir, caFile), filepath.Join(dir, caKey))
	if err != nil {
		return fmt.Errorf("reading the authority of phones: %w", err)
	}
	key, ok := pair.PrivateKey.(*rsa.PrivateKey)
	if !ok {
		return fmt.Errorf("reading %s: its key is no RSA key", filepath.Join(dir, caKey))
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return fmt.Errorf("parsing %s: %w", filepath.Join(dir, caFile), err)
	}
	o.cert, o.key, o.pem = cert, key, text
	return nil
}

// create makes the authority; the key is written first, so that there is never a certificate whose key is lost.
func (o *Own) create(dir string) error {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return fmt.Errorf("making the key of the authority: %w", err)
	}
	serial, err := number()
	if err != nil {
		return err
	}
	from := o.now()
	if from.Before(dawn()) {
		from = dawn()
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "bootd phones " + serial.Text(16)[:8]},
		NotBefore: dawn(), NotAfter: from.Add(caLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return fmt.Errorf("making the authority: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	secret := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := write(filepath.Join(dir, caKey), secret); err != nil {
		return err
	}
	if err := write(filepath.Join(dir, caFile), text); err != nil {
		return err
	}
	if o.cert, err = x509.ParseCertificate(der); err != nil {
		return fmt.Errorf("parsing the new authority: %w", err)
	}
	o.key, o.pem = key, text
	return nil
}

// write puts a whole file in its place: also after a power cut there is no half of one.
func write(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return fmt.Errorf("writing the authority of phones: %w", err)
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("writing the authority of phones: %w", err)
	}
	return nil
}

func number() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	return n.SetBit(n, 119, 1), nil // never short, so that its first digits name it
}

// PEM is the authority's certificate.
func (o *Own) PEM() []byte { return o.pem }

// Certificate is one for these names and addresses, signed by the authority; it is kept until they change or it ends.
// An authority that has ended is an error that says when.
func (o *Own) Certificate(names []string, addrs []netip.Addr) (*tls.Certificate, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.now()
	if end := o.cert.NotAfter; now.After(end) {
		return nil, fmt.Errorf("%s in the state directory expired on %s: move it away, and bootd makes another one at its next start", caFile, end.UTC().Format(time.DateOnly))
	}
	if o.served != nil && slices.Equal(names, o.names) && slices.Equal(addrs, o.addrs) && o.inTime(now) {
		return o.served, nil
	}
	serial, err := number()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "bootd"}, NotBefore: now.Add(-early), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, DNSNames: names,
	}
	for _, a := range addrs {
		t.IPAddresses = append(t.IPAddresses, net.IP(a.AsSlice()))
	}
	der, err := x509.CreateCertificate(rand.Reader, t, o.cert, &o.leaf.PublicKey, o.key)
	if err != nil {
		return nil, fmt.Errorf("making a server certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("parsing a server certificate: %w", err)
	}
	o.served = &tls.Certificate{Certificate: [][]byte{der, o.cert.Raw}, PrivateKey: o.leaf, Leaf: leaf}
	o.names, o.addrs = slices.Clone(names), slices.Clone(addrs)
	return o.served, nil
}

// inTime: the served certificate holds for long enough; one that begins later was made when the clock was wrong.
func (o *Own) inTime(now time.Time) bool {
	leaf := o.served.Leaf
	return !now.Before(leaf.NotBefore) && now.Before(leaf.NotAfter.Add(-renewLeaf))
}

// Given is a certificate and its key in files, read again when they change: whoever renews them need not tell bootd.
type Given struct {
	Cert, Key string
	Now       func() time.Time

	mu    sync.Mutex
	cert  *tls.Certificate
	stamp [2]time.Time
}

// Certificate reads the files if they changed. A certificate that has ended is an error that says when.
func (g *Given) Certificate() (*tls.Certificate, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var stamp [2]time.Time
	for i, name := range []string{g.Cert, g.Key} {
		st, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate for phones: %w", err)
		}
		stamp[i] = st.ModTime()
	}
	if g.cert == nil || stamp != g.stamp {
		pair, err := tls.LoadX509KeyPair(g.Cert, g.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the certificate for phones: %w", err)
		}
		if pair.Leaf == nil {
			return nil, fmt.Errorf("reading %s: it holds no certificate", g.Cert)
		}
		g.cert, g.stamp = &pair, stamp
	}
	if end := g.cert.Leaf.NotAfter; g.Now().After(end) {
		return nil, fmt.Errorf("%s expired on %s: phones refuse it", g.Cert, end.UTC().Format(time.DateOnly))
	}
	return g.cert, nil
}

// Clients reads the authorities that device certificates are signed by.
func Clients(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading the authorities of phones: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("reading %s: it holds no certificate in PEM", file)
	}
	return pool, nil
}
