// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"

	"restante/metabase"
)

// Bounds of a file. A metabase writes none beyond them.
const (
	maxDepth = 8
	maxToken = 8 << 20 // octets of a start tag, which has all of a key's values
	maxKeys  = 4_000_000
)

// A File is a parsed MetaBase.xml, not yet checked against a schema.
type File struct {
	Foreign  bool // not written by this package
	Keys     []Key
	Problems Problems // elements that cannot be placed

	outside map[metabase.Path]int // keys of a foreign file that ReadPart left out, by their service
}

// A Key is one element of the file. Its line is where the element begins, as
// that of a Custom element is; an attribute has a line of its own.
type Key struct {
	Line    int
	Path    metabase.Path
	Element string
	Items   []Item

	inherited bool // what IIS exports of the keys above, as a second element of the key
}

// An Item is one property in the file: an attribute, which has only Name and
// Value, or a Custom element.
type Item struct {
	Line                          int
	Name, Value                   string
	Custom                        bool
	ID, Type, UserType, Attr, Enc string
}

// Read reads a file to its end: UTF-8, UTF-16 with a byte order mark, or what
// it declares of [charsets]. An error names the line. It does not follow
// entities or document types, and refuses elements that are nested too deep or
// too large.
func Read(r io.Reader) (*File, error) { return ReadPart(r, Reading{}) }

// A Reading says what of a file is read.
type Reading struct {
	Part     metabase.Path // of a foreign file only the keys in it and above; "": all. The others are counted
	Fragment bool          // elements of keys with nothing around them are read, too
}

// ReadPart is Read of what a Reading says.
func ReadPart(r io.Reader, o Reading) (*File, error) {
	src := newSource(r)
	p := &parser{d: xml.NewDecoder(src), src: src, Reading: o, file: &File{Foreign: true, outside: map[metabase.Path]int{}}}
	p.d.CharsetReader = src.charset
	for {
		src.token = src.token[:0]
		p.line, _ = p.d.InputPos()
		tok, err := p.d.Token()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = p.token(tok)
		}
		if err != nil {
			return nil, p.withLine(err)
		}
	}
	if !p.root {
		return nil, errors.New("is not a MetaBase.xml: it has no <configuration>")
	}
	return p.file, nil
}

type parser struct {
	Reading
	d     *xml.Decoder
	src   *source
	file  *File
	line  int // where the token begins
	depth int
	root  bool
	key   *Key // the element we are in, or nil
}

// withLine adds the line to err: that of the syntax error, or else that of the
// element.
func (p *parser) withLine(err error) error {
	var syntax *xml.SyntaxError
	switch {
	case p.src.refused != nil:
		return Problem{Line: p.line, Err: p.src.refused}
	case errors.As(err, &syntax):
		return Problem{Line: syntax.Line, Err: errors.New(syntax.Msg)}
	case errors.Is(err, errTooLarge):
		return Problem{Line: p.line, Err: errTooLarge}
	}
	return Problem{Line: p.line, Err: err}
}

func (p *parser) token(tok xml.Token) error {
	switch tok := tok.(type) {
	case xml.Directive:
		return errors.New("a document type or entity has no place here")
	case xml.CharData:
		return p.text(tok)
	case xml.EndElement:
		p.depth--
		if p.depth == 2 {
			p.key = nil
		}
	case xml.StartElement:
		if p.depth++; p.depth > maxDepth {
			return errors.New("the elements are nested too deep")
		}
		return p.start(tok)
	}
	return nil
}

// text refuses what stands between, before or after the elements: all of a metabase
// is in attributes. The error has the line of its first character.
func (p *parser) text(text []byte) error {
	blank := len(text) - len(bytes.TrimLeft(text, " \t\r\n"))
	if blank == len(text) {
		return nil
	}
	p.line += bytes.Count(text[:blank], []byte("\n"))
	return fmt.Errorf("text outside of the elements: %.40q", bytes.TrimSpace(text))
}

func (p *parser) start(e xml.StartElement) error {
	switch p.depth {
	case 1:
		if p.root {
			return fmt.Errorf("the file ends before it: <%s> is a second outermost element", e.Name.Local)
		}
		p.root = true
		if e.Name.Local == "configuration" {
			return nil
		}
		if p.Fragment {
			p.depth = 3
			return p.startKey(e)
		}
		hint := ""
		if attr(e, "Location") != "" {
			hint = ": it is a part of a file, which <configuration><MBProperty> and </MBProperty></configuration> have to be put around, or import it with --fragment"
		}
		return fmt.Errorf("the outermost element is <%s>, not <configuration>%s", e.Name.Local, hint)
	case 2:
		return nil // MBProperty; other elements hold no keys
	case 3:
		if e.Name.Local == "IIS_Global" {
			if p.file.Foreign = attr(e, "Origin") != origin; !p.file.Foreign && len(p.file.outside) > 0 {
				return errors.New("<IIS_Global> does not come first")
			}
			return nil
		}
		return p.startKey(e)
	}
	if p.key == nil || e.Name.Local != "Custom" {
		return nil
	}
	return p.custom(e)
}

// startKey adds one key. A key without a place is a problem of the file, and its
// Custom elements are skipped; Plan decides what follows from it.
func (p *parser) startKey(e xml.StartElement) error {
	if len(p.file.Keys) == maxKeys {
		return fmt.Errorf("more than %d keys", maxKeys)
	}
	if err := p.checkText(e); err != nil {
		return err
	}
	where, inherited := location(e)
	path, err := metabase.ParsePath(where)
	var bad *metabase.Error
	switch {
	case where == "":
		err = fmt.Errorf("<%s> has no Location", e.Name.Local)
	case errors.As(err, &bad):
		err = fmt.Errorf("attribute Location: %w", bad.Err)
	}
	if err != nil {
		p.file.Problems = append(p.file.Problems, Problem{Line: p.line, Err: err})
		return nil
	}
	if p.file.Foreign && isOutside(path, p.Part) {
		p.file.outside[service(path)]++
		return nil
	}
	lines := attrLines(p.src.token, p.line)
	k := Key{Line: p.line, Path: path, Element: e.Name.Local, inherited: inherited}
	for i, a := range e.Attr {
		if a.Name.Local == "Location" {
			continue
		}
		it := Item{Line: p.line, Name: a.Name.Local, Value: a.Value}
		if i < len(lines) {
			it.Line = lines[i]
		}
		k.Items = append(k.Items, it)
	}
	p.file.Keys = append(p.file.Keys, k)
	p.key = &p.file.Keys[len(p.file.Keys)-1]
	return nil
}

func (p *parser) custom(e xml.StartElement) error {
	if err := p.checkText(e); err != nil {
		return err
	}
	p.key.Items = append(p.key.Items, Item{
		Line: p.line, Custom: true,
		Name: attr(e, "Name"), Value: attr(e, "Value"),
		ID: attr(e, "ID"), Type: attr(e, "Type"),
		UserType: attr(e, "UserType"), Attr: attr(e, "Attributes"), Enc: attr(e, "Encoding"),
	})
	return nil
}

// checkText refuses values that lost characters in the conversion to UTF-8.
func (p *parser) checkText(e xml.StartElement) error {
	for _, a := range e.Attr {
		if p.src.from != "" && strings.ContainsRune(a.Value, utf8.RuneError) {
			return fmt.Errorf("attribute %s holds what is no %s", a.Name.Local, p.src.from)
		}
	}
	return nil
}

// location is the place of a key, and whether the element has what the key inherits:
// IIS writes such a place with a scheme.
func location(e xml.StartElement) (where string, inherited bool) {
	const scheme = "inherited:"
	where = attr(e, "Location")
	if len(where) > len(scheme) && strings.EqualFold(where[:len(scheme)], scheme) {
		return where[len(scheme):], true
	}
	return where, false
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if strings.EqualFold(a.Name.Local, name) {
			return a.Value
		}
	}
	return ""
}

// attrLines returns the line of each attribute of a well-formed start tag that
// begins in the given line. The decoder only has the position of the tag's end,
// and a tag of IIS has forty lines.
func attrLines(tag []byte, line int) (lines []int) {
	var quote byte
	began, within := line, true // the current name; the first is the element's
	for _, c := range tag {
		switch {
		case c == '\n':
			line++
			within = within && quote != 0
		case quote != 0:
			if c == quote {
				quote, within = 0, false
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '=':
			lines = append(lines, began)
		case c == ' ' || c == '\t' || c == '\r':
			within = false
		case !within:
			began, within = line, true
		}
	}
	return lines
}

// charsets are the encodings that a file may declare beside UTF-8: those of old
// editors. Their ISO-8859-1 is windows-1252.
var charsets = map[string]encoding.Encoding{
	"windows-1252": charmap.Windows1252,
	"iso-8859-1":   charmap.Windows1252,
	"us-ascii":     charmap.Windows1252,
	"iso-8859-15":  charmap.ISO8859_15,
	"windows-1250": charmap.Windows1250,
	"windows-1251": charmap.Windows1251,
}

var errTooLarge = fmt.Errorf("one element has more than %d octets", maxToken)

// A source is the input of the XML decoder, octet by octet, as UTF-8. It fails
// when one token is larger than maxToken, and keeps the token's text for
// attrLines.
type source struct {
	in      *bufio.Reader
	token   []byte // text of the current token
	from    string // encoding before the conversion to UTF-8, or ""
	refused error  // why the declared encoding is refused
}

func newSource(r io.Reader) *source {
	s := &source{in: bufio.NewReader(r)}
	head, _ := s.in.Peek(3)
	switch {
	case bytes.HasPrefix(head, []byte("\xef\xbb\xbf")): // IIS puts it first
		_, _ = s.in.Discard(3)
	case bytes.HasPrefix(head, []byte("\xff\xfe")), bytes.HasPrefix(head, []byte("\xfe\xff")):
		s.decode("UTF-16", unicode.UTF16(unicode.LittleEndian, unicode.ExpectBOM))
	}
	return s
}

func (s *source) decode(name string, e encoding.Encoding) {
	s.in, s.from = bufio.NewReader(transform.NewReader(s.in, e.NewDecoder())), name
}

// charset is the decoder's CharsetReader, for a declared encoding that is not
// UTF-8. It returns the same source.
func (s *source) charset(label string, _ io.Reader) (io.Reader, error) {
	label = strings.ToLower(label)
	if s.from != "" {
		return s, nil // the byte order mark decides
	}
	e, ok := charsets[label]
	if !ok {
		s.refused = fmt.Errorf("the encoding %s is not read: save the file as UTF-8", label)
		return nil, s.refused
	}
	s.decode(label, e)
	return s, nil
}

func (s *source) ReadByte() (byte, error) {
	if len(s.token) >= maxToken {
		return 0, errTooLarge
	}
	c, err := s.in.ReadByte()
	if err == nil {
		s.token = append(s.token, c)
	}
	return c, err
}

// Read makes a source an io.Reader, which the decoder requires and does not use.
func (s *source) Read(p []byte) (n int, err error) {
	for n < len(p) && err == nil {
		if p[n], err = s.ReadByte(); err == nil {
			n++
		}
	}
	return n, err
}
