// SPDX-License-Identifier: Apache-2.0

package dotstuff

import (
	"errors"
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

// Whatever the pieces that a text comes in, its chunks have each line end as CRLF and each dot
// once, and one is the last.
func TestChunks(t *testing.T) {
	long := strings.Repeat("a line with its end\r\n", 5000)
	tests := []struct{ in, want string }{
		{"", ""},
		{"a", "a\r\n"},
		{".\r\n..a", ".\r\n..a\r\n"},
		{"a\n.\r\nb\r", "a\r\n.\r\nb\r\n"},
		{"\r\r\n\n", "\r\n\r\n\r\n"},
		{long, long},
		{strings.Repeat("x", bufferSize-1) + "\r\n", strings.Repeat("x", bufferSize-1) + "\r\n"},
		{strings.Repeat("\n", bufferSize+1), strings.Repeat("\r\n", bufferSize+1)},
	}
	for _, tt := range tests {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(tt.in), "by octets": iotest.OneByteReader(strings.NewReader(tt.in)), "with the end": iotest.DataErrReader(strings.NewReader(tt.in))} {
			var got strings.Builder
			var s Stuffer
			ends := 0
			err := s.Chunks(func(b []byte, last bool) error {
				if got.Write(b); last {
					ends++
				}
				return nil
			}, r)
			if err != nil || got.String() != tt.want || ends != 1 {
				t.Errorf("%.20q of %d %s: %.20q of %d, %v; want %.20q, %d ends", tt.in, len(tt.in), name, got.String(), got.Len(), err, tt.want, ends)
			}
		}
	}
	for _, broken := range []error{io.ErrUnexpectedEOF, io.ErrNoProgress} {
		var s Stuffer
		err := s.Chunks(func(_ []byte, last bool) error {
			if last {
				t.Errorf("%v: what cannot be read has an end", broken)
			}
			return nil
		}, io.MultiReader(strings.NewReader("half\r\n"), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	}
}
