// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"

	adsi "restante/adsi-compat"
)

// toLua converts a value of Get for the script.
func (h *host) toLua(vm *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(v)
	case uint32:
		return lua.LNumber(int32(v)) // ADSI's numbers have a sign: -1 is the greatest
	case int64:
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
	case adsi.IPList:
		return h.ofIPList(vm, v)
	default:
		return lua.LString(fmt.Sprint(v))
	}
}

// fromLua converts the argument at position n for Put.
func fromLua(vm *lua.LState, n int) any {
	switch v := vm.Get(n).(type) {
	case lua.LBool:
		return bool(v)
	case lua.LNumber:
		return float64(v)
	case lua.LString:
		return string(v)
	case *lua.LTable:
		if v.Len() == 0 && hasNames(v) {
			return ipList(vm, fields(vm, v))
		}
		return stringsAt(vm, n)
	case *lua.LUserData:
		if r, ok := v.Value.(*record); ok && r.open {
			return ipList(vm, r.values)
		}
	}
	wrongValue(vm, vm.Get(n))
	return nil
}

func wrongValue(vm *lua.LState, v lua.LValue) {
	wrong(vm, "a string, number, boolean or a list of them is wanted, not %s", v.Type())
}

// stringsAt is stringsOf of the argument at position n.
func stringsAt(vm *lua.LState, n int) []string { return stringsOf(vm, vm.Get(n)) }

// stringsOf reads a list, or a single word. Other members of the table would be
// lost: they are an error.
func stringsOf(vm *lua.LState, v lua.LValue) []string {
	t, ok := v.(*lua.LTable)
	if !ok {
		return []string{word(vm, v)}
	}
	words := make([]string, 0, t.Len())
	for i := 1; i <= t.Len(); i++ {
		words = append(words, word(vm, t.RawGetInt(i)))
	}
	t.ForEach(func(key, _ lua.LValue) {
		if i, ok := key.(lua.LNumber); !ok || i < 1 || int(i) > len(words) {
			wrong(vm, "the list has %s beside its members", key)
		}
	})
	return words
}

func word(vm *lua.LState, v lua.LValue) string {
	switch v := v.(type) {
	case lua.LBool:
		return strconv.FormatBool(bool(v))
	case lua.LNumber:
		return strconv.FormatFloat(float64(v), 'f', -1, 64)
	case lua.LString:
		return string(v)
	}
	wrongValue(vm, v)
	return ""
}

// hasNames reports whether the first key of the table is a name, so that it is no
// list.
func hasNames(t *lua.LTable) bool {
	key, _ := t.Next(lua.LNil)
	return key.Type() == lua.LTString
}

// A record has named values; case does not count. It is an object of IIS that is
// not in the tree: a list of addresses, which can be changed, or facts, which
// cannot.
type record struct {
	values map[string]lua.LValue // by name in lower case
	names  []string              // as they are documented
	open   bool
}

func recordMeta(vm *lua.LState) *lua.LTable {
	of := func(vm *lua.LState) (*record, string) {
		ud := vm.CheckUserData(1)
		r, ok := ud.Value.(*record)
		if !ok {
			vm.ArgError(1, "an object is wanted")
		}
		return r, vm.CheckString(2)
	}
	return vm.SetFuncs(vm.NewTypeMetatable("record"), map[string]lua.LGFunction{
		"__index": func(vm *lua.LState) int {
			r, name := of(vm)
			v, ok := r.values[strings.ToLower(name)]
			if !ok {
				noMember(vm, "the object", name, r.names)
			}
			vm.Push(v)
			return 1
		},
		"__newindex": func(vm *lua.LState) int {
			r, name := of(vm)
			if _, ok := r.values[strings.ToLower(name)]; !ok {
				noMember(vm, "the object", name, r.names)
			}
			if !r.open {
				cannotSet(vm, name, "the object")
			}
			r.values[strings.ToLower(name)] = vm.Get(3)
			return 0
		},
	})
}

func (h *host) record(vm *lua.LState, open bool, values map[string]any) lua.LValue {
	r := &record{values: map[string]lua.LValue{}, open: open}
	for name, v := range values {
		r.values[strings.ToLower(name)] = h.toLua(vm, v)
		r.names = append(r.names, name)
	}
	ud := vm.NewUserData()
	ud.Value, ud.Metatable = r, h.records
	return ud
}

func (h *host) ofFacts(vm *lua.LState, f adsi.Facts) lua.LValue { return h.record(vm, false, f) }

func (h *host) ofIPList(vm *lua.LState, l adsi.IPList) lua.LValue {
	return h.record(vm, true, map[string]any{
		"GrantByDefault": l.GrantByDefault, "IPGrant": l.IPGrant, "IPDeny": l.IPDeny,
		"DomainGrant": l.DomainGrant, "DomainDeny": l.DomainDeny,
	})
}

// fields reads a table that a script wrote instead of a record.
func fields(vm *lua.LState, t *lua.LTable) map[string]lua.LValue {
	values := map[string]lua.LValue{}
	t.ForEach(func(key, v lua.LValue) {
		if !slices.ContainsFunc(ipListNames, func(name string) bool { return strings.EqualFold(name, key.String()) }) {
			noMember(vm, "a list of addresses", key.String(), slices.Clone(ipListNames))
		}
		values[strings.ToLower(key.String())] = v
	})
	return values
}

var ipListNames = []string{"GrantByDefault", "IPGrant", "IPDeny", "DomainGrant", "DomainDeny"}

// ipList reads a list of addresses by the names of a record, in lower case.
func ipList(vm *lua.LState, values map[string]lua.LValue) (l adsi.IPList) {
	lists := map[string]*[]string{
		"ipgrant": &l.IPGrant, "ipdeny": &l.IPDeny, "domaingrant": &l.DomainGrant, "domaindeny": &l.DomainDeny,
	}
	for name, v := range values {
		if list, ok := lists[name]; ok {
			*list = stringsOf(vm, v)
			continue
		}
		switch v := v.(type) {
		case lua.LBool:
			l.GrantByDefault = bool(v)
		case lua.LNumber: // of VBScript: -1 is true
			l.GrantByDefault = v != 0
		default:
			wrong(vm, "GrantByDefault is true or false")
		}
	}
	return l
}
