// SPDX-License-Identifier: Apache-2.0

// Package luahost runs administration scripts in Lua, over the objects of package
// adsi. A script has GetObject, print, arg, and the parts of Lua's library that
// use neither files nor processes. It runs until it ends, raises an error, or its
// context is done.
package luahost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	lua "github.com/yuin/gopher-lua"

	adsi "restante/adsi-compat"
)

// Script is one run of a script.
type Script struct {
	Name   string // for error messages, usually the file's name
	Source string
	Args   []string  // the script's arg[1], arg[2] ...
	Stdout io.Writer // where print writes
}

// Run runs a script over dir. The error of a script that raises one, or does not
// compile, names its line. When ctx is done, the script stops at its next step,
// and the error says so; changes that it has made with SetInfo stay.
func Run(ctx context.Context, dir *adsi.Directory, s Script) error {
	// A registry that grows keeps a small script small. Its bound makes a deep
	// recursion an error of the script.
	vm := lua.NewState(lua.Options{
		SkipOpenLibs:        true,
		RegistrySize:        1024,
		RegistryMaxSize:     1024 * 256,
		CallStackSize:       256,
		MinimizeStackMemory: true,
	})
	defer vm.Close()
	ctx, end := watchMemory(ctx)
	defer end()
	vm.SetContext(ctx)
	openLibs(vm)
	bounded(vm)
	h := &host{ctx: ctx, dir: dir}
	h.register(vm)
	vm.SetGlobal("print", vm.NewFunction(printTo(s.Stdout)))
	args := vm.NewTable()
	for _, a := range s.Args {
		args.Append(lua.LString(a))
	}
	args.RawSetInt(0, lua.LString(s.Name))
	vm.SetGlobal("arg", args)

	fn, err := loadSource(vm, skipShebang(s.Source), s.Name)
	if err != nil {
		return clean(err)
	}
	vm.Push(fn)
	if err := vm.PCall(0, lua.MultRet, nil); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return fmt.Errorf("%s: stopped: %w", s.Name, cause)
		}
		return clean(err)
	}
	return nil
}

// openLibs opens the parts of the library that neither read a file nor start a
// program.
func openLibs(vm *lua.LState) {
	for _, lib := range []struct {
		name string
		open lua.LGFunction
	}{
		{lua.BaseLibName, lua.OpenBase},
		{lua.TabLibName, lua.OpenTable},
		{lua.StringLibName, lua.OpenString},
		{lua.MathLibName, lua.OpenMath},
		{lua.OsLibName, lua.OpenOs},
	} {
		vm.Push(vm.NewFunction(lib.open))
		vm.Push(lua.LString(lib.name))
		vm.Call(1, 0)
	}
	for _, name := range []string{"dofile", "loadfile", "require", "module", "newproxy", "_printregs", "collectgarbage"} {
		vm.SetGlobal(name, lua.LNil)
	}
	os := vm.GetGlobal("os").(*lua.LTable)
	for _, name := range []string{"execute", "exit", "getenv", "setenv", "remove", "rename", "tmpname", "setlocale"} {
		os.RawSetString(name, lua.LNil)
	}
}

func printTo(w io.Writer) lua.LGFunction {
	return func(vm *lua.LState) int {
		parts := make([]string, vm.GetTop())
		for i := range parts {
			parts[i] = vm.ToStringMeta(vm.Get(i + 1)).String()
		}
		if _, err := fmt.Fprintln(w, strings.Join(parts, "\t")); err != nil {
			vm.RaiseError("print: %v", err)
		}
		return 0
	}
}

// skipShebang empties a first line that begins with #; line numbers stay right.
func skipShebang(source string) string {
	if !strings.HasPrefix(source, "#") {
		return source
	}
	_, rest, found := strings.Cut(source, "\n")
	if !found {
		return ""
	}
	return "\n" + rest
}

// clean removes the Lua stack trace: the message has the script's line already.
func clean(err error) error {
	var api *lua.ApiError
	if !errors.As(err, &api) {
		return err
	}
	if api.Type == lua.ApiErrorSyntax {
		return errors.New(strings.Join(strings.Fields(api.Object.String()), " "))
	}
	if ud, ok := api.Object.(*lua.LUserData); ok {
		if raised, ok := ud.Value.(error); ok {
			return raised
		}
	}
	return errors.New(api.Object.String())
}
