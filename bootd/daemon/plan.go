package daemon

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"bootd.internal/bootd/change"
	"bootd.internal/bootd/decide/advert"
	"bootd.internal/bootd/files"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/render"
	"bootd.internal/bootd/site"
	"bootd.internal/templates"
)

// Plan is an inventory with its templates as they would be served on a machine that has every interface it names, each
// with the first address of its prefix. It needs neither root nor that machine.
type Plan struct {
	Inventory *inventory.Inventory
	Snapshot  *site.Snapshot
	// Templates knows no secrets before Check or Reveal has read them: it shows render.Masked.
	Templates *render.Set
	// Files is where kernels and boot loaders lie.
	Files string
}

// Fault is one thing that Check found. Inventory faults have a place and a path, the others the hosts that suffer.
type Fault struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Path   string `json:"path,omitempty"`
	Text   string `json:"text"`
	// Hosts need what is missing; empty: all of them, or none in particular.
	Hosts []string `json:"hosts,omitempty"`
}

// String is one line for people.
func (f Fault) String() string {
	if f.Line > 0 {
		return inventory.Fault{File: f.File, Pos: inventory.Pos{Line: f.Line, Col: f.Column}, Path: f.Path, Msg: f.Text}.Error()
	}
	return f.Text
}

// NewPlan loads an inventory; the error is Faults where it has some.
func NewPlan(file string, now time.Time) (*Plan, error) {
	inv, err := Load(file)
	if err != nil {
		return nil, err
	}
	snap, _ := site.Resolve(inv, assume(inv), nil, now)
	return &Plan{
		Inventory: inv, Snapshot: snap, Templates: templateSet(snap).Mask(), Files: beside(inv.File, snap.Files),
	}, nil
}

// Compare says what another inventory would change; texts: in rendered texts line by line too. Both are resolved as on a
// router with every interface they name.
func Compare(before, after string, texts bool, now time.Time) (change.Report, error) {
	side := func(file string) (change.Side, error) {
		inv, err := Load(file)
		if err != nil {
			return change.Side{}, err
		}
		facts := assume(inv)
		facts.Forwarding, facts.DefaultRoute = true, true
		snap, _ := site.Resolve(inv, facts, nil, now)
		return change.Side{Snapshot: snap, Templates: templateSet(snap).Mask()}, nil
	}
	var sides [2]change.Side
	var errs [2]error
	render.Each(2, func(i int) { sides[i], errs[i] = side([]string{before, after}[i]) })
	for _, err := range errs {
		if err != nil {
			return change.Report{}, err
		}
	}
	return change.Compare(sides[0], sides[1], texts), nil
}

// Reveal reads the secrets that the templates want.
func (p *Plan) Reveal() []Fault {
	values, faults := readSecrets(p.Inventory)
	p.Templates = p.Templates.WithSecrets(values)
	return faults
}

// beside makes a path of the inventory relative to the inventory.
func beside(file, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(file), path)
}

// templateSet is the built-in templates under those of the inventory's own directory, read anew.
func templateSet(snap *site.Snapshot) *render.Set {
	own := plainFiles{os.DirFS(beside(snap.Inventory.File, snap.Templates))}
	return render.New(render.Layer(own, templates.FS()))
}

// plainFiles refuses pipes and devices: to open one may take for ever.
type plainFiles struct{ fs.FS }

// Open implements fs.FS.
func (p plainFiles) Open(name string) (fs.File, error) {
	if st, err := fs.Stat(p.FS, name); err == nil && !st.Mode().IsRegular() && !st.IsDir() {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("is not a plain file")}
	}
	return p.FS.Open(name)
}

// assume makes a link for each network.
func assume(inv *inventory.Inventory) site.Facts {
	f := site.Facts{Delegated: assumeDelegated(inv)}
	seen := map[string]int{}
	for _, n := range inv.Networks {
		if !n.Interface.Set() {
			continue
		}
		i, ok := seen[n.Interface.V]
		if !ok {
			i = len(f.Links)
			seen[n.Interface.V] = i
			l := site.Link{Name: n.Interface.V, Index: 1000 + i, MTU: max(1500, n.RA.MTU.V), Up: true, MAC: ident.MAC{2, 0, 0, 0, byte(i >> 8), byte(i)}}
			l.LinkLocal = l.MAC.EUI64(netip.MustParsePrefix("fe80::/64"))
			f.Links = append(f.Links, l)
		}
		if n.Auto.Set() { // one of those for examples: what it will be, nobody knows here
			f.Links[i].Addrs = append(f.Links[i].Addrs, netip.PrefixFrom(netip.AddrFrom16([16]byte{0x3f, 0xff, 0, 0, 0, 0, byte(i >> 8), byte(i), 15: 1}), 64))
		}
		for _, p := range n.Prefixes {
			f.Links[i].Addrs = append(f.Links[i].Addrs, netip.PrefixFrom(p.V.Masked().Addr().Next(), p.V.Bits()))
		}
	}
	return f
}

// assumeDelegated has each upstream give what it is asked for, or a /48: certain prefixes that are asked for, else such as are for
// examples (RFC 9637).
func assumeDelegated(inv *inventory.Inventory) map[string][]site.Prefix {
	all := make(map[string][]site.Prefix, len(inv.Upstreams))
	for i, u := range inv.Upstreams {
		hints := u.Request
		if len(hints) == 0 {
			hints = make([]inventory.Value[inventory.PrefixHint], 1)
		}
		for k, h := range hints {
			p := h.V.Prefix
			if !p.IsValid() {
				n := byte(1 + 8*i + k)
				p = netip.PrefixFrom(netip.AddrFrom16([16]byte{0x3f, 0xff, n >> 4, n << 4}), cmp.Or(h.V.Length, 48)).Masked()
			}
			all[u.Name] = append(all[u.Name], site.Prefix{Prefix: p})
		}
	}
	return all
}

// Notes are what nobody can know before bootd runs, what other programs need, and who may read along: they are no faults.
func (p *Plan) Notes() []string {
	out := p.phoneNotes()
	note := func(f inventory.From, what string) {
		at := inventory.Fault{File: p.Inventory.File, Pos: f.Pos, Path: what}
		now, _ := site.Derive(f, p.Snapshot.Delegated[f.Upstream.V], p.Snapshot.Made)
		if at.Msg = fmt.Sprintf("%s is known when %s has given a prefix; here it is tried as %s", f, f.Upstream.V, now.Prefix); !now.IsValid() {
			at.Msg = fmt.Sprintf("%s is known when %s has given a prefix", f, f.Upstream.V)
		}
		out = append(out, at.Error())
	}
	for _, n := range p.Inventory.Networks {
		for _, f := range n.From {
			note(f, "networks."+n.Name+".prefix")
		}
		for _, d := range n.Delegate {
			if d.From.Set() {
				note(d.From, "networks."+n.Name+".delegate")
			}
		}
	}
	for _, h := range p.Inventory.Hosts {
		for _, f := range h.From {
			note(f, "hosts."+h.Name+".delegate")
		}
	}
	for i, a := range p.Inventory.AnyIP {
		if a.From.Set() {
			note(a.From, fmt.Sprintf("anyip[%d]", i))
		}
	}
	for _, f := range p.Inventory.Follow {
		if f.From.Set() {
			note(f.From, f.Path())
		}
	}
	return append(out, p.programs()...)
}

// Check finds everything that would keep a host from booting: faults of the inventory, secrets that cannot be read, templates
// that do not render for some host or whose result a client would not understand, kernels, initrds and boot loaders that are not there.
func Check(file string, now time.Time) (*Plan, []Fault, error) {
	p, err := NewPlan(file, now)
	var found Faults
	switch {
	case errors.As(err, &found):
		out := make([]Fault, len(found))
		for i, f := range found {
			out[i] = Fault{File: f.File, Line: f.Pos.Line, Column: f.Pos.Col, Path: f.Path, Text: f.Msg}
		}
		return nil, out, nil
	case err != nil:
		return nil, nil, err
	}
	out := p.Reveal()
	out = append(out, p.checkAdvertisements()...)
	out = append(out, p.checkOptions()...)
	out = append(out, p.checkTemplates()...)
	out = append(out, p.checkFollowers()...)
	out = append(out, p.checkPhones(now)...)
	return p, append(out, p.checkFiles()...), nil
}

// checkAdvertisements finds what a network's router advertisement has no room for, on a link that carries 1500
// octets, or ra.mtu where that is more.
func (p *Plan) checkAdvertisements() []Fault {
	var out []Fault
	for i, n := range p.Snapshot.Networks {
		at := p.Inventory.Networks[i].Pos
		for _, left := range advert.Decide(p.Snapshot, n.Interface, p.Snapshot.Made).Left {
			out = append(out, Fault{File: p.Inventory.File, Line: at.Line, Column: at.Col, Path: "networks." + n.Name, Text: left})
		}
	}
	return out
}

func (p *Plan) checkTemplates() []Fault {
	var out []Fault
	for _, x := range render.Check(p.Snapshot, p.Templates, inspector()) {
		out = append(out, Fault{Text: x.Error(), Hosts: x.Hosts})
	}
	return out
}

// checkFiles looks for what hosts boot from; each missing file is one fault with the hosts that need it.
func (p *Plan) checkFiles() []Fault {
	dir, err := files.Open(p.Files)
	if inv := p.Inventory; errors.Is(err, fs.ErrNotExist) && !inv.Serve.Files.Set() && len(inv.Serve.Loaders)+len(inv.Profiles) == 0 &&
		!slices.ContainsFunc(p.Snapshot.Hosts, fetches) {
		return nil // nobody boots here
	}
	if err != nil {
		text := fmt.Sprintf("files: there is no directory %s: make it, or set serve.files", p.Files)
		if !errors.Is(err, fs.ErrNotExist) {
			text = fmt.Sprintf("files: %v", err)
		}
		return []Fault{{Text: text}}
	}
	defer dir.Close()
	missing := map[string]*Fault{} // nil: it is there
	need := func(path, what, host string) {
		if path == "" {
			return
		}
		f, known := missing[path]
		if !known && !dir.Exists(path) {
			f = &Fault{Text: fmt.Sprintf("files: %s is missing in %s: it is %s", path, p.Files, what)}
		}
		missing[path] = f
		if f == nil {
			return
		}
		if host != "" && !slices.Contains(f.Hosts, host) {
			f.Hosts = append(f.Hosts, host)
		}
	}
	for _, h := range p.Snapshot.Hosts {
		need(h.Loader, "the boot loader", h.Name)
		if h.Profile == nil {
			continue
		}
		need(h.Profile.Kernel, "the kernel of profile "+h.Profile.Name, h.Name)
		for _, f := range h.Profile.Initrd {
			need(f, "an initrd of profile "+h.Profile.Name, h.Name)
		}
	}
	p.checkLoaders(dir, need)
	out := make([]Fault, 0, len(missing))
	for _, f := range missing {
		if f == nil {
			continue
		}
		if len(f.Hosts) > 0 {
			f.Text += ", needed by " + few(f.Hosts)
		}
		out = append(out, *f)
	}
	slices.SortFunc(out, func(a, b Fault) int { return cmp.Compare(a.Text, b.Text) })
	return out
}

// missingFiles names what a host's installer would not find.
func missingFiles(snap *site.Snapshot, host string) error {
	h, ok := snap.Host(host)
	if !ok || h.Profile == nil {
		return nil
	}
	path := beside(snap.Inventory.File, snap.Files)
	dir := files.Later(path)
	defer dir.Close()
	var errs []error
	for _, f := range append([]string{h.Profile.Kernel}, h.Profile.Initrd...) {
		if f != "" && !dir.Exists(f) {
			errs = append(errs, fmt.Errorf("%s is missing in %s: profile %s boots it", f, path, h.Profile.Name))
		}
	}
	return errors.Join(errs...)
}

// checkLoaders wants every boot loader that somebody wrote down, and of the built-in ones at least the one for x86_64
// where no host that can be installed names its own.
func (p *Plan) checkLoaders(dir *files.Dir, need func(path, what, host string)) {
	for arch, v := range p.Inventory.Serve.Loaders {
		need(v.V, "the boot loader for "+arch, "")
	}
	for _, path := range p.Snapshot.Loaders {
		if dir.Exists(path) {
			return
		}
	}
	for _, h := range p.Snapshot.Hosts {
		if h.Loader == "" && h.Profile != nil && h.Phone == nil {
			need(p.Snapshot.Loaders["x86_64"], "the boot loader for x86_64, which UEFI firmware asks for (make ipxe makes it)", h.Name)
		}
	}
}

// fetches reports whether a host is there for more than its address and its name.
func fetches(h *site.Host) bool { return h.Profile != nil || h.Phone != nil || h.Loader != "" }

// few names the first hosts and counts the rest.
func few(hosts []string) string {
	const most = 3
	text := strings.Join(hosts[:min(most, len(hosts))], ", ")
	if more := len(hosts) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
