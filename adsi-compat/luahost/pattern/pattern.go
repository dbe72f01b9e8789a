// SPDX-License-Identifier: Apache-2.0

// Package pattern finds patterns of Lua 5.1 in texts. gopher-lua's own matcher
// cannot be stopped, and some patterns take it years; this one checks a context. It
// knows nothing of the values of Lua.
package pattern

import (
	"context"
	"strings"
)

// A Matcher finds Pat in Src. Fail reports an error in the pattern, or the end of
// Context, which may be nil; it does not return.
type Matcher struct {
	Src, Pat string
	Captures []Capture // of the last match
	Context  context.Context
	Fail     func(format string, args ...any)

	depth int // of calls of match
	steps int // since the context was asked
}

// A Capture begins at Start and has Size octets, or a special size.
type Capture struct{ Start, Size int }

const (
	Open  = -1 // its end is not reached
	Place = -2 // it captures the place only

	none = -1 // what match gives for no match

	maxDepth    = 200 // nested parts of a pattern, as in Lua
	maxCaptures = 32
	stepsPerAsk = 1 << 16
)

func (m *Matcher) step(n int) {
	if m.steps += n; m.steps < stepsPerAsk {
		return
	}
	m.steps = 0
	if m.Context != nil && m.Context.Err() != nil {
		m.Fail("%v", context.Cause(m.Context))
	}
}

// Find returns the begin and end of the first match at or after init.
func (m *Matcher) Find(init int) (start, end int, ok bool) {
	pat, anchored := strings.CutPrefix(m.Pat, "^")
	whole := m.Pat
	m.Pat = pat
	defer func() { m.Pat = whole }()
	for at := init; at <= len(m.Src); at++ {
		m.Captures = m.Captures[:0]
		if end := m.match(at, 0); end != none {
			return at, end, true
		}
		if anchored {
			break
		}
	}
	return 0, 0, false
}

// match matches the pattern from p at s, and returns the end of the match.
func (m *Matcher) match(s, p int) int {
	if m.depth++; m.depth > maxDepth {
		m.Fail("the pattern is too complex")
	}
	defer func() { m.depth-- }()
	for p < len(m.Pat) {
		m.step(1)
		next := m.at(p + 1)
		switch c := m.Pat[p]; {
		case c == '(' && next == ')':
			return m.begin(s, p+2, Place)
		case c == '(':
			return m.begin(s, p+1, Open)
		case c == ')':
			return m.finish(s, p+1)
		case c == '$' && p+1 == len(m.Pat):
			if s == len(m.Src) {
				return s
			}
			return none
		case c == '%' && next == 'b':
			if s, p = m.balance(s, p+2), p+4; s == none {
				return none
			}
			continue
		case c == '%' && next == 'f':
			if p = m.frontier(s, p+2); p == none {
				return none
			}
			continue
		case c == '%' && '0' <= next && next <= '9':
			if s, p = m.again(s, int(next-'1')), p+2; s == none {
				return none
			}
			continue
		}
		end := m.classEnd(p)
		switch m.at(end) {
		case '?':
			if m.one(s, p, end) {
				if e := m.match(s+1, end+1); e != none {
					return e
				}
			}
			p = end + 1
		case '*':
			return m.longest(s, p, end)
		case '+':
			if !m.one(s, p, end) {
				return none
			}
			return m.longest(s+1, p, end)
		case '-':
			return m.shortest(s, p, end)
		default:
			if !m.one(s, p, end) {
				return none
			}
			s, p = s+1, end
		}
	}
	return s
}

// at is the octet of the pattern at i, 0 beyond its end.
func (m *Matcher) at(i int) byte {
	if i < len(m.Pat) {
		return m.Pat[i]
	}
	return 0
}

// longest matches as many of the class as possible, then fewer.
func (m *Matcher) longest(s, p, end int) int {
	n := 0
	for m.one(s+n, p, end) {
		n++
	}
	for ; n >= 0; n-- {
		if e := m.match(s+n, end+1); e != none {
			return e
		}
	}
	return none
}

// shortest matches as few of the class as possible.
func (m *Matcher) shortest(s, p, end int) int {
	for {
		if e := m.match(s, end+1); e != none {
			return e
		}
		if !m.one(s, p, end) {
			return none
		}
		s++
	}
}

func (m *Matcher) begin(s, p, size int) int {
	if len(m.Captures) >= maxCaptures {
		m.Fail("the pattern has too many captures")
	}
	m.Captures = append(m.Captures, Capture{s, size})
	n := len(m.Captures)
	e := m.match(s, p)
	if e == none {
		m.Captures = m.Captures[:n-1]
	}
	return e
}

func (m *Matcher) finish(s, p int) int {
	for i := len(m.Captures) - 1; i >= 0; i-- {
		if m.Captures[i].Size != Open {
			continue
		}
		m.Captures[i].Size = s - m.Captures[i].Start
		e := m.match(s, p)
		if e == none {
			m.Captures[i].Size = Open
		}
		return e
	}
	m.Fail("the pattern closes a capture that it did not open")
	return none
}

// again matches the text of capture i at s.
func (m *Matcher) again(s, i int) int {
	if i < 0 || i >= len(m.Captures) || m.Captures[i].Size == Open {
		m.Fail("the pattern names a capture that it has not")
	}
	c := m.Captures[i]
	if c.Size == Place {
		return none
	}
	m.step(c.Size)
	if !strings.HasPrefix(m.Src[s:], m.Src[c.Start:c.Start+c.Size]) {
		return none
	}
	return s + c.Size
}

// balance matches %bxy; x and y are at p.
func (m *Matcher) balance(s, p int) int {
	if p+1 >= len(m.Pat) {
		m.Fail("the pattern's %%b lacks its two characters")
	}
	if s >= len(m.Src) || m.Src[s] != m.Pat[p] {
		return none
	}
	depth := 1
	for s++; s < len(m.Src); s++ {
		m.step(1)
		switch m.Src[s] {
		case m.Pat[p+1]:
			if depth--; depth == 0 {
				return s + 1
			}
		case m.Pat[p]:
			depth++
		}
	}
	return none
}

// frontier matches %f[set] with the set at p, and returns the rest of the
// pattern.
func (m *Matcher) frontier(s, p int) int {
	if m.at(p) != '[' {
		m.Fail("the pattern's %%f lacks its set")
	}
	end := m.classEnd(p)
	var before, after byte
	if s > 0 {
		before = m.Src[s-1]
	}
	if s < len(m.Src) {
		after = m.Src[s]
	}
	if m.inSet(before, p, end) || !m.inSet(after, p, end) {
		return none
	}
	return end
}

// classEnd returns the end of the single class at p.
func (m *Matcher) classEnd(p int) int {
	switch m.Pat[p] {
	case '%':
		if p+1 == len(m.Pat) {
			m.Fail("the pattern ends with %%")
		}
		return p + 2
	case '[':
		p++
		if m.at(p) == '^' {
			p++
		}
		for first := true; first || m.at(p) != ']'; first = false {
			if p >= len(m.Pat) {
				m.Fail("the pattern lacks a ]")
			}
			if m.Pat[p] == '%' {
				p++
			}
			p++
		}
	}
	return p + 1
}

// one reports whether the octet at s is of the class pat[p:end].
func (m *Matcher) one(s, p, end int) bool {
	m.step(1)
	if s >= len(m.Src) {
		return false
	}
	switch c := m.Src[s]; m.Pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.Pat[p+1])
	case '[':
		return m.inSet(c, p, end)
	default:
		return c == m.Pat[p]
	}
}

// inSet reports whether c is in the set pat[p:end], brackets included.
func (m *Matcher) inSet(c byte, p, end int) bool {
	set := m.Pat[p+1 : end-1]
	m.step(len(set))
	set, not := strings.CutPrefix(set, "^")
	for i := 0; i < len(set); i++ {
		switch {
		case set[i] == '%' && i+1 < len(set):
			i++
			if inClass(c, set[i]) {
				return !not
			}
		case i+2 < len(set) && set[i+1] == '-':
			if set[i] <= c && c <= set[i+2] {
				return !not
			}
			i += 2
		case set[i] == c:
			return !not
		}
	}
	return not
}

// inClass reports whether c is of the class %class; an upper-case class is the
// complement.
func inClass(c, class byte) (in bool) {
	lower, upper, digit := 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9'
	switch class | 0x20 {
	case 'a':
		in = lower || upper
	case 'c':
		in = c < 0x20 || c == 0x7f
	case 'd':
		in = digit
	case 'l':
		in = lower
	case 'p':
		in = 0x20 < c && c < 0x7f && !lower && !upper && !digit
	case 's':
		in = c == ' ' || '\t' <= c && c <= '\r'
	case 'u':
		in = upper
	case 'w':
		in = lower || upper || digit
	case 'x':
		in = digit || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
	case 'z':
		in = c == 0
	default:
		return c == class
	}
	if 'A' <= class && class <= 'Z' {
		return !in
	}
	return in
}
