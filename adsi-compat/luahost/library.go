// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"fmt"
	"regexp"
	"runtime/metrics"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// MaxMemory is the Script.Memory of a script that names none.
const MaxMemory = 512 << 20

// Limits of a script. gopher-lua has none that does not end the whole process,
// and checks the context between the script's steps only: a call of the library
// should be short.
const (
	maxString = 4 << 20   // octets of a string that a function returns
	maxSource = 256 << 10 // octets of a script: one that is nested deeper than memory ends the process
	maxArray  = 1 << 20   // members: a greater index would allocate all members below it
)

func init() { lua.MaxArrayIndex = maxArray }

// bounded replaces functions of the library by bounded ones that stop with the
// context.
func bounded(vm *lua.LState) {
	for name, f := range map[string]lua.LGFunction{"load": load, "loadstring": loadString} {
		vm.SetGlobal(name, vm.NewFunction(f))
	}
	vm.SetFuncs(vm.GetGlobal(lua.TabLibName).(*lua.LTable), map[string]lua.LGFunction{"concat": concat})
	text := vm.GetGlobal(lua.StringLibName).(*lua.LTable)
	format := text.RawGetString("format").(*lua.LFunction).GFunction
	vm.SetFuncs(text, map[string]lua.LGFunction{
		"rep": repeat, "find": find, "match": match, "gmatch": gmatch, "gfind": gmatch, "gsub": gsub,
		"format": func(vm *lua.LState) int { checkFormat(vm); return format(vm) },
	})
}

// watchMemory returns a context that also ends when the process's memory has grown
// by more than growth. Garbage that is not yet collected counts, too. The
// caller must call end.
func watchMemory(ctx context.Context, growth uint64) (_ context.Context, end func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(sample)
	most := sample[0].Value.Uint64() + growth
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if metrics.Read(sample); sample[0].Value.Uint64() > most {
				cancel(fmt.Errorf("more than %d MiB of memory were taken", growth>>20))
			}
		}
	}()
	return ctx, func() { cancel(nil); <-done }
}

func tooLong(vm *lua.LState) { vm.RaiseError("the text would have more than %d octets", maxString) }

func repeat(vm *lua.LState) int {
	s, n := vm.CheckString(1), max(vm.CheckInt(2), 0)
	if len(s) > 0 && n > maxString/len(s) {
		tooLong(vm)
	}
	vm.Push(lua.LString(strings.Repeat(s, n)))
	return 1
}

func concat(vm *lua.LState) int {
	t, sep := vm.CheckTable(1), vm.OptString(2, "")
	from, to := vm.OptInt(3, 1), vm.OptInt(4, t.Len())
	var b strings.Builder
	for i := from; i <= to; i++ {
		v := t.RawGetInt(i)
		if !lua.LVCanConvToString(v) {
			vm.RaiseError("invalid value (%s) at index %d in table for concat", v.Type(), i)
		}
		b.WriteString(v.String())
		if i < to {
			b.WriteString(sep)
		}
		if b.Len() > maxString {
			tooLong(vm)
		}
	}
	vm.Push(lua.LString(b.String()))
	return 1
}

var wide = regexp.MustCompile(`%[^%a-zA-Z]*([0-9]{3}|\*|\[)`)

// checkFormat refuses a format that makes a long text of a short one, and replaces
// objects by their text.
func checkFormat(vm *lua.LState) {
	s, longest := vm.CheckString(1), 0
	if wide.MatchString(strings.ReplaceAll(s, "%%", "")) {
		vm.RaiseError("a width or precision in a format has at most two digits")
	}
	for i := 2; i <= vm.GetTop(); i++ {
		switch v := vm.Get(i).(type) {
		case lua.LNumber, lua.LBool:
		case lua.LString:
			longest = max(longest, len(v))
		default:
			vm.Replace(i, lua.LString(vm.ToStringMeta(v).String()))
			longest = max(longest, len(vm.Get(i).String()))
		}
	}
	const perVerb, perOctet = 512, 5 // a large number with two digits of precision; % #x
	if verbs := strings.Count(s, "%"); verbs > 0 && len(s)+verbs*perVerb+min(verbs, vm.GetTop()-1)*longest*perOctet > 4*maxString {
		tooLong(vm)
	}
}

func loadString(vm *lua.LState) int {
	return compile(vm, vm.CheckString(1), vm.OptString(2, "<string>"))
}

func load(vm *lua.LState) int {
	next, name := vm.CheckFunction(1), vm.OptString(2, "?")
	var b strings.Builder
	for b.Len() <= maxSource {
		vm.Push(next)
		vm.Call(0, 1)
		piece := vm.Get(-1)
		vm.Pop(1)
		if piece == lua.LNil || piece == lua.LString("") {
			break
		}
		if !lua.LVCanConvToString(piece) {
			vm.RaiseError("reader function must return a string")
		}
		b.WriteString(piece.String())
	}
	return compile(vm, b.String(), name)
}

func compile(vm *lua.LState, source, name string) int {
	fn, err := loadSource(vm, source, name)
	if err != nil {
		vm.Push(lua.LNil)
		vm.Push(lua.LString(err.Error()))
		return 2
	}
	vm.Push(fn)
	return 1
}

func loadSource(vm *lua.LState, source, name string) (*lua.LFunction, error) {
	if len(source) > maxSource {
		return nil, fmt.Errorf("%s: has more than %d octets", name, maxSource)
	}
	return compileSource(vm, source, name)
}
