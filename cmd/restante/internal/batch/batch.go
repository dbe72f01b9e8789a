// SPDX-License-Identifier: Apache-2.0

// Package batch reads the lines of a batch of changes, as a file or a command line
// has them: words quoted as in a shell, and @FILE for a value.
package batch

import (
	"encoding/hex"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/kballard/go-shellquote"

	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

// Read splits a batch into lines of words. A line that cannot be split
// carries the reason, which is reported with all other problems.
func Read(text string) []api.Line {
	lines := []api.Line{}
	n := 0
	for raw := range strings.SplitSeq(text, "\n") {
		n++
		code := strings.TrimSpace(uncomment(raw))
		if code == "" {
			continue
		}
		if !utf8.ValidString(code) {
			lines = append(lines, api.Line{Number: n, Broken: "is not valid UTF-8"})
			continue
		}
		args, err := shellquote.Split(keepBackslashes(code))
		l := api.Line{Number: n, Words: args}
		if err == nil {
			l, err = InlineFile(l)
		}
		if err != nil {
			l.Broken = err.Error()
		}
		lines = append(lines, l)
	}
	return lines
}

// keepBackslashes has a backslash outside of quotes stand for itself, as in
// C:\Mailroot\Drop and \\server\share, except where it stands before a blank, a
// quote or #: there it escapes, as in a shell.
func keepBackslashes(line string) string {
	var out strings.Builder
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case c == '\\' && quote == '"' && i+1 < len(line):
			out.WriteByte(c)
			i++
			out.WriteByte(line[i])
			continue
		case c == '\\' && quote == 0:
			if i+1 < len(line) && strings.IndexByte(" \t'\"#", line[i+1]) >= 0 {
				out.WriteByte(c)
				i++
				out.WriteByte(line[i])
				continue
			}
			out.WriteByte(c)
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		}
		out.WriteByte(c)
	}
	return out.String()
}

// uncomment cuts a line at a # that begins a word outside of quotes.
func uncomment(line string) string {
	quote := byte(0)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\' && quote != '\'':
			i++
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case quote == 0 && c == '#' && (i == 0 || line[i-1] == ' ' || line[i-1] == '\t'):
			return line[:i]
		}
	}
	return line
}

// Quote joins words as a shell splits them.
func Quote(words ...string) string { return shellquote.Join(words...) }

// InlineFile replaces @FILE in a line that sets a BINARY property by the file's
// content in hexadecimal. Where neither the schema nor --type tells the type of
// the property, the content travels beside the line: only the stored item tells.
func InlineFile(l api.Line) (api.Line, error) {
	v, ok := fileValue(l.Words)
	if !ok {
		return l, nil
	}
	p, ok := schema.IIS().Property(v.prop)
	switch {
	case !ok || v.typ != "" && !strings.EqualFold(v.typ, metabase.BinaryType.String()):
		return l, nil
	case v.typ != "" || p.Type == metabase.BinaryType:
		digits, err := readHex(l.Words[v.at][1:])
		if err != nil {
			return l, err
		}
		l.Words = slices.Clone(l.Words)
		l.Words[v.at] = digits
	case p.Type == metabase.AnyType:
		digits, err := readHex(l.Words[v.at][1:])
		l.File = &api.File{Hex: digits}
		if err != nil {
			l.File.Why = err.Error()
		}
	}
	return l, nil
}

// A fileWord is @FILE in a line.
type fileWord struct {
	at   int    // which word
	prop string // whose value it is
	typ  string // --type, or ""
}

// fileValue finds @FILE where it is the only value of a line that sets one.
func fileValue(line []string) (v fileWord, ok bool) {
	if len(line) == 0 || !strings.EqualFold(line[0], "set") {
		return v, false
	}
	var args []int
	options := true
	for i := 1; i < len(line); i++ {
		switch word := line[i]; {
		case options && word == "--":
			options = false
		case options && strings.HasPrefix(word, "--"):
			name, value, inOne := strings.Cut(word, "=")
			if i++; inOne {
				i--
			} else if i < len(line) {
				value = line[i]
			}
			if name == "--type" {
				v.typ = value
			}
		default:
			args = append(args, i)
		}
	}
	switch len(args) {
	case 2:
		v.prop = path.Base(strings.ReplaceAll(line[args[0]], `\`, "/"))
	case 3:
		v.prop = line[args[1]]
	default:
		return v, false
	}
	v.at = args[len(args)-1]
	return v, strings.HasPrefix(line[v.at], "@")
}

// maxFile is more than a value holds, so that the check of values refuses it.
const maxFile = 1 << 20

// readHex returns the content of a file in hexadecimal.
func readHex(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxFile))
	return hex.EncodeToString(b), err
}
