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
	sandbox bool
	dryRun  bool
	bare    lua.LString               // the text of the last error that was raised without a place
	methods map[string]*lua.LFunction // by lower-case name: case does not count
	walks   map[any]walk              // running loops, by the last child's value
	records *lua.LTable               // the metatable of values that are no objects of the tree
	views   *lua.LTable               // the metatable of collections
}

// register puts GetObject and the ADS_PROPERTY constants into the globals.
func (h *host) register(vm *lua.LState) {
	h.meta = vm.NewTypeMetatable("object")
	h.records = recordMeta(vm)
	h.methods = map[string]*lua.LFunction{}
	h.walks = map[any]walk{}
	h.registerViews(vm)
	for name, method := range h.table() {
		h.methods[strings.ToLower(name)] = vm.NewFunction(func(vm *lua.LState) int {
			return method(vm, h.object(vm, 1))
		})
	}
	vm.SetFuncs(h.meta, map[string]lua.LGFunction{
		"__index":    h.index,
		"__newindex": h.newIndex,
		"__call":     h.next,
		"__len": func(vm *lua.LState) int {
			vm.Push(lua.LNumber(len(h.children(vm, h.object(vm, 1), ""))))
			return 1
		},
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
		refuseForeign(vm, "GetObject", path)
		if facts, ok := h.dir.Describe(h.ctx, path); ok {
			vm.Push(h.ofFacts(vm, facts))
			return 1
		}
		o, err := h.dir.GetObject(h.ctx, path)
		return h.push(vm, o, err)
	}))
	vm.SetGlobal("transaction", vm.NewFunction(h.transaction))
	vm.SetGlobal("DirectoryEntry", vm.GetGlobal("GetObject"))
	vm.SetGlobal("CreateObject", vm.NewFunction(func(vm *lua.LState) int {
		refuseForeign(vm, "CreateObject", vm.CheckString(1))
		vm.RaiseError("CreateObject: %s: there are no such objects here (0x800401F3)", vm.CheckString(1))
		return 0
	}))
	vm.SetGlobal("strict", vm.NewFunction(func(vm *lua.LState) int {
		h.dir.Strict = lua.LVAsBool(vm.Get(1))
		return 0
	}))
	for name, value := range constants {
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
	vm.Push(h.member(vm, o, name))
	return 1
}

func (h *host) member(vm *lua.LState, o *adsi.Object, name string) lua.LValue {
	key := canonical(name)
	if m, ok := h.methods[key]; ok {
		return m
	}
	if read, ok := attributes[key]; ok {
		return read(vm, h, o)
	}
	v, err := o.Get(h.ctx, name)
	if err != nil && isProperty(name) {
		return lua.LString(o.ADsPath())
	}
	check(vm, nearestMember(err, name))
	return h.toLua(vm, v)
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
		return lua.LNumber(len(h.children(vm, o, "")))
	},
	"guid":       text((*adsi.Object).GUID),
	"psbase":     func(vm *lua.LState, h *host, o *adsi.Object) lua.LValue { return h.wrap(vm, o) },
	"properties": func(vm *lua.LState, h *host, o *adsi.Object) lua.LValue { return h.view(vm, &propertiesOf{o}) },
	"children":   func(vm *lua.LState, h *host, o *adsi.Object) lua.LValue { return h.view(vm, &childrenOf{o: o}) },
	"queuedmessages": func(vm *lua.LState, h *host, o *adsi.Object) lua.LValue {
		queued, _ := h.waiting(vm, o, "QueuedMessages")
		return lua.LNumber(queued)
	},
	"heldmessages": func(vm *lua.LState, h *host, o *adsi.Object) lua.LValue {
		_, held := h.waiting(vm, o, "HeldMessages")
		return lua.LNumber(held)
	},
	"currentsessions": func(vm *lua.LState, h *host, o *adsi.Object) lua.LValue {
		return lua.LNumber(len(h.sessions(vm, o, "CurrentSessions")))
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
	_, field := attributes[canonical(name)]
	_, method := h.methods[canonical(name)]
	if field || method {
		cannotSet(vm, name, "an object")
	}
	check(vm, nearestMember(o.Put(h.ctx, name, fromLua(vm, 3)), name))
	return 0
}

// A walk is the state of a loop over an object's children: those after its
// current child.
type walk struct{ rest []lua.LValue }

// next is the iterator of `for child in object do`, over the children at the
// loop's start: Lua calls the object with the previous child, at first nil.
func (h *host) next(vm *lua.LState) int {
	o := h.object(vm, 1)
	var w walk
	if vm.Get(3) == lua.LNil {
		w.rest = h.children(vm, o, "")
	} else {
		last := vm.CheckUserData(3).Value
		w = h.walks[last]
		delete(h.walks, last)
	}
	if len(w.rest) == 0 {
		vm.Push(lua.LNil)
		return 1
	}
	h.walks[w.rest[0].(*lua.LUserData).Value] = walk{w.rest[1:]}
	vm.Push(w.rest[0])
	return 1
}

// children are the objects one level below; of a site's Sessions, its sessions.
func (h *host) children(vm *lua.LState, o *adsi.Object, class string) []lua.LValue {
	if o.HasSessions() {
		return h.sessions(vm, o, "Children")
	}
	list, err := o.Children(h.ctx, class)
	check(vm, err)
	out := make([]lua.LValue, len(list))
	for i, child := range list {
		out[i] = h.wrap(vm, child)
	}
	return out
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
			if vm.GetTop() == 1 { // of WMI
				check(vm, o.SetInfo(h.ctx))
				return 0
			}
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
			paths, err := o.GetDataPaths(h.ctx, vm.CheckString(2), vm.OptInt(3, 0)&1 != 0)
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
		"Close":  func(_ *lua.LState, o *adsi.Object) int { o.Close(); return 0 },
		"Invoke": h.invoke,
		"InvokeGet": func(vm *lua.LState, o *adsi.Object) int {
			vm.Push(h.member(vm, o, vm.CheckString(2)))
			return 1
		},
		"InvokeSet": h.newIndexOf,
		"DeleteTree": func(vm *lua.LState, o *adsi.Object) int {
			check(vm, o.Remove(h.ctx, "DeleteTree"))
			return 0
		},
		"TerminateAll": func(vm *lua.LState, o *adsi.Object) int { h.endSessions(vm, o, ""); return 0 },
		"Backup":       h.backup, "BackupWithPassword": h.backup,
		"Restore": h.restore, "RestoreWithPassword": h.restore,
		"EnumBackups": h.enumBackups, "DeleteBackup": h.deleteBackup,
		"Export": h.export, "Import": h.importFile,
		"SaveData": func(vm *lua.LState, o *adsi.Object) int { // whatever was changed is on disk
			_, err := o.Backups("SaveData")
			check(vm, err)
			return 0
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
