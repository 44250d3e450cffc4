package address

import (
	"encoding/binary"
	"fmt"
	"slices"

	"bootd.internal/bootd/reason"
	"bootd.internal/bootd/site"
	"bootd.internal/bootd/timeline"
	"bootd.internal/bootd/yealink"
)

// The options that carry octets around a URL (RFC 8415 sections 21.16 and 21.17).
const (
	optVendorClass = 16
	optVendorOpts  = 17
)

// subURL is the suboption of option 17 that holds the URL. No public source says which one Yealink's firmware reads.
const subURL = 1

// phoneURL is what a phone boots: its provisioning URL, never a boot loader. host is nil for a phone that nobody listed.
func phoneURL(snap *site.Snapshot, net *site.Network, host *site.Host) Bootfile {
	b := Bootfile{URL: snap.FirstURL(host, net, false), Reason: reason.PhoneURL, Phone: true}
	if b.URL == "" {
		b.Reason = reason.NoServerAddress
	}
	return b
}

// stray reports whether the client is one of Yealink's phones that nobody listed, and the inventory serves such.
func (x *exchange) stray() bool {
	return x.match.Host == nil && x.snap.Phones != nil && x.snap.Phones.Unlisted && yealink.Listed(x.match.Observed)
}

// provisioning puts the URL into each option that the inventory names, whether the phone asks for it or not: what a phone's
// firmware asks for by itself is not established.
func (x *exchange) provisioning(r *Reply) {
	for _, code := range x.snap.Phones.Options {
		if code == optBootfileURL {
			r.BootURL = x.boot.URL
			continue
		}
		r.Options = append(r.Options, Option{uint16(code), encodeURL(code, uint32(x.snap.Phones.Enterprise), x.boot.URL)})
	}
}

func encodeURL(code int, enterprise uint32, url string) []byte {
	var b []byte
	switch code {
	case optVendorClass:
		b = binary.BigEndian.AppendUint32(b, enterprise)
		b = binary.BigEndian.AppendUint16(b, uint16(len(url)))
	case optVendorOpts:
		b = binary.BigEndian.AppendUint32(b, enterprise)
		b = binary.BigEndian.AppendUint16(b, subURL)
		b = binary.BigEndian.AppendUint16(b, uint16(len(url)))
	}
	return append(b, url...)
}

// phoneOffered notes what a phone was told, and what it asked for, so that people can tell others which options real phones
// want. A token is not repeated.
func (x *exchange) phoneOffered() {
	if x.boot.URL == "" {
		x.event(timeline.Warning, reason.NoServerAddress, "", "no address of this server to name in a provisioning URL")
		return
	}
	asked := slices.Clone(x.req.ORO[:min(len(x.req.ORO), 32)])
	detail := fmt.Sprintf("%s asks for options %v", x.snap.FirstURL(x.match.Host, x.net, true), asked)
	if x.req.Vendor != "" {
		detail += fmt.Sprintf(", vendor class %q", x.req.Vendor[:min(len(x.req.Vendor), 40)])
	}
	x.event(timeline.PhoneOffered, reason.PhoneURL, "", detail[:min(len(detail), 200)])
}
