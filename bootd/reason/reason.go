// Package reason is the closed set of why an answer was what it was, above all why there was none. A Reason is a metric
// label, a log field, a test's expectation and what `bootd explain` prints.
//
// The package never holds a name from the wire: those would make labels without bound.
package reason

// Reason says why a decision went the way it did.
type Reason uint8

// The reasons. Append only: the text is an interface (metrics, docs/operating.md).
const (
	None Reason = iota
	// Answered: a reply went out.
	Answered
	// Changed: a reply went out and durable state changed.
	Changed

	// Malformed: the packet breaks the grammar of its protocol.
	Malformed
	// Oversized: more octets, options or levels than any client sends.
	Oversized
	// HostileLabel: a domain name in an option holds a compression pointer or an over-long label.
	HostileLabel
	// NoClientID: a DHCPv6 message that must carry a Client Identifier does not (RFC 8415 section 16).
	NoClientID
	// BadClientID: a Client Identifier that is empty, too long or there twice.
	BadClientID
	// ServerIDForbidden: a Server Identifier where none may be.
	ServerIDForbidden
	// NoServerID: a Server Identifier is missing where one must be.
	NoServerID
	// OtherServer: the message is for another server.
	OtherServer
	// UnknownMessage: a message type that no server answers.
	UnknownMessage
	// NotForServers: a message that only clients or relays receive.
	NotForServers

	// NotServedLink: it came in on an interface that no network names.
	NotServedLink
	// UnconfiguredRelay: it came through a relay that no network names, or from where its network has no relay.
	UnconfiguredRelay
	// UnknownHost: nobody listed this machine and the network ignores strangers.
	UnknownHost
	// WrongNetwork: the host is listed, but for another network.
	WrongNetwork
	// NoPrefix: the network has no prefix yet, or none that an address fits into.
	NoPrefix
	// NoServerAddress: we have no address on this link yet that a boot URL could name.
	NoServerAddress
	// Overload: more work is waiting than is allowed.
	Overload
	// RateLimited: this peer asked too often.
	RateLimited

	// NoAddrsAvail: an IA was answered without an address (RFC 8415 section 18.3).
	NoAddrsAvail
	// NoBinding: an IA that we know nothing of.
	NoBinding
	// NotOnLink: the client's addresses do not belong to its link.
	NotOnLink
	// NotOwner: another client tried to change a lease.
	NotOwner
	// StoreUnknown: the commit may or may not have happened; the retransmit decides.
	StoreUnknown
	// StoreReadOnly: nothing can be written; only promises that stand are repeated.
	StoreReadOnly
	// Retransmit: the same exchange again, answered identically.
	Retransmit

	// BootLoader: firmware was given a boot loader.
	BootLoader
	// BootScript: iPXE was given a script URL.
	BootScript
	// NoBootClass: neither class nor architecture: no boot file.
	NoBootClass
	// NoLoader: the inventory has no boot loader for this architecture.
	NoLoader
	// LocalDisk: the host is not armed and boots its disk.
	LocalDisk
	// Install: the host is armed and was given the installer.
	Install
	// ArmExpired: the arm ran out before the host asked.
	ArmExpired
	// ArmMismatch: MAC, UUID or serial are not those of the armed machine.
	ArmMismatch
	// AttemptsSpent: the armed host asked for its script too often.
	AttemptsSpent
	// AlreadyFetched: the answers were fetched before; a person re-arms.
	AlreadyFetched
	// TemplateError: a template of an armed host failed.
	TemplateError

	// TokenUnknown: no such token.
	TokenUnknown
	// TokenExpired: the token ran out.
	TokenExpired
	// TokenSpent: the token was used.
	TokenSpent
	// TokenScope: the token is for something else.
	TokenScope
	// TokenOtherHost: the token belongs to another host.
	TokenOtherHost
	// Callback: a host said that a stage is done.
	Callback

	// NotFound: no such file.
	NotFound
	// OutsideRoot: a path that leads out of the served directory.
	OutsideRoot
	// ReadOnlyFiles: somebody wanted to write a file.
	ReadOnlyFiles
	// Aborted: the peer ended a transfer early, as firmware does to learn a size.
	Aborted
	// TimedOut: the peer stopped answering.
	TimedOut
	// BadMethod: an HTTP method that is not served here.
	BadMethod

	// LocalName: answered from the inventory.
	LocalName
	// Cached: answered from the cache.
	Cached
	// Forwarded: answered by an upstream.
	Forwarded
	// UpstreamFailed: no upstream answered.
	UpstreamFailed
	// NoUpstream: no upstream is configured.
	NoUpstream
	// Refused: the question is not served here.
	Refused

	// BadHopLimit: a neighbour discovery packet that crossed a router (RFC 4861 section 6.1).
	BadHopLimit
	// BadSource: a source address that the protocol forbids.
	BadSource
	// Looped: our own packet came back.
	Looped
	// RouterElsewhere: another router serves this link.
	RouterElsewhere

	// Discover: an unlisted machine was sent to tell who it is.
	Discover
	// ServerElsewhere: another DHCPv6 server answers on this link, so machines that nobody listed get nothing from us.
	ServerElsewhere
	// Listening: it is not known yet whether another DHCPv6 server is on this link.
	Listening

	// Stale: no upstream answered, and an answer that has run out was given.
	Stale

	// WrongTransaction: an answer to nothing that we asked.
	WrongTransaction
	// NotForClients: a message that only servers and relays receive.
	NotForClients
	// Unauthenticated: an order that counts only with a signature (RFC 8415 section 16.11).
	Unauthenticated
	// NoPrefixAvail: an answer without a prefix (RFC 8415 section 18.3).
	NoPrefixAvail
	// UnspecFail: a server says that it failed (RFC 8415 section 21.13).
	UnspecFail
	// PhoneURL: a phone was told where its files are.
	PhoneURL
	// PhoneFile: a phone was given one of its files.
	PhoneFile
	// PhoneBootstrap: a phone came over plain HTTP and was told to come over HTTPS.
	PhoneBootstrap
	// OtherPhone: a machine asked for a file that belongs to another.
	OtherPhone
	// Unauthorized: no password or certificate was shown, or a wrong one.
	Unauthorized
	// TLSFailed: a TLS handshake came to nothing.
	TLSFailed
	// UnicastForbidden: a client sent a DHCPv6 message, of any kind, to an address of the server instead of the group (RFC
	// 9915 section 16).
	UnicastForbidden

	end
)

var names = [...]string{
	None: "none", Answered: "answered", Changed: "changed",
	Malformed: "malformed", Oversized: "oversized", HostileLabel: "hostile-label", NoClientID: "no-client-id",
	BadClientID: "bad-client-id", ServerIDForbidden: "server-id-forbidden", NoServerID: "no-server-id",
	OtherServer: "other-server", UnknownMessage: "unknown-message", NotForServers: "not-for-servers",
	NotServedLink: "not-served-link", UnconfiguredRelay: "unconfigured-relay", UnknownHost: "unknown-host",
	WrongNetwork: "wrong-network", NoPrefix: "no-prefix", NoServerAddress: "no-server-address", Overload: "overload",
	RateLimited: "rate-limited", NoAddrsAvail: "no-addrs-avail", NoBinding: "no-binding", NotOnLink: "not-on-link",
	NotOwner: "not-owner", StoreUnknown: "store-unknown", StoreReadOnly: "store-read-only", Retransmit: "retransmit",
	BootLoader: "boot-loader", BootScript: "boot-script", NoBootClass: "no-boot-class", NoLoader: "no-loader",
	LocalDisk: "local-disk", Install: "install", ArmExpired: "arm-expired", ArmMismatch: "arm-mismatch",
	AttemptsSpent: "attempts-spent", AlreadyFetched: "already-fetched", TemplateError: "template-error",
	TokenUnknown: "token-unknown", TokenExpired: "token-expired", TokenSpent: "token-spent", TokenScope: "token-scope",
	TokenOtherHost: "token-other-host", Callback: "callback", NotFound: "not-found", OutsideRoot: "outside-root",
	ReadOnlyFiles: "read-only-files", Aborted: "aborted", TimedOut: "timed-out", BadMethod: "bad-method",
	LocalName: "local-name", Cached: "cached", Forwarded: "forwarded", UpstreamFailed: "upstream-failed",
	NoUpstream: "no-upstream", Refused: "refused", BadHopLimit: "bad-hop-limit", BadSource: "bad-source",
	Looped: "looped", RouterElsewhere: "router-elsewhere", Discover: "discover",
	ServerElsewhere: "server-elsewhere", Listening: "listening", Stale: "stale",
	WrongTransaction: "wrong-transaction", NotForClients: "not-for-clients", Unauthenticated: "unauthenticated",
	NoPrefixAvail: "no-prefix-avail", UnspecFail: "unspec-fail",
	PhoneURL: "phone-url", PhoneFile: "phone-file", PhoneBootstrap: "phone-bootstrap", OtherPhone: "other-phone",
	Unauthorized: "unauthorized", TLSFailed: "tls-failed", UnicastForbidden: "unicast-forbidden",
}

// String is the kebab-case name, stable for metrics and logs.
func (r Reason) String() string {
	if r < end {
		return names[r]
	}
	return "invalid"
}

// MarshalText writes String.
func (r Reason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what String writes; an unknown name is None.
func (r *Reason) UnmarshalText(b []byte) error {
	*r = None
	for i, n := range names {
		if n == string(b) {
			*r = Reason(i)
		}
	}
	return nil
}

// All lists every reason, for metrics that start at zero and for the documents.
func All() []Reason {
	all := make([]Reason, 0, end)
	for r := Answered; r < end; r++ {
		all = append(all, r)
	}
	return all
}

// Outcome is what an observer learns of one decision. Host, Network and Rule are names of the inventory, never of the
// wire; Rule names how the host was recognised or which rule of the inventory decided.
type Outcome struct {
	Reason  Reason `json:"reason"`
	Host    string `json:"host,omitempty"`
	Network string `json:"network,omitempty"`
	Rule    string `json:"rule,omitempty"`
}
