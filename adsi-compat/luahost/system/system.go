// SPDX-License-Identifier: Apache-2.0

// Package system gives a script the files and programs of its caller: Lua's io and
// the part of os that needs the system. What is read into one text is bounded;
// programs end with the script. In a dry run no program starts and no file changes.
//
// gopher-lua's own io splits long lines, loses the errors of io.lines, reads
// without a bound, writes past the command's output, and leaves programs running.
package system

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// Streams are the command's own.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Terminal bool // In is one: programs that the script starts share it
}

// Options say how a script runs.
type Options struct {
	Streams
	DryRun   bool
	Programs *Programs                      // their owner ends them when the script has ended
	Exit     func(vm *lua.LState, code int) // ends the script
}

// A System is what one script has opened.
type System struct {
	Options
	files  []*file // in the order of their opening
	input  *file
	output *file
	stderr *file
	meta   *lua.LTable
}

// Open puts io into the globals, and its functions into os. Close it when the
// script has ended.
func Open(vm *lua.LState, how Options) *System {
	s := &System{
		Options: how,
		input:   &file{name: "stdin", r: bufio.NewReader(how.In), own: true},
		output:  &file{name: "stdout", w: how.Out, own: true},
		stderr:  &file{name: "stderr", w: how.Err, own: true},
		meta:    vm.NewTypeMetatable("FILE*"),
	}
	vm.SetFuncs(s.meta, map[string]lua.LGFunction{
		"read": onFile(s.read), "write": onFile(s.write), "lines": onFile(s.lines), "close": onFile(s.close),
		"seek": onFile(s.seek), "flush": onFile(flush), "setvbuf": onFile(setvbuf),
		"__tostring": func(vm *lua.LState) int {
			f := fileAt(vm, 1)
			text := "file (" + f.name + ")"
			if f.closed {
				text = "file (closed)"
			}
			vm.Push(lua.LString(text))
			return 1
		},
	})
	s.meta.RawSetString("__index", s.meta)
	library := vm.SetFuncs(vm.NewTable(), s.table())
	for name, f := range map[string]*file{"stdin": s.input, "stdout": s.output, "stderr": s.stderr} {
		library.RawSetString(name, s.wrap(vm, f))
	}
	vm.SetGlobal(lua.IoLibName, library)
	vm.SetFuncs(vm.GetGlobal(lua.OsLibName).(*lua.LTable), map[string]lua.LGFunction{
		"execute": s.execute, "getenv": getenv,
		"remove": s.changes("os.remove", remove), "rename": s.changes("os.rename", rename), "tmpname": s.changes("os.tmpname", tmpname),
		"exit": func(vm *lua.LState) int { s.Exit(vm, exitCode(vm)); return 0 },
	})
	return s
}

// RefuseDry raises the error of what a dry run does not do.
func RefuseDry(vm *lua.LState, what string) {
	vm.RaiseError("%s: a dry run starts no program and changes no file: run the script without --dry-run", what)
}

// changes makes a function one that a dry run refuses.
func (s *System) changes(name string, f lua.LGFunction) lua.LGFunction {
	return func(vm *lua.LState) int {
		if s.DryRun {
			RefuseDry(vm, name)
		}
		return f(vm)
	}
}

// Close closes the files that the script has left open. It waits for
// programs that read from the script or write to it.
func (s *System) Close() error {
	var all []error
	for _, f := range s.files {
		if !f.closed {
			if _, err := f.close(); err != nil {
				all = append(all, fmt.Errorf("%s: %w", f.name, err))
			}
		}
	}
	return errors.Join(all...)
}

func (s *System) wrap(vm *lua.LState, f *file) lua.LValue {
	ud := vm.NewUserData()
	ud.Value, ud.Metatable = f, s.meta
	return ud
}

// opened keeps a new file and returns it to the script.
func (s *System) opened(vm *lua.LState, f *file) int {
	s.files = append(s.files, f)
	vm.Push(s.wrap(vm, f))
	return 1
}

// shell is a command as the system's shell runs it, with the streams of ours.
func (s *System) shell(ctx context.Context, line string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", line)
	if runtime.GOOS == "windows" {
		cmd = exec.CommandContext(ctx, "cmd.exe", "/c", line)
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = s.In, s.Out, s.Err
	cmd.WaitDelay = time.Second // for those that the program has started
	return cmd
}

// execute is os.execute. It gives the number with which the program ended and,
// without a command, whether there is a shell.
func (s *System) execute(vm *lua.LState) int {
	if vm.GetTop() == 0 {
		vm.Push(lua.LNumber(1))
		return 1
	}
	if s.DryRun {
		RefuseDry(vm, "os.execute")
	}
	cmd := s.shell(vm.Context(), vm.CheckString(1))
	err := s.Programs.start(cmd, s.Terminal)
	exit := 0
	if err == nil {
		exit, err = s.Programs.wait(cmd)
	}
	if err != nil {
		return fail(vm, err)
	}
	vm.Push(lua.LNumber(exit))
	return 1
}

func getenv(vm *lua.LState) int {
	v, ok := os.LookupEnv(vm.CheckString(1))
	if !ok {
		vm.Push(lua.LNil)
		return 1
	}
	vm.Push(lua.LString(v))
	return 1
}

func remove(vm *lua.LState) int { return done(vm, os.Remove(vm.CheckString(1))) }

func rename(vm *lua.LState) int { return done(vm, os.Rename(vm.CheckString(1), vm.CheckString(2))) }

// tmpname gives the name of a new file, which is there and is the caller's alone: a
// free name could be taken before it is used.
func tmpname(vm *lua.LState) int {
	f, err := os.CreateTemp("", "lua_")
	if err != nil {
		vm.RaiseError("os.tmpname: %v", err)
	}
	vm.Push(lua.LString(f.Name()))
	_ = f.Close() // nothing was written
	return 1
}

// done returns true, or the error.
func done(vm *lua.LState, err error) int {
	if err != nil {
		return fail(vm, err)
	}
	vm.Push(lua.LTrue)
	return 1
}

// exitCode reads the argument of os.exit.
func exitCode(vm *lua.LState) int {
	if v, ok := vm.Get(1).(lua.LBool); ok {
		if v {
			return 0
		}
		return 1
	}
	return vm.OptInt(1, 0)
}
