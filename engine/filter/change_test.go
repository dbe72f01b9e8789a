// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// The reason of a quarantine is stored: it is one line of text, and bounded.
func TestQuarantineReason(t *testing.T) {
	long := quarantineReason(strings.Repeat("\u00e4", 1<<20))
	if !utf8.ValidString(long) || len(long) > maxReason+3 || !strings.HasSuffix(long, "\u00e4...") {
		t.Errorf("%d octets, the last are %q", len(long), long[max(0, len(long)-10):])
	}
	for reason, want := range map[string]string{"": "a milter asks for it", "spam\r\n\x00\xff": "spam   ?", "spam": "spam"} {
		if got := quarantineReason(reason); got != want {
			t.Errorf("%q of %q, want %q", got, reason, want)
		}
	}
}
