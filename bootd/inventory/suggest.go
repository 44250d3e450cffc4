package inventory

import (
	"fmt"
	"strings"
)

// suggest gives ", did you mean x?" where one of the names is near enough, else ", known: ..." for a short list.
func suggest(got string, names []string) string {
	const far = 3
	best, dist := "", far
	folded := fold(got[:min(len(got), 2*longest)])
	for _, n := range names {
		if d := distance(folded, fold(n), dist); d < dist && d < len(n) && d*2 <= max(len(n), 3) {
			best, dist = n, d
		}
	}
	switch {
	case best != "":
		return fmt.Sprintf(", did you mean %s?", best)
	case len(names) == 0:
		return ""
	case len(names) <= 8:
		return "; known: " + strings.Join(names, ", ")
	}
	return ""
}

// fold makes http-port, httpPort and http_port the same.
func fold(s string) string {
	b := make([]byte, 0, 48)
	for i := range len(s) {
		switch c := s[i]; {
		case c == '-' || c == '_':
		case c >= 'A' && c <= 'Z':
			b = append(b, c+'a'-'A')
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

// longest is how long a word may be that distance compares.
const longest = 40

// distance is the Levenshtein distance of a and b, with neighbours swapped as one step; at least most when it is not less.
func distance(a, b string, most int) int {
	if len(a)-len(b) >= most || len(b)-len(a) >= most || len(a) > longest || len(b) > longest {
		return most
	}
	var rows [3][longest + 1]int
	for j := range len(b) + 1 {
		rows[1][j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row := &rows[(i-1)%3], &rows[i%3], &rows[(i+1)%3]
		row[0] = i
		best := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
			best = min(best, row[j])
		}
		if best > most {
			return most
		}
	}
	return min(rows[(len(a)+1)%3][len(b)], most)
}
