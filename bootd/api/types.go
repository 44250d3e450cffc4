// Package api is how people and programs reach the running daemon: HTTP and JSON over a unix socket. The server and the
// client that the commands use are both here, so they cannot disagree.
//
// The package never speaks to a machine that boots, and never opens a TCP port.
package api

import (
	"time"

	"bootd.internal/bootd/heard"
	"bootd.internal/bootd/ident"
	"bootd.internal/bootd/install"
	"bootd.internal/bootd/lease"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/upstream"
)

// Status is the answer to GET /v1/status.
type Status struct {
	Ready     bool            `json:"ready"`
	Version   string          `json:"version"`
	Started   time.Time       `json:"started"`
	Now       time.Time       `json:"now"`
	Inventory InventoryStatus `json:"inventory"`
	// Store is empty while the store works.
	Store    string          `json:"store_error,omitempty"`
	Networks []NetworkStatus `json:"networks"`
	Tasks    []TaskStatus    `json:"tasks"`
	Modules  []ModuleStatus  `json:"modules,omitempty"`
	Problems []Problem       `json:"problems"`
	// Upstreams are whom this machine gets prefixes from.
	Upstreams []upstream.Status `json:"upstreams,omitempty"`
	Hosts     []HostStatus      `json:"hosts"`
	// Unlisted counts the machines that nobody listed and that were heard in the last hour, Discovered are the newest ones.
	Unlisted   int             `json:"unlisted,omitempty"`
	Discovered []heard.Machine `json:"discovered,omitempty"`
}

// InventoryStatus says which inventory is served.
type InventoryStatus struct {
	File string `json:"file"`
	// Hash is the SHA-256 of the file that is served.
	Hash string `json:"hash"`
	// Refused is why a newer file is not served, empty when there is none.
	Refused string `json:"refused,omitempty"`
}

// NetworkStatus is one network as it is served.
type NetworkStatus struct {
	Name      string   `json:"name"`
	Interface string   `json:"interface"`
	Relays    []string `json:"relays,omitempty"`
	Up        bool     `json:"up"`
	Prefixes  []string `json:"prefixes"`
	// Address is ours, empty while there is none.
	Address string `json:"address,omitempty"`
	// Pool is nil where unlisted clients get no addresses.
	Pool *PoolStatus `json:"pool,omitempty"`
}

// PoolStatus is how far the pools of a network are used.
type PoolStatus struct {
	// Size is how many addresses there are; Used those that no new client can get: Bound ones, Resting ones that were given
	// back within the hour, Declined ones that another machine uses.
	Size     int `json:"size"`
	Used     int `json:"used"`
	Bound    int `json:"bound"`
	Resting  int `json:"resting"`
	Declined int `json:"declined"`
	Percent  int `json:"percent"`
}

// TaskStatus is one per-link task.
type TaskStatus struct {
	Task    string    `json:"task"`
	Link    string    `json:"link"`
	Since   time.Time `json:"since"`
	Running bool      `json:"running"`
	Error   string    `json:"error,omitempty"`
}

// ModuleStatus is one thing that a module keeps as the inventory says.
type ModuleStatus struct {
	// Module is anyip; Name is what the inventory says of it.
	Module string `json:"module"`
	Name   string `json:"name"`
	// Prefix is what it has now, empty: none yet.
	Prefix string    `json:"prefix,omitempty"`
	Since  time.Time `json:"since"`
	// State is what was done, empty: nothing yet. Fault is what is wrong and what to do.
	State string `json:"state,omitempty"`
	Fault string `json:"fault,omitempty"`
}

// Problem is part of the site that does not work.
type Problem struct {
	Network string `json:"network,omitempty"`
	Host    string `json:"host,omitempty"`
	// Place is file:line:column, where the inventory has to do with it.
	Place string `json:"place,omitempty"`
	Text  string `json:"text"`
}

// HostStatus is one listed host.
type HostStatus struct {
	Name    string         `json:"name"`
	Profile string         `json:"profile,omitempty"`
	Phase   timeline.Phase `json:"phase"`
	Since   time.Time      `json:"since,omitzero"`
	Boots   int            `json:"boots"`
	// Stuck is for how many seconds nothing has gone on, where that is too long for the phase.
	Stuck float64   `json:"stuck_seconds,omitempty"`
	MAC   ident.MAC `json:"mac,omitzero"`
	// Address is the one that was promised last, else the one that is reserved.
	Address string `json:"address,omitempty"`
	// ArmedUntil is zero while the host is not armed.
	ArmedUntil time.Time `json:"armed_until,omitzero"`
	// Attempt is the last installation's stage, with Why it failed.
	Attempt install.Stage `json:"attempt,omitempty"`
	Why     string        `json:"why,omitempty"`
	// Deadline is when an installation that is under way fails by itself.
	Deadline time.Time `json:"deadline,omitzero"`
	// Stages are those of the current boot.
	Stages []Stage `json:"stages,omitempty"`
	// Model and Firmware are what a phone says of itself.
	Model    string `json:"model,omitempty"`
	Firmware string `json:"firmware,omitempty"`
	// Reason is the newest answer's.
	Reason reason.Reason  `json:"reason,omitempty"`
	Last   timeline.Event `json:"last,omitzero"`
}

// Phone is one line of GET /v1/phones.
type Phone struct {
	// Name is empty for a phone that nobody listed; Listed is the model that the inventory says.
	Name   string    `json:"name,omitempty"`
	MAC    ident.MAC `json:"mac"`
	Listed string    `json:"listed,omitempty"`
	// URL is what it is told, or what is typed in; a token in it is not shown.
	URL string `json:"url,omitempty"`
	// Seen is what it asked for and said, nil before it did.
	Seen *heard.Phone `json:"seen,omitempty"`
}

// Authority is the answer to GET /v1/phones/ca.
type Authority struct {
	PEM string `json:"pem"`
}

// Stage is one phase of the current boot.
type Stage struct {
	Phase   timeline.Phase `json:"phase"`
	Since   time.Time      `json:"since"`
	Seconds float64        `json:"seconds"`
	// Now is true for the one that lasts.
	Now bool `json:"now,omitempty"`
}

// InstallRequest is the body of POST /v1/install.
type InstallRequest struct {
	// Hosts are names or patterns (*, ?, [a-z]).
	Hosts     []string `json:"hosts"`
	Reinstall bool     `json:"reinstall,omitempty"`
	// Confirm is the number of hosts that the person has seen and means; 0 only asks which they are.
	Confirm int `json:"confirm,omitempty"`
	// Typed are the names of protected hosts that the person typed.
	Typed []string `json:"typed,omitempty"`
	// By is who asks, for the record.
	By string `json:"by,omitempty"`
}

// InstallResult is its answer.
type InstallResult struct {
	Hosts []Candidate `json:"hosts"`
	// Armed is false for a question.
	Armed bool      `json:"armed"`
	Until time.Time `json:"until,omitzero"`
}

// Candidate is a host that a pattern names.
type Candidate struct {
	Name      string `json:"name"`
	MAC       string `json:"mac"`
	Profile   string `json:"profile"`
	Protected bool   `json:"protected,omitempty"`
	// Installed: it is known as installed.
	Installed bool `json:"installed,omitempty"`
	// Armed: it is armed already; arming again starts its time anew.
	Armed bool `json:"armed,omitempty"`
}

// CancelRequest is the body of POST /v1/cancel.
type CancelRequest struct {
	Hosts []string `json:"hosts"`
	By    string   `json:"by,omitempty"`
}

// CancelResult is its answer.
type CancelResult struct {
	Cancelled []string `json:"cancelled"`
	// Idle had nothing to cancel.
	Idle []string `json:"idle,omitempty"`
}

// StopRequest is the body of POST /v1/stop.
type StopRequest struct {
	// FinalRA tells the clients that this router is gone (RFC 4861 section 6.2.5).
	FinalRA bool `json:"final_ra"`
}

// StateDamaged is the state of a lease whose record cannot be read; all else but its address is empty.
const StateDamaged = "damaged"

// Lease is one line of GET /v1/leases.
type Lease struct {
	// Address is empty for a delegated prefix; Prefix is either.
	Address string `json:"address,omitempty"`
	Prefix  string `json:"prefix"`
	// Host is the listed host that holds it, empty for other clients; Holder is host/card, or how an unlisted client is known.
	Host    string `json:"host,omitempty"`
	Holder  string `json:"holder"`
	Network string `json:"network"`
	// MAC is the card, as far as it was seen.
	MAC ident.MAC `json:"mac,omitzero"`
	// State: bound, resting, declined, or StateDamaged.
	State string `json:"state"`
	// Via on Link is the next hop to a delegated prefix, empty where it is no neighbour.
	Via  string `json:"via,omitempty"`
	Link string `json:"link,omitempty"`
	// Expired: nobody has it any more.
	Expired        bool      `json:"expired,omitempty"`
	PreferredUntil time.Time `json:"preferred_until"`
	ValidUntil     time.Time `json:"valid_until"`
	// Clients are the identities that use it, the newest last.
	Clients []lease.Claim `json:"clients,omitempty"`
	Claims  int           `json:"claims"`
}

// ReleaseRequest is the body of POST /v1/leases/release.
type ReleaseRequest struct {
	Address string `json:"address"`
	// Confirm: the lease was shown and is meant; else it is only shown.
	Confirm bool `json:"confirm,omitempty"`
	// Holder is who had it when it was shown: another by now is not meant.
	Holder string `json:"holder,omitempty"`
	By     string `json:"by,omitempty"`
}

// ReleaseDeclinedRequest is the body of POST /v1/leases/release-declined.
type ReleaseDeclinedRequest struct {
	// Of is a network, an interface, a host or the MAC of the card that declined; empty: all.
	Of string `json:"of,omitempty"`
	// Confirm: the leases were shown and are meant; else they are only shown.
	Confirm bool   `json:"confirm,omitempty"`
	By      string `json:"by,omitempty"`
}

// ReleaseDeclinedResult is its answer: the addresses that were put aside, in their order.
type ReleaseDeclinedResult struct {
	Leases   []Lease `json:"leases"`
	Released bool    `json:"released"`
}

// ReleaseResult is its answer.
type ReleaseResult struct {
	Lease    Lease `json:"lease"`
	Released bool  `json:"released"`
}

// Rendered is the answer to GET /v1/render.
type Rendered struct {
	Text string `json:"text"`
	// Notes say what was assumed.
	Notes []string `json:"notes,omitempty"`
}

// Error is every answer that is not a success.
type Error struct {
	Status int `json:"-"`
	// Message is what is wrong and what to do.
	Message string `json:"error"`
}

// Error is the message.
func (e *Error) Error() string { return e.Message }
