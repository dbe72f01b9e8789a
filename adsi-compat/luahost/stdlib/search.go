// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"strings"

	lua "github.com/yuin/gopher-lua"

	"restante/adsi-compat/luahost/pattern"
)

// The functions of string that take a pattern, as in Lua 5.1.

// A matcher gives the script's values for what was matched. An error in the
// pattern, or the end of the context, is raised in the script.
type matcher struct {
	pattern.Matcher
	vm *lua.LState
}

func newMatcher(vm *lua.LState, src, pat string) *matcher {
	return &matcher{pattern.Matcher{Src: src, Pat: pat, Context: vm.Context(), Fail: vm.RaiseError}, vm}
}

// begin reads text, pattern and start, which counts from 1 or, below 0, from the
// end.
func begin(vm *lua.LState) (m *matcher, init int) {
	m = newMatcher(vm, vm.CheckString(1), vm.CheckString(2))
	init = vm.OptInt(3, 1)
	if init < 0 {
		init += len(m.Src) + 1
	}
	return m, min(max(init-1, 0), len(m.Src))
}

func find(vm *lua.LState) int {
	m, init := begin(vm)
	if lua.LVAsBool(vm.Get(4)) || !strings.ContainsAny(m.Pat, "^$*+?.([%-") {
		i := strings.Index(m.Src[init:], m.Pat)
		if i < 0 {
			vm.Push(lua.LNil)
			return 1
		}
		vm.Push(lua.LNumber(init + i + 1))
		vm.Push(lua.LNumber(init + i + len(m.Pat)))
		return 2
	}
	start, end, ok := m.Find(init)
	if !ok {
		vm.Push(lua.LNil)
		return 1
	}
	vm.Push(lua.LNumber(start + 1))
	vm.Push(lua.LNumber(end))
	for i := range m.Captures {
		vm.Push(m.captured(i))
	}
	return 2 + len(m.Captures)
}

func match(vm *lua.LState) int {
	m, init := begin(vm)
	start, end, ok := m.Find(init)
	if !ok {
		vm.Push(lua.LNil)
		return 1
	}
	return m.push(start, end)
}

func gmatch(vm *lua.LState) int {
	src, pat, at := vm.CheckString(1), vm.CheckString(2), 0
	if strings.HasPrefix(pat, "^") {
		pat = "%" + pat // in gmatch it is an ordinary character
	}
	vm.Push(vm.NewFunction(func(vm *lua.LState) int {
		m := newMatcher(vm, src, pat)
		start, end, ok := 0, 0, false
		if at <= len(src) {
			start, end, ok = m.Find(at)
		}
		if !ok {
			vm.Push(lua.LNil)
			return 1
		}
		if at = end; end == start {
			at++ // an empty match: go on
		}
		return m.push(start, end)
	}))
	return 1
}

func gsub(vm *lua.LState) int {
	m := newMatcher(vm, vm.CheckString(1), vm.CheckString(2))
	with := vm.CheckAny(3)
	most, at, done := vm.OptInt(4, len(m.Src)+1), 0, 0
	var b strings.Builder
	for done < most && at <= len(m.Src) {
		start, end, ok := m.Find(at)
		if !ok {
			break
		}
		done++
		b.WriteString(m.Src[at:start])
		b.WriteString(m.replacement(with, start, end))
		if at = end; end == start {
			b.WriteString(m.Src[start:min(start+1, len(m.Src))])
			at++
		}
		if b.Len() > MaxText {
			tooLong(vm)
		}
		if strings.HasPrefix(m.Pat, "^") {
			break
		}
	}
	b.WriteString(m.Src[min(at, len(m.Src)):])
	vm.Push(lua.LString(b.String()))
	vm.Push(lua.LNumber(done))
	return 2
}

// replacement is the text that replaces the match.
func (m *matcher) replacement(with lua.LValue, start, end int) string {
	whole := m.Src[start:end]
	var got lua.LValue
	switch with := with.(type) {
	case lua.LString:
		return m.expand(string(with), whole)
	case lua.LNumber:
		return with.String()
	case *lua.LTable:
		m.push(start, end)
		first := m.vm.Get(-max(len(m.Captures), 1))
		m.vm.Pop(max(len(m.Captures), 1))
		got = m.vm.GetTable(with, first)
	case *lua.LFunction:
		m.vm.Push(with)
		m.vm.Call(m.push(start, end), 1)
		got = m.vm.Get(-1)
		m.vm.Pop(1)
	default:
		m.vm.ArgError(3, "string, function or table expected")
	}
	if lua.LVIsFalse(got) {
		return whole
	}
	if !lua.LVCanConvToString(got) {
		m.Fail("invalid replacement value (a %s)", got.Type())
	}
	return got.String()
}

// expand replaces %1 to %9 by captures, and %0 by the match.
func (m *matcher) expand(with, whole string) string {
	var b strings.Builder
	for i := 0; i < len(with); i++ {
		c := with[i]
		switch {
		case c != '%' || i+1 == len(with):
			b.WriteByte(c)
			continue
		case with[i+1] == '0' || with[i+1] == '1' && len(m.Captures) == 0:
			b.WriteString(whole)
		case '1' <= with[i+1] && with[i+1] <= '9':
			b.WriteString(m.captured(int(with[i+1] - '1')).String())
		default:
			b.WriteByte(with[i+1])
		}
		i++
		if b.Len() > MaxText {
			tooLong(m.vm)
		}
	}
	return b.String()
}

// push returns the captures to the script or, without any, the match; the result
// is their number.
func (m *matcher) push(start, end int) int {
	if len(m.Captures) == 0 {
		m.vm.Push(lua.LString(m.Src[start:end]))
		return 1
	}
	for i := range m.Captures {
		m.vm.Push(m.captured(i))
	}
	return len(m.Captures)
}

func (m *matcher) captured(i int) lua.LValue {
	if i >= len(m.Captures) {
		m.Fail("there is no capture %d", i+1)
	}
	switch c := m.Captures[i]; c.Size {
	case pattern.Open:
		m.Fail("the pattern leaves a capture open")
		return lua.LNil
	case pattern.Place:
		return lua.LNumber(c.Start + 1)
	default:
		return lua.LString(m.Src[c.Start : c.Start+c.Size])
	}
}
