// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"io"
	"slices"
	"strings"
	"testing"

	"restante/adsi-compat/luahost/system"
)

// typed gives lines; of one that begins with a ? it notes the completions.
type typed struct {
	lines []string
	seen  []string
	mores int
}

func (p *typed) Line(more bool, complete func(string) []string) (string, error) {
	if more {
		p.mores++
	}
	for len(p.lines) > 0 {
		line := p.lines[0]
		p.lines = p.lines[1:]
		text, ask := strings.CutPrefix(line, "?")
		if !ask {
			return line, nil
		}
		p.seen = append(p.seen, strings.Join(complete(text), " "))
	}
	return "", io.EOF
}

func TestInteract(t *testing.T) {
	p := &typed{lines: []string{
		"1 + 1, 'a'", "x = 7", "x", "error('no')", "y y", "for i = 1, 2 do", "print(i)", "end", "nil",
		"site = GetObject('IIS://LocalHost/SMTPSVC/1')", "site.Name", "if", "",
		"?print(string.gm", "?x = site:getd", "?site.MaxRec", "?tostr", "?none.a", "?x = ", "?", "local z = 1", "z",
	}}
	var out strings.Builder
	err := Run(t.Context(), directory(tree(t)), Script{Name: "prompt", Prompt: p, Streams: system.Streams{In: strings.NewReader(""), Out: &out, Err: &out}})
	want := "2\ta\n7\nprompt:1: no\nprompt:1: parse error near 'y'\n1\n2\nnil\n1\nprompt:3: syntax error near <eof>\nnil\n"
	if err != nil || out.String() != want {
		t.Errorf("%q, %v; want %q", out.String(), err, want)
	}
	if want := []string{"string.gmatch", "site:GetDataPaths", "site.MaxRecipients site.MaxRecipientsPerHour", "tostring", "", "", ""}; !slices.Equal(p.seen, want) {
		t.Errorf("completions %q, want %q", p.seen, want)
	}
	if p.mores != 3 {
		t.Errorf("%d lines that go on", p.mores)
	}
	// An end within a line is the session's.
	for source, want := range map[string]error{"os.exit(3)": Exit(3), "os.exit()": nil} {
		err := Run(t.Context(), directory(tree(t)), Script{Name: "prompt", Prompt: &typed{lines: []string{source, "print(1)"}}, Streams: system.Streams{Out: &out, Err: &out}})
		if err != want {
			t.Errorf("%s: %v", source, err)
		}
	}
}
