package upstream

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"time"

	"bootd.internal/bootd/decide/uplink"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/inventory"
	"bootd.internal/bootd/option"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/store"
	"bootd.internal/bootd/timeline"
)

// client is one upstream. It belongs to the goroutine of Module.Run.
type client struct {
	module  *Module
	conf    inventory.Uplink
	ask     uplink.Config
	machine *uplink.Machine
	hooks   *hooks
	// was is what the link, the hooks and people know of.
	was uplink.Held
	// link is nil while it is not there.
	link *linkTask
	// note is the last word about what goes wrong, empty once it goes well; said is what people were told last.
	note, said string
	// asked is since when nobody answers, zero: nobody was asked; told: people were told of it.
	asked time.Time
	told  bool
	// routeFault is what was last told of the default route.
	routeFault string
}

// recordKey is where a lease is kept.
func recordKey(name string) store.Key {
	return store.Key{Table: store.TableNode, ID: "upstream/" + name}
}

// read gives what an upstream gave last.
func read(s store.Store, name string) (held uplink.Held) {
	s.Read(func(v store.View) {
		held = uplink.Held{}
		if b, ok := v.Get(recordKey(name)); ok && json.Unmarshal(b, &held) != nil {
			held = uplink.Held{} // nobody can repair it, and a server knows what we have
		}
	})
	return held
}

// Kept are the prefixes that an upstream gave in an earlier life of the daemon: networks are made of them before the first
// packet goes out, or hosts would be told for a moment that they are gone.
func Kept(s store.Store, name string) []site.Prefix { return prefixes(read(s, name)) }

// prefixes are those among what is held.
func prefixes(held uplink.Held) []site.Prefix {
	var out []site.Prefix
	for _, b := range held.Bindings {
		if !b.Address {
			out = append(out, site.Prefix{Prefix: b.Prefix, PreferredUntil: b.PreferredUntil, ValidUntil: b.ValidUntil, Exclude: b.Exclude})
		}
	}
	return out
}

// iaid follows from the upstream's name and the place in its list, so that it outlives interfaces and restarts.
func iaid(name, kind string, i int) ident.IAID {
	sum := sha256.Sum256([]byte("bootd upstream " + name + " " + kind + strconv.Itoa(i)))
	return ident.IAID(binary.BigEndian.Uint32(sum[:]))
}

func (m *Module) config(u inventory.Uplink) uplink.Config {
	c := uplink.Config{Client: m.cfg.Client, RapidCommit: u.RapidCommit.Or(inventory.BuiltinUplink().RapidCommit).V}
	if u.DUID.Set() {
		c.Client = u.DUID.V
	}
	for i, r := range u.Request {
		c.Prefixes = append(c.Prefixes, uplink.Wanted{IAID: iaid(u.Name, "pd", i), Hint: uplink.Hint{Length: r.V.Length, Prefix: r.V.Prefix}})
	}
	if len(u.Request) == 0 {
		c.Prefixes = []uplink.Wanted{{IAID: iaid(u.Name, "pd", 0)}}
	}
	if u.Address.V {
		id := iaid(u.Name, "na", 0)
		c.Address = &id
	}
	return c
}

func (m *Module) newClient(u inventory.Uplink) *client {
	c := &client{module: m}
	c.configure(u, read(m.cfg.Store, u.Name))
	now := m.cfg.Now()
	if held := c.machine.Held(); len(held.Bindings) > 0 {
		c.do(now, c.machine.Tick(now, m.cfg.Rand)) // what ended while nobody was here
	}
	return c
}

func (c *client) configure(u inventory.Uplink, held uplink.Held) {
	c.conf, c.ask, c.was = u, c.module.config(u), held
	c.machine = uplink.New(c.ask, held)
	var paths []string
	for _, h := range u.Hooks.V {
		paths = append(paths, hookPath(c.module.cfg.Snapshot().Inventory.File, h))
	}
	c.hooks = newHooks(paths, hookLimit, func(err error) {
		c.observe("Hook", reason.None, timeline.Event{Kind: timeline.Warning, Detail: err.Error()})
	})
}

// hookPath is the whole path of a hook that is named relative to the inventory: PATH is never searched, and programs run in /.
func hookPath(file, hook string) string {
	if filepath.IsAbs(hook) {
		return hook
	}
	path := filepath.Join(filepath.Dir(file), hook)
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return "./" + path
}

// same reports whether nothing that matters differs; places in the file do not.
func (c *client) same(u inventory.Uplink) bool {
	return c.conf.Interface.V == u.Interface.V && slices.Equal(c.conf.Hooks.V, u.Hooks.V) && c.conf.Release.V == u.Release.V &&
		reflect.DeepEqual(c.ask, c.module.config(u))
}

// reconfigured goes on with what is held; the caller attaches it.
func (c *client) reconfigured(u inventory.Uplink) *client {
	if c.conf.Interface.V != u.Interface.V {
		c.noAddresses(uplink.Held{})
	}
	close(c.hooks.queue)
	n := &client{module: c.module}
	n.configure(u, c.machine.Held())
	n.was, n.hooks.after = c.was, c.hooks.done
	return n
}

func (c *client) attach(l *linkTask) {
	c.link = l
	c.keepRoute()
	c.hooks.add(call{"PREINIT6", []string{"interface=" + l.link.Name, "dad_wait_time=0"}})
	now := c.module.cfg.Now()
	c.asked, c.told = now, false
	c.putAddresses(now)
	c.do(now, c.machine.Attach(now, c.module.cfg.Rand))
}

func (c *client) detach() {
	c.link = nil
	c.machine.Detach(c.module.cfg.Now())
}

// gone says good-bye to an upstream that the inventory does not have any more. It is given back where the inventory said so, with
// one Release: nobody is there to wait for the answer.
func (c *client) gone() {
	now := c.module.cfg.Now()
	if c.conf.Release.V {
		c.do(now, c.machine.Release(now, c.module.cfg.Rand))
	}
	c.noAddresses(uplink.Held{})
	c.module.cfg.Publish(c.conf.Name, nil)
	c.end(true)
}

// end is the last thing that is done: the hooks are told where nobody looks after what is held any more.
func (c *client) end(final bool) {
	if final {
		held := c.machine.Held()
		for _, b := range held.Bindings {
			c.hooks.add(call{"STOP6", append([]string{"interface=" + c.conf.Interface.V}, variables("old_", c.ask.Client, held, b)...)})
		}
	}
	close(c.hooks.queue)
}

func (c *client) releasing() bool {
	s, _ := c.machine.State()
	return s == uplink.Releasing && c.link != nil
}

var errNoLink = errors.New("its interface is not there, is down, or has no link-local address")

func (c *client) order(release bool) error {
	now := c.module.cfg.Now()
	if release {
		c.do(now, c.machine.Release(now, c.module.cfg.Rand))
		return nil
	}
	if c.link == nil {
		return fmt.Errorf("renewing %s: %s: %w", c.conf.Name, c.conf.Interface.V, errNoLink)
	}
	c.asked, c.told = now, false
	c.do(now, c.machine.Renew(now, c.module.cfg.Rand))
	return nil
}

// receive takes a datagram.
func (c *client) receive(b []byte, from netip.Addr) {
	now := c.module.cfg.Now()
	msg, why := decode(b)
	if why != reason.None {
		c.observe(heard(b), why)
		return
	}
	step, why := c.machine.Receive(now, from, msg, c.module.cfg.Rand)
	c.observe(heard(b), why)
	if why == reason.Changed || why == reason.Answered {
		if c.told {
			c.said = ""
		}
		c.note, c.asked, c.told = "", time.Time{}, false
	} else if why == reason.NoPrefixAvail && !c.machine.Held().Delegated() {
		c.say("the server " + from.String() + " has no prefix for us")
	}
	c.do(now, step)
}

// heard is the message's name out of a closed set.
func heard(b []byte) string {
	if len(b) == 0 {
		return "other"
	}
	return option.MessageName(b[0])
}

// do carries out a step: what is held is durable before it is used, and before the server hears more of us.
func (c *client) do(now time.Time, s uplink.Step) {
	for _, n := range s.Notes {
		c.say(n)
	}
	if s.Cause != uplink.Unchanged {
		c.changed(now, s.Cause)
	}
	for _, msg := range s.Send {
		if c.asked.IsZero() {
			c.asked = now
		}
		if c.link == nil {
			continue
		}
		if err := c.link.socket.Send(encode(msg)); err != nil {
			c.say("sending " + option.MessageName(uint8(msg.Type)) + ": " + err.Error())
		}
	}
}

// storeWithin bounds the wait for the disk.
const storeWithin = 5 * time.Second

// changed keeps, publishes and tells.
func (c *client) changed(now time.Time, cause uplink.Cause) {
	held := c.machine.Held()
	before := c.was
	c.keep(held)
	c.publish()
	c.putAddresses(now)
	c.was = held
	c.module.report() // who hears of the event finds it there
	c.tell(cause, before, held)
	c.hooks.add(calls(cause, c.conf.Interface.V, c.ask.Client, before, held)...)
}

// keep writes what is held. A store that takes no writes costs the prefix after the next restart, not now: the server would give
// it to nobody else.
func (c *client) keep(held uplink.Held) {
	b, err := json.Marshal(held)
	ctx, cancel := context.WithTimeout(context.Background(), storeWithin)
	defer cancel()
	if err == nil {
		err = c.module.cfg.Store.Update(ctx, func(store.View) []store.Op {
			return []store.Op{{Key: recordKey(c.conf.Name), Value: b}}
		})
	}
	if err != nil {
		c.module.cfg.Observer.Observe(timeline.Observation{
			Adapter: adapter, Message: "Lease", Outcome: reason.Outcome{Reason: reason.StoreUnknown, Rule: c.conf.Name},
			Err: fmt.Errorf("keeping the lease of %s: %w", c.conf.Name, err),
		})
	}
}

func (c *client) publish() { c.module.cfg.Publish(c.conf.Name, prefixes(c.machine.Held())) }

// putAddresses makes the addresses of the link those that are held.
func (c *client) putAddresses(now time.Time) {
	if c.link == nil {
		return
	}
	held := c.machine.Held()
	c.noAddresses(held)
	left := func(until time.Time) time.Duration {
		if until.IsZero() {
			return 0
		}
		return max(until.Sub(now), time.Second)
	}
	for _, b := range held.Bindings {
		if b.Address {
			c.kernel(c.module.cfg.Kernel.Address(c.link.link, b.Prefix.Addr(), left(b.PreferredUntil), left(b.ValidUntil)))
		}
	}
}

// noAddresses takes those away that were there and are not in held.
func (c *client) noAddresses(held uplink.Held) {
	for _, b := range c.was.Bindings {
		if c.link != nil && b.Address && !slices.ContainsFunc(held.Bindings, func(x uplink.Binding) bool { return x.Address && x.Prefix == b.Prefix }) {
			c.kernel(c.module.cfg.Kernel.NoAddress(c.link.link, b.Prefix.Addr()))
		}
	}
}

func (c *client) kernel(err error) {
	if err != nil {
		c.say(err.Error() + ": give bootd CAP_NET_ADMIN (docs/modules/upstream.md)")
	}
}
