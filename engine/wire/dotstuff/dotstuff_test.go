// SPDX-License-Identifier: Apache-2.0

package dotstuff

import (
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"restante/": "a text is dotted by itself"})
}

func TestStuff(t *testing.T) {
	tests := []struct{ in, want string }{
		{"", ".\r\n"},
		{"a\r\n", "a\r\n.\r\n"},
		{"a", "a\r\n.\r\n"},
		{".", "..\r\n.\r\n"},
		{".\r\n", "..\r\n.\r\n"},
		{"..\r\n.a\r\n", "...\r\n..a\r\n.\r\n"},
		{"a\n.\r\nb", "a\r\n..\r\nb\r\n.\r\n"},
		{"a\r.\r\nb\r", "a\r\n..\r\nb\r\n.\r\n"},
		{"\r\n\r\n", "\r\n\r\n.\r\n"},
		{"\r\r\n\n", "\r\n\r\n\r\n.\r\n"},
	}
	for _, tt := range tests {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(tt.in), "by octets": iotest.OneByteReader(strings.NewReader(tt.in)), "with the end": iotest.DataErrReader(strings.NewReader(tt.in))} {
			var got strings.Builder
			var s Stuffer
			if err := s.Copy(func(b []byte) error { got.Write(b); return nil }, r); err != nil || got.String() != tt.want {
				t.Errorf("%q %s: %q, %v; want %q", tt.in, name, got.String(), err, tt.want)
			}
		}
	}
}
