// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

// asIn51 replaces what gopher-lua takes or gives otherwise than Lua 5.1.
func asIn51(vm *lua.LState) {
	library := func(name string) *lua.LTable { return vm.GetGlobal(name).(*lua.LTable) }
	library(lua.MathLibName).RawSetString("huge", lua.LNumber(math.Inf(1)))
	vm.SetFuncs(library(lua.StringLibName), map[string]lua.LGFunction{
		"upper": func(vm *lua.LState) int { return mapOctets(vm, 'a', 'z') },
		"lower": func(vm *lua.LState) int { return mapOctets(vm, 'A', 'Z') },
	})
	checked(vm, vm.G.Global, "setmetatable", func(vm *lua.LState) { vm.CheckTable(1) })
	checked(vm, library(lua.TabLibName), "insert", func(vm *lua.LState) { checkCount(vm, "insert", 2, 3) })
	checked(vm, library(lua.MathLibName), "random", checkInterval)
}

// checked has a function of a library check its arguments before it runs.
func checked(vm *lua.LState, library *lua.LTable, name string, check func(*lua.LState)) {
	do := library.RawGetString(name).(*lua.LFunction).GFunction
	library.RawSetString(name, vm.NewFunction(func(vm *lua.LState) int {
		check(vm)
		return do(vm)
	}))
}

func checkCount(vm *lua.LState, name string, least, most int) {
	if n := vm.GetTop(); n < least || n > most {
		vm.RaiseError("wrong number of arguments to '%s'", name)
	}
}

// checkInterval checks the bounds of math.random. Beyond 2^53 a number is not exact.
func checkInterval(vm *lua.LState) {
	const most = 1 << 53
	checkCount(vm, "random", 0, 2)
	low, last := lua.LNumber(1), vm.GetTop()
	for i := 1; i <= last; i++ {
		n := vm.CheckNumber(i)
		switch {
		case n != n || n < -most || n > most:
			vm.ArgError(i, "a number of at most 2^53 is wanted")
		case i == last && n < low:
			vm.ArgError(i, "interval is empty")
		}
		low = n
	}
}

// mapOctets changes the case of the letters from one to another: those of ASCII, as
// in the locale C.
func mapOctets(vm *lua.LState, from, to byte) int {
	b := []byte(vm.CheckString(1))
	for i, c := range b {
		if from <= c && c <= to {
			b[i] = c ^ 0x20
		}
	}
	vm.Push(lua.LString(b))
	return 1
}
