// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/hex"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"restante/admin/api"
	"restante/metabase"
	"restante/metabase/schema"
)

// inlineFile replaces @FILE in a line that sets a BINARY property by the file's
// content in hexadecimal. Where neither the schema nor --type tells the type of
// the property, the content travels beside the line: only the stored item tells.
func inlineFile(l api.Line) (api.Line, error) {
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
func fileValue(words []string) (v fileWord, ok bool) {
	if len(words) == 0 || !strings.EqualFold(words[0], "set") {
		return v, false
	}
	var args []int
	options := true
	for i := 1; i < len(words); i++ {
		switch word := words[i]; {
		case options && word == "--":
			options = false
		case options && strings.HasPrefix(word, "--"):
			name, value, inOne := strings.Cut(word, "=")
			if i++; inOne {
				i--
			} else if i < len(words) {
				value = words[i]
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
		v.prop = path.Base(strings.ReplaceAll(words[args[0]], `\`, "/"))
	case 3:
		v.prop = words[args[1]]
	default:
		return v, false
	}
	v.at = args[len(args)-1]
	return v, strings.HasPrefix(words[v.at], "@")
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
