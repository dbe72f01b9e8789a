// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"maps"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	adsi "restante/adsi-compat"
)

// A view is a collection of .NET over an object: it has members by name, and is
// walked by `for x in view do`. What is no member, item gives.
type view interface {
	members(h *host, vm *lua.LState) map[string]lua.LGFunction // called as view.Name(...) and view:Name(...)
	field(h *host, vm *lua.LState, name string) (lua.LValue, bool)
	set(h *host, vm *lua.LState, name string) // the value is at position 3
	all(h *host, vm *lua.LState) []lua.LValue
}

// registerViews makes the metatable of views, and has ipairs and pairs take one.
func (h *host) registerViews(vm *lua.LState) {
	h.views = vm.NewTypeMetatable("collection")
	vm.SetFuncs(h.views, map[string]lua.LGFunction{
		"__index": func(vm *lua.LState) int { vm.Push(h.viewIndex(vm)); return 1 },
		"__newindex": func(vm *lua.LState) int {
			viewAt(vm, 1).set(h, vm, vm.CheckString(2))
			return 0
		},
		"__len":  func(vm *lua.LState) int { vm.Push(lua.LNumber(len(viewAt(vm, 1).all(h, vm)))); return 1 },
		"__call": h.viewCall,
	})
	for _, name := range []string{"ipairs", "pairs"} {
		of := vm.GetGlobal(name)
		vm.SetGlobal(name, vm.NewFunction(func(vm *lua.LState) int {
			if ud, ok := vm.Get(1).(*lua.LUserData); ok {
				if v, ok := ud.Value.(view); ok {
					vm.Replace(1, listOf(vm, v.all(h, vm)))
				}
			}
			top := vm.GetTop()
			vm.Insert(of, 1)
			vm.Call(top, lua.MultRet)
			return vm.GetTop()
		}))
	}
}

func listOf(vm *lua.LState, values []lua.LValue) *lua.LTable {
	t := vm.NewTable()
	for _, v := range values {
		t.Append(v)
	}
	return t
}

func (h *host) view(vm *lua.LState, v view) lua.LValue {
	ud := vm.NewUserData()
	ud.Value, ud.Metatable = v, h.views
	return ud
}

func viewAt(vm *lua.LState, n int) view {
	v, ok := vm.CheckUserData(n).Value.(view)
	if !ok {
		vm.ArgError(n, "a collection is wanted")
	}
	return v
}

// viewIndex reads a member by its name, or the n-th one from 1 on.
func (h *host) viewIndex(vm *lua.LState) lua.LValue {
	v := viewAt(vm, 1)
	if n, ok := vm.Get(2).(lua.LNumber); ok {
		all := v.all(h, vm)
		if i := int(n); i >= 1 && i <= len(all) {
			return all[i-1]
		}
		return lua.LNil
	}
	name := vm.CheckString(2)
	for known, f := range v.members(h, vm) {
		if strings.EqualFold(known, name) {
			self := vm.Get(1)
			return vm.NewFunction(func(vm *lua.LState) int {
				if vm.Get(1) == self { // called with a colon
					vm.Remove(1)
				}
				return f(vm)
			})
		}
	}
	if strings.EqualFold(name, "Count") {
		return lua.LNumber(len(v.all(h, vm)))
	}
	out, ok := v.field(h, vm, name)
	if !ok {
		noCollectionMember(h, vm, v, name)
	}
	return out
}

// noCollectionMember raises the error of a name that a collection does not know.
func noCollectionMember(h *host, vm *lua.LState, v view, name string) {
	known := append(slices.Collect(maps.Keys(v.members(h, vm))), "Count")
	if _, ok := v.(*valueOf); ok {
		known = append(known, "Value", "Name")
	}
	noMember(vm, "the collection", name, known)
}

// viewCall is a step of `for x in view do`; of Children also object:Children(class),
// and of Properties object.Properties("X").
func (h *host) viewCall(vm *lua.LState) int {
	v := viewAt(vm, 1)
	if c, ok := v.(*childrenOf); ok {
		if _, called := vm.Get(2).(*lua.LUserData); called {
			vm.Push(listOf(vm, h.children(vm, c.o, vm.OptString(3, ""))))
			return 1
		}
	}
	if name, ok := vm.Get(2).(lua.LString); ok {
		out, ok := v.field(h, vm, string(name))
		if !ok {
			noCollectionMember(h, vm, v, string(name))
		}
		vm.Push(out)
		return 1
	}
	var rest []lua.LValue
	if vm.Get(3) == lua.LNil {
		rest = v.all(h, vm)
	} else { // its members may be equal texts: the state is the collection's
		rest = h.walks[v].rest
	}
	delete(h.walks, v)
	if len(rest) == 0 {
		vm.Push(lua.LNil)
		return 1
	}
	h.walks[v] = walk{rest[1:]}
	vm.Push(rest[0])
	return 1
}

func readOnly(vm *lua.LState, name string) { cannotSet(vm, name, "the collection") }

// childrenOf is Children: Find, Add and Remove, and a list.
type childrenOf struct{ o *adsi.Object }

func (c *childrenOf) all(h *host, vm *lua.LState) []lua.LValue { return h.children(vm, c.o, "") }
func (c *childrenOf) set(_ *host, vm *lua.LState, name string) { readOnly(vm, name) }
func (c *childrenOf) field(*host, *lua.LState, string) (lua.LValue, bool) {
	return nil, false
}

func (c *childrenOf) members(h *host, _ *lua.LState) map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"Find": func(vm *lua.LState) int {
			child, err := c.o.GetObject(h.ctx, vm.OptString(2, ""), vm.CheckString(1))
			return h.push(vm, child, err)
		},
		"Add": func(vm *lua.LState) int {
			child, err := c.o.Create(h.ctx, vm.CheckString(2), vm.CheckString(1))
			return h.push(vm, child, err)
		},
		"Remove": func(vm *lua.LState) int {
			check(vm, c.o.Delete(h.ctx, "", h.object(vm, 1).Name()))
			return 0
		},
	}
}

// propertiesOf is Properties: a property by its name, Contains and PropertyNames.
type propertiesOf struct{ o *adsi.Object }

func (p *propertiesOf) all(h *host, vm *lua.LState) (out []lua.LValue) {
	names, err := p.o.PropertyNames(h.ctx)
	check(vm, err)
	for _, name := range names {
		out = append(out, h.view(vm, &valueOf{p.o, name}))
	}
	return out
}

func (p *propertiesOf) set(h *host, vm *lua.LState, name string) {
	check(vm, p.o.Put(h.ctx, name, fromLua(vm, 3)))
}

func (p *propertiesOf) field(h *host, vm *lua.LState, name string) (lua.LValue, bool) {
	if strings.EqualFold(name, "PropertyNames") {
		names, err := p.o.PropertyNames(h.ctx)
		check(vm, err)
		return h.toLua(vm, names), true
	}
	return h.view(vm, &valueOf{p.o, name}), true
}

func (p *propertiesOf) members(h *host, _ *lua.LState) map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"Contains": func(vm *lua.LState) int {
			set, err := p.o.IsSet(h.ctx, vm.CheckString(1))
			check(vm, err)
			vm.Push(lua.LBool(set))
			return 1
		},
		"Item": func(vm *lua.LState) int {
			vm.Push(h.view(vm, &valueOf{p.o, vm.CheckString(1)}))
			return 1
		},
	}
}

// valueOf is Properties["X"]: its Value, and a list of its strings.
type valueOf struct {
	o    *adsi.Object
	name string
}

func (v *valueOf) all(h *host, vm *lua.LState) (out []lua.LValue) {
	list, err := v.o.GetEx(h.ctx, v.name)
	check(vm, err)
	for _, one := range list {
		out = append(out, h.toLua(vm, one))
	}
	return out
}

func (v *valueOf) field(h *host, vm *lua.LState, name string) (lua.LValue, bool) {
	switch strings.ToLower(name) {
	case "value":
		value, err := v.o.Get(h.ctx, v.name)
		check(vm, err)
		return h.toLua(vm, value), true
	case "propertyname", "name":
		return lua.LString(v.name), true
	}
	return nil, false
}

func (v *valueOf) set(h *host, vm *lua.LState, name string) {
	if !strings.EqualFold(name, "Value") {
		readOnly(vm, name)
	}
	check(vm, v.o.Put(h.ctx, v.name, fromLua(vm, 3)))
}

func (v *valueOf) members(h *host, _ *lua.LState) map[string]lua.LGFunction {
	change := func(op int) lua.LGFunction {
		return func(vm *lua.LState) int {
			var value any
			if op != adsi.OpClear {
				value = stringsAt(vm, 1)
			}
			check(vm, v.o.PutEx(h.ctx, op, v.name, value))
			return 0
		}
	}
	return map[string]lua.LGFunction{
		"Add": change(adsi.OpAppend), "Remove": change(adsi.OpDelete), "Clear": change(adsi.OpClear),
		"Contains": func(vm *lua.LState) int {
			vm.Push(lua.LBool(slices.ContainsFunc(v.all(h, vm), func(one lua.LValue) bool {
				return strings.EqualFold(one.String(), vm.Get(1).String())
			})))
			return 1
		},
	}
}
