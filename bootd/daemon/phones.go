package daemon

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"bootd.internal/bootd/authority"
	"bootd.internal/bootd/decide/phone"
	httpd "bootd.internal/bootd/http"
	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
)

// phones is what serves phones over HTTPS; nothing of it is there where the inventory knows no phones.
type phones struct {
	daemon *Daemon
	own    *authority.Own
	given  *authority.Given
	// broken is why there is no own authority until the next start.
	broken error

	mu sync.Mutex
	// said is the last fault of the certificate that was told, at when.
	said string
	at   time.Time
}

// sayEvery is how often one and the same fault of the certificate is told: each phone that comes meets it.
const sayEvery = time.Hour

// openPhones opens HTTPS for phones, if the inventory has some that want it. cfg is that of plain HTTP.
func (d *Daemon) openPhones(cfg httpd.Config, snap *site.Snapshot) error {
	s := snap.Phones
	if s == nil || !s.HTTPS {
		return nil
	}
	cfg.TLS, cfg.Port, cfg.Authority = d.phones.tls(snap), s.Port, d.phones.PEM
	web, err := httpd.New(cfg)
	if err != nil {
		return port{"tcp", s.Port, "HTTPS for phones"}.explain("/proc", err)
	}
	d.tasks = append(d.tasks, web)
	return nil
}

// openAuthority reads or makes what certificates come from. Where it cannot, phones come to no harm, so all else is served.
func (d *Daemon) openAuthority(snap *site.Snapshot) {
	d.phones = &phones{daemon: d}
	s := snap.Phones
	if s == nil || !s.HTTPS {
		return
	}
	var at inventory.Pos
	if s.Certificate != "" {
		d.phones.given = &authority.Given{Cert: beside(snap.Inventory.File, s.Certificate), Key: beside(snap.Inventory.File, s.Key), Now: d.now}
		at = snap.Inventory.Yealink.Certificate.Pos
	} else {
		d.phones.own, d.phones.broken = authority.Open(d.cfg.State, d.now)
	}
	if _, err := d.phones.certificate(nil); err != nil {
		d.faults = append(d.faults, site.Problem{Pos: at, Msg: err.Error()})
	}
}

// PEM is the certificate of bootd's own authority, nil where there is none.
func (p *phones) PEM() []byte {
	if p == nil || p.own == nil {
		return nil
	}
	return p.own.PEM()
}

func (p *phones) tls(snap *site.Snapshot) *tls.Config {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: p.certificate}
	if s := snap.Phones; s.ClientCA != "" {
		pool, err := authority.Clients(beside(snap.Inventory.File, s.ClientCA))
		if err != nil {
			p.daemon.warn("no phone's certificate is believed until the next start", err)
			p.daemon.faults = append(p.daemon.faults, site.Problem{Pos: snap.Inventory.Yealink.ClientCA.Pos, Msg: err.Error()})
			pool = x509.NewCertPool() // an empty one: without a pool the authorities of the system would be believed
		}
		cfg.ClientCAs, cfg.ClientAuth = pool, tls.VerifyClientCertIfGiven // decide/phone says which files want one
	}
	return cfg
}

// certificate is the one for whatever addresses bootd has now.
func (p *phones) certificate(*tls.ClientHelloInfo) (c *tls.Certificate, err error) {
	snap := p.daemon.world.Snapshot()
	switch {
	case p.given != nil:
		c, err = p.given.Certificate()
	case p.own == nil:
		err = p.broken
	case snap.Phones == nil:
		return nil, errors.New("there are no phones any more")
	default:
		c, err = p.ownCertificate(snap)
	}
	if err != nil {
		p.fault(err)
	}
	return c, err
}

func (p *phones) ownCertificate(snap *site.Snapshot) (*tls.Certificate, error) {
	var names []string
	if snap.Phones.Name != "" {
		names = []string{snap.Phones.Name}
	}
	var addrs []netip.Addr
	for _, n := range snap.Networks {
		addrs = append(addrs, n.Servers...)
	}
	slices.SortFunc(addrs, netip.Addr.Compare) // all networks behind relays know us by one address
	return p.own.Certificate(names, slices.Compact(addrs))
}

// fault tells why there is no certificate, once an hour.
func (p *phones) fault(err error) {
	p.mu.Lock()
	now := p.daemon.now()
	told := p.said == err.Error() && now.Sub(p.at) < sayEvery
	if !told {
		p.said, p.at = err.Error(), now
	}
	p.mu.Unlock()
	if !told {
		p.daemon.warn("phones are not served over https", err)
	}
}

// uploads forgets what phones uploaded that the inventory does not list any more.
func (t *tidy) uploads(ctx context.Context) {
	snap := t.daemon.world.Snapshot()
	listed := map[string]bool{}
	for _, h := range snap.Hosts {
		if h.Phone != nil {
			listed[phone.Key(h.MAC()).ID] = true
		}
	}
	var ops []store.Op
	for k := range t.daemon.store.Scan(store.TablePhone, "") {
		if !listed[k.ID] {
			ops = append(ops, store.Op{Key: k})
		}
	}
	for some := range slices.Chunk(ops, tidyAtOnce) {
		if t.daemon.store.Update(ctx, func(store.View) []store.Op { return some }) != nil {
			return // said elsewhere; the next round finds them again
		}
	}
}

// phoneNotes are what a person should know of the phones although it is no fault.
func (p *Plan) phoneNotes() []string {
	s := p.Snapshot.Phones
	if s == nil || !s.PlainSecrets {
		return nil
	}
	how := "may travel over plain http, where everybody on the way reads them (yealink.plain_secrets)"
	if !s.HTTPS {
		how = "travel over plain http, where everybody on the way reads them (yealink.scheme)"
	}
	return []string{"passwords of phones " + how}
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
