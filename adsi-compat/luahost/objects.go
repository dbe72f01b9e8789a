// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"

	adsi "restante/adsi-compat"
)

// host lends the objects of one directory to one script.
type host struct {
	ctx     context.Context
	dir     *adsi.Directory
	meta    *lua.LTable
	methods map[string]*lua.LFunction // by lower-case name: scripts write them as they like
	walks   map[*adsi.Object]walk     // loops under way, by the child they gave last
}

// register puts GetObject and the ADS_PROPERTY constants into the globals.
func (h *host) register(vm *lua.LState) {
	h.meta = vm.NewTypeMetatable("object")
	h.methods = map[string]*lua.LFunction{}
	h.walks = map[*adsi.Object]walk{}
	for name, method := range h.table() {
		h.methods[strings.ToLower(name)] = vm.NewFunction(func(vm *lua.LState) int {
			return method(vm, h.object(vm, 1))
		})
	}
	vm.SetFuncs(h.meta, map[string]lua.LGFunction{
		"__index":    h.index,
		"__newindex": h.newIndex,
		"__call":     h.next,
		"__tostring": func(vm *lua.LState) int {
			vm.Push(lua.LString(h.object(vm, 1).ADsPath()))
			return 1
		},
		"__eq": func(vm *lua.LState) int {
			vm.Push(lua.LBool(strings.EqualFold(h.object(vm, 1).ADsPath(), h.object(vm, 2).ADsPath())))
			return 1
		},
	})
	vm.SetGlobal("GetObject", vm.NewFunction(func(vm *lua.LState) int {
		o, err := h.dir.GetObject(vm.CheckString(1))
		return h.push(vm, o, err)
	}))
	for name, value := range map[string]int{
		"ADS_PROPERTY_CLEAR":  adsi.OpClear,
		"ADS_PROPERTY_UPDATE": adsi.OpUpdate,
		"ADS_PROPERTY_APPEND": adsi.OpAppend,
		"ADS_PROPERTY_DELETE": adsi.OpDelete,
	} {
		vm.SetGlobal(name, lua.LNumber(value))
	}
}

// object is the argument at position n; anything else is the script's mistake.
func (h *host) object(vm *lua.LState, n int) *adsi.Object {
	if ud, ok := vm.Get(n).(*lua.LUserData); ok {
		if o, ok := ud.Value.(*adsi.Object); ok {
			return o
		}
	}
	vm.ArgError(n, "an object is wanted: call methods as object:Method()")
	return nil
}

// push returns one object to the script, or raises err with the script's line.
func (h *host) push(vm *lua.LState, o *adsi.Object, err error) int {
	check(vm, err)
	vm.Push(h.wrap(vm, o))
	return 1
}

func (h *host) wrap(vm *lua.LState, o *adsi.Object) lua.LValue {
	ud := vm.NewUserData()
	ud.Value, ud.Metatable = o, h.meta
	return ud
}

func check(vm *lua.LState, err error) {
	if err != nil {
		vm.RaiseError("%s", err.Error())
	}
}

// index reads object.Name, a method, or a property.
func (h *host) index(vm *lua.LState) int {
	o, name := h.object(vm, 1), vm.CheckString(2)
	if m, ok := h.methods[strings.ToLower(name)]; ok {
		vm.Push(m)
		return 1
	}
	if read, ok := attributes[strings.ToLower(name)]; ok {
		vm.Push(lua.LString(read(o)))
		return 1
	}
	v, err := o.Get(name)
	check(vm, err)
	vm.Push(toLua(vm, v))
	return 1
}

// attributes are what IIS reads by object.Name only, never by Get.
var attributes = map[string]func(*adsi.Object) string{
	"name":    (*adsi.Object).Name,
	"class":   (*adsi.Object).Class,
	"adspath": (*adsi.Object).ADsPath,
	"parent":  (*adsi.Object).Parent,
	"schema":  (*adsi.Object).Schema,
}

// newIndex is object.Property = value, which is Put.
func (h *host) newIndex(vm *lua.LState) int {
	o, name := h.object(vm, 1), vm.CheckString(2)
	if _, ok := attributes[strings.ToLower(name)]; ok {
		vm.RaiseError("%s of an object cannot be set", name)
	}
	check(vm, o.Put(name, fromLua(vm, 3)...))
	return 0
}

// A walk is where a loop over an object's children stands: what is still to
// come after the child it is filed under.
type walk struct{ rest []*adsi.Object }

// next makes `for child in object do` walk the children as they were when the
// loop began: Lua calls the object with the child before, or nil at first.
func (h *host) next(vm *lua.LState) int {
	o := h.object(vm, 1)
	var w walk
	if vm.Get(3) == lua.LNil {
		children, err := o.Children("")
		check(vm, err)
		w.rest = children
	} else {
		last := h.object(vm, 3)
		w = h.walks[last]
		delete(h.walks, last)
	}
	if len(w.rest) == 0 {
		vm.Push(lua.LNil)
		return 1
	}
	child := w.rest[0]
	h.walks[child] = walk{w.rest[1:]}
	vm.Push(h.wrap(vm, child))
	return 1
}

type method func(vm *lua.LState, o *adsi.Object) int

// table is what an object can do, by the names of IIS.
func (h *host) table() map[string]method {
	return map[string]method{
		"Get": func(vm *lua.LState, o *adsi.Object) int {
			v, err := o.Get(vm.CheckString(2))
			check(vm, err)
			vm.Push(toLua(vm, v))
			return 1
		},
		"GetEx": func(vm *lua.LState, o *adsi.Object) int {
			list, err := o.GetEx(vm.CheckString(2))
			check(vm, err)
			t := vm.NewTable()
			for _, v := range list {
				t.Append(toLua(vm, v))
			}
			vm.Push(t)
			return 1
		},
		"Put": func(vm *lua.LState, o *adsi.Object) int {
			check(vm, o.Put(vm.CheckString(2), fromLua(vm, 3)...))
			return 0
		},
		"PutEx": func(vm *lua.LState, o *adsi.Object) int {
			op, name := vm.CheckInt(2), vm.CheckString(3)
			var words []string
			if op != adsi.OpClear {
				words = fromLua(vm, 4)
			}
			check(vm, o.PutEx(op, name, words...))
			return 0
		},
		"SetInfo": h.act((*adsi.Object).SetInfo),
		"GetInfo": h.act(func(o *adsi.Object, _ context.Context) error { return o.GetInfo() }),
		"GetDataPaths": func(vm *lua.LState, o *adsi.Object) int {
			paths, err := o.GetDataPaths(vm.CheckString(2))
			check(vm, err)
			vm.Push(toLua(vm, paths))
			return 1
		},
		"Create": func(vm *lua.LState, o *adsi.Object) int {
			child, err := o.Create(vm.CheckString(2), vm.CheckString(3))
			return h.push(vm, child, err)
		},
		"Delete": func(vm *lua.LState, o *adsi.Object) int {
			check(vm, o.Delete(h.ctx, vm.CheckString(2), vm.CheckString(3)))
			return 0
		},
		"GetObject": func(vm *lua.LState, o *adsi.Object) int {
			child, err := o.GetObject(vm.CheckString(2), vm.CheckString(3))
			return h.push(vm, child, err)
		},
		"CopyHere": func(vm *lua.LState, o *adsi.Object) int {
			child, err := o.CopyHere(h.ctx, vm.CheckString(2), vm.CheckString(3))
			return h.push(vm, child, err)
		},
		"MoveHere": func(vm *lua.LState, o *adsi.Object) int {
			child, err := o.MoveHere(h.ctx, vm.CheckString(2), vm.CheckString(3))
			return h.push(vm, child, err)
		},
		"Children": func(vm *lua.LState, o *adsi.Object) int {
			children, err := o.Children(vm.OptString(2, ""))
			check(vm, err)
			t := vm.NewTable()
			for _, child := range children {
				t.Append(h.wrap(vm, child))
			}
			vm.Push(t)
			return 1
		},
		"Start":    h.act((*adsi.Object).Start),
		"Stop":     h.act((*adsi.Object).Stop),
		"Pause":    h.act((*adsi.Object).Pause),
		"Continue": h.act((*adsi.Object).Continue),
		"Status": func(vm *lua.LState, o *adsi.Object) int {
			v, err := o.Status()
			check(vm, err)
			vm.Push(toLua(vm, v))
			return 1
		},
	}
}

func (h *host) act(do func(*adsi.Object, context.Context) error) method {
	return func(vm *lua.LState, o *adsi.Object) int {
		check(vm, do(o, h.ctx))
		return 0
	}
}

// toLua gives the script what Get gave us.
func toLua(vm *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case bool:
		return lua.LBool(v)
	case uint32:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case []byte:
		return lua.LString(v)
	case []string:
		t := vm.NewTable()
		for _, s := range v {
			t.Append(lua.LString(s))
		}
		return t
	default:
		return lua.LString(fmt.Sprint(v))
	}
}

// fromLua reads the value at position n as the words that Put takes: a list
// gives one for each member, anything else is one word.
func fromLua(vm *lua.LState, n int) []string {
	t, ok := vm.Get(n).(*lua.LTable)
	if !ok {
		return []string{word(vm, n, vm.Get(n))}
	}
	words := make([]string, 0, t.Len())
	for i := 1; i <= t.Len(); i++ {
		words = append(words, word(vm, n, t.RawGetInt(i)))
	}
	return words
}

func word(vm *lua.LState, n int, v lua.LValue) string {
	switch v := v.(type) {
	case lua.LBool:
		return strconv.FormatBool(bool(v))
	case lua.LNumber:
		return strconv.FormatFloat(float64(v), 'f', -1, 64)
	case lua.LString:
		return string(v)
	}
	vm.ArgError(n, "a string, number, boolean or a list of them is wanted, not "+v.Type().String())
	return ""
}
