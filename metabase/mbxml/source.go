// SPDX-License-Identifier: Apache-2.0

package mbxml

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
	"golang.org/x/text/transform"
)

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
