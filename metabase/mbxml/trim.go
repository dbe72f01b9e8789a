// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"bytes"
	"encoding/xml"
	"io"
	"strings"

	"restante/metabase"
)

// placeholder is the element that stands for a key that was trimmed.
const placeholder = "k"

// isOutside reports whether a key is neither in part nor above it.
func isOutside(key, part metabase.Path) bool {
	return part != "" && !key.Within(part) && !part.Within(key)
}

// Trim copies a file to w as UTF-8, and of a foreign one only the keys in part and
// above it: each other key keeps its place and its lines, and loses its
// properties. Read then finds the same keys at the same lines. A file that does not
// parse is copied up to there, for Read to say so.
func Trim(w io.Writer, r io.Reader, part metabase.Path) error {
	src := newSource(r)
	t := &trimmer{w: w, src: src, part: part, d: xml.NewDecoder(src), foreign: true}
	t.d.CharsetReader = src.charset
	parses := true
	for t.foreign && parses && t.err == nil {
		parses = t.next()
	}
	if t.write(src.token); t.err != nil || !parses {
		return t.err
	}
	_, err := io.Copy(w, src.in)
	return err
}

type trimmer struct {
	w       io.Writer
	src     *source
	d       *xml.Decoder
	part    metabase.Path
	foreign bool
	read    int64 // octets of the tokens so far
	depth   int
	drops   bool // within a key that is trimmed
	err     error
}

// next copies one token, or what stands for it. It is false at the end and where
// the file does not parse.
func (t *trimmer) next() bool {
	line, _ := t.d.InputPos()
	tok, err := t.d.Token()
	if err != nil {
		if err != io.EOF && (t.drops || t.src.from != "" || err == errTooLarge) { // Read would not see it
			t.err = (&parser{src: t.src, line: line}).withLine(err)
		}
		return false
	}
	end := t.d.InputOffset()
	text := t.src.token[:end-t.read]
	t.read = end
	switch tok := tok.(type) {
	case xml.StartElement:
		t.depth++
		t.start(tok, line, text)
	case xml.EndElement:
		t.copy(text)
		if t.depth--; t.depth == 2 {
			t.drops = false
		}
	case xml.ProcInst:
		if tok.Target == "xml" && t.src.from != "" { // it is UTF-8 now
			t.write([]byte(`<?xml version="1.0"?>`))
			t.write(lineEnds(text))
		} else {
			t.copy(text)
		}
	case xml.CharData:
		if len(bytes.TrimSpace(text)) > 0 {
			t.write(text) // for Read to refuse
		} else {
			t.copy(text)
		}
	default:
		t.copy(text)
	}
	t.src.token = append(t.src.token[:0], t.src.token[len(text):]...)
	return true
}

func (t *trimmer) start(e xml.StartElement, line int, text []byte) {
	if t.depth != 3 || t.drops {
		t.keep(e, line, text)
		return
	}
	if e.Name.Local == "IIS_Global" {
		t.foreign = attr(e, "Origin") != origin
		t.keep(e, line, text)
		return
	}
	where, _ := location(e)
	path, err := metabase.ParsePath(where)
	if err != nil || where == "" || !isOutside(path, t.part) {
		t.keep(e, line, text)
		return
	}
	t.drops = true
	var b strings.Builder
	b.WriteString("<" + placeholder + ` Location="`)
	_ = xml.EscapeText(&b, []byte(where))
	b.WriteString(`"/>`)
	t.write([]byte(b.String()))
	t.write(lineEnds(text))
}

// keep copies a start tag that is not trimmed, unless its text was lost in the
// conversion to UTF-8.
func (t *trimmer) keep(e xml.StartElement, line int, text []byte) {
	p := &parser{src: t.src, line: line}
	if err := p.checkText(e); err != nil && !t.drops {
		t.err = p.withLine(err)
	}
	t.copy(text)
}

func (t *trimmer) copy(text []byte) {
	if t.drops {
		text = lineEnds(text)
	}
	t.write(text)
}

func (t *trimmer) write(text []byte) {
	if t.err == nil && len(text) > 0 {
		_, t.err = t.w.Write(text)
	}
}

func lineEnds(text []byte) []byte { return bytes.Repeat([]byte("\n"), bytes.Count(text, []byte("\n"))) }
