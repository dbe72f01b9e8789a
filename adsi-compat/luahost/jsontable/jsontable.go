// SPDX-License-Identifier: Apache-2.0

// Package jsontable converts JSON to tables of Lua and back.
package jsontable

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"unicode/utf8"

	lua "github.com/yuin/gopher-lua"
)

// maxDepth is how deep tables may be nested: one that contains itself ends there.
const maxDepth = 100

// arrayMeta names the metatable that marks a table as an array, empty or not.
const arrayMeta = "array"

// Decode makes a value of a JSON text. null becomes none.
func Decode(vm *lua.LState, text []byte, none lua.LValue) (lua.LValue, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errors.New("something follows the value")
	}
	return toLua(vm, v, none), nil
}

func toLua(vm *lua.LState, v any, none lua.LValue) lua.LValue {
	switch v := v.(type) {
	case bool:
		return lua.LBool(v)
	case float64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case []any:
		t := vm.CreateTable(len(v), 0)
		for _, member := range v {
			t.Append(toLua(vm, member, none))
		}
		t.Metatable = vm.NewTypeMetatable(arrayMeta)
		return t
	case map[string]any:
		t := vm.CreateTable(0, len(v))
		for name, member := range v {
			t.RawSetString(name, toLua(vm, member, none))
		}
		return t
	}
	return none
}

// Encode makes the JSON of a value. A table is an array if it came out of one or
// all its keys are 1, 2 ...; an empty table is an object. none is null.
func Encode(vm *lua.LState, v, none lua.LValue, indent string) ([]byte, error) {
	e := encoder{vm.NewTypeMetatable(arrayMeta), none}
	plain, err := e.plain(v, 0)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := json.NewEncoder(&b)
	w.SetEscapeHTML(false)
	w.SetIndent("", indent)
	if err := w.Encode(plain); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

type encoder struct {
	array lua.LValue
	none  lua.LValue
}

// plain converts a value to what package json takes.
func (e encoder) plain(v lua.LValue, depth int) (any, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("a table is nested more than %d deep: does it contain itself?", maxDepth)
	}
	if v == e.none {
		return nil, nil
	}
	switch v := v.(type) {
	case *lua.LNilType:
		return nil, nil
	case lua.LBool:
		return bool(v), nil
	case lua.LNumber:
		return number(float64(v))
	case lua.LString:
		if !utf8.ValidString(string(v)) {
			return nil, fmt.Errorf("the text %.40q is not UTF-8", string(v))
		}
		return string(v), nil
	case *lua.LTable:
		return e.table(v, depth)
	}
	return nil, fmt.Errorf("a %s has no form in JSON", v.Type())
}

func number(f float64) (any, error) {
	switch {
	case math.IsNaN(f) || math.IsInf(f, 0):
		return nil, fmt.Errorf("the number %v has no form in JSON", f)
	case f == math.Trunc(f) && math.Abs(f) < 1<<53:
		return int64(f), nil
	}
	return f, nil
}

func (e encoder) table(t *lua.LTable, depth int) (any, error) {
	if n := t.Len(); n > 0 || t.Metatable == e.array {
		list := make([]any, n)
		for i := range list {
			member, err := e.plain(t.RawGetInt(i+1), depth+1)
			if err != nil {
				return nil, err
			}
			list[i] = member
		}
		return list, onlyMembers(t, n)
	}
	object, bad := map[string]any{}, error(nil)
	t.ForEach(func(key, v lua.LValue) {
		name, ok := key.(lua.LString)
		if !ok {
			bad = fmt.Errorf("the key %s: a table is a list, with the keys 1, 2 ..., or has texts as keys", key)
			return
		}
		member, err := e.plain(v, depth+1)
		if err != nil {
			bad = fmt.Errorf("%s: %w", string(name), err)
		}
		object[string(name)] = member
	})
	return object, bad
}

// onlyMembers refuses a list with other keys, which would be lost.
func onlyMembers(t *lua.LTable, n int) (err error) {
	t.ForEach(func(key, _ lua.LValue) {
		if i, ok := key.(lua.LNumber); !ok || i < 1 || int(i) > n {
			err = fmt.Errorf("the list has the key %s beside its members", key)
		}
	})
	return err
}

// Open makes the library json.
func Open(vm *lua.LState) {
	none := vm.NewUserData() // json.null
	none.Metatable = vm.SetFuncs(vm.NewTable(), map[string]lua.LGFunction{
		"__tostring": func(vm *lua.LState) int { vm.Push(lua.LString("null")); return 1 },
	})
	library := vm.SetFuncs(vm.NewTable(), map[string]lua.LGFunction{
		"decode": func(vm *lua.LState) int {
			v, err := Decode(vm, []byte(vm.CheckString(1)), none)
			return give(vm, "json.decode", v, err)
		},
		"encode": func(vm *lua.LState) int {
			indent := ""
			if lua.LVAsBool(vm.Get(2)) {
				indent = "  "
			}
			text, err := Encode(vm, vm.CheckAny(1), none, indent)
			return give(vm, "json.encode", lua.LString(text), err)
		},
		"array": func(vm *lua.LState) int {
			t := vm.OptTable(1, vm.NewTable())
			t.Metatable = vm.NewTypeMetatable(arrayMeta)
			vm.Push(t)
			return 1
		},
	})
	library.RawSetString("null", none)
	vm.SetGlobal("json", library)
}

func give(vm *lua.LState, what string, v lua.LValue, err error) int {
	if err != nil {
		vm.RaiseError("%s: %v", what, err)
	}
	vm.Push(v)
	return 1
}
