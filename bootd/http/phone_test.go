package http

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"bootd.internal/bootd/decide/phone"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/templates"
)

const phonesInventory = `defaults: {timezone: Europe/Amsterdam}
networks:
  rack1: {interface: eth1, prefix: "2001:db8:1::/64"}
yealink: {server: sip.example.net, local: true%s}
hosts: {r1n01: 52:54:00:aa:01:01}
phones:
  desk12: {mac: 80:5e:c0:00:00:12, model: T41S, account: {user: "1012", password: {secret: a}}}
secrets: {a: {file: a}}
`

var desk = ident.MAC{0x80, 0x5e, 0xc0, 0, 0, 0x12}

const deskPath = "/yealink/805ec0000012"

// phoneLab is a lab with a phone; over is its TLS, nil: plain HTTP.
func phoneLab(t *testing.T, more string, over *tls.Config, change ...func(*Config)) *lab {
	t.Helper()
	snap := sitetest.Snapshot(t, fmt.Sprintf(phonesInventory, more), sitetest.Facts(sitetest.Link(t, 2, "eth1", "2001:db8:1::1/64")))
	set := render.New(templates.FS()).WithSecrets(map[string]string{"a": "geheim"})
	l := newLab(t, func(c *Config) {
		c.Snapshot, c.Render = func() *site.Snapshot { return snap }, func(*site.Snapshot) *render.Set { return set }
		c.Authority, c.TLS = func() []byte { return []byte("a certificate\n") }, over
		for _, f := range change {
			f(c)
		}
	})
	l.as(desk)
	if over != nil {
		l.base = strings.Replace(l.base, "http:", "https:", 1)
	}
	return l
}

func TestPhoneFiles(t *testing.T) {
	l := phoneLab(t, "", nil)
	for _, tc := range []struct {
		name, method, path string
		status             int
		body               string
		reason             reason.Reason
		message            string
	}{
		{"over plain http it is told to come over https", "GET", deskPath + ".cfg", 200, "auto_provision.server.url = https://[2001:db8:1::1]/yealink/", reason.PhoneBootstrap, "phone-mac"},
		{"HEAD", "HEAD", deskPath + ".cfg", 200, "", reason.PhoneBootstrap, "phone-mac"},
		{"the common file", "GET", "/yealink/y000000000068.cfg", 200, "network.ip_address_mode = 1", reason.PhoneFile, "phone-common"},
		{"the authority", "GET", "/yealink/ca.crt", 200, "a certificate", reason.Answered, "phone-ca"},
		{"POST", "POST", deskPath + ".cfg", 405, "GET, HEAD and PUT are served here", reason.BadMethod, "phone-mac"},
		{"out", "GET", "/yealink/%2e%2e/ipxe.efi", 404, "no such file", reason.OutsideRoot, "phone-other"},
		{"a directory", "GET", "/yealink/", 404, "no such file", reason.NotFound, "other"},
	} {
		res, body := l.do(tc.method, tc.path, "User-Agent", "Yealink SIP-T41S 66.86.0.15")
		if res.StatusCode != tc.status || !strings.Contains(body, tc.body) || tc.method == "HEAD" && body != "" || strings.Contains(body, "geheim") {
			t.Errorf("%s: %d %s", tc.name, res.StatusCode, body)
		}
		o := l.next()
		if o.Outcome.Reason != tc.reason || o.Message != tc.message && tc.message != "other" || o.Err != nil {
			t.Errorf("%s: observed %+v", tc.name, o)
		}
	}
	l.as(mac1)
	if res, _ := l.do("GET", deskPath+".cfg"); res.StatusCode != 403 {
		t.Errorf("a server gets a phone's file: %d", res.StatusCode)
	}
}

// TestNoPhonesInTheInventory: then /yealink/ is a directory like any other.
func TestNoPhonesInTheInventory(t *testing.T) {
	l := newLab(t, nil)
	write(t, l.dir+"/yealink/ca.crt", []byte("a file\n"))
	if res, body := l.do("GET", "/yealink/ca.crt"); res.StatusCode != 200 || body != "a file\n" || l.next().Message != "file" {
		t.Errorf("%d %s", res.StatusCode, body)
	}
	if res, _ := l.do("PUT", deskPath+"-local.cfg"); res.StatusCode != 405 {
		t.Errorf("PUT: %d", res.StatusCode)
	}
}

// endless gives octets as long as somebody takes them, and counts.
type endless struct {
	given atomic.Int64
	most  int64
}

func (e *endless) Read(p []byte) (int, error) {
	if e.given.Load() >= e.most {
		return 0, io.EOF
	}
	e.given.Add(int64(len(p)))
	return len(p), nil
}

// TestLargeUpload: of a gibibyte little more than the bound is taken, and what was kept before stays.
func TestLargeUpload(t *testing.T) {
	l := phoneLab(t, ", plain_secrets: true", nil)
	put := func(body io.Reader, length int64) int {
		req, err := http.NewRequest("PUT", l.base+deskPath+"-local.cfg", body)
		if err != nil {
			t.Fatal(err)
		}
		req.ContentLength = length
		res, err := noRedirect.Do(req)
		if err != nil {
			return 0 // the connection was cut while it was still being written
		}
		_ = res.Body.Close()
		return res.StatusCode
	}
	if got := put(strings.NewReader("kept"), 4); got != 200 || l.next().Outcome.Reason != reason.Changed {
		t.Errorf("a small one: %d", got)
	}
	e := &endless{most: 1 << 30}
	if got := put(e, 1<<30); got != 413 && got != 0 {
		t.Errorf("a gibibyte: %d", got)
	}
	if o := l.next(); o.Outcome.Reason != reason.Oversized {
		t.Errorf("observed %+v", o)
	}
	if given := e.given.Load(); given > 64<<20 {
		t.Errorf("%d octets were taken", given)
	}
	if _, body := l.do("GET", deskPath+"-local.cfg"); body != "kept" {
		t.Errorf("now it is %.50q", body)
	}
	if got := put(bytes.NewReader(make([]byte, phone.MaxLocal)), phone.MaxLocal); got != 200 {
		t.Errorf("as much as may be: %d", got)
	}
}

// TestSlowUpload: who sends nothing for a sixth of a stall is let go.
func TestSlowUpload(t *testing.T) {
	l := phoneLab(t, ", plain_secrets: true", nil, func(c *Config) { c.Stall = 3 * time.Second })
	got := l.raw("PUT " + deskPath + "-local.cfg HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nab")
	if !strings.HasPrefix(got, "HTTP/1.1 400 ") || l.next().Outcome.Reason != reason.Aborted {
		t.Errorf("%q", got)
	}
}

// signed makes a certificate, signed by parent or by itself.
func signed(t *testing.T, name string, parent *tls.Certificate) *tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv6loopback}, IsCA: parent == nil, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	by, byKey := c, any(key)
	if parent != nil {
		by, byKey = parent.Leaf, parent.PrivateKey
	}
	der, err := x509.CreateCertificate(rand.Reader, c, by, &key.PublicKey, byKey)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// TestDeviceCertificates: with client_ca a phone's file is given to who shows the certificate of that phone.
func TestDeviceCertificates(t *testing.T) {
	ca := signed(t, "a maker of phones", nil)
	pool := x509.NewCertPool()
	pool.AddCert(ca.Leaf)
	server := signed(t, "bootd", nil)
	l := phoneLab(t, ", client_ca: ca.pem", &tls.Config{
		Certificates: []tls.Certificate{*server}, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven,
	})
	trust := x509.NewCertPool()
	trust.AddCert(server.Leaf)
	for _, tc := range []struct {
		name, path string
		shows      *tls.Certificate
		status     int
		reason     reason.Reason
	}{
		{"its own", deskPath + ".cfg", signed(t, "805EC0000012", ca), 200, reason.PhoneFile},
		{"with colons", deskPath + ".cfg", signed(t, "80:5e:c0:00:00:12", ca), 200, reason.PhoneFile},
		{"another phone's", deskPath + ".cfg", signed(t, "805ec0000013", ca), 403, reason.Unauthorized},
		{"of another maker", deskPath + ".cfg", signed(t, "805ec0000012", signed(t, "somebody", nil)), 0, reason.None},
		{"none", deskPath + ".cfg", nil, 403, reason.Unauthorized},
		{"none, for the common file", "/yealink/y000000000068.cfg", nil, 200, reason.PhoneFile},
		{"what machines boot is not served here", "/ipxe.efi", nil, 404, reason.NotFound},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := &tls.Config{RootCAs: trust}
			if tc.shows != nil {
				cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return tc.shows, nil } // wanted or not
			}
			c := http.Client{Transport: &http.Transport{TLSClientConfig: cfg, DisableKeepAlives: true, ForceAttemptHTTP2: true}}
			res, err := c.Get(l.base + tc.path)
			if tc.status == 0 {
				if err == nil {
					t.Error("the server took it")
				}
				o := l.next()
				if o.Outcome.Reason != reason.TLSFailed || len(o.Events) != 1 || !strings.Contains(o.Events[0].Detail, "certificate signed by unknown authority") {
					t.Errorf("observed %+v", o)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			body, _ := io.ReadAll(res.Body)
			if res.StatusCode != tc.status || res.ProtoMajor != 1 {
				t.Errorf("HTTP/%d %d %s", res.ProtoMajor, res.StatusCode, body)
			}
			if o := l.next(); o.Outcome.Reason != tc.reason {
				t.Errorf("observed %+v", o)
			}
			if got, want := strings.Contains(string(body), "geheim"), tc.status == 200 && strings.HasPrefix(tc.path, deskPath); got != want {
				t.Errorf("the password is there: %t", got)
			}
		})
	}
}
