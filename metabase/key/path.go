// SPDX-License-Identifier: Apache-2.0

package key

import (
	"iter"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"restante/internal/printable"
	"restante/metabase/internal/casefold"
)

// A Path names one key of the tree in canonical form: rooted, no trailing
// slash, no empty elements. The root is "/". Its case is kept, and compared
// without. Build one with [ParsePath].
type Path string

// Root is the path of the tree's root.
const Root Path = "/"

// Limits of a path. A name's is that of IIS, 256 with its ending zero.
const (
	maxName = 255
	maxPath = 4096
)

// ParsePath gives the canonical form of s. It must be rooted; a backslash is
// taken for a slash, empty elements go. Each name has 1 to 255 octets of valid
// UTF-8 without control characters. Errors are [Invalid].
func ParsePath(s string) (Path, error) {
	bad := func(why string) (Path, error) {
		return "", &Error{Op: "path", Kind: Invalid, Err: Errorf(Invalid, "%q: %s", Clip(s), why)}
	}
	if isPlain(s) {
		return Path(s), nil
	}
	if s == "" || s[0] != '/' && s[0] != '\\' {
		return bad("does not begin with a slash")
	}
	if len(s) > maxPath {
		return bad("is longer than 4096 octets")
	}
	if !utf8.ValidString(s) {
		return bad("is not valid UTF-8")
	}
	if strings.IndexFunc(s, unicode.IsControl) >= 0 {
		return bad("has a control character")
	}
	var b strings.Builder
	for name := range strings.FieldsFuncSeq(s, func(r rune) bool { return r == '/' || r == '\\' }) {
		if len(name) > maxName {
			return bad("a name is longer than 255 octets")
		}
		b.WriteByte('/')
		b.WriteString(name)
	}
	if b.Len() == 0 {
		return Root, nil
	}
	return Path(b.String()), nil
}

// isPlain says that s is canonical, as can be seen without a second look: it has
// no letters beyond ASCII.
func isPlain(s string) bool {
	if s == "/" {
		return true
	}
	if s == "" || s[0] != '/' || len(s) > maxPath {
		return false
	}
	start := 1 // of the name
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '/':
			if i == start || i-start > maxName {
				return false
			}
			start = i + 1
		case c == '\\' || c < ' ' || c >= 0x7f:
			return false
		}
	}
	return len(s) > start && len(s)-start <= maxName
}

// Clip keeps a message short where s comes from a stranger.
func Clip(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}

// OneLine escapes the line breaks of a text that stands in a line, such as in an error.
func OneLine(s string) string { return lineBreaks.Replace(s) }

var lineBreaks = strings.NewReplacer("\n", `\n`, "\r", `\r`)

// CheckNew says whether a key may get the name, which is that of a Path. Names
// that an earlier version took are read, moved and removed, but not made: those with
// characters that do not show, or that no file of XML holds, and those that look
// like another name because they begin or end with a blank or are not in Unicode's
// normal form C.
func CheckNew(name string) error {
	if name != strings.Trim(name, " ") {
		return Errorf(Invalid, "%+q: a name cannot begin or end with a blank, which does not show", Clip(name))
	}
	for _, r := range name {
		if !printable.Shows(r) {
			return Errorf(Invalid, "%+q: a name cannot have the character %U, which does not show", Clip(name), r)
		}
	}
	if !norm.NFC.IsNormalString(name) {
		return Errorf(Invalid, "%+q: a name must be in normal form C: %+q", Clip(name), Clip(norm.NFC.String(name)))
	}
	return nil
}

// CheckStored is Check for what a store or a backup holds. An earlier version took
// longer paths.
func (p Path) CheckStored() error {
	if len(p) <= maxPath {
		return p.Check()
	}
	for q := range p.Parents() {
		if q != Root && Path("/"+q.Base()).Check() != nil {
			return Errorf(Invalid, "%q is not in canonical form", Clip(string(p)))
		}
	}
	return nil
}

// Check says whether p has the form that ParsePath gives.
func (p Path) Check() error {
	q, err := ParsePath(string(p))
	if err != nil {
		return err
	}
	if p != q {
		return Errorf(Invalid, "%q is not in canonical form", Clip(string(p)))
	}
	return nil
}

// Parent is the path without its last element; that of the root is the root.
func (p Path) Parent() Path {
	if i := strings.LastIndexByte(string(p), '/'); i > 0 {
		return p[:i]
	}
	return Root
}

// Base is the last element, "" of the root.
func (p Path) Base() string { return string(p[strings.LastIndexByte(string(p), '/')+1:]) }

// Prefix is p[:end], where end is that of a name; of 0 it is the root.
func (p Path) Prefix(end int) Path {
	if end == 0 {
		return Root
	}
	return p[:end]
}

// Join appends elem, which may be several elements parted by slashes.
func (p Path) Join(elem string) Path {
	if elem == "" {
		return p
	}
	if p == Root {
		return Path("/" + elem)
	}
	return Path(string(p) + "/" + elem)
}

// Fold gives paths that are Equal the same string, and others different ones.
func (p Path) Fold() string { return casefold.Fold(string(p)) }

// Equal compares without case.
func (p Path) Equal(q Path) bool { return p == q || strings.EqualFold(string(p), string(q)) }

// Within says that p is q or below it, ignoring case.
func (p Path) Within(q Path) bool {
	if q == Root || len(p) >= len(q) && p[:len(q)] == q && (len(p) == len(q) || p[len(q)] == '/') {
		return true
	}
	// Names that are equal without case may differ in octets: step by element.
	rest, under := string(p), string(q)
	for under != "" {
		var a, b string
		if rest == "" {
			return false
		}
		a, rest = CutName(rest[1:])
		b, under = CutName(under[1:])
		if !casefold.Equal(a, b) {
			return false
		}
	}
	return true
}

// Common is the deepest path that both p and q are at or below.
func Common(p, q Path) Path {
	for !q.Within(p) {
		p = p.Parent()
	}
	return p
}

// CutName parts "a/b/c" into "a" and "/b/c".
func CutName(s string) (name, rest string) {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return s[:i], s[i:]
	}
	return s, ""
}

// Elements yields the names from the top down; none for the root.
func (p Path) Elements() iter.Seq[string] {
	return func(yield func(string) bool) {
		rest := strings.TrimPrefix(string(p), "/")
		for rest != "" {
			name, tail := CutName(rest)
			if !yield(name) {
				return
			}
			rest = strings.TrimPrefix(tail, "/")
		}
	}
}

// Parents yields p and then every key above it, up to the root.
func (p Path) Parents() iter.Seq[Path] {
	return func(yield func(Path) bool) {
		for {
			if !yield(p) || p == Root {
				return
			}
			p = p.Parent()
		}
	}
}
