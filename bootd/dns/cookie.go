package dns

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"time"
)

// cookies are the options that answer a client's cookie: its own, by which it knows that the answer comes from one who saw its
// question, and ours in the form of RFC 9018 section 4 (version 1, the time, a hash over all of it and the client's address). We
// ask nobody to show ours: whoever may ask is on a link of ours.
func (s *Server) cookies(q *query, from netip.Addr, now time.Time) []byte {
	if !q.hasCookie {
		return nil
	}
	p := appendOption(make([]byte, 0, 28), optionCookie, 24)
	p = append(p, q.cookie[:]...)
	p = append(p, 1, 0, 0, 0)
	p = binary.BigEndian.AppendUint32(p, uint32(now.Unix()))
	mac := hmac.New(sha256.New, s.upstreams.secret[:])
	mac.Write(p[4:])
	addr := from.As16()
	mac.Write(addr[:])
	return append(p, mac.Sum(nil)[:8]...)
}
