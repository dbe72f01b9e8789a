// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"strings"

	lua "github.com/yuin/gopher-lua"

	adsi "restante/adsi-compat"
)

// host gives one script the objects of one directory.
type host struct {
	ctx     context.Context
	dir     *adsi.Directory
	meta    *lua.LTable
	methods map[string]*lua.LFunction // by lower-case name: case does not count
	walks   map[*adsi.Object]walk     // running loops, by the last child
	records *lua.LTable               // the metatable of values that are no objects of the tree
}

// register puts GetObject and the ADS_PROPERTY constants into the globals.
func (h *host) register(vm *lua.LState) {
	h.meta = vm.NewTypeMetatable("object")
	h.records = recordMeta(vm)
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
		path := vm.CheckString(1)
		if facts, ok := h.dir.Describe(h.ctx, path); ok {
			vm.Push(h.ofFacts(vm, facts))
			return 1
		}
		o, err := h.dir.GetObject(h.ctx, path)
		return h.push(vm, o, err)
	}))
	vm.SetGlobal("transaction", vm.NewFunction(h.transaction))
	for name, value := range map[string]int{
		"ADS_PROPERTY_CLEAR":  adsi.OpClear,
		"ADS_PROPERTY_UPDATE": adsi.OpUpdate,
		"ADS_PROPERTY_APPEND": adsi.OpAppend,
		"ADS_PROPERTY_DELETE": adsi.OpDelete,
	} {
		vm.SetGlobal(name, lua.LNumber(value))
	}
}

// object is the argument at position n; any other value raises an error.
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
		vm.Push(read(vm, h, o))
		return 1
	}
	return h.get(vm, o, name)
}

func (h *host) get(vm *lua.LState, o *adsi.Object, name string) int {
	v, err := o.Get(h.ctx, name)
	check(vm, err)
	vm.Push(h.toLua(vm, v))
	return 1
}

// attributes are the fields of an object that Get does not read.
var attributes = map[string]func(*lua.LState, *host, *adsi.Object) lua.LValue{
	"name":    text((*adsi.Object).Name),
	"class":   text((*adsi.Object).Class),
	"adspath": text((*adsi.Object).ADsPath),
	"parent":  text((*adsi.Object).Parent),
	"schema":  text((*adsi.Object).Schema),
	"filter": func(vm *lua.LState, h *host, o *adsi.Object) lua.LValue {
		return h.toLua(vm, o.Filter())
	},
	"count": func(vm *lua.LState, h *host, o *adsi.Object) lua.LValue {
		children, err := o.Children(h.ctx, "")
		check(vm, err)
		return lua.LNumber(len(children))
	},
}

func text(read func(*adsi.Object) string) func(*lua.LState, *host, *adsi.Object) lua.LValue {
	return func(_ *lua.LState, _ *host, o *adsi.Object) lua.LValue { return lua.LString(read(o)) }
}

// newIndex is object.Property = value, which is Put.
func (h *host) newIndex(vm *lua.LState) int {
	o, name := h.object(vm, 1), vm.CheckString(2)
	if strings.EqualFold(name, "Filter") {
		check(vm, o.SetFilter(stringsAt(vm, 3)))
		return 0
	}
	if _, ok := attributes[strings.ToLower(name)]; ok {
		vm.RaiseError("%s of an object cannot be set", name)
	}
	check(vm, o.Put(h.ctx, name, fromLua(vm, 3)))
	return 0
}

// A walk is the state of a loop over an object's children: those after its
// current child.
type walk struct{ rest []*adsi.Object }

// next is the iterator of `for child in object do`, over the children at the
// loop's start: Lua calls the object with the previous child, at first nil.
func (h *host) next(vm *lua.LState) int {
	o := h.object(vm, 1)
	var w walk
	if vm.Get(3) == lua.LNil {
		children, err := o.Children(h.ctx, "")
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

// table has the methods of an object, by the names of IIS.
func (h *host) table() map[string]method {
	return map[string]method{
		"Get": func(vm *lua.LState, o *adsi.Object) int { return h.get(vm, o, vm.CheckString(2)) },
		"GetEx": func(vm *lua.LState, o *adsi.Object) int {
			list, err := o.GetEx(h.ctx, vm.CheckString(2))
			check(vm, err)
			t := vm.NewTable()
			for _, v := range list {
				t.Append(h.toLua(vm, v))
			}
			vm.Push(t)
			return 1
		},
		"Put": func(vm *lua.LState, o *adsi.Object) int {
			check(vm, o.Put(h.ctx, vm.CheckString(2), fromLua(vm, 3)))
			return 0
		},
		"PutEx": func(vm *lua.LState, o *adsi.Object) int {
			op, name := vm.CheckInt(2), vm.CheckString(3)
			var value any
			if op != adsi.OpClear {
				value = fromLua(vm, 4)
			}
			check(vm, o.PutEx(h.ctx, op, name, value))
			return 0
		},
		"GetPropertyAttribObj": func(vm *lua.LState, o *adsi.Object) int {
			facts, err := o.GetPropertyAttribObj(h.ctx, vm.CheckString(2))
			check(vm, err)
			vm.Push(h.ofFacts(vm, facts))
			return 1
		},
		"SetInfo": h.act((*adsi.Object).SetInfo),
		"GetInfo": h.act((*adsi.Object).GetInfo),
		"GetDataPaths": func(vm *lua.LState, o *adsi.Object) int {
			paths, err := o.GetDataPaths(h.ctx, vm.CheckString(2))
			check(vm, err)
			vm.Push(h.toLua(vm, paths))
			return 1
		},
		"Create": func(vm *lua.LState, o *adsi.Object) int {
			child, err := o.Create(h.ctx, vm.CheckString(2), vm.CheckString(3))
			return h.push(vm, child, err)
		},
		"Delete": func(vm *lua.LState, o *adsi.Object) int {
			check(vm, o.Delete(h.ctx, vm.CheckString(2), vm.CheckString(3)))
			return 0
		},
		"GetObject": func(vm *lua.LState, o *adsi.Object) int {
			child, err := o.GetObject(h.ctx, vm.CheckString(2), vm.CheckString(3))
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
			children, err := o.Children(h.ctx, vm.OptString(2, ""))
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
			v, err := o.Status(h.ctx)
			check(vm, err)
			vm.Push(h.toLua(vm, v))
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
