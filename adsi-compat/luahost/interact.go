// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"

	adsi "restante/adsi-compat"
	"restante/adsi-compat/luahost/stdlib"
)

// A Prompter gives the lines of a script that somebody types.
type Prompter interface {
	// Line gives the next line; more says that it goes on with the one before.
	// complete gives what the last word of a text could become. The error at the
	// end is io.EOF.
	Line(more bool, complete func(text string) []string) (string, error)
}

// interact runs each line as it comes, and prints the values of an expression. An
// error ends the line, not the script.
func (h *host) interact(ctx context.Context, vm *lua.LState, s Script) error {
	source := ""
	for ctx.Err() == nil {
		line, err := s.Prompt.Line(source != "", func(text string) []string { return h.complete(vm, text) })
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		source += line + "\n"
		fn, err := stdlib.Load(vm, "return "+source, s.Name)
		if err != nil {
			fn, err = stdlib.Load(vm, source, s.Name)
		}
		if err != nil && strings.HasSuffix(err.Error(), stdlib.AtEnd) && strings.TrimSpace(line) != "" {
			continue // it goes on in the next line; an empty one ends it
		}
		if source = ""; err == nil {
			err = h.show(vm, s, fn)
		}
		if err != nil && ctx.Err() == nil {
			fmt.Fprintln(s.Err, err)
		}
	}
	return stopped(ctx, s.Name)
}

// show calls fn and prints what it returns.
func (h *host) show(vm *lua.LState, s Script, fn *lua.LFunction) error {
	vm.SetTop(0)
	if err := h.call(vm, fn); err != nil {
		return err
	}
	if n := vm.GetTop(); n > 0 {
		vm.Insert(vm.GetGlobal("print"), 1)
		vm.Call(n, 0)
	}
	return nil
}

// dotted is the end of a text that can be completed: names with dots or colons.
var dotted = regexp.MustCompile(`[A-Za-z_][A-Za-z0-9_]*([.:][A-Za-z0-9_]*)*$`)

// complete lists what the last word of a text could become. It reads tables and
// names of objects, and calls nothing.
func (h *host) complete(vm *lua.LState, text string) (names []string) {
	word := dotted.FindString(text)
	at := strings.LastIndexAny(word, ".:") + 1
	var holder lua.LValue = vm.Get(lua.GlobalsIndex)
	for name := range strings.FieldsFuncSeq(word[:at], func(r rune) bool { return r == '.' || r == ':' }) {
		t, ok := holder.(*lua.LTable)
		if !ok {
			return nil
		}
		holder = t.RawGetString(name)
	}
	for _, name := range h.members(holder) {
		if word != "" && strings.HasPrefix(strings.ToLower(name), strings.ToLower(word[at:])) {
			names = append(names, word[:at]+name)
		}
	}
	return names
}

// members lists the names that a value has.
func (h *host) members(v lua.LValue) (names []string) {
	switch v := v.(type) {
	case *lua.LTable:
		v.ForEach(func(key, _ lua.LValue) {
			if name, ok := key.(lua.LString); ok {
				names = append(names, string(name))
			}
		})
	case *lua.LUserData:
		if o, ok := v.Value.(*adsi.Object); ok {
			names = slices.AppendSeq(o.Allowed(), maps.Keys(h.table()))
		}
	}
	slices.Sort(names)
	return names
}
