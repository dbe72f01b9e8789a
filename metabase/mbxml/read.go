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

	"restante/metabase"
)

// Bounds of what is read: a file that goes beyond them was not made by a
// metabase.
const (
	maxDepth = 8
	maxToken = 8 << 20 // octets of one element's start, which hold all of a key's values
	maxKeys  = 4_000_000
)

// A File is what a MetaBase.xml says, not yet looked at by a schema.
type File struct {
	Foreign bool // not written by this package
	Keys    []Key
}

// A Key is one element of the file.
type Key struct {
	Line    int
	Path    metabase.Path
	Element string
	Items   []Item
}

// An Item is one property as it stands in the file: an attribute, of which only
// Name and Value are known, or a Custom element.
type Item struct {
	Line                          int
	Name, Value                   string
	Custom                        bool
	ID, Type, UserType, Attr, Enc string
}

// Read reads a file to its end. An error names the line. It does not follow
// entities or document types, and refuses elements that are nested too deep or
// too large.
func Read(r io.Reader) (*File, error) {
	in := &bounded{r: skipMark(r), left: maxToken}
	p := &parser{d: xml.NewDecoder(in), file: &File{Foreign: true}}
	for {
		in.left = maxToken
		tok, err := p.d.Token()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = p.token(tok)
		}
		if err != nil {
			line, _ := p.d.InputPos()
			var syntax *xml.SyntaxError
			if errors.As(err, &syntax) {
				return nil, fmt.Errorf("line %d: %s", syntax.Line, syntax.Msg)
			}
			return nil, fmt.Errorf("line %d: %w", line, err)
		}
	}
	if !p.root {
		return nil, errors.New("is not a MetaBase.xml: it has no <configuration>")
	}
	return p.file, nil
}

// skipMark drops the byte order mark that IIS puts first.
func skipMark(r io.Reader) io.Reader {
	b := bufio.NewReader(r)
	if head, err := b.Peek(3); err == nil && bytes.Equal(head, []byte("\xef\xbb\xbf")) {
		_, _ = b.Discard(3)
	}
	return b
}

// bounded ends the reading when one token takes more than it may.
type bounded struct {
	r    io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, fmt.Errorf("one element has more than %d octets", maxToken)
	}
	n, err := b.r.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

type parser struct {
	d     *xml.Decoder
	file  *File
	depth int
	root  bool
	key   *Key // the element we are in, or nil
}

func (p *parser) token(tok xml.Token) error {
	switch tok := tok.(type) {
	case xml.Directive:
		return errors.New("a document type or entity has no place here")
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

func (p *parser) start(e xml.StartElement) error {
	switch p.depth {
	case 1:
		if e.Name.Local != "configuration" {
			return fmt.Errorf("the outermost element is <%s>, not <configuration>", e.Name.Local)
		}
		p.root = true
		return nil
	case 2:
		return nil // MBProperty; whatever else IIS puts beside it holds no keys
	case 3:
		if e.Name.Local == "IIS_Global" {
			p.file.Foreign = attr(e, "Origin") != origin
			return nil
		}
		return p.startKey(e)
	}
	if p.key == nil || e.Name.Local != "Custom" {
		return nil
	}
	return p.custom(e)
}

func (p *parser) startKey(e xml.StartElement) error {
	if len(p.file.Keys) == maxKeys {
		return fmt.Errorf("more than %d keys", maxKeys)
	}
	line, _ := p.d.InputPos()
	where := attr(e, "Location")
	if where == "" {
		return fmt.Errorf("<%s> has no Location", e.Name.Local)
	}
	path, err := metabase.ParsePath(where)
	if err != nil {
		return fmt.Errorf("attribute Location: %w", err)
	}
	k := Key{Line: line, Path: path, Element: e.Name.Local}
	for _, a := range e.Attr {
		if a.Name.Local != "Location" {
			k.Items = append(k.Items, Item{Line: line, Name: a.Name.Local, Value: a.Value})
		}
	}
	p.file.Keys = append(p.file.Keys, k)
	p.key = &p.file.Keys[len(p.file.Keys)-1]
	return nil
}

func (p *parser) custom(e xml.StartElement) error {
	line, _ := p.d.InputPos()
	p.key.Items = append(p.key.Items, Item{
		Line: line, Custom: true,
		Name: attr(e, "Name"), Value: attr(e, "Value"),
		ID: attr(e, "ID"), Type: attr(e, "Type"),
		UserType: attr(e, "UserType"), Attr: attr(e, "Attributes"), Enc: attr(e, "Encoding"),
	})
	return nil
}

func attr(e xml.StartElement, name string) string {
	for _, a := range e.Attr {
		if strings.EqualFold(a.Name.Local, name) {
			return a.Value
		}
	}
	return ""
}
