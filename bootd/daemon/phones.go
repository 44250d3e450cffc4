package daemon

import (
	"crypto/tls"
	"errors"
	"net/netip"
	"time"

	"bootd.internal/bootd/authority"
	httpd "bootd.internal/bootd/http"
	"bootd.internal/bootd/site"
)

// phones is what serves phones over HTTPS; nothing of it is there where the inventory knows no phones.
type phones struct {
	daemon *Daemon
	own    *authority.Own
	given  *authority.Given
}

// openPhones opens HTTPS for phones, if the inventory has some that want it. cfg is that of plain HTTP.
func (d *Daemon) openPhones(cfg httpd.Config, snap *site.Snapshot) error {
	s := snap.Phones
	if s == nil || !s.HTTPS {
		return nil
	}
	var err error
	if cfg.TLS, err = d.phones.tls(snap); err != nil {
		return err
	}
	cfg.Port, cfg.Authority = s.Port, d.phones.PEM
	web, err := httpd.New(cfg)
	if err != nil {
		return port{"tcp", s.Port, "HTTPS for phones"}.explain("/proc", err)
	}
	d.tasks = append(d.tasks, web)
	return nil
}

// openAuthority reads or makes what certificates come from.
func (d *Daemon) openAuthority(snap *site.Snapshot) error {
	d.phones = &phones{daemon: d}
	s := snap.Phones
	if s == nil || !s.HTTPS {
		return nil
	}
	if s.Certificate != "" {
		d.phones.given = &authority.Given{Cert: beside(snap.Inventory.File, s.Certificate), Key: beside(snap.Inventory.File, s.Key), Now: d.now}
		return nil
	}
	var err error
	d.phones.own, err = authority.Open(d.cfg.State, d.now)
	return err
}

// PEM is the certificate of bootd's own authority, nil where there is none.
func (p *phones) PEM() []byte {
	if p == nil || p.own == nil {
		return nil
	}
	return p.own.PEM()
}

func (p *phones) tls(snap *site.Snapshot) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.certificate}
	if s := snap.Phones; s.ClientCA != "" {
		pool, err := authority.Clients(beside(snap.Inventory.File, s.ClientCA))
		if err != nil {
			return nil, err
		}
		cfg.ClientCAs, cfg.ClientAuth = pool, tls.VerifyClientCertIfGiven // decide/phone says which files want one
	}
	return cfg, nil
}

// certificate is the one for whatever addresses bootd has now.
func (p *phones) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	snap := p.daemon.world.Snapshot()
	if p.given != nil {
		return p.given.Certificate()
	}
	if snap.Phones == nil {
		return nil, errors.New("there are no phones any more")
	}
	var names []string
	if snap.Phones.Name != "" {
		names = []string{snap.Phones.Name}
	}
	var addrs []netip.Addr
	for _, n := range snap.Networks {
		addrs = append(addrs, n.Servers...)
	}
	return p.own.Certificate(names, addrs)
}

// checkPhones finds a certificate that cannot be served with, or has ended.
func (p *Plan) checkPhones(now time.Time) []Fault {
	s := p.Snapshot.Phones
	if s == nil {
		return nil
	}
	y := p.Inventory.Yealink
	var out []Fault
	bad := func(path string, line, column int, err error) {
		out = append(out, Fault{File: p.Inventory.File, Line: line, Column: column, Path: path, Text: err.Error()})
	}
	if s.Certificate != "" {
		g := authority.Given{Cert: beside(p.Inventory.File, s.Certificate), Key: beside(p.Inventory.File, s.Key), Now: func() time.Time { return now }}
		if _, err := g.Certificate(); err != nil {
			bad("yealink.certificate", y.Certificate.Pos.Line, y.Certificate.Pos.Col, err)
		}
	}
	if s.ClientCA != "" {
		if _, err := authority.Clients(beside(p.Inventory.File, s.ClientCA)); err != nil {
			bad("yealink.client_ca", y.ClientCA.Pos.Line, y.ClientCA.Pos.Col, err)
		}
	}
	return out
}
