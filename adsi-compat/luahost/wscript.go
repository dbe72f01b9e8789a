// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"maps"
	"slices"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// wscript makes the object that scripts of Windows Script Host know. Names are
// compared without case.
func wscript(vm *lua.LState, s Script, exit func(*lua.LState, int)) lua.LValue {
	return object(vm, "WScript", map[string]lua.LValue{
		"echo":       vm.NewFunction(printTo(s.Out, " ")),
		"sleep":      vm.NewFunction(sleeper(time.Millisecond)),
		"quit":       vm.NewFunction(func(vm *lua.LState) int { exit(vm, vm.OptInt(1, 0)); return 0 }),
		"arguments":  arguments(vm, s.Args),
		"scriptname": lua.LString(s.Name),
	}, nil)
}

// elsewhere says what to use in the place of members that Windows Script Host has.
var elsewhere = map[string]string{
	"wscript.stdout":          "use print or io.write",
	"wscript.stderr":          "use io.stderr:write",
	"wscript.stdin":           "use io.read or io.lines",
	"wscript.createobject":    "use what CreateObject(name) says",
	"wscript.getobject":       "use GetObject(path)",
	"wscript.scriptfullname":  "use ScriptName",
	"wscript.arguments.named": "use arg",
}

// object makes a value whose members can only be read.
func object(vm *lua.LState, name string, members map[string]lua.LValue, call lua.LGFunction) lua.LValue {
	ud, meta := vm.NewUserData(), vm.NewTable()
	meta.RawSetString("__index", vm.NewFunction(func(vm *lua.LState) int {
		v, ok := members[strings.ToLower(vm.CheckString(2))]
		if !ok {
			word := vm.CheckString(2)
			if use, ok := elsewhere[strings.ToLower(name+"."+word)]; ok {
				vm.RaiseError("%s has no %s: %s (0x80005006)", name, word, use)
			}
			noMember(vm, name, word, slices.Collect(maps.Keys(members)))
		}
		vm.Push(v)
		return 1
	}))
	if call != nil {
		meta.RawSetString("__call", vm.NewFunction(call))
	}
	ud.Metatable = meta
	return ud
}

// arguments makes WScript.Arguments: Arguments(0) and Arguments:Item(0) are the
// first, Count their number, and `for a in WScript.Arguments do` walks them.
func arguments(vm *lua.LState, args []string) lua.LValue {
	item := func(vm *lua.LState, n int) int {
		i := vm.CheckInt(n)
		if i < 0 || i >= len(args) {
			vm.RaiseError("WScript.Arguments(%d): there are %d, from 0", i, len(args))
		}
		vm.Push(lua.LString(args[i]))
		return 1
	}
	next := 0 // of the loop that runs
	count := lua.LNumber(len(args))
	return object(vm, "WScript.Arguments", map[string]lua.LValue{
		"count": count, "length": count,
		"item": vm.NewFunction(func(vm *lua.LState) int { return item(vm, vm.GetTop()) }),
	}, func(vm *lua.LState) int {
		if vm.GetTop() < 3 {
			return item(vm, 2)
		}
		if vm.Get(3) == lua.LNil { // a loop begins
			next = 0
		}
		if next++; next > len(args) {
			vm.Push(lua.LNil)
			return 1
		}
		vm.Push(lua.LString(args[next-1]))
		return 1
	})
}

// sleeper makes a function that waits, and ends with the script.
func sleeper(unit time.Duration) lua.LGFunction {
	return func(vm *lua.LState) int {
		const most = 365 * 24 * time.Hour // more would overflow
		timer := time.NewTimer(time.Duration(min(float64(vm.CheckNumber(1))*float64(unit), float64(most))))
		defer timer.Stop()
		select {
		case <-vm.Context().Done():
			vm.RaiseError("interrupted")
		case <-timer.C:
		}
		return 0
	}
}
