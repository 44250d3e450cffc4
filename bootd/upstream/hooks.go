package upstream

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"bootd.internal/bootd/command"
	"bootd.internal/bootd/decide/uplink"
	"bootd.internal/bootd/ident"
)

const (
	// hookLimit is how long one hook may run; it restarts a service at most.
	hookLimit = time.Minute
	// hookQueue bounds the calls that wait: a hook that takes its whole minute each time.
	hookQueue = 64
)

// call is one run of all hooks: the environment beside PATH.
type call struct {
	reason string
	env    []string
}

// hooks runs programs one after another, never two at once.
type hooks struct {
	paths []string
	limit time.Duration
	queue chan call
	// behind: a call was dropped, and people were told of it.
	behind bool
	// after, where it is not nil, is closed when the hooks of the inventory before have run; done when these have.
	after, done chan struct{}
	// report tells of a hook that failed.
	report func(error)
}

func newHooks(paths []string, limit time.Duration, report func(error)) *hooks {
	return &hooks{paths: paths, limit: limit, queue: make(chan call, hookQueue), done: make(chan struct{}), report: report}
}

var errHooksBehind = errors.New("the hooks are too far behind: calls are dropped")

// add queues calls without waiting.
func (h *hooks) add(calls ...call) {
	if len(h.paths) == 0 {
		return
	}
	for _, c := range calls {
		select {
		case h.queue <- c:
			h.behind = false
		default:
			if h.behind {
				continue
			}
			h.behind = true
			h.report(fmt.Errorf("%w: %s", errHooksBehind, c.reason))
		}
	}
}

// run works the queue off until it is closed; when ctx ends what still runs is killed.
func (h *hooks) run(ctx context.Context) {
	defer close(h.done)
	if h.after != nil {
		<-h.after
	}
	for c := range h.queue {
		for _, p := range h.paths {
			if ctx.Err() != nil {
				return
			}
			if err := runHook(ctx, p, c, h.limit); err != nil {
				h.report(err)
			}
		}
	}
}

// runHook runs one program, without arguments and without a shell: what a server sent stands in its environment only. It has a
// process group of its own, which is killed whole.
func runHook(ctx context.Context, path string, c call, limit time.Duration) error {
	env := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "reason=" + c.reason}, c.env...)
	err := command.Run(ctx, []string{path}, env, limit)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, os.ErrPermission):
		err = fmt.Errorf("%w: chmod +x it, for the user that bootd runs as", err)
	case errors.Is(err, os.ErrNotExist) && exists(path): // what the kernel says then is of the interpreter
		err = fmt.Errorf("%w: the program that its first line (#!) names is not there", err)
	}
	return fmt.Errorf("running hook %s (%s): %w", path, c.reason, err)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// calls are the runs of hooks for a change, as dhclient-script(8) has them: one for each prefix or address, what ended first.
func calls(cause uplink.Cause, link string, client ident.DUID, before, after uplink.Held) []call {
	var out []call
	lasting := func(b uplink.Binding, in uplink.Held) bool {
		for _, x := range in.Bindings {
			if x.IAID == b.IAID && x.Address == b.Address && x.Prefix == b.Prefix {
				return true
			}
		}
		return false
	}
	env := func(b *uplink.Binding, old *uplink.Binding) []string {
		e := []string{"interface=" + link, "dad_wait_time=0", "requested_dhcp6_name_servers=1", "requested_dhcp6_domain_search=1"}
		if old != nil {
			e = append(e, variables("old_", client, before, *old)...)
		}
		if b != nil {
			e = append(e, variables("new_", client, after, *b)...)
		}
		return e
	}
	ended := "EXPIRE6"
	if cause == uplink.Released {
		ended = "RELEASE6"
	}
	for _, b := range before.Bindings {
		if !lasting(b, after) {
			out = append(out, call{ended, env(nil, &b)})
		}
	}
	word := map[uplink.Cause]string{uplink.Bound: "BOUND6", uplink.Renewed: "RENEW6", uplink.Rebound: "REBIND6"}[cause]
	if word == "" {
		return out
	}
	for _, b := range after.Bindings {
		var old *uplink.Binding
		for _, x := range before.Bindings { // the same one, else the one in whose place it comes
			if x.IAID == b.IAID && x.Address == b.Address && (x.Prefix == b.Prefix || old == nil && !lasting(x, after)) {
				old = &x
			}
		}
		out = append(out, call{word, env(&b, old)})
	}
	return out
}

// variables describes one prefix or address.
func variables(prefix string, client ident.DUID, h uplink.Held, b uplink.Binding) []string {
	life := func(until time.Time) string {
		if until.IsZero() {
			return "4294967295"
		}
		return strconv.FormatInt(int64(max(until.Sub(h.Got), 0)/time.Second), 10)
	}
	timer := func(at time.Time) string {
		if at.IsZero() {
			return "4294967295"
		}
		return life(at)
	}
	got := strconv.FormatInt(h.Got.Unix(), 10)
	id := uint32(b.IAID)
	e := []string{
		"iaid=" + colons([]byte{byte(id >> 24), byte(id >> 16), byte(id >> 8), byte(id)}), "starts=" + got, "life_starts=" + got,
		"renew=" + timer(h.RenewAt), "rebind=" + timer(h.RebindAt),
		"preferred_life=" + life(b.PreferredUntil), "max_life=" + life(b.ValidUntil),
		"dhcp6_client_id=" + colons([]byte(client)), "dhcp6_server_id=" + colons([]byte(h.Server)),
	}
	if b.Address {
		e = append(e, "ip6_address="+b.Prefix.Addr().String(), "ip6_prefixlen=128")
	} else {
		e = append(e, "ip6_prefix="+b.Prefix.String())
	}
	if len(h.Nameservers) > 0 {
		var all []string
		for _, a := range h.Nameservers {
			all = append(all, a.String())
		}
		e = append(e, "dhcp6_name_servers="+strings.Join(all, " "))
	}
	if len(h.Search) > 0 {
		e = append(e, "dhcp6_domain_search="+strings.Join(h.Search, ". ")+".")
	}
	for i := range e {
		e[i] = prefix + e[i]
	}
	return e
}

// colons writes octets as dhclient does: hexadecimal without leading zeros.
func colons(b []byte) string {
	parts := make([]string, len(b))
	for i, x := range b {
		parts[i] = strconv.FormatUint(uint64(x), 16)
	}
	return strings.Join(parts, ":")
}
