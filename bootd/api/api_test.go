package api_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"bootd.internal/bootd/api"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/site/sitetest"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/store/memory"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/timeline/history"
	"bootd.internal/bootd/trace"
)

// fake is a daemon behind a real socket.
type fake struct {
	client  *api.Client
	socket  string
	store   store.Store
	history *history.History
	health  api.Health
	stopped chan bool
	traces  trace.Hub
	reload  error
	snap    *site.Snapshot
}

func (f *fake) Health() api.Health             { return f.health }
func (f *fake) Stop(finalRA bool)              { f.stopped <- finalRA }
func (f *fake) Reload(context.Context) error   { return f.reload }
func (f *fake) Observe(o timeline.Observation) { f.history.Record(o.Events...) }
func (f *fake) zero() io.Reader                { return bytes.NewReader(make([]byte, 1<<16)) }
func (f *fake) render(string, string) ([]byte, []string, error) {
	return []byte("#!ipxe\n"), []string{"a note"}, nil
}

func (f *fake) fit(host string) error {
	if host == "r1n03" {
		return errors.New("preseed/debian13.cfg:7: disk is not set for r1n03")
	}
	return nil
}

func start(t *testing.T) *fake {
	t.Helper()
	f := &fake{
		socket: filepath.Join(t.TempDir(), "bootd.sock"), store: memory.New(), stopped: make(chan bool, 1),
		snap: sitetest.Snapshot(t, sitetest.Small(), sitetest.SmallFacts(t)),
	}
	f.health = api.Health{Ready: true, Version: "v1", Started: sitetest.Now(), Tasks: []api.TaskStatus{}}
	f.history = history.Open(history.Config{Now: sitetest.Now, Log: slog.New(slog.DiscardHandler)})
	l, err := api.Listen(t.Context(), f.socket)
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{ConnContext: api.ConnContext, ReadHeaderTimeout: time.Second, Handler: api.New(api.Config{
		Snapshot: func() *site.Snapshot { return f.snap }, Store: f.store, Traces: &f.traces, History: f.history, Observer: f, Daemon: f,
		Render: f.render, Fit: f.fit, Now: sitetest.Now, Rand: f.zero(), Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(l) }()
	t.Cleanup(func() { srv.Close(); <-done })
	f.client = api.NewClient(f.socket)
	return f
}

func wantError(t *testing.T, err error, status int, text string) {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) || e.Status != status || e.Message != text {
		t.Errorf("got %d %q, want %d %q", e.Status, err, status, text)
	}
}

func TestStatus(t *testing.T) {
	f := start(t)
	now := sitetest.Now()
	f.health.Problems = []site.Problem{{Network: "rack1", Msg: "no carrier"}}
	f.history.Record(timeline.Event{Kind: timeline.ScriptOffered, Host: "r1n02", Reason: reason.BootScript})
	got, err := f.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	host := func(i int, name, addr string) api.HostStatus {
		return api.HostStatus{
			Name: name, Profile: "debian13", Phase: timeline.PhaseUnseen, Address: addr, MAC: ident.MAC{0x52, 0x54, 0, 0xaa, 1, byte(i)},
		}
	}
	r1n02 := host(2, "r1n02", "2001:db8:1::102")
	r1n02.Phase, r1n02.Since, r1n02.Boots, r1n02.Reason = timeline.PhaseIPXE, now, 1, reason.BootScript
	r1n02.Stages = []api.Stage{{Phase: timeline.PhaseIPXE, Since: now, Now: true}}
	r1n02.Last = timeline.Event{Seq: 1, Time: now, Kind: timeline.ScriptOffered, Reason: reason.BootScript, Host: "r1n02"}
	first := func(name string) string {
		h, _ := f.snap.Host(name)
		return h.NICs[0].Addresses("rack1")[0].String()
	}
	want := api.Status{
		Ready: true, Version: "v1", Started: now, Now: now,
		Inventory: api.InventoryStatus{File: "inventory.yaml", Hash: f.snap.Inventory.Hash},
		Networks:  []api.NetworkStatus{{Name: "rack1", Interface: "eth1", Up: true, Prefixes: []string{"2001:db8:1::/64"}, Address: "2001:db8:1::1"}},
		Tasks:     []api.TaskStatus{}, Problems: []api.Problem{{Network: "rack1", Text: "no carrier"}},
		Hosts: []api.HostStatus{host(1, "r1n01", first("r1n01")), r1n02, host(3, "r1n03", first("r1n03")), host(5, "bare", first("bare"))},
	}
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestInstallAsksThenArms(t *testing.T) {
	f := start(t)
	req := api.InstallRequest{Hosts: []string{"r1n0[12]", "r1n01"}, By: "alice"}
	got, err := f.client.Install(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	want := api.InstallResult{Hosts: []api.Candidate{
		{Name: "r1n01", MAC: "52:54:00:aa:01:01", Profile: "debian13"}, {Name: "r1n02", MAC: "52:54:00:aa:01:02", Profile: "debian13"},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the question: -want +got:\n%s", d)
	}
	if _, armed := f.arm(t, "r1n01"); armed {
		t.Error("a question armed a host")
	}
	req.Confirm = 3
	_, err = f.client.Install(t.Context(), req)
	wantError(t, err, http.StatusConflict, "3 hosts were confirmed, but 2 are meant now: look again; nothing was armed")
	req.Confirm = 2
	if got, err = f.client.Install(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	want.Armed, want.Until = true, sitetest.Now().Add(install.ArmFor)
	want.Hosts[0].Armed, want.Hosts[1].Armed = true, true
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	arm, armed := f.arm(t, "r1n02")
	if !armed || arm.ID != "0000000000000000-r1n02" || !strings.HasPrefix(arm.By, "alice (uid ") {
		t.Errorf("arm %+v", arm)
	}
	events := f.history.Events(history.Query{})
	if len(events) != 2 || events[0].Kind != timeline.Armed || events[0].Host != "r1n01" {
		t.Errorf("events %+v", events)
	}
}

func (f *fake) arm(t *testing.T, host string) (arm install.Arm, ok bool) {
	t.Helper()
	f.store.Read(func(v store.View) {
		var err error
		if arm, ok, err = install.ReadArm(v, host); err != nil {
			t.Fatal(err)
		}
	})
	return arm, ok
}

func TestEventsOfACard(t *testing.T) {
	f := start(t)
	stranger := ident.MAC{0x52, 0x54, 0, 0xff, 0xff, 0xff}
	f.history.Record(
		timeline.Event{Kind: timeline.DHCPIgnored, MAC: stranger},
		timeline.Event{Kind: timeline.DHCPLease, Host: "r1n02", MAC: ident.MAC{0x52, 0x54, 0, 0xaa, 1, 2}},
		timeline.Event{Kind: timeline.ScriptOffered, Host: "r1n02"},
	)
	for mac, want := range map[string][]timeline.Kind{
		stranger.String():   {timeline.DHCPIgnored},
		"52:54:00:AA:01:02": {timeline.DHCPLease, timeline.ScriptOffered},
		"52:54:00:ff:ff:fe": nil,
	} {
		var got []timeline.Kind
		err := f.client.Events(t.Context(), api.EventQuery{Host: mac}, func(e timeline.Event) bool {
			got = append(got, e.Kind)
			return true
		})
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%s: %v, -want +got:\n%s", mac, err, d)
		}
	}
}

// TestInstallWithoutMAC: what cannot be armed is refused before somebody is asked for a yes.
func TestInstallWithoutMAC(t *testing.T) {
	f := start(t)
	f.snap = sitetest.Snapshot(t, `networks: {rack1: {interface: eth1, prefix: "2001:db8:1::/64"}}
hosts: {u: {duid: "00:02:00:00:ab:11:01"}}
`, sitetest.SmallFacts(t))
	_, err := f.client.Install(t.Context(), api.InstallRequest{Hosts: []string{"u"}})
	wantError(t, err, http.StatusConflict, "arming u: "+install.ErrNoMAC.Error()+"; nothing was armed")
}

func TestInstallIsAllOrNothing(t *testing.T) {
	f := start(t)
	_, err := f.client.Install(t.Context(), api.InstallRequest{Hosts: []string{"*"}, Confirm: 4})
	wantError(t, err, http.StatusConflict, "arming r1n03: preseed/debian13.cfg:7: disk is not set for r1n03\nnothing was armed")
	_, err = f.client.Install(t.Context(), api.InstallRequest{Hosts: []string{"r1n0[12]", "bare"}, Confirm: 3})
	wantError(t, err, http.StatusConflict, "arming bare: protected: type its name to confirm\nnothing was armed")
	if _, armed := f.arm(t, "r1n01"); armed {
		t.Error("one of a refused order was armed")
	}
	_, err = f.client.Install(t.Context(), api.InstallRequest{Hosts: []string{"r1n0[12]", "bare"}, Confirm: 3, Typed: []string{"bare"}})
	if err != nil {
		t.Error(err)
	}
}

func TestCancel(t *testing.T) {
	f := start(t)
	if _, err := f.client.Install(t.Context(), api.InstallRequest{Hosts: []string{"r1n01"}, Confirm: 1}); err != nil {
		t.Fatal(err)
	}
	got, err := f.client.Cancel(t.Context(), api.CancelRequest{Hosts: []string{"r1n*"}})
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(api.CancelResult{Cancelled: []string{"r1n01"}, Idle: []string{"r1n02", "r1n03"}}, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
	if _, armed := f.arm(t, "r1n01"); armed {
		t.Error("still armed")
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	f := start(t)
	ctx := t.Context()
	for _, c := range []struct {
		call   func() error
		status int
		text   string
	}{
		{func() error { _, err := f.client.Install(ctx, api.InstallRequest{}); return err }, 400, "no host is named: name some, or a pattern such as 'r1n*'"},
		{func() error { _, err := f.client.Install(ctx, api.InstallRequest{Hosts: []string{"r9*"}}); return err }, 404, `"r9*" names no host of inventory.yaml`},
		{func() error { _, err := f.client.Install(ctx, api.InstallRequest{Hosts: []string{"[a"}}); return err }, 400, `"[a" is not a pattern: syntax error in pattern`},
		{func() error { _, err := f.client.Explain(ctx, "nobody"); return err }, 404, `"nobody" is no host of inventory.yaml, and neither a MAC, a DUID, a UUID nor an IPv6 address or prefix`},
		{func() error { return f.client.Events(ctx, api.EventQuery{Host: "nobody"}, nil) }, 404, `"nobody" names no host of inventory.yaml, and is no MAC`},
		{func() error { return f.client.Events(ctx, api.EventQuery{Since: "yesterday"}, nil) }, 400, `since="yesterday": want a time such as 2026-01-02T15:04:05Z, or how long ago, such as 10m`},
	} {
		wantError(t, c.call(), c.status, c.text)
	}
	f.reload = errors.New("inventory.yaml:3:1: hosts: broken")
	wantError(t, f.client.Reload(ctx), 409, "keeping the inventory that is served:\ninventory.yaml:3:1: hosts: broken")
}

// raw sends what the client would not.
func (f *fake) raw(t *testing.T, method, path string, body io.Reader) (int, string) {
	t.Helper()
	c := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", f.socket)
	}}}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://bootd"+path, body)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestBadRequests(t *testing.T) {
	f := start(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "/v2/status", "", 404, `GET /v2/status is not served here`},
		{"POST", "/v1/install", "{", 400, `reading the request: unexpected EOF`},
		{"POST", "/v1/install", `{"host": ["a"]}`, 400, `unknown field`},
		{"POST", "/v1/install", `{"hosts": ["` + strings.Repeat("a", 2<<20) + `"]}`, 400, `request body too large`},
		{"GET", "/v1/install", "", 404, "GET /v1/install is not served here"},
	} {
		status, body := f.raw(t, c.method, c.path, strings.NewReader(c.body))
		if status != c.status || !strings.Contains(body, c.want) {
			t.Errorf("%s %s: %d %s, want %d %s", c.method, c.path, status, body, c.status, c.want)
		}
	}
}

func TestEventsFollow(t *testing.T) {
	f := start(t)
	f.history.Record(timeline.Event{Kind: timeline.LinkUp}, timeline.Event{Kind: timeline.ScriptFetched, Host: "r1n01"})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []timeline.Event
	err := f.client.Events(ctx, api.EventQuery{Host: "r1n01", Follow: true}, func(e timeline.Event) bool {
		got = append(got, e)
		if len(got) == 1 {
			f.history.Record(timeline.Event{Kind: timeline.LinkDown}, timeline.Event{Kind: timeline.Installed, Host: "r1n01", Detail: "done"})
		}
		return len(got) < 2
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []timeline.Event{
		{Seq: 2, Time: sitetest.Now(), Kind: timeline.ScriptFetched, Host: "r1n01"},
		{Seq: 4, Time: sitetest.Now(), Kind: timeline.Installed, Host: "r1n01", Detail: "done"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("-want +got:\n%s", d)
	}
}

func TestLeasesRenderStop(t *testing.T) {
	f := start(t)
	now, until := sitetest.Now(), sitetest.Now().Add(time.Hour)
	mac, holder := ident.MAC{0x52, 0x54, 0, 0xaa, 1, 1}, lease.ClientHolder("\x00\x02abc", 7)
	used := lease.Claim{DUID: "\x00\x02abc", IAID: 7}
	put := func(a string, b lease.Binding) []store.Op {
		addr := netip.MustParseAddr(a)
		b.Network, b.PreferredUntil = "rack1", now
		return []store.Op{{Key: lease.Key(addr), Value: b.Encode()}, {Key: lease.HeldKey("rack1", b.Holder), Value: addr.AsSlice()}}
	}
	err := f.store.Update(t.Context(), func(store.View) []store.Op {
		return slices.Concat(
			put("2001:db8:1::10", lease.Binding{Holder: "r1n01/net0", MAC: mac, State: lease.Bound, ValidUntil: until, Claims: []lease.Claim{used}}),
			put("2001:db8:1::9", lease.Binding{Holder: holder, State: lease.Declined, ValidUntil: until, Claims: []lease.Claim{used}}),
			put("2001:db8:1::8", lease.Binding{Holder: "gone/net0", State: lease.Bound, ValidUntil: now}))
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []api.Lease{
		{
			Address: "2001:db8:1::8", Prefix: "2001:db8:1::8/128", Holder: "gone/net0", Network: "rack1", State: "bound",
			Expired: true, PreferredUntil: now, ValidUntil: now,
		},
		{
			Address: "2001:db8:1::9", Prefix: "2001:db8:1::9/128", Holder: holder, Network: "rack1", State: "declined",
			PreferredUntil: now, ValidUntil: until, Clients: []lease.Claim{used}, Claims: 1,
		},
		{
			Address: "2001:db8:1::10", Prefix: "2001:db8:1::10/128", Host: "r1n01", Holder: "r1n01/net0", Network: "rack1", MAC: mac,
			State: "bound", PreferredUntil: now, ValidUntil: until, Clients: []lease.Claim{used}, Claims: 1,
		},
	}
	for expired, want := range map[bool][]api.Lease{true: want, false: want[1:]} {
		leases, err := f.client.Leases(t.Context(), expired)
		if d := cmp.Diff(want, leases); d != "" || err != nil {
			t.Errorf("%v -want +got:\n%s", err, d)
		}
	}
	f.release(t, want[1])
	r, err := f.client.Render(t.Context(), "r1n01", "script")
	if d := cmp.Diff(api.Rendered{Text: "#!ipxe\n", Notes: []string{"a note"}}, r); d != "" || err != nil {
		t.Errorf("%v -want +got:\n%s", err, d)
	}
	if err := f.client.Stop(t.Context(), api.StopRequest{FinalRA: true}); err != nil || !<-f.stopped {
		t.Errorf("stop: %v", err)
	}
}

// TestDamagedLease: a record that cannot be read is shown as such, hides no other, and can be ended.
func TestDamagedLease(t *testing.T) {
	f := start(t)
	good := lease.Binding{Holder: "r1n01/net0", Network: "rack1", State: lease.Bound, ValidUntil: sitetest.Now().Add(time.Hour)}
	err := f.store.Update(t.Context(), func(store.View) []store.Op {
		return []store.Op{
			{Key: lease.Key(netip.MustParseAddr("2001:db8:1::9")), Value: []byte("?")},
			{Key: lease.Key(netip.MustParseAddr("2001:db8:1::10")), Value: good.Encode()},
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	leases, err := f.client.Leases(t.Context(), false)
	bad := api.Lease{Address: "2001:db8:1::9", Prefix: "2001:db8:1::9/128", State: api.StateDamaged}
	if err != nil || len(leases) != 2 || leases[1].Address != "2001:db8:1::10" {
		t.Fatalf("%v %+v", err, leases)
	}
	if d := cmp.Diff(bad, leases[0]); d != "" {
		t.Error(d)
	}
	got, err := f.client.Release(t.Context(), api.ReleaseRequest{Address: bad.Address, Confirm: true, Holder: leases[0].Holder})
	if d := cmp.Diff(api.ReleaseResult{Lease: bad, Released: true}, got); d != "" || err != nil {
		t.Errorf("%v %s", err, d)
	}
	if leases, err = f.client.Leases(t.Context(), true); err != nil || len(leases) != 1 {
		t.Errorf("%v %+v", err, leases)
	}
}

// release ends a lease as a person does: shown first, and refused where another has it by then.
func (f *fake) release(t *testing.T, l api.Lease) {
	t.Helper()
	ask := api.ReleaseRequest{Address: l.Address}
	got, err := f.client.Release(t.Context(), ask)
	if d := cmp.Diff(api.ReleaseResult{Lease: l}, got); d != "" || err != nil {
		t.Errorf("%v -want +got:\n%s", err, d)
	}
	ask.Confirm, ask.Holder = true, "somebody"
	_, err = f.client.Release(t.Context(), ask)
	wantError(t, err, http.StatusConflict, l.Address+" is "+l.Holder+"'s by now: look again; nothing was released")
	ask.Holder, ask.By = l.Holder, "alice"
	got, err = f.client.Release(t.Context(), ask)
	if d := cmp.Diff(api.ReleaseResult{Lease: l, Released: true}, got); d != "" || err != nil {
		t.Errorf("%v -want +got:\n%s", err, d)
	}
	_, err = f.client.Release(t.Context(), ask)
	wantError(t, err, http.StatusNotFound, "nobody has a lease of "+l.Address+": bootd leases lists them, each with its whole address")
	_, err = f.client.Release(t.Context(), api.ReleaseRequest{Address: "192.0.2.1"})
	wantError(t, err, http.StatusBadRequest, `"192.0.2.1" is neither an IPv6 address nor a prefix`)
	for k := range f.store.Scan(store.TableHeld, "rack1 "+l.Holder) {
		t.Errorf("the note %s is left", k)
	}
	said := f.history.Events(history.Query{})
	if e := said[len(said)-1]; e.Addr != l.Address || !strings.HasPrefix(e.Detail, "the lease was ended by alice") {
		t.Errorf("told %+v", e)
	}
}

func TestSocket(t *testing.T) {
	f := start(t)
	st, err := os.Stat(f.socket)
	if err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", st.Mode(), err)
	}
	_, err = api.Listen(t.Context(), f.socket)
	if err == nil || !strings.Contains(err.Error(), "another bootd answers there") {
		t.Errorf("a second listener: %v", err)
	}
	stale := filepath.Join(t.TempDir(), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	again, err := api.Listen(t.Context(), stale)
	if err != nil {
		t.Fatalf("in place of a socket that nobody listens on: %v", err)
	}
	again.Close()
	_, err = api.NewClient(stale).Status(t.Context())
	if !errors.Is(err, api.ErrNotRunning) {
		t.Errorf("got %v, want ErrNotRunning", err)
	}
	_, err = api.Listen(t.Context(), "/tmp/"+strings.Repeat("a", 120))
	if err == nil || !strings.Contains(err.Error(), "give a shorter directory with --run") {
		t.Errorf("a long path: %v", err)
	}
}
