// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"encoding/json"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"restante/adsi-compat/luahost/jsontable"
)

// A Function is one that the caller gives a script, in a module. Its request is a
// JSON object and its answer any JSON.
type Function struct {
	Module, Name string
	Args         []string // the fields that arguments fill by position; the last may end with ...
	Call         func(ctx context.Context, request []byte) (answer json.RawMessage, err error)
}

// add puts a function into its module.
func (h *host) add(vm *lua.LState, f Function) {
	module, ok := vm.GetGlobal(f.Module).(*lua.LTable)
	if !ok {
		module = vm.NewTable()
		module.Metatable = vm.SetFuncs(vm.NewTable(), map[string]lua.LGFunction{"__index": func(vm *lua.LState) int {
			var known []string
			module.ForEach(func(name, _ lua.LValue) { known = append(known, name.String()) })
			noMember(vm, f.Module, vm.Get(2).String(), known)
			return 0
		}})
		vm.SetGlobal(f.Module, module)
	}
	module.RawSetString(f.Name, vm.NewFunction(func(vm *lua.LState) int {
		text, err := jsontable.Encode(vm, f.request(vm), lua.LNil, "")
		check(vm, err)
		answer, err := f.Call(h.ctx, text)
		h.dir.Changed()
		check(vm, err)
		v, err := jsontable.Decode(vm, answer, lua.LNil)
		check(vm, err)
		vm.Push(v)
		return 1
	}))
}

// request makes one table of the arguments: those by position, and the fields of
// a table that comes last.
func (f Function) request(vm *lua.LState) *lua.LTable {
	q, n := vm.NewTable(), vm.GetTop()
	if t, ok := vm.Get(n).(*lua.LTable); ok && (t.Len() == 0 || n > len(f.Args)) {
		t.ForEach(func(k, v lua.LValue) { q.RawSet(k, v) })
		n--
	}
	for i := 1; i <= n; i++ {
		if len(f.Args) == 0 || i > len(f.Args) && !strings.HasSuffix(f.Args[len(f.Args)-1], "...") {
			vm.RaiseError("%s.%s takes %d arguments: %s", f.Module, f.Name, len(f.Args), strings.Join(f.Args, ", "))
		}
		field, v := f.Args[min(i, len(f.Args))-1], vm.Get(i)
		if name, rest := strings.CutSuffix(field, "..."); rest {
			list, ok := q.RawGetString(name).(*lua.LTable)
			if !ok {
				list = vm.NewTable()
				q.RawSetString(name, list)
			}
			for _, text := range stringsAt(vm, i) {
				list.Append(lua.LString(text))
			}
			continue
		}
		q.RawSetString(field, v)
	}
	return q
}
