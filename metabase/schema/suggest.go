// SPDX-License-Identifier: Apache-2.0

package schema

import "strings"

// suggest is `; did you mean "x"?` with the name that is nearest to what was typed,
// or "" where none is near.
func suggest(typed string, names []string) string {
	const far = 64 // a longer word is no typing error
	if len(typed) > far {
		return ""
	}
	best, least := "", 1+len(typed)/3
	for _, name := range names {
		if name == "" || len(name) > far {
			continue
		}
		if d := distance(strings.ToLower(typed), strings.ToLower(name)); d < least {
			best, least = name, d
		}
	}
	if best == "" {
		return ""
	}
	return `; did you mean "` + best + `"?`
}

// distance counts the octets to insert, delete, replace or swap with their
// neighbour to make b of a.
func distance(a, b string) int {
	before := make([]int, len(b)+1) // the row before the last
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
