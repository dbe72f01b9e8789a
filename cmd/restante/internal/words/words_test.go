// SPDX-License-Identifier: Apache-2.0

package words

import (
	"testing"
	"time"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "words are for whatever is printed"})
}

func TestWords(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Size(0), "0 B"}, {Size(1023), "1023 B"}, {Size(1024), "1.0 KiB"}, {Size(1536 << 20), "1.5 GiB"}, {Size(1 << 60), "1048576.0 TiB"},
		{Plural(1, "message"), "1 message"}, {Plural(0, "message"), "0 messages"},
		{Properties(1), "1 property"}, {Properties(2), "2 properties"},
		{Dash(""), "-"}, {Dash("x"), "x"}, {YesNo(true), "yes"}, {YesNo(false), "no"},
		{Quoted([]string{"a", "", "b c", "it's"}), `a '' 'b c' 'it'\''s'`},
		{OneLine([]any{}, nil), ""}, {OneLine("a b", []string{"a b"}), "a b"}, {OneLine([]any{"a b"}, []string{"a b"}), "'a b'"},
		{Time(time.Time{}), "-"},
	} {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
}
