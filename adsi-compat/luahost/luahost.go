// SPDX-License-Identifier: Apache-2.0

// Package luahost runs administration scripts in Lua, over the objects of package
// adsi. A script has GetObject, Lua's library, json, bit, WScript and, unless it is
// in a sandbox, the files and programs of its caller. It runs until it ends, raises
// an error, or its context is done.
//
// A script runs in a process of its own: what cannot be stopped within Lua, the
// end of the process stops.
package luahost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	lua "github.com/yuin/gopher-lua"

	adsi "restante/adsi-compat"
	"restante/adsi-compat/luahost/jsontable"
	"restante/adsi-compat/luahost/stdlib"
	"restante/adsi-compat/luahost/system"
)

// Script is one run of a script.
type Script struct {
	Name   string // for error messages, usually the file's name
	Source string
	Args   []string // the script's arg[1], arg[2] ...
	Memory uint64   // octets by which the process may grow meanwhile; 0 is MaxMemory

	system.Streams
	Sandbox bool            // without files and programs
	DryRun  bool            // without programs, and files can only be read
	Modules []system.Folder // where require looks, in this order

	Functions []Function // more functions
	Prompt    Prompter   // gives the source line by line, in the place of Source
}

// Exit is the error of a script that has ended itself with a number other than 0.
type Exit int

func (e Exit) Error() string { return fmt.Sprintf("the script ended with %d", int(e)) }

// LeftTransaction is the error of a script that has ended itself, with whatever number,
// within a transaction, of which nothing is changed then.
type LeftTransaction struct {
	Script string
	Code   int
}

func (e *LeftTransaction) Error() string {
	return e.Script + ": the script ended itself within a transaction: nothing of the transaction is changed"
}

// graceTime is how long a script whose context is done may take to its next step.
const graceTime = 200 * time.Millisecond

// Run runs a script over dir. The error of a script that raises one, or does not
// compile, names its line. When ctx is done, or the script has taken more than
// its memory, the script stops at its next step, and the error says so; changes
// that it has made with SetInfo stay. A script that is in a long call of the
// library by then is left behind: the caller ends the process soon.
func Run(ctx context.Context, dir *adsi.Directory, s Script) error {
	ctx, end := watchMemory(ctx, cmp.Or(s.Memory, MaxMemory))
	defer end()
	ctx, quit := context.WithCancelCause(ctx)
	defer quit(nil)
	done, programs := make(chan error, 1), new(system.Programs)
	defer programs.End()
	go func() { done <- runHere(ctx, quit, dir, s, programs) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	grace := time.NewTimer(graceTime)
	defer grace.Stop()
	select {
	case err := <-done:
		return err
	case <-grace.C:
		return stopped(ctx, s.Name)
	}
}

// stopped is the error of a script whose context is done, at a place of it.
func stopped(ctx context.Context, place string) error {
	if code := Exit(0); errors.As(context.Cause(ctx), &code) {
		if code == 0 {
			return nil
		}
		return code
	}
	if left := (*LeftTransaction)(nil); errors.As(context.Cause(ctx), &left) {
		return left
	}
	return fmt.Errorf("%s: stopped: %w", place, context.Cause(ctx))
}

func runHere(ctx context.Context, quit context.CancelCauseFunc, dir *adsi.Directory, s Script, programs *system.Programs) (err error) {
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
	vm.SetContext(ctx)
	stdlib.Open(vm)
	jsontable.Open(vm)
	exit := func(vm *lua.LState, code int) {
		if dir.InTransaction() {
			quit(&LeftTransaction{s.Name, code})
		}
		quit(Exit(code))
		vm.RaiseError("the script ends")
	}
	if !s.Sandbox {
		sys := system.Open(vm, system.Options{Streams: s.Streams, DryRun: s.DryRun, Programs: programs, Exit: exit})
		defer func() {
			if no := sys.Close(); err == nil && no != nil {
				err = fmt.Errorf("%s: at its end: %w", s.Name, no)
			}
		}()
		system.OpenFiles(vm)
	} else {
		system.OpenSandbox(vm)
	}
	h := &host{sandbox: s.Sandbox, dryRun: s.DryRun, ctx: ctx, dir: dir}
	h.register(vm)
	for _, f := range s.Functions {
		h.add(vm, f)
	}
	system.OpenRequire(vm, s.Modules)
	stdlib.OpenMissing(vm)
	vm.SetGlobal("error", vm.NewFunction(h.raise))
	vm.SetGlobal("assert", vm.NewFunction(assert))
	vm.SetGlobal("print", vm.NewFunction(printTo(s.Out, "\t")))
	args := vm.NewTable()
	for _, a := range s.Args {
		args.Append(lua.LString(a))
	}
	args.RawSetInt(0, lua.LString(s.Name))
	vm.SetGlobal("arg", args)
	vm.SetGlobal("sleep", vm.NewFunction(sleeper(time.Second)))
	vm.SetGlobal("WScript", wscript(vm, s, exit))

	if s.Prompt != nil {
		return h.interact(ctx, vm, s)
	}
	fn, err := stdlib.Load(vm, s.Source, s.Name)
	if err == nil {
		err = h.call(vm, fn)
	}
	if err != nil && ctx.Err() != nil {
		return stopped(ctx, cmp.Or(strings.TrimSuffix(placed.FindString(err.Error()), ": "), s.Name))
	}
	return err
}

// printTo is print, and WScript.Echo with a blank between its values.
func printTo(w io.Writer, between string) lua.LGFunction {
	return func(vm *lua.LState) int {
		parts := make([]string, vm.GetTop())
		for i := range parts {
			parts[i] = vm.ToStringMeta(vm.Get(i + 1)).String()
		}
		if _, err := fmt.Fprintln(w, strings.Join(parts, between)); err != nil {
			vm.RaiseError("print: %v", err)
		}
		return 0
	}
}
