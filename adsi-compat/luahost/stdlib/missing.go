// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"iter"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// missing are the parts of Lua 5.1 that scripts do not have, with what to use in
// their place. docs/lua/host.md lists them.
var missing = []struct{ name, use string }{
	{"coroutine", "collect values in a table, or return a function that gives the next one"},
	{"debug", "the error that pcall returns names script and line"},
	{"collectgarbage", "memory is freed without it"},
	{"gcinfo", "memory is freed without it"},
	{"newproxy", "use setmetatable({}, ...)"},
	{"module", "return a table from the file, and get it by require"},
	{"string.dump", "keep the source, and compile it by loadstring"},
	{"table.foreach", "use for k, v in pairs(t) do"},
	{"table.foreachi", "use for i, v in ipairs(t) do"},
	{"table.setn", "the length of a table is #t"},
	{"os.setlocale", "texts are octets, and a number has a point, in every locale"},
	{"package.path", "put modules into the script's folder or into that of RESTANTE_LUA"},
	{"package.cpath", "there are no modules in C"},
	{"package.config", "write / in names of files: every system takes it"},
	{"package.loadlib", "there are no modules in C"},
	{"package.loaders", "put modules into the script's folder or into that of RESTANTE_LUA"},
	{"package.preload", "set package.loaded"},
	{"package.seeall", "return a table from the file, and get it by require"},
}

// Missing yields the name of each, and what to use in its place.
func Missing() iter.Seq2[string, string] {
	return func(yield func(name, use string) bool) {
		for _, m := range missing {
			if !yield(m.name, m.use) {
				return
			}
		}
	}
}

// OpenMissing makes the use of what is missing an error that says so. The rest of
// the library is open.
func OpenMissing(vm *lua.LState) {
	for _, m := range missing {
		Refuse(vm, m.name, "does not exist here: "+m.use)
	}
}

// Refuse puts a value at the name of a function or a library, any use of which is an
// error that ends with why. A name has at most one dot.
func Refuse(vm *lua.LState, name, why string) {
	meta := vm.NewTable()
	for _, event := range []string{"__index", "__newindex", "__call", "__concat", "__len"} {
		meta.RawSetString(event, vm.NewFunction(func(vm *lua.LState) int {
			what := name
			if key, ok := vm.Get(2).(lua.LString); ok && event == "__index" {
				what += "." + string(key)
			}
			vm.RaiseError("%s %s", what, why)
			return 0
		}))
	}
	meta.RawSetString("__tostring", vm.NewFunction(func(vm *lua.LState) int {
		vm.Push(lua.LString("none: " + name + " " + why))
		return 1
	}))
	value := vm.NewUserData()
	value.Metatable = meta
	library, field, ok := strings.Cut(name, ".")
	if !ok {
		vm.SetGlobal(name, value)
		return
	}
	vm.GetGlobal(library).(*lua.LTable).RawSetString(field, value)
}
