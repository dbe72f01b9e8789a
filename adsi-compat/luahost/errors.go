// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

// placed is the beginning of an error that names script and line.
var placed = regexp.MustCompile(`^[^:\n]+:[0-9]+: `)

// call calls fn without results for its caller but on the stack. The error that it
// ends in names script and line. There is no traceback: a loop of tail calls has
// gigabytes of it.
func (h *host) call(vm *lua.LState, fn *lua.LFunction) (err error) {
	vm.Panic = func(vm *lua.LState) { panic(h.uncaught(vm, vm.Get(-1))) }
	defer func() {
		switch raised := recover().(type) {
		case nil:
		case *uncaught:
			err = raised
		default:
			err = fmt.Errorf("%s%v", place(vm), raised)
		}
	}()
	vm.Push(fn)
	vm.Call(0, lua.MultRet)
	return nil
}

// An uncaught error is what a script, or a line at the prompt, has ended in.
type uncaught struct{ error }

func (e *uncaught) Unwrap() error { return e.error }

// Lines are those of the text: of a refused change, a line for each problem.
func (e *uncaught) Lines() []string { return strings.Split(e.Error(), "\n") }

// uncaught makes an error of what was raised. A text without a place gets that of
// the innermost function in Lua: assert adds none. One that the script
// has raised with level 0 stays what it is.
func (h *host) uncaught(vm *lua.LState, v lua.LValue) *uncaught {
	text, ok := v.(lua.LString)
	switch {
	case ok && (text == h.bare || placed.MatchString(string(text))):
		return &uncaught{errors.New(string(text))}
	case ok:
		return &uncaught{errors.New(place(vm) + strings.TrimSpace(string(text)))}
	case vm.GetMetaField(v, "__tostring") != lua.LNil:
		return &uncaught{errors.New(place(vm) + vm.ToStringMeta(v).String())}
	case v.Type() == lua.LTNumber:
		return &uncaught{errors.New(place(vm) + v.String())}
	}
	return &uncaught{fmt.Errorf("%sthe error is a %s, not a text", place(vm), v.Type())}
}

// place is the script and line of the innermost function in Lua, as errors begin.
func place(vm *lua.LState) string {
	for level := 0; ; level++ {
		at := where(vm, level)
		if at == "" {
			return ""
		}
		if !strings.HasPrefix(at, "[G]") {
			return at + " "
		}
	}
}

// where is vm.Where. A function that has not begun has no line.
func where(vm *lua.LState, level int) (at string) {
	defer func() {
		if recover() != nil {
			at = "[G]:"
		}
	}()
	return vm.Where(level)
}

// assert is Lua's: its error is the second argument, which may be no text.
func assert(vm *lua.LState) int {
	if vm.CheckAny(1); vm.ToBool(1) {
		return vm.GetTop()
	}
	v := vm.Get(2)
	if v == lua.LNil {
		v = lua.LString("assertion failed!")
	}
	vm.Error(v, 0)
	return 0
}

// raise is error. A level counts from the function that calls it; gopher-lua's own
// takes 2 for 1.
func (h *host) raise(vm *lua.LState) int {
	v, level := vm.CheckAny(1), vm.OptInt(2, 1)
	if text, ok := v.(lua.LString); ok && level <= 0 {
		h.bare = text
	} else if at := where(vm, level); ok && at != "" && !strings.HasPrefix(at, "[G]") {
		v = lua.LString(at + " " + string(text))
	}
	vm.Error(v, 0)
	return 0
}
