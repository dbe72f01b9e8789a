// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"encoding/binary"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"
)

func TestDecodeText(t *testing.T) {
	for in, want := range map[string]string{
		"":                         "",
		"é":                        "é",
		"\xe9 latin":               "\xe9 latin",
		"\ufeffset":                "set",
		"\xff\xfe":                 "",
		"\xff\xfes\x00\xe9\x00":    "sé",
		"\xfe\xff\x00s\x00\xe9":    "sé",
		"\xff\xfe\x3d\xd8\x00\xde": "😀",
		"\xff\xfes\x00e":           "error",
	} {
		got, err := DecodeText(in)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("DecodeText(%q) = %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestBatchKeepsBackslashes(t *testing.T) {
	for in, want := range map[string]string{
		`set a b D:\Mailroot\Drop`:      `D:\Mailroot\Drop`,
		`set a b \\server\share\drop`:   `\\server\share\drop`,
		`set a b D:\Mailroot\`:          `D:\Mailroot\`,
		`set a b D:\Mail\ root # drive`: `D:\Mail root`,
		`set a b "D:\Mail root\x"`:      `D:\Mail root\x`,
		`set a b 'D:\\Mail'`:            `D:\\Mail`,
		`set a b "a\"b\\c"`:             `a"b\c`,
		`set a b it\'s\"so\"`:           `it's"so"`,
		`set a b x\#y`:                  `x#y`,
	} {
		lines := Read(in)
		if len(lines) != 1 || len(lines[0].Words) != 4 || lines[0].Words[3] != want {
			t.Errorf("%s: %+v, want %q", in, lines, want)
		}
	}
}

// FuzzDecodeText reads a text as an editor of Windows may have saved it.
func FuzzDecodeText(f *testing.F) {
	for _, s := range []string{"set a b c\r\n", "\xff\xfea\x00", "\xfe\xff\x00a", "\xff\xfea", "\xff\xfe\x00\xd8", "\xef\xbb\xbfx", "\U0001f600", "\ufeff\ufeff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := DecodeText(text)
		if err == nil && (strings.HasPrefix(text, "\xff\xfe") || strings.HasPrefix(text, "\xfe\xff")) && !utf8.ValidString(got) {
			t.Errorf("%q is %q", text, got)
		}
		if !utf8.ValidString(text) {
			return
		}
		little, big := []byte("\xff\xfe"), []byte("\xfe\xff")
		for _, u := range utf16.Encode([]rune(text)) {
			little, big = binary.LittleEndian.AppendUint16(little, u), binary.BigEndian.AppendUint16(big, u)
		}
		for _, saved := range []string{string(little), string(big), "\ufeff" + text} {
			if got, err := DecodeText(saved); err != nil || got != text {
				t.Errorf("%q is saved %q, which is %q, %v", text, saved, got, err)
			}
		}
	})
}
