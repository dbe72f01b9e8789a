// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

// csvRows is csv.rows(text, name...): the rows of a list, as Excel, PowerShell and
// people write one. Each is a list of its fields, with the field line. A first row
// that has the names of the columns is left out.
func csvRows(vm *lua.LState) int {
	text, names := vm.CheckString(1), make([]string, 0, vm.GetTop())
	for i := 2; i <= vm.GetTop(); i++ {
		names = append(names, vm.CheckString(i))
	}
	rows, err := readRows(text)
	if err != nil {
		vm.RaiseError("csv.rows: %v", err)
	}
	out := vm.NewTable()
	for i, r := range rows {
		if i == 0 && isHeading(r.fields, names) {
			continue
		}
		t := vm.NewTable()
		for _, f := range r.fields {
			t.Append(lua.LString(f))
		}
		t.RawSetString("line", lua.LNumber(r.line))
		out.Append(t)
	}
	vm.Push(out)
	return 1
}

// isHeading reports whether a row names the columns, from the first one on.
func isHeading(fields, names []string) bool {
	return len(fields) > 0 && len(fields) <= len(names) && slices.EqualFunc(fields, names[:len(fields)], strings.EqualFold)
}

type row struct {
	fields []string
	line   int
}

// readRows reads UTF-8, or UTF-16 with a byte order mark. Blanks around fields and
// empty fields at the end do not count, nor do rows without a field.
func readRows(text string) (rows []row, err error) {
	text, _, err = transform.String(unicode.BOMOverride(transform.Nop), text)
	if err != nil || !utf8.ValidString(text) {
		return nil, errors.New("the text is not UTF-8: save the list as CSV UTF-8")
	}
	text = withoutComments(text)
	r := csv.NewReader(strings.NewReader(text))
	r.Comma, r.FieldsPerRecord, r.TrimLeadingSpace = separator(text), -1, true
	for {
		fields, err := r.Read()
		var wrong *csv.ParseError
		switch {
		case err == io.EOF:
			return rows, nil
		case errors.As(err, &wrong):
			return nil, fmt.Errorf("line %d: %w", wrong.Line, wrong.Err)
		case err != nil:
			return nil, err
		}
		for i := range fields {
			fields[i] = strings.TrimSpace(fields[i])
		}
		for len(fields) > 0 && fields[len(fields)-1] == "" {
			fields = fields[:len(fields)-1]
		}
		if line, _ := r.FieldPos(0); len(fields) > 0 {
			rows = append(rows, row{fields, line})
		}
	}
}

// withoutComments takes away what follows a # outside of quotes, at the beginning of
// a line or after a blank. Lines keep their numbers.
func withoutComments(text string) string {
	var b strings.Builder
	quoted, comment, before := false, false, byte('\n')
	for _, c := range []byte(text) {
		switch {
		case c == '\n':
			comment = false
		case c == '#' && !quoted && strings.IndexByte(" \t\n", before) >= 0:
			comment = true
		case c == '"' && !comment:
			quoted = !quoted
		}
		if !comment {
			b.WriteByte(c)
		}
		before = c
	}
	return b.String()
}

var quotes = regexp.MustCompile(`"[^"]*"`)

// separator is what parts the fields: the comma or else the semicolon or the tab of
// the first line that has one. Excel writes them by country and format.
func separator(text string) rune {
	for line := range strings.Lines(quotes.ReplaceAllString(text, "")) {
		for _, c := range ",;\t" {
			if strings.ContainsRune(line, c) {
				return c
			}
		}
	}
	return ','
}
