package dns

import (
	"encoding/binary"

	"bootd.internal/bootd/reason"
	"github.com/miekg/dns"
)

// optionExtended says why an answer is as it is (RFC 8914 section 2): to people, by dig; programs must not act on it.
const optionExtended = 15

// extended gives the code of RFC 8914 section 4 that says what a reason and a response code do not say already.
func extended(r reason.Reason, code int) (uint16, bool) {
	switch r {
	case reason.Stale:
		if code == dns.RcodeNameError {
			return dns.ExtendedErrorCodeStaleNXDOMAINAnswer, true
		}
		return dns.ExtendedErrorCodeStaleAnswer, true
	case reason.UpstreamFailed:
		return dns.ExtendedErrorCodeNoReachableAuthority, true
	case reason.NoUpstream:
		return dns.ExtendedErrorCodeNotAuthoritative, true
	case reason.RateLimited, reason.Overload:
		return dns.ExtendedErrorCodeOther, true
	}
	return 0, false
}

// appendExtended adds the option.
func appendExtended(p []byte, code uint16) []byte {
	return binary.BigEndian.AppendUint16(appendOption(p, optionExtended, 2), code)
}
