package address

import (
	"cmp"
	"slices"
	"time"

	"bootd.internal/bootd/option"
	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
)

// Options that a client gets only when it asks (RFC 8415 section 21.7), and those with a rule of their own.
const (
	optPreference  = 7
	optDNSServers  = 23
	optDomainList  = 24
	optInfoRefresh = 32
	optFQDN        = 39
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
	r := &x.room.reply
	*r = Reply{Msg: t, Preference: noPreference, IAs: r.IAs[:0], Options: r.Options[:0]}
	asks := func(code uint16) bool { return slices.Contains(x.req.ORO, code) }
	if asks(optDNSServers) {
		r.DNS = x.net.Nameservers
	}
	if asks(optDomainList) {
		r.Search = x.net.Search
	}
	if x.boot.Reason == reason.PhoneURL {
		x.provisioning(r)
	} else if asks(optBootfileURL) {
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
		r.InfoRefresh = cmp.Or(x.net.InformationRefresh, min(max(x.net.Preferred/2, irtMinimum), irtMaximum))
	}
	x.named(r, asks(optFQDN))
	x.configured(r)
	return r
}

// configured adds the options of the inventory: those that are always sent, then those that the client asks for, in its
// order. One of them replaces what the reply would have said.
func (x *exchange) configured(r *Reply) {
	narrow, wide := x.ownOptions(), x.net.Options
	if len(narrow)+len(wide) == 0 {
		return
	}
	var sent []uint16
	add := func(o site.Option) {
		if o.Code == optPreference || slices.Contains(sent, o.Code) {
			return
		}
		sent = append(sent, o.Code)
		for _, data := range o.Data {
			r.Options = append(r.Options, Option{o.Code, data})
		}
		r.without(o.Code)
	}
	if o, ok := site.Find(narrow, wide, optDNSServers); ok && (o.Always || slices.Contains(x.req.ORO, optDNSServers)) {
		add(o) // as important as the resolvers that it replaces
	}
	for _, all := range [2][]site.Option{narrow, wide} { // not site.Told: this is done for each packet
		for _, o := range all {
			if !o.Always {
				continue
			}
			if wins, ok := site.Find(narrow, wide, o.Code); ok && wins.Always {
				add(wins)
			}
		}
	}
	for _, code := range x.req.ORO {
		switch o, ok := site.Find(narrow, wide, code); {
		case ok:
			add(o)
		case o.Never:
			r.without(code)
		}
	}
}

// without takes out what the inventory says otherwise.
func (r *Reply) without(code uint16) {
	switch code {
	case optDNSServers:
		r.DNS = nil
	case optDomainList:
		r.Search = nil
	case optSolMaxRT:
		r.SolMaxRT = 0
	case optInfMaxRT:
		r.InfMaxRT = 0
	}
}

// ownOptions are those of the asking host and its profile, none for a machine that nobody listed.
func (x *exchange) ownOptions() []site.Option {
	if x.match.Host == nil {
		return nil
	}
	return x.match.Host.Options
}

// preference is that of an offer: the highest, unless the inventory says another.
func (x *exchange) preference() int {
	if o, ok := site.Find(x.ownOptions(), x.net.Options, optPreference); ok {
		return int(o.Data[0][0])
	}
	return maxPreference
}

// named tells a listed host its name where it asks for it (RFC 4704 section 6). bootd's own DNS answers for the name, so the
// server does what there is to do: S is set, and O where the client wanted it otherwise. What the client calls itself changes
// nothing.
func (x *exchange) named(r *Reply, asked bool) {
	switch x.req.Msg {
	case Solicit, RequestMsg, Renew, Rebind:
	default:
		return
	}
	if !x.req.FQDN || !asked || x.match.Host == nil {
		return
	}
	r.FQDN, r.FQDNFlags = x.match.Host.FQDN, option.FlagS
	if x.req.FQDNFlags&option.FlagS == 0 {
		r.FQDNFlags |= option.FlagO
	}
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
	if x.boot.Phone {
		x.phoneOffered()
		return
	}
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
