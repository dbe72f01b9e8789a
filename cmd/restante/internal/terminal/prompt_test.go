// SPDX-License-Identifier: Apache-2.0

package terminal

import "testing"

func TestCompleted(t *testing.T) {
	tests := []struct {
		text    string
		choices []string
		want    string
		shown   int
	}{
		{"print(sit", []string{"site"}, "print(site", 0},
		{"site.s", []string{"site.sessions", "site.show", "site.start"}, "site.s", 3},
		{"site.st", []string{"site.start", "site.stop"}, "site.st", 2},
		{"o:getd", []string{"o:GetDataPaths"}, "o:GetDataPaths", 0},
		{"queue.me", []string{"queue.messages", "queue.messages2"}, "queue.messages", 0},
		{"x = ", nil, "x = ", 0},
	}
	for _, tt := range tests {
		if got, shown := completed(tt.text, tt.choices); got != tt.want || len(shown) != tt.shown {
			t.Errorf("completed(%q, %q) = %q, %q; want %q", tt.text, tt.choices, got, shown, tt.want)
		}
	}
}
