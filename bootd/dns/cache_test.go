package dns

import (
	"fmt"
	"testing"
	"time"

	"bootd.internal/bootd/site/sitetest"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// kept are the names in a cache, the newest first.
func kept(c *cache) []string {
	var names []string
	for e := c.order.Front(); e != nil; e = e.Next() {
		names = append(names, e.Value.(*item).key)
	}
	return names
}

func TestCacheIsBounded(t *testing.T) {
	now := sitetest.Now()
	entry := func(octets int) *answer { return &answer{wire: make([]byte, octets), made: now, life: time.Minute} }
	const limit = 10 * itemCost
	c := newCache()
	for i := range 12 {
		c.put(fmt.Sprint(i), entry(10), 0, limit)
		c.get([]byte("2"), now, 0)
	}
	if diff := cmp.Diff([]string{"2", "11", "10", "9", "8", "7", "6", "5", "4"}, kept(c)); diff != "" {
		t.Error(diff)
	}
	c.put("big", entry(8*itemCost), 0, limit)
	if diff := cmp.Diff([]string{"big"}, kept(c)); diff != "" {
		t.Error(diff)
	}
	c.put("too big", entry(20*itemCost), 0, limit)
	if len(kept(c)) != 0 || c.octets != 0 || len(c.items) != 0 {
		t.Errorf("holds %v, %d octets, %d items", kept(c), c.octets, len(c.items))
	}
	for i := range 100 {
		c.fail(fmt.Sprint(i), 0, now, limit)
	}
	if c.octets > limit || len(c.items) != len(kept(c)) {
		t.Errorf("holds %d failures in %d octets", len(c.items), c.octets)
	}
}

// TestCacheOverTime: fresh, then stale, then gone; failures are remembered longer each time, and end with an answer.
func TestCacheOverTime(t *testing.T) {
	began := sitetest.Now()
	at := func(d time.Duration) time.Time { return began.Add(d) }
	a := &answer{wire: make([]byte, 10), made: began, life: time.Minute}
	c, k := newCache(), []byte("k")
	look := func(after time.Duration, want known, wantOK bool) {
		t.Helper()
		got, ok := c.get(k, at(after), time.Hour)
		if ok != wantOK || got != want {
			t.Errorf("after %v: %+v, %v; want %+v, %v", after, got, ok, want, wantOK)
		}
	}
	look(0, known{}, false)
	c.fail("k", 0, at(0), 1e6)
	look(999*time.Millisecond, known{waiting: true}, true)
	look(time.Second, known{}, true)
	c.fail("k", 0, at(time.Second), 1e6)
	look(2900*time.Millisecond, known{waiting: true}, true)
	look(3*time.Second, known{}, true)
	c.put("k", a, 0, 1e6)
	look(3*time.Second, known{answer: a}, true)
	look(53*time.Second, known{answer: a}, true)
	look(53*time.Second, known{answer: a}, true)
	look(53*time.Second, known{answer: a}, true)
	look(54*time.Second, known{answer: a, refresh: true}, true)
	look(60*time.Second, known{answer: a, stale: true}, true)
	c.fail("k", 0, at(60*time.Second), 1e6)
	look(89*time.Second, known{answer: a, stale: true, waiting: true}, true)
	look(90*time.Second, known{answer: a, stale: true}, true)
	look(61*time.Minute, known{}, true) // a failure is all that is left
	c.put("k", &answer{made: at(0)}, 0, 1e6)
	look(61*time.Minute, known{}, false)
	if c.octets != 0 || len(c.items) != 0 {
		t.Errorf("holds %d octets, %d items", c.octets, len(c.items))
	}
}

func TestLife(t *testing.T) {
	soa := "example.org. 900 IN SOA ns.example.org. admin.example.org. 1 2 3 4 86400"
	tests := []struct {
		name              string
		code              int
		answer, authority []string
		want              time.Duration
	}{
		{"smallest", 0, []string{"a.example.org. 300 IN AAAA ::1", "a.example.org. 200 IN AAAA ::2"}, nil, 200 * time.Second},
		{"at most a day", 0, []string{"a.example.org. 999999 IN AAAA ::1"}, nil, 24 * time.Hour},
		{"a SOA that was asked for", 0, []string{"a.example.org. 300 IN AAAA ::1", "a.example.org. 300 IN SOA a. b. 1 2 3 4 5"}, nil, 300 * time.Second},
		{"a SOA in the wrong place", 0, []string{"a.example.org. 300 IN SOA a. b. 1 2 3 4 5"}, nil, 0},
		{"denial", dns.RcodeNameError, nil, []string{soa}, 900 * time.Second},
		{"alias without data", 0, []string{"a.example.org. 60 IN CNAME b.example.org."}, []string{soa}, time.Minute},
		{"alias without SOA", 0, []string{"a.example.org. 60 IN CNAME b.example.org."}, nil, 0},
		{"denial, an hour", dns.RcodeNameError, nil, []string{"org. 86400 IN SOA a. b. 1 2 3 4 86400"}, time.Hour},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := question("a.example.org.", dns.TypeAAAA)
			m.Rcode = tt.code
			for _, s := range tt.answer {
				m.Answer = append(m.Answer, rr(t, s))
			}
			for _, s := range tt.authority {
				m.Ns = append(m.Ns, rr(t, s))
			}
			if got := life(m); got != tt.want {
				t.Errorf("%v, want %v", got, tt.want)
			}
		})
	}
}
