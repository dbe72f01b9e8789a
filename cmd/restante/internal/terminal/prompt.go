// SPDX-License-Identifier: Apache-2.0

package terminal

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// A Prompter reads the lines of run -i: from a terminal with a prompt, editing and
// completion by the tab key, else as they come.
type Prompter struct {
	In   *bufio.Reader // what was not read as a line
	keys *os.File      // nil: no terminal
	line *term.Terminal
}

// NewPrompter reads lines from in. Where it and out are a terminal, they are edited there.
func NewPrompter(in io.Reader, out io.Writer) *Prompter {
	p := &Prompter{In: bufio.NewReader(in)}
	if f, ok := in.(*os.File); ok && Is(f) && ANSI(out) {
		p.keys = f
		p.line = term.NewTerminal(struct {
			io.Reader
			io.Writer
		}{f, out}, "")
	}
	return p
}

// Line implements luahost.Prompter.
func (p *Prompter) Line(more bool, complete func(string) []string) (string, error) {
	if p.line == nil {
		line, err := p.In.ReadString('\n')
		if err == io.EOF && line != "" {
			err = nil
		}
		return strings.TrimRight(line, "\r\n"), err
	}
	p.line.SetPrompt("> ")
	if more {
		p.line.SetPrompt(">> ")
	}
	p.line.AutoCompleteCallback = func(line string, pos int, key rune) (string, int, bool) {
		if key != '\t' {
			return "", 0, false
		}
		before, choices := completed(line[:pos], complete(line[:pos]))
		if len(choices) > 1 {
			fmt.Fprintf(p.line, "%s\n", strings.Join(choices, "  "))
		}
		return before + line[pos:], len(before), true
	}
	before, err := term.MakeRaw(int(p.keys.Fd()))
	if err != nil {
		return "", err
	}
	defer func() { _ = term.Restore(int(p.keys.Fd()), before) }() // as good as it can be
	return p.line.ReadLine()
}

// completed ends a text with as much as all choices for its last word share. The
// choices come back where that adds nothing.
func completed(text string, choices []string) (string, []string) {
	if len(choices) == 0 {
		return text, nil
	}
	shared := choices[0]
	for _, c := range choices[1:] {
		for !strings.HasPrefix(strings.ToLower(c), strings.ToLower(shared)) {
			shared = shared[:len(shared)-1]
		}
	}
	for n := min(len(shared), len(text)); n >= 0; n-- {
		if end := text[len(text)-n:]; strings.EqualFold(end, shared[:n]) {
			if len(shared) > n || len(choices) == 1 {
				return text[:len(text)-n] + shared, nil
			}
			break
		}
	}
	return text, choices
}
