package dns

import (
	"fmt"
	"testing"
	"time"

	"bootd.internal/bootd/site/sitetest"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"
)

// held are the names in a cache, the newest first.
func held(c *cache) []string {
	var names []string
	for e := c.order.Front(); e != nil; e = e.Next() {
		names = append(names, e.Value.(*item).key.question)
	}
	return names
}

func TestCacheIsBounded(t *testing.T) {
	now := sitetest.Now()
	entry := func(octets int) *answer { return &answer{wire: make([]byte, octets), made: now, life: time.Minute} }
	c := newCache(3, 10*itemCost)
	for i := range 5 {
		c.put(key{question: fmt.Sprint(i)}, entry(10))
	}
	c.get(key{question: "2"}, now)
	if diff := cmp.Diff([]string{"2", "4", "3"}, held(c)); diff != "" {
		t.Error(diff)
	}
	c.put(key{question: "big"}, entry(8*itemCost))
	if diff := cmp.Diff([]string{"big"}, held(c)); diff != "" {
		t.Error(diff)
	}
	c.put(key{question: "too big"}, entry(20*itemCost))
	if len(held(c)) != 0 || c.octets != 0 || len(c.items) != 0 {
		t.Errorf("holds %v, %d octets, %d items", held(c), c.octets, len(c.items))
	}
	c.put(key{question: "short"}, &answer{made: now})
	c.put(key{question: "a"}, entry(10))
	if c.get(key{question: "a"}, now.Add(time.Minute)) != nil || c.get(key{question: "short"}, now) != nil || c.octets != 0 {
		t.Errorf("holds what has expired: %v", held(c))
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
		{"negative TTL", 0, []string{"a.example.org. 2147483648 IN AAAA ::1"}, nil, 0},
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
