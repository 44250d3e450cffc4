package netns_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRouterAdvertisement solicits one with rdisc6 and compares all of it. The
// lifetime as a router is there because this server forwards and has a default
// route.
func TestRouterAdvertisement(t *testing.T) {
	r := newRack(t)
	n := r.Client(t, "asker", listedMAC)
	linkLocal(t, n)
	got := run(t, n, "rdisc6", "-1", "-r", "1", "-w", "500", "eth0") // it waits 500 ms, as Debian's installer does
	_, got, _ = strings.Cut(got, "\n\n")
	want := `Hop limit                 :           64 (      0x40)
Stateful address conf.    :          Yes
Stateful other conf.      :          Yes
Mobile home agent         :           No
Router preference         :       medium
Neighbor discovery proxy  :           No
Router lifetime           :          180 (0x000000b4) seconds
Reachable time            :  unspecified (0x00000000)
Retransmit time           :  unspecified (0x00000000)
 Source link-layer address: 52:54:00:00:00:01
 Prefix                   : 2001:db8:1::/64
  On-link                 :          Yes
  Autonomous address conf.:          Yes
  Valid time              :        86400 (0x00015180) seconds
  Pref. time              :        43200 (0x0000a8c0) seconds
 Recursive DNS server     : 2001:db8:1::1
  DNS server lifetime     :          180 (0x000000b4) seconds
 DNS search list          : rack.example.net 
  DNS search list lifetime:          180 (0x000000b4) seconds
 from fe80::1
`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("router advertisement (-want +got):\n%s", diff)
	}
}
