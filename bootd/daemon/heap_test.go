package daemon

import "testing"

func TestGrowth(t *testing.T) {
	for _, c := range []struct {
		live uint64
		want int
	}{
		{0, mostGrowth},
		{1 << 20, mostGrowth},
		{8 << 20, 1200},
		{16 << 20, 600},
		{24 << 20, leastGrowth},
		{1 << 30, leastGrowth},
	} {
		if got := growth(c.live); got != c.want {
			t.Errorf("growth(%d) = %d, want %d", c.live, got, c.want)
		}
	}
}
