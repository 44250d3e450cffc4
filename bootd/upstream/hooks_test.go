package upstream

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bootd.internal/bootd/decide/uplink"
)

func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// leased is what a server gave at a time.
func leased(at time.Time, prefix string) uplink.Held {
	return uplink.Held{
		Server: them, Got: at, RenewAt: at.Add(10 * time.Second), RebindAt: at.Add(16 * time.Second),
		Bindings:    []uplink.Binding{{IAID: 0x01020a0b, Prefix: netip.MustParsePrefix(prefix), PreferredUntil: at.Add(20 * time.Second), ValidUntil: at.Add(40 * time.Second)}},
		Nameservers: []netip.Addr{netip.MustParseAddr("2001:db8::53"), netip.MustParseAddr("2001:db8::54")}, Search: []string{"example.net", "b.example.net"},
	}
}

// TestCalls: what a hook of dhclient finds in its environment, in the forms that dhclient 4.4.3 gives it.
func TestCalls(t *testing.T) {
	at := time.Unix(1795759045, 0)
	before, after := leased(at, "2001:db8:100::/48"), leased(at.Add(10*time.Second), "2001:db8:100::/48")
	got := calls(uplink.Renewed, "eth0", us, before, after)
	var want []string
	for _, x := range []struct{ prefix, starts string }{{"old_", "1795759045"}, {"new_", "1795759055"}} {
		for _, v := range []string{
			"iaid=1:2:a:b", "starts=" + x.starts, "life_starts=" + x.starts, "renew=10", "rebind=16", "preferred_life=20", "max_life=40",
			"dhcp6_client_id=0:3:0:1:52:54:0:aa:1:1", "dhcp6_server_id=0:3:0:1:52:54:0:0:0:1", "ip6_prefix=2001:db8:100::/48",
			"dhcp6_name_servers=2001:db8::53 2001:db8::54", "dhcp6_domain_search=example.net. b.example.net.",
		} {
			want = append(want, x.prefix+v)
		}
	}
	want = append([]string{"interface=eth0", "dad_wait_time=0", "requested_dhcp6_name_servers=1", "requested_dhcp6_domain_search=1"}, want...)
	if diff := cmp.Diff([]call{{"RENEW6", want}}, got, cmp.AllowUnexported(call{})); diff != "" {
		t.Error(diff)
	}
	short := func(all []call) (out []string) {
		for _, c := range all {
			line := c.reason
			for _, e := range c.env {
				if strings.Contains(e, "_ip6_prefix=") || strings.Contains(e, "_ip6_address=") {
					line += " " + e
				}
			}
			out = append(out, line)
		}
		return out
	}
	// Another prefix in its place: the old one ends first, and the new one knows it.
	other := leased(at, "2001:db8:200::/48")
	other.Bindings = append(other.Bindings, uplink.Binding{IAID: 9, Address: true, Prefix: netip.MustParsePrefix("2001:db8:f::5/128")})
	for _, c := range []struct {
		cause         uplink.Cause
		before, after uplink.Held
		want          []string
	}{
		{uplink.Bound, uplink.Held{}, before, []string{"BOUND6 new_ip6_prefix=2001:db8:100::/48"}},
		{uplink.Rebound, before, other, []string{
			"EXPIRE6 old_ip6_prefix=2001:db8:100::/48",
			"REBIND6 old_ip6_prefix=2001:db8:100::/48 new_ip6_prefix=2001:db8:200::/48", "REBIND6 new_ip6_address=2001:db8:f::5",
		}},
		{uplink.Expired, before, uplink.Held{}, []string{"EXPIRE6 old_ip6_prefix=2001:db8:100::/48"}},
		{uplink.Released, other, uplink.Held{}, []string{"RELEASE6 old_ip6_prefix=2001:db8:200::/48", "RELEASE6 old_ip6_address=2001:db8:f::5"}},
	} {
		if diff := cmp.Diff(c.want, short(calls(c.cause, "eth0", us, c.before, c.after))); diff != "" {
			t.Errorf("%s: %s", c.cause, diff)
		}
	}
}

// TestHooks: in order, one at a time, each with its environment and nothing of ours.
func TestHooks(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	t.Setenv("SECRET", "of bootd")
	path := script(t, `echo "begin $reason $n $SECRET $#" >>`+out+"; echo end >>"+out+"\n")
	h := newHooks([]string{path}, time.Minute, func(err error) { t.Error(err) })
	var want strings.Builder
	for i := range 20 {
		h.add(call{"BOUND6", []string{fmt.Sprintf("n=%d;$(id)", i)}})
		fmt.Fprintf(&want, "begin BOUND6 %d;$(id)  0\nend\n", i)
	}
	close(h.queue)
	h.run(t.Context())
	got, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want.String(), string(got)); diff != "" {
		t.Error(diff)
	}
}

// TestHookFaults: a hook that hangs is killed with its children; one that fails, or is none, is told of with what it printed.
func TestHookFaults(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "child") // a reader sees its end when the last one that holds it open is dead
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		f, err := os.Open(fifo)
		if err == nil {
			_, err = io.ReadAll(f)
			_ = f.Close()
		}
		ended <- err
	}()
	for name, c := range map[string]struct{ path, want string }{
		"hangs":          {script(t, "exec 3>"+fifo+"\nsleep 1000 &\nwait\n"), "it hung, and was killed after 1s"},
		"fails":          {script(t, "echo no such thing; exit 3\n"), `exit status 3: "no such thing"`},
		"is not there":   {"/nonexistent/hook", "no such file"},
		"is no program":  {filepath.Dir(script(t, "")), "chmod +x"},
		"leaves a child": {script(t, "sleep 5 &\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			err := runHook(t.Context(), c.path, call{reason: "BOUND6"}, time.Second)
			switch {
			case c.want == "" && err == nil:
			case err == nil || c.want == "" || !strings.Contains(err.Error(), c.want):
				t.Errorf("%v, want %q", err, c.want)
			}
		})
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the child of the killed hook lives")
	}
}

// TestHooksBehind: what waits is bounded, and the end kills what runs.
func TestHooksBehind(t *testing.T) {
	var faults []string
	h := newHooks([]string{"/bin/true"}, time.Minute, func(err error) { faults = append(faults, err.Error()) })
	for range hookQueue + 2 {
		h.add(call{reason: "RENEW6"})
	}
	if !slices.Equal(faults, []string{"the hooks are too far behind: calls are dropped: RENEW6"}) { // once, however many
		t.Errorf("%q", faults)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	close(h.queue)
	h.run(ctx)
}

// TestHookPath: a hook beside an inventory that was named without a directory is that file, and not one that PATH has.
func TestHookPath(t *testing.T) {
	t.Chdir(t.TempDir())
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range [][3]string{
		{"inventory.yaml", "true", dir + "/true"},
		{"etc/inventory.yaml", "hooks/isp", dir + "/etc/hooks/isp"},
		{"/etc/bootd/inventory.yaml", "hooks/isp", "/etc/bootd/hooks/isp"},
		{"inventory.yaml", "/usr/sbin/hook", "/usr/sbin/hook"},
	} {
		if got := hookPath(c[0], c[1]); got != c[2] {
			t.Errorf("%s of %s is %s, not %s", c[1], c[0], got, c[2])
		}
	}
}

// TestNoInterpreter: a script whose interpreter is not there is not said to be missing itself.
func TestNoInterpreter(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/nowhere/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := runHook(t.Context(), path, call{reason: "BOUND6"}, time.Minute); err == nil || !strings.HasSuffix(err.Error(), "(#!) names is not there") {
		t.Error(err)
	}
	if err := runHook(t.Context(), path+"2", call{reason: "BOUND6"}, time.Minute); err == nil || strings.Contains(err.Error(), "#!") {
		t.Error(err)
	}
}
