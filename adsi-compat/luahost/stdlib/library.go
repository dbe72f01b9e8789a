// SPDX-License-Identifier: Apache-2.0

// Package stdlib has the library of a script that needs nothing of the system: Lua
// 5.1's own functions on texts, tables and numbers, bounded in memory and time, bit
// and csv. It compiles the script, too.
package stdlib

import (
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// Limits of a script. gopher-lua has none that does not end the whole process,
// and checks the context between the script's steps only: a call of the library
// should be short.
const (
	MaxText   = 32 << 20  // octets of a text that is made or read
	MaxSource = 256 << 10 // octets of a script: one that is nested deeper than memory ends the process
	maxArray  = 1 << 20   // members: a greater index would allocate all members below it
)

func init() { lua.MaxArrayIndex = maxArray }

// Open opens Lua's library but for what reads a file or starts a program. Its
// functions are bounded and stop with the context of vm.
func Open(vm *lua.LState) {
	for _, lib := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
		{lua.StringLibName, lua.OpenString},
		{lua.MathLibName, lua.OpenMath},
		{lua.OsLibName, lua.OpenOs},
	} {
		vm.Push(vm.NewFunction(lib.open))
		vm.Push(lua.LString(lib.name))
		vm.Call(1, 0)
	}
	for _, name := range []string{"dofile", "loadfile", "require", "module", "newproxy", "_printregs", "collectgarbage"} {
		vm.SetGlobal(name, lua.LNil)
	}
	os := vm.GetGlobal(lua.OsLibName).(*lua.LTable)
	for _, name := range []string{"execute", "exit", "getenv", "setenv", "remove", "rename", "tmpname", "setlocale"} {
		os.RawSetString(name, lua.LNil)
	}
	vm.SetGlobal("bit", vm.SetFuncs(vm.NewTable(), bits))
	vm.SetGlobal("csv", vm.SetFuncs(vm.NewTable(), map[string]lua.LGFunction{"rows": csvRows}))
	bound(vm)
	asIn51(vm)
}

// bound replaces functions of the library by bounded ones.
func bound(vm *lua.LState) {
	for name, f := range map[string]lua.LGFunction{"load": load, "loadstring": loadString, "tonumber": toNumber} {
		vm.SetGlobal(name, vm.NewFunction(f))
	}
	vm.SetFuncs(vm.GetGlobal(lua.OsLibName).(*lua.LTable), map[string]lua.LGFunction{"date": date, "time": clock, "difftime": difference})
	vm.SetFuncs(vm.GetGlobal(lua.TabLibName).(*lua.LTable), map[string]lua.LGFunction{"concat": concat})
	text := vm.GetGlobal(lua.StringLibName).(*lua.LTable)
	vm.SetFuncs(text, map[string]lua.LGFunction{
		"rep": repeat, "find": find, "match": match, "gmatch": gmatch, "gfind": gmatch, "gsub": gsub,
		"format": format,
	})
}

// tooLong raises the error of a text above MaxText.
func tooLong(vm *lua.LState) { vm.RaiseError("the text would have more than %d octets", MaxText) }

func repeat(vm *lua.LState) int {
	s, n := vm.CheckString(1), max(vm.CheckInt(2), 0)
	if len(s) > 0 && n > MaxText/len(s) {
		tooLong(vm)
	}
	vm.Push(lua.LString(strings.Repeat(s, n)))
	return 1
}

func concat(vm *lua.LState) int {
	t, sep := vm.CheckTable(1), vm.OptString(2, "")
	from, to := vm.OptInt(3, 1), vm.OptInt(4, t.Len())
	var b strings.Builder
	for i := from; i <= to; i++ {
		v := t.RawGetInt(i)
		if !lua.LVCanConvToString(v) {
			vm.RaiseError("invalid value (%s) at index %d in table for concat", v.Type(), i)
		}
		b.WriteString(v.String())
		if i < to {
			b.WriteString(sep)
		}
		if b.Len() > MaxText {
			tooLong(vm)
		}
	}
	vm.Push(lua.LString(b.String()))
	return 1
}

func loadString(vm *lua.LState) int {
	return compile(vm, vm.CheckString(1), vm.OptString(2, "<string>"))
}

func load(vm *lua.LState) int {
	next, name := vm.CheckFunction(1), vm.OptString(2, "?")
	var b strings.Builder
	for b.Len() <= MaxSource {
		vm.Push(next)
		vm.Call(0, 1)
		piece := vm.Get(-1)
		vm.Pop(1)
		if piece == lua.LNil || piece == lua.LString("") {
			break
		}
		if !lua.LVCanConvToString(piece) {
			vm.RaiseError("reader function must return a string")
		}
		b.WriteString(piece.String())
	}
	return compile(vm, b.String(), name)
}

func compile(vm *lua.LState, source, name string) int {
	fn, err := Load(vm, source, name)
	if err != nil {
		vm.Push(lua.LNil)
		vm.Push(lua.LString(err.Error()))
		return 2
	}
	vm.Push(fn)
	return 1
}

// Load compiles the source of a chunk. The error names its line.
func Load(vm *lua.LState, source, name string) (*lua.LFunction, error) {
	if len(source) > MaxSource {
		return nil, fmt.Errorf("%s:1: has more than %d octets", name, MaxSource)
	}
	return compileSource(vm, skipShebang(source), name)
}

// skipShebang empties a first line that begins with #; line numbers stay right.
func skipShebang(source string) string {
	if !strings.HasPrefix(source, "#") {
		return source
	}
	_, rest, found := strings.Cut(source, "\n")
	if !found {
		return ""
	}
	return "\n" + rest
}
