// Package timeline is what happened, for people: events of every adapter, folded into a phase per host.
//
// The package never decides anything: deleting its files changes no answer (install holds what is authoritative).
package timeline

import (
	"net/netip"
	"time"

	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/reason"
)

// Kind says what happened. The set is closed; the text is an interface (API, events, docs).
type Kind string

// The kinds of events, in the order of a boot.
const (
	DHCPSolicit   Kind = "dhcp-solicit"    // a client looks for a server
	DHCPLease     Kind = "dhcp-lease"      // an address was promised or renewed
	DHCPPrefix    Kind = "dhcp-prefix"     // a prefix was delegated or renewed, see Addr
	DHCPRelease   Kind = "dhcp-release"    // a claim was dropped
	DHCPDecline   Kind = "dhcp-decline"    // a client found its address in use
	DHCPIgnored   Kind = "dhcp-ignored"    // a packet got no answer, see Reason
	LoaderOffered Kind = "loader-offered"  // firmware was given a boot loader URL
	LoaderFetched Kind = "loader-fetched"  // a boot loader was fetched whole
	ScriptOffered Kind = "script-offered"  // iPXE was given a script URL
	ScriptFetched Kind = "script-fetched"  // the boot script was fetched, see Reason: install or local-disk
	FileFetched   Kind = "file-fetched"    // a kernel, initrd or other file was fetched whole
	AnswersServed Kind = "answers-fetched" // the installer fetched its answers
	Installed     Kind = "installed"       // the installer says it is done
	FirstBoot     Kind = "first-boot"      // the installed system says it is up
	InstallFailed Kind = "install-failed"  // the installer gave up, see Detail
	Progress      Kind = "progress"        // the installer says where it is, see Detail
	Armed         Kind = "armed"           // somebody armed the host
	Cancelled     Kind = "cancelled"       // somebody disarmed it
	ArmExpired    Kind = "arm-expired"     // the arm ran out
	BoardChanged  Kind = "board-changed"   // an unlisted MAC says serial or UUID of a host, see Detail for the line to change
	Stuck         Kind = "stuck"           // a stage lasts longer than it should
	RouterSolicit Kind = "router-solicit"  // a machine asked for a router
	ForeignRouter Kind = "foreign-router"  // another router advertises on our link
	ForeignServer Kind = "foreign-server"  // another DHCPv6 server answers on our link
	ForeignRelay  Kind = "foreign-relay"   // a relay asks that no network names, or lets send from there; see Detail
	Discovered    Kind = "discovered"      // a machine that nobody listed said who it is
	PhoneOffered  Kind = "phone-offered"   // a phone was told where its files are
	PhoneFetched  Kind = "phone-fetched"   // a phone fetched or uploaded one of its files, see Detail
	LinkUp        Kind = "link-up"         // a served link came
	LinkDown      Kind = "link-down"       // a served link went
	UpstreamLease Kind = "upstream-lease"  // an upstream gave or renewed a prefix, see Addr
	UpstreamLost  Kind = "upstream-lost"   // a prefix of an upstream ended, see Addr
	Ready         Kind = "ready"           // the daemon serves
	Stopping      Kind = "stopping"        // the daemon ends
	Reloaded      Kind = "reloaded"        // another inventory is served, or other templates
	PrefixBound   Kind = "prefix-bound"    // every address of a prefix is this machine's, see Addr
	PrefixUnbound Kind = "prefix-unbound"  // they are no longer
	Followed      Kind = "followed"        // a program was told of a prefix, see Addr and Detail
	Warning       Kind = "warning"         // see Detail
)

// Event is one thing that happened.
type Event struct {
	// Seq counts from 1 since the history began; the recorder sets it.
	Seq uint64 `json:"seq"`
	// Time is set by the recorder where it is zero.
	Time    time.Time     `json:"time"`
	Adapter string        `json:"adapter,omitempty"` // dhcp6, ra, dns, http, tftp, api, daemon
	Kind    Kind          `json:"kind"`
	Reason  reason.Reason `json:"reason,omitempty"`
	Host    string        `json:"host,omitempty"`
	Network string        `json:"network,omitempty"`
	MAC     ident.MAC     `json:"mac,omitzero"`
	// Addr is the address that the event is about.
	Addr string `json:"addr,omitempty"`
	// Detail is for people, at most 200 octets; whatever came from the wire is quoted.
	Detail string `json:"detail,omitempty"`
}

// Phase is where a host is in its life, as far as events tell.
type Phase string

// The phases, in the order of a boot.
const (
	PhaseUnseen     Phase = "unseen"     // nothing heard yet
	PhaseFirmware   Phase = "firmware"   // firmware asks for an address and a boot file
	PhaseLoader     Phase = "loader"     // the boot loader is being fetched
	PhaseIPXE       Phase = "ipxe"       // iPXE asks for an address and its script
	PhaseScript     Phase = "script"     // the install script was fetched
	PhaseKernel     Phase = "kernel"     // kernel and initrd are being fetched
	PhaseInstaller  Phase = "installer"  // the installer runs and asks for an address
	PhaseAnswers    Phase = "answers"    // the installer has its answers
	PhaseInstalling Phase = "installing" // the installer reported progress
	PhaseInstalled  Phase = "installed"  // the installer is done
	PhaseFirstBoot  Phase = "first-boot" // the installed system is up
	PhaseLocalDisk  Phase = "local-disk" // sent to its own disk
	PhaseRunning    Phase = "running"    // an installed system renews its lease
	PhaseFailed     Phase = "failed"     // the installation failed, a person must look
)

// Sender is a source address that nobody has written yet.
type Sender struct{ netip.AddrPort }

// Equal is for tests.
func (s Sender) Equal(other Sender) bool { return s == other }

// Observation is what an adapter tells of one packet or request: one call feeds metric, log and events.
type Observation struct {
	Adapter string
	// Message is the protocol's name for what came in (Solicit, RRQ, GET), out of a closed set.
	Message string
	Outcome reason.Outcome
	Took    time.Duration
	// Count is how many were alike, from this Peer and others; 0 counts as one.
	Count int
	// Err is an internal fault, logged at error level.
	Err error
	// Peer is the quoted source address, for the log only; From is it where nobody had a reason to write it yet.
	Peer   string
	From   Sender
	Events []Event
	// MAC is who asked, as far as the frame or the neighbour table tells.
	MAC ident.MAC
	// Heard is what a machine that nobody listed told of itself, Foreign another router or server; nil: nothing.
	Heard   *Machine
	Foreign *Foreign
	// Phone is what a phone told of itself, nil for everybody else.
	Phone *Phone
}

// Phone is what a phone told of itself when it asked for a file. Texts from the wire are printable and at most 128 octets.
type Phone struct {
	// Host is empty for a phone that nobody listed.
	Host    string    `json:"host,omitempty"`
	MAC     ident.MAC `json:"mac,omitzero"`
	Network string    `json:"network,omitempty"`
	Addr    string    `json:"addr,omitempty"`
	// Model and Firmware are what it says in Agent, its User-Agent header.
	Model    string `json:"model,omitempty"`
	Firmware string `json:"firmware,omitempty"`
	Agent    string `json:"agent,omitempty"`
	// File is the kind of file that it asked for last, Reason what became of it.
	File   string        `json:"file"`
	Reason reason.Reason `json:"reason"`
	TLS    bool          `json:"tls"`
	Put    bool          `json:"put,omitempty"`
}

// Machine is what an unlisted machine told of itself. Texts from the wire are printable and at most 128 octets.
type Machine struct {
	MAC     ident.MAC `json:"mac,omitzero"`
	Network string    `json:"network,omitempty"`
	Link    string    `json:"link,omitempty"`
	// DUID is the last one it named, in the form of `bootd leases`.
	DUID ident.DUID `json:"duid,omitempty"`
	// Arch is the inventory's name of its architecture: bios, x86, x86_64, arm, arm64.
	Arch string `json:"arch,omitempty"`
	// Client is what spoke last: firmware, ipxe or system.
	Client string `json:"client,omitempty"`
	// Addr is the address that it was given, or that it speaks from.
	Addr string     `json:"addr,omitempty"`
	UUID ident.UUID `json:"uuid,omitzero"`
	// Serial, Manufacturer and Product are those of its board (SMBIOS).
	Serial       string `json:"serial,omitempty"`
	Manufacturer string `json:"manufacturer,omitempty"`
	Product      string `json:"product,omitempty"`
}

// ForeignKind says what another machine on our link claims to be.
type ForeignKind string

// The kinds of Foreign.
const (
	OtherRouter ForeignKind = "router"
	OtherServer ForeignKind = "dhcp6-server"
	OtherRelay  ForeignKind = "relay"
)

// ForeignPrefix is a prefix that another router advertises.
type ForeignPrefix struct {
	Prefix     netip.Prefix  `json:"prefix"`
	OnLink     bool          `json:"on_link,omitempty"`
	Autonomous bool          `json:"autonomous,omitempty"`
	Valid      time.Duration `json:"valid,omitempty"`
	Preferred  time.Duration `json:"preferred,omitempty"`
}

// Foreign is another router or DHCPv6 server on a link of ours.
type Foreign struct {
	Kind    ForeignKind `json:"kind"`
	Link    string      `json:"link"`
	Network string      `json:"network,omitempty"`
	Addr    netip.Addr  `json:"addr"`
	MAC     ident.MAC   `json:"mac,omitzero"`
	// Lifetime, Managed and Other are those of a router's last advertisement.
	Lifetime time.Duration `json:"lifetime,omitempty"`
	Managed  bool          `json:"managed,omitempty"`
	Other    bool          `json:"other,omitempty"`
	// The rest of a router's last advertisement (RFC 4861 section 4.2); 0: unspecified.
	HopLimit      int             `json:"hop_limit,omitempty"`
	ReachableTime time.Duration   `json:"reachable_time,omitempty"`
	RetransTimer  time.Duration   `json:"retrans_timer,omitempty"`
	MTU           int             `json:"mtu,omitempty"`
	Prefixes      []ForeignPrefix `json:"prefixes,omitempty"`
	Nameservers   []netip.Addr    `json:"nameservers,omitempty"`
	// Conflicts are the kinds of what contradicts us in it, out of a closed set.
	Conflicts []string `json:"conflicts,omitempty"`
	// Relay is the link-address that a relay names.
	Relay netip.Addr `json:"relay,omitzero"`
	// DUID is a server's; Offers says that it offered an address.
	DUID   ident.DUID `json:"duid,omitempty"`
	Offers bool       `json:"offers,omitempty"`
	// Overheard: nobody heard the server; a client's Request named it. It has no Addr then.
	Overheard bool `json:"overheard,omitempty"`
	// Held: because of it we send no advertisements, or give unlisted machines nothing.
	Held bool `json:"held,omitempty"`
}
