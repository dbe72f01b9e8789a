// SPDX-License-Identifier: Apache-2.0

package filter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// maxHeader bounds the header of a message, which is held in memory.
const maxHeader = 256 << 10

var errHeader = errors.New("the header is too long for the filters")

// A message is a header in memory and a body that is not.
type message struct {
	fields  []field
	body    func() io.Reader
	changed bool
}

// A field of a header, as it stands there.
type field struct{ name, text string }

// newField checks a field of a filter's. Lines of its value are parted by \n.
func newField(name, value string) (field, error) {
	if name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return field{}, fmt.Errorf("asks for a field of the header with the name %.40q", name)
	}
	var b strings.Builder
	b.WriteString(name + ":")
	for i, line := range strings.Split(strings.ReplaceAll(value, "\r\n", "\n"), "\n") {
		if strings.ContainsFunc(line, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			return field{}, fmt.Errorf("asks for the field %.40s with a control character", name)
		}
		if blank := strings.Trim(line, " \t") == ""; blank && i > 0 {
			continue // it would end the header for some readers
		}
		if i > 0 {
			b.WriteString("\r\n")
			if line[0] != ' ' && line[0] != '\t' {
				b.WriteByte('\t')
			}
		}
		b.WriteString(line)
	}
	b.WriteString("\r\n")
	return field{name, b.String()}, nil
}

// value is what stands behind the colon, in lines that are parted by \n.
func (f field) value() string {
	_, value, _ := strings.Cut(f.text, ":")
	return strings.TrimSuffix(strings.ReplaceAll(value, "\r\n", "\n"), "\n")
}

// read reads the header of what open gives. Its body is read later.
func read(open func() io.Reader) (*message, error) {
	m, size := &message{}, int64(0)
	for in := bufio.NewReader(io.LimitReader(open(), maxHeader+1)); ; {
		line, err := in.ReadString('\n')
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			return nil, err
		case size+int64(len(line)) > maxHeader:
			return nil, errHeader
		}
		name, _, ok := strings.Cut(line, ":")
		blank := line != "" && (line[0] == ' ' || line[0] == '\t')
		end := strings.TrimRight(line, "\r\n") == ""
		switch n := len(m.fields); {
		case blank && n > 0:
			m.fields[n-1].text += line
		case ok && !end && !blank:
			m.fields = append(m.fields, field{strings.TrimRight(name, " \t"), line})
		default:
			if end {
				size += int64(len(line))
			}
			m.body = from(open, size)
			return m, nil
		}
		size += int64(len(line))
	}
}

// from gives what open gives, without its first octets.
func from(open func() io.Reader, skip int64) func() io.Reader {
	return func() io.Reader {
		r := open()
		_, _ = io.CopyN(io.Discard, r, skip) // a reader that fails does so again
		return r
	}
}

// open gives the message as it is now.
func (m *message) open() io.Reader {
	var head strings.Builder
	for _, f := range m.fields {
		head.WriteString(f.text)
	}
	return io.MultiReader(strings.NewReader(head.String()+"\r\n"), m.body())
}

// insert puts a field before the field that is now at place at, counted from 1; 0 is
// the top, too: our own Received field, which no filter sees, stands above.
func (m *message) insert(at uint32, f field) {
	i := min(max(int64(at), 1)-1, int64(len(m.fields)))
	m.fields, m.changed = slices.Insert(m.fields, int(i), f), true
}

// replace puts f in the place of the nth field of that name, counted from 1; with
// remove the field goes. One that is not there is added.
func (m *message) replace(nth uint32, name string, f field, remove bool) {
	left := max(nth, 1)
	for i := range m.fields {
		if !strings.EqualFold(m.fields[i].name, name) {
			continue
		}
		if left--; left > 0 {
			continue
		}
		if m.changed = true; remove {
			m.fields = slices.Delete(m.fields, i, i+1)
		} else {
			m.fields[i] = f
		}
		return
	}
	if !remove {
		m.fields, m.changed = append(m.fields, f), true
	}
}
