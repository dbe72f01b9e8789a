// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// A matcher finds a pattern of Lua 5.1 in a text. gopher-lua's own cannot be
// stopped, and some patterns take it years; this one checks the context. An error
// in the pattern, or the end of the context, is raised in the script.
type matcher struct {
	vm       *lua.LState
	src, pat string
	captures []capture
	depth    int // of calls of match
	steps    int // since the context was asked
}

// A capture begins at start and has length octets, or a special length.
type capture struct{ start, size int }

const (
	open  = -1 // its end is not reached
	place = -2 // it captures the place only
	none  = -1 // what match gives for no match

	maxDepth    = 200 // nested parts of a pattern, as in Lua
	maxCaptures = 32
	stepsPerAsk = 1 << 16
)

func (m *matcher) step(n int) {
	if m.steps += n; m.steps < stepsPerAsk {
		return
	}
	m.steps = 0
	if ctx := m.vm.Context(); ctx != nil && ctx.Err() != nil {
		m.vm.RaiseError("%v", context.Cause(ctx))
	}
}

func (m *matcher) fail(format string, args ...any) { m.vm.RaiseError(format, args...) }

// find returns the begin and end of the first match at or after init.
func (m *matcher) find(init int) (start, end int, ok bool) {
	pat, anchored := strings.CutPrefix(m.pat, "^")
	whole := m.pat
	m.pat = pat
	defer func() { m.pat = whole }()
	for at := init; at <= len(m.src); at++ {
		m.captures = m.captures[:0]
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
func (m *matcher) match(s, p int) int {
	if m.depth++; m.depth > maxDepth {
		m.fail("the pattern is too complex")
	}
	defer func() { m.depth-- }()
	for p < len(m.pat) {
		m.step(1)
		next := m.at(p + 1)
		switch c := m.pat[p]; {
		case c == '(' && next == ')':
			return m.begin(s, p+2, place)
		case c == '(':
			return m.begin(s, p+1, open)
		case c == ')':
			return m.finish(s, p+1)
		case c == '$' && p+1 == len(m.pat):
			if s == len(m.src) {
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
func (m *matcher) at(i int) byte {
	if i < len(m.pat) {
		return m.pat[i]
	}
	return 0
}

// longest matches as many of the class as possible, then fewer.
func (m *matcher) longest(s, p, end int) int {
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
func (m *matcher) shortest(s, p, end int) int {
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

func (m *matcher) begin(s, p, size int) int {
	if len(m.captures) >= maxCaptures {
		m.fail("the pattern has too many captures")
	}
	m.captures = append(m.captures, capture{s, size})
	n := len(m.captures)
	e := m.match(s, p)
	if e == none {
		m.captures = m.captures[:n-1]
	}
	return e
}

func (m *matcher) finish(s, p int) int {
	for i := len(m.captures) - 1; i >= 0; i-- {
		if m.captures[i].size != open {
			continue
		}
		m.captures[i].size = s - m.captures[i].start
		e := m.match(s, p)
		if e == none {
			m.captures[i].size = open
		}
		return e
	}
	m.fail("the pattern closes a capture that it did not open")
	return none
}

// again matches the text of capture i at s.
func (m *matcher) again(s, i int) int {
	if i < 0 || i >= len(m.captures) || m.captures[i].size == open {
		m.fail("the pattern names a capture that it has not")
	}
	c := m.captures[i]
	if c.size == place {
		return none
	}
	m.step(c.size)
	if !strings.HasPrefix(m.src[s:], m.src[c.start:c.start+c.size]) {
		return none
	}
	return s + c.size
}

// balance matches %bxy; x and y are at p.
func (m *matcher) balance(s, p int) int {
	if p+1 >= len(m.pat) {
		m.fail("the pattern's %%b lacks its two characters")
	}
	if s >= len(m.src) || m.src[s] != m.pat[p] {
		return none
	}
	depth := 1
	for s++; s < len(m.src); s++ {
		m.step(1)
		switch m.src[s] {
		case m.pat[p+1]:
			if depth--; depth == 0 {
				return s + 1
			}
		case m.pat[p]:
			depth++
		}
	}
	return none
}

// frontier matches %f[set] with the set at p, and returns the rest of the
// pattern.
func (m *matcher) frontier(s, p int) int {
	if m.at(p) != '[' {
		m.fail("the pattern's %%f lacks its set")
	}
	end := m.classEnd(p)
	var before, after byte
	if s > 0 {
		before = m.src[s-1]
	}
	if s < len(m.src) {
		after = m.src[s]
	}
	if m.inSet(before, p, end) || !m.inSet(after, p, end) {
		return none
	}
	return end
}

// classEnd returns the end of the single class at p.
func (m *matcher) classEnd(p int) int {
	switch m.pat[p] {
	case '%':
		if p+1 == len(m.pat) {
			m.fail("the pattern ends with %%")
		}
		return p + 2
	case '[':
		p++
		if m.at(p) == '^' {
			p++
		}
		for first := true; first || m.at(p) != ']'; first = false {
			if p >= len(m.pat) {
				m.fail("the pattern lacks a ]")
			}
			if m.pat[p] == '%' {
				p++
			}
			p++
		}
	}
	return p + 1
}

// one reports whether the octet at s is of the class pat[p:end].
func (m *matcher) one(s, p, end int) bool {
	m.step(1)
	if s >= len(m.src) {
		return false
	}
	switch c := m.src[s]; m.pat[p] {
	case '.':
		return true
	case '%':
		return inClass(c, m.pat[p+1])
	case '[':
		return m.inSet(c, p, end)
	default:
		return c == m.pat[p]
	}
}

// inSet reports whether c is in the set pat[p:end], brackets included.
func (m *matcher) inSet(c byte, p, end int) bool {
	set := m.pat[p+1 : end-1]
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
