// Package inventory is the grammar of inventory.yaml: what a person writes, parsed strictly into values that know where
// they were written. Every fault is reported at once, with file, line, column and key path.
//
// The package never looks at the machine it runs on (site does) and never decides anything.
package inventory

import (
	"fmt"
	"net/netip"
	"time"

	"bootd.internal/bootd/ident"
)

// Pos is a place in the inventory file; both count from 1.
type Pos struct {
	Line, Col int
}

// Value is one value with where it was written. From is the section: "defaults", "networks.rack1",
// "profiles.debian13", "hosts.r1n01", "phones.desk12", or "built in". An unset Value has From "".
type Value[T any] struct {
	V    T
	Pos  Pos
	From string
}

// Set reports whether somebody wrote the value.
func (v Value[T]) Set() bool { return v.From != "" }

// Or gives v where it is set, else next: the cascade from the narrow to the wide.
func (v Value[T]) Or(next Value[T]) Value[T] {
	if v.Set() {
		return v
	}
	return next
}

// Fault is one mistake in an inventory.
type Fault struct {
	File string
	Pos  Pos
	// Path is the key path, such as hosts.r1n01.address.
	Path string
	// Msg says what is wrong and, where it can be guessed, the remedy.
	Msg string
}

// Error is file:line:column: path: message.
func (f Fault) Error() string {
	if f.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", f.File, f.Pos.Line, f.Pos.Col, f.Msg)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", f.File, f.Pos.Line, f.Pos.Col, f.Path, f.Msg)
}

// Inventory is the whole file.
type Inventory struct {
	File string
	// Hash is the SHA-256 of the file's octets in hex.
	Hash     string
	Serve    Serve
	DNS      DNS
	Defaults Settings
	// Networks, Profiles and Hosts stand in the order of the file.
	Networks []Network
	Profiles []Profile
	// Hosts are those of the section hosts and the phones.
	Hosts   []Host
	Yealink Yealink
	// Upstreams are whom this machine gets prefixes from.
	Upstreams []Uplink
	// AnyIP are prefixes that are this machine's as a whole.
	AnyIP []AnyIP
	// Follow are programs that are told of a prefix, Docker among them.
	Follow []Follow
	// Secrets are references only.
	Secrets []Secret
}

// Serve is the section `serve:`: what the daemon itself needs.
type Serve struct {
	// Files is the directory of kernels, initrds and boot loaders, default "files" beside the inventory; relative
	// paths are relative to the inventory.
	Files Value[string]
	// Templates is the directory whose files override the built-in templates, default "templates" beside the inventory.
	Templates Value[string]
	// Loaders maps an architecture (bios, x86, x86_64, arm, arm64) to the boot loader that firmware gets, a path below
	// Files. Built in: x86_64 ipxe.efi, arm64 ipxe-arm64.efi, x86 ipxe-i386.efi.
	Loaders map[string]Value[string]
	// Forward is the recursive resolvers that DNS questions go to: the short form of DNS.Upstreams.
	Forward Value[[]Upstream]
	// HTTPPort is the TCP port of the boot files and scripts, default 80.
	HTTPPort Value[int]
	// Address is ours that hosts behind relays are told; default: a global one on the transit interfaces, else on the
	// networks' own.
	Address Value[netip.Addr]
	// Transit are the interfaces on which relays and the hosts behind them come in; default: those of the networks.
	Transit Value[[]string]
	// Unreachable are prefixes that are routed to this machine, and lead nowhere where nobody has them; those of pools always are.
	Unreachable []Value[netip.Prefix]
	// Metrics is where Prometheus metrics are served, default [::1]:9547; "off" is the zero AddrPort.
	Metrics Value[netip.AddrPort]
}

// Settings are the keys that cascade: defaults -> network -> profile -> host; the narrower wins, key by key.
type Settings struct {
	Domain  Value[string] // default "internal"
	Profile Value[string] // not in profiles
	Unknown Value[string] // not in profiles and hosts; ignore, discover or pool
	// Nameservers, Search and the lifetimes are of a link: they stand in defaults and networks only.
	// Nameservers are told to clients; default: bootd itself.
	Nameservers Value[[]netip.Addr]
	Search      Value[[]string] // default: the domain
	// DNS64 is what names without AAAA are given; default: the first ra.pref64 of the network.
	DNS64 Value[DNS64]
	NTP   Value[[]string]
	// Lifetimes of leases, default 12h and 24h; those of defaults and networks are of advertised prefixes, too.
	Preferred, Valid Value[time.Duration]
	// T1 and T2 are when a client renews and rebinds; default: half and four fifths of the preferred lifetime.
	T1, T2 Value[time.Duration]
	// InformationRefresh is after how long clients without a lease ask again (RFC 8415 section 21.23).
	InformationRefresh Value[time.Duration]
	// RelayFrom are the addresses that relays for the network send from; unset: any.
	RelayFrom Value[[]netip.Prefix]
	// RelayHops is how many relays a message of the network may come through; unset: eight.
	RelayHops Value[int]

	Locale   Value[string] // default C.UTF-8
	Language Value[string] // default en
	Country  Value[string] // default US
	Keyboard Value[string] // default us
	Timezone Value[string] // default Etc/UTC
	// Users are the accounts of the installed system; "root" is the administrator.
	Users Value[[]User]
	// Packages are installed besides the standard system.
	Packages Value[[]string]
	// Disk says which disk an installer may write.
	Disk Value[Disk]
	// Addressing of the installed system: static (its reserved address) or slaac. Default static.
	Addressing Value[string]
	// KernelArgs are appended to the installer's kernel command line.
	KernelArgs Value[string]
	// Console of the installer and the installed system, such as ttyS0,115200n8; empty: the screen.
	Console Value[string]
	// Loader overrides Serve.Loaders.
	Loader Value[string]
	// Protected hosts are installed only when their name is typed.
	Protected Value[bool]
	// Vars are free values for templates: string, int, bool or []string; they cascade key by key.
	Vars map[string]Value[any]
	// Options are DHCPv6 options; they cascade option by option.
	Options []Value[Option]
}

// User is one account of the installed system.
type User struct {
	Name string
	// Password is a crypt(5) hash, or empty: no password login.
	Password string
	// Secret names the secret that holds the hash, or is empty.
	Secret  string
	SSHKeys []string
	Sudo    bool
}

// Secret is one entry of `secrets:`: where a value is kept, never the value itself. One of File, Env and Age is set.
type Secret struct {
	Name string
	Pos  Pos
	// File is a path, Age one of a file that age encrypted (https://age-encryption.org/v1), Identity that of its key; paths
	// are relative to the inventory.
	File, Age, Identity Value[string]
	// Env is a variable of the daemon's environment.
	Env Value[string]
	// Password: an account's password refers to it, so it holds a crypt(5) hash.
	Password bool
	// Line: a phone refers to it, so it becomes one line of a phone's file.
	Line bool
}

// Disk chooses exactly one disk. At least one of Serial, ByID, Model, MinSize, MaxSize is set.
type Disk struct {
	Serial string
	// ByID is a name below /dev/disk/by-id.
	ByID  string
	Model string
	// MinSize and MaxSize are octets, 0: no bound.
	MinSize, MaxSize uint64
	// Wipe allows a disk that carries LVM, md, Ceph or ZFS signatures.
	Wipe bool
}

// Network is one entry of `networks:`.
type Network struct {
	Name string
	Pos  Pos
	// Interface is the link it is on; unset: it is behind relays alone.
	Interface Value[string]
	// Delegate are the prefixes out of which routers and container hosts get some of their own.
	Delegate []Delegation
	// Relays are the link-addresses that relays name for it (RFC 8415 section 19.1.1).
	Relays   []Value[netip.Addr]
	Prefixes []Value[netip.Prefix]
	// Auto: besides Prefixes, those of the interface's own addresses, as they come and go.
	Auto Value[bool]
	// From are those out of upstreams' prefixes, besides Prefixes.
	From []From
	// Address is the suffix of our own address in each of From; default ::1.
	Address Value[netip.Addr]
	// Router: self (default: bootd sends RAs) or other (a hardware router does).
	Router Value[string]
	RA     RA
	Pool   Pool
	Settings
}

// Profile is one entry of `profiles:`: what a machine is installed with.
type Profile struct {
	Name string
	Pos  Pos
	// Kernel and Initrd are paths below Serve.Files.
	Kernel Value[string]
	Initrd Value[[]string]
	// Script and Answers are template names below templates/.
	Script, Answers Value[string]
	Settings
}

// Host is one entry of `hosts:`.
type Host struct {
	Name string
	Pos  Pos
	// Network names the host's network; unset: it is served wherever it appears.
	Network Value[string]
	UUID    Value[ident.UUID]
	// DUIDs name the host where no MAC is seen, or where it lists none.
	DUIDs []Value[ident.DUID]
	// Port is where the host is plugged in; it names it as a DUID does.
	Port   Port
	Serial Value[string]
	// Delegate are the prefixes that the inventory keeps for the host.
	Delegate []Value[netip.Prefix]
	// From are those of them that are out of upstreams' prefixes.
	From []From
	NICs []NIC
	DNS  HostDNS
	// Phone is nil for a host that is none.
	Phone *Phone
	Settings
}

// NIC is one network card of a host. The short forms `name: MAC` and `{mac: ..., address: ...}` make one NIC named "net0".
type NIC struct {
	Name string
	// MAC is unset for a host that only its UUID, DUID or port names.
	MAC Value[ident.MAC]
	// Network overrides the host's.
	Network Value[string]
	// Addresses are whole addresses or suffixes inside the network's prefix (a value below ::1:0:0:0:0, such as ::102);
	// none: an address computed from the MAC.
	Addresses []Value[netip.Addr]
}
