// SPDX-License-Identifier: Apache-2.0

package batch

import (
	"slices"
	"strings"
	"testing"

	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{"/engine": "lines are read before a call is made of them", "urfave/cli": "lines have no options of a command"})
}

func TestUncomment(t *testing.T) {
	for in, want := range map[string]string{
		"# all":                "",
		"set a b c # why":      "set a b c ",
		"set a b c#d":          "set a b c#d",
		"set a b '# no' # y":   "set a b '# no' ",
		`set a b "\" # no"`:    `set a b "\" # no"`,
		`set a b \# x`:         `set a b \# x`,
		"\t# tab":              "\t",
		`set a b 'it''s # no'`: `set a b 'it''s # no'`,
	} {
		if got := uncomment(in); got != want {
			t.Errorf("uncomment(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestReadBatch(t *testing.T) {
	lines := Read("# one\n\nset A B 'c d' \"e\"\r\n  add X Y\nset A 'b\n")
	if len(lines) != 3 {
		t.Fatalf("Read = %v", lines)
	}
	if !slices.Equal(lines[0].Words, []string{"set", "A", "B", "c d", "e"}) || lines[0].Number != 3 {
		t.Errorf("line 3 = %+v", lines[0])
	}
	if lines[1].Number != 4 || lines[2].Number != 5 || lines[2].Broken == "" {
		t.Errorf("lines 4 and 5 = %+v", lines[1:])
	}
}

func TestReadBatchLines(t *testing.T) {
	tests := []struct {
		in     string
		number int
		words  []string
	}{
		{"set SMTPSVC/1 ServerComment 'a b'", 1, []string{"set", "SMTPSVC/1", "ServerComment", "a b"}},
		{"\n# all of it\n  add x  # the end\n", 3, []string{"add", "x"}},
		{`set a b "#1" c#d \# '#'`, 1, []string{"set", "a", "b", "#1", "c#d", "#", "#"}},
		{"set a b ''\r\n", 1, []string{"set", "a", "b", ""}}, // a file of Windows
		{`set a b "x y`, 1, nil},
		{"set a b caf\xe9", 1, nil},
		{"\t \n", 0, nil},
	}
	for _, tt := range tests {
		lines := Read(tt.in)
		switch {
		case tt.number == 0 && len(lines) != 0:
			t.Errorf("%q: %+v", tt.in, lines)
		case tt.number > 0 && (len(lines) != 1 || lines[0].Number != tt.number || tt.words != nil && !slices.Equal(lines[0].Words, tt.words)):
			t.Errorf("%q: %+v, want %q in line %d", tt.in, lines, tt.words, tt.number)
		case tt.number > 0 && (tt.words == nil) != (lines[0].Broken != ""):
			t.Errorf("%q: broken is %q", tt.in, lines[0].Broken)
		}
	}
}

// FuzzReadBatch reads what it reads a second time as it was, once it is quoted.
func FuzzReadBatch(f *testing.F) {
	f.Add("set SMTPSVC/1 ServerComment 'a b' # why\nadd x\n")
	f.Add("set a b \"x\\\"y\" \\\n")
	f.Add("'unended")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "@") {
			return // names a file
		}
		var again strings.Builder
		var want [][]string
		for _, l := range Read(text) {
			if l.Number < 1 || l.Number > strings.Count(text, "\n")+1 {
				t.Fatalf("line %d of %q", l.Number, text)
			}
			if l.Broken != "" || slices.ContainsFunc(l.Words, func(w string) bool { return strings.ContainsAny(w, "\n") }) {
				continue
			}
			want = append(want, l.Words)
			for _, w := range l.Words {
				again.WriteString(" '" + strings.ReplaceAll(w, "'", `'\''`) + "'")
			}
			again.WriteByte('\n')
		}
		got := Read(again.String())
		if len(got) != len(want) {
			t.Fatalf("%q: %d lines, then %d", text, len(want), len(got))
		}
		for i, l := range got {
			if !slices.Equal(l.Words, want[i]) {
				t.Fatalf("%q: %q, then %q", text, want[i], l.Words)
			}
		}
	})
}
