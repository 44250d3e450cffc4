package address

import (
	"slices"
	"time"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/timeline"
)

// Options that a client gets only when it asks (RFC 8415 section 21.7).
const (
	optDNSServers  = 23
	optDomainList  = 24
	optInfoRefresh = 32
	optSolMaxRT    = 82
	optInfMaxRT    = 83
)

const (
	// maxPreference makes a client take this offer at once; firmware waits four seconds for others without it
	// (RFC 8415 section 18.2.1).
	maxPreference = 255
	noPreference  = -1
	// maxRT is SOL_MAX_RT and INF_MAX_RT (RFC 8415 sections 21.24 and 21.25): a machine whose server was away asks again
	// within five minutes, not within the hour of the default.
	maxRT = 5 * time.Minute
	// irtMinimum and irtMaximum bound the Information Refresh Time (RFC 8415 section 21.23).
	irtMinimum = 600 * time.Second
	irtMaximum = 24 * time.Hour
)

// reply makes a reply that carries what the client asks for and no identity association yet.
func (x *exchange) reply(t Msg) *Reply {
	r := &Reply{Msg: t, Preference: noPreference}
	asks := func(code uint16) bool { return slices.Contains(x.req.ORO, code) }
	if asks(optDNSServers) {
		r.DNS = x.net.Nameservers
	}
	if asks(optDomainList) {
		r.Search = x.net.Search
	}
	if asks(optBootfileURL) {
		r.BootURL = x.boot.URL
		r.HTTPClient = x.boot.HTTPClient && x.boot.URL != ""
	}
	if asks(optSolMaxRT) {
		r.SolMaxRT = maxRT
	}
	if asks(optInfMaxRT) {
		r.InfMaxRT = maxRT
	}
	if asks(optInfoRefresh) && x.req.Msg == InformationRequest {
		r.InfoRefresh = min(max(x.net.Preferred/2, irtMinimum), irtMaximum)
	}
	return r
}

// inform answers an Information-request (RFC 8415 section 18.3.6).
func (x *exchange) inform() {
	x.d.Reply = x.reply(ReplyMsg)
	x.d.Reason = reason.Answered
	x.d.Reserved = true
	x.offered()
}

// offered notes which boot file a client was given, or that it asked in vain.
func (x *exchange) offered() {
	if !slices.Contains(x.req.ORO, optBootfileURL) {
		return
	}
	switch x.boot.Reason {
	case reason.BootScript:
		x.event(timeline.ScriptOffered, x.boot.Reason, "", x.boot.URL)
	case reason.BootLoader:
		x.event(timeline.LoaderOffered, x.boot.Reason, "", x.boot.URL)
	case reason.NoLoader:
		x.event(timeline.Warning, reason.NoLoader, "", "no boot loader for this architecture")
	case reason.NoServerAddress:
		x.event(timeline.Warning, reason.NoServerAddress, "", "no address of this server to name in a boot URL")
	}
}
