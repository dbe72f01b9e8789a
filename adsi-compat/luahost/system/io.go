// SPDX-License-Identifier: Apache-2.0

package system

import (
	"bufio"
	"io"
	"os"
	"strings"

	lua "github.com/yuin/gopher-lua"
)

func (s *System) table() map[string]lua.LGFunction {
	return map[string]lua.LGFunction{
		"open":    func(vm *lua.LState) int { return s.openFile(vm, vm.CheckString(1), vm.OptString(2, "r")) },
		"popen":   s.changes("io.popen", s.popen),
		"tmpfile": s.tmpfile,
		"lines":   s.linesOf,
		"input":   s.standard(&s.input, "r"),
		"output":  s.standard(&s.output, "w"),
		"read":    func(vm *lua.LState) int { return s.read(vm, s.input, 1) },
		"write":   func(vm *lua.LState) int { return s.write(vm, s.output, 1) },
		"flush":   func(vm *lua.LState) int { return flush(vm, s.output, 1) },
		"close": func(vm *lua.LState) int {
			f := s.output
			if vm.GetTop() > 0 {
				f = fileAt(vm, 1)
			}
			return s.close(vm, f, 0)
		},
		"type": func(vm *lua.LState) int {
			vm.Push(lua.LNil)
			if ud, ok := vm.Get(1).(*lua.LUserData); ok {
				if f, ok := ud.Value.(*file); ok && f.closed {
					vm.Push(lua.LString("closed file"))
				} else if ok {
					vm.Push(lua.LString("file"))
				}
			}
			return 1
		},
	}
}

// onFile makes a method of a file; do gets the position of its first argument.
func onFile(do func(vm *lua.LState, f *file, first int) int) lua.LGFunction {
	return func(vm *lua.LState) int { return do(vm, fileAt(vm, 1), 2) }
}

func fileAt(vm *lua.LState, n int) *file {
	if ud, ok := vm.Get(n).(*lua.LUserData); ok {
		if f, ok := ud.Value.(*file); ok {
			return f
		}
	}
	vm.ArgError(n, "a file is wanted: call methods as file:read()")
	return nil
}

// ready raises the error of a file that cannot do what is wanted.
func ready(vm *lua.LState, f *file, can bool, what string) {
	if f.closed {
		vm.RaiseError("%s: the file is closed", f.name)
	}
	if !can {
		vm.RaiseError("%s: the file is not open for %s", f.name, what)
	}
}

var modes = map[string]int{
	"r": os.O_RDONLY, "r+": os.O_RDWR,
	"w": os.O_WRONLY | os.O_CREATE | os.O_TRUNC, "w+": os.O_RDWR | os.O_CREATE | os.O_TRUNC,
	"a": os.O_WRONLY | os.O_CREATE | os.O_APPEND, "a+": os.O_RDWR | os.O_CREATE | os.O_APPEND,
}

func (s *System) openFile(vm *lua.LState, name, mode string) int {
	flags, ok := modes[strings.Replace(mode, "b", "", 1)]
	if !ok {
		vm.RaiseError("io.open: the mode %q is none of r, w, a, r+, w+, a+", mode)
	}
	if s.DryRun && flags != os.O_RDONLY {
		RefuseDry(vm, "io.open: "+name)
	}
	of, err := os.OpenFile(name, flags, 0o666)
	if err != nil {
		return fail(vm, err)
	}
	return s.opened(vm, newFile(name, of, flags))
}

func newFile(name string, of *os.File, flags int) *file {
	f := &file{name: name, of: of}
	if flags&os.O_WRONLY == 0 {
		f.r = bufio.NewReader(of)
	}
	if flags&(os.O_WRONLY|os.O_RDWR) != 0 {
		f.w = of
	}
	return f
}

func (s *System) tmpfile(vm *lua.LState) int {
	of, err := os.CreateTemp("", "lua_")
	if err != nil {
		return fail(vm, err)
	}
	f := newFile(of.Name(), of, os.O_RDWR)
	f.remove = true
	return s.opened(vm, f)
}

func (s *System) popen(vm *lua.LState) int {
	line, mode := vm.CheckString(1), vm.OptString(2, "r")
	f := &file{name: line, program: s.shell(vm.Context(), line), programs: s.Programs}
	var err error
	switch mode {
	case "r":
		f.program.Stdout = nil
		var out io.ReadCloser
		if out, err = f.program.StdoutPipe(); err == nil {
			f.r, f.pipe = bufio.NewReader(out), out
		}
	case "w":
		f.program.Stdin = nil
		var in io.WriteCloser
		in, err = f.program.StdinPipe()
		f.w, f.pipe = in, in
	default:
		vm.RaiseError("io.popen: the mode %q is none of r and w", mode)
	}
	if err == nil {
		err = s.Programs.start(f.program, s.Terminal)
	}
	if err != nil {
		return fail(vm, err)
	}
	return s.opened(vm, f)
}

// standard is io.input and io.output: it changes or gives the file in place.
func (s *System) standard(place **file, mode string) lua.LGFunction {
	return func(vm *lua.LState) int {
		switch v := vm.Get(1).(type) {
		case *lua.LNilType:
		case lua.LString:
			if n := s.openFile(vm, string(v), mode); n != 1 {
				vm.RaiseError("%s", vm.Get(-2).String())
			}
			*place = fileAt(vm, -1)
		default:
			*place = fileAt(vm, 1)
		}
		vm.Push(s.wrap(vm, *place))
		return 1
	}
}

func (s *System) read(vm *lua.LState, f *file, first int) int {
	ready(vm, f, f.r != nil, "reading")
	top := vm.GetTop()
	if top < first {
		vm.Push(lua.LString("*l"))
		top = first
	}
	for n := first; n <= top; n++ {
		v, err := f.read(vm, n)
		switch {
		case err == io.EOF:
			vm.Push(lua.LNil)
			return n - first + 1
		case err == errTooLong:
			vm.RaiseError("%s: %v", f.name, err)
		case err != nil:
			return fail(vm, err)
		}
		vm.Push(v)
	}
	return top - first + 1
}

func (s *System) write(vm *lua.LState, f *file, first int) int {
	ready(vm, f, f.w != nil, "writing")
	var b strings.Builder
	for n := first; n <= vm.GetTop(); n++ {
		b.WriteString(vm.CheckString(n))
	}
	if f.r != nil && f.of != nil && f.r.Buffered() > 0 {
		if _, err := f.seek("cur", 0); err != nil { // to where the script is, not the reader
			return fail(vm, err)
		}
	}
	if _, err := io.WriteString(f.w, b.String()); err != nil {
		return fail(vm, err)
	}
	vm.Push(s.wrap(vm, f))
	return 1
}

// lines is file:lines().
func (s *System) lines(vm *lua.LState, f *file, _ int) int { return s.iterate(vm, f, false) }

// linesOf is io.lines, which closes a file that it has opened.
func (s *System) linesOf(vm *lua.LState) int {
	if vm.Get(1) == lua.LNil {
		return s.iterate(vm, s.input, false)
	}
	if n := s.openFile(vm, vm.CheckString(1), "r"); n != 1 {
		vm.RaiseError("%s", vm.Get(-2).String())
	}
	return s.iterate(vm, fileAt(vm, vm.GetTop()), true)
}

func (s *System) iterate(vm *lua.LState, f *file, once bool) int {
	ready(vm, f, f.r != nil, "reading")
	vm.Push(vm.NewFunction(func(vm *lua.LState) int {
		ready(vm, f, true, "reading")
		line, err := f.line(false)
		switch {
		case err == io.EOF && once:
			if _, err := f.close(); err != nil {
				vm.RaiseError("%s: %v", f.name, err)
			}
			fallthrough
		case err == io.EOF:
			vm.Push(lua.LNil)
		case err != nil:
			vm.RaiseError("%s: %v", f.name, err)
		default:
			vm.Push(lua.LString(line))
		}
		return 1
	}))
	return 1
}

// close is file:close(). For a program it gives true if that ended with 0, else
// nil, then "exit" and the number.
func (s *System) close(vm *lua.LState, f *file, _ int) int {
	ready(vm, f, !f.own, "closing: it is the command's own")
	exit, err := f.close()
	if err != nil {
		return fail(vm, err)
	}
	vm.Push(lua.LTrue)
	if f.program == nil {
		return 1
	}
	if exit != 0 {
		vm.Push(lua.LNil)
	} else {
		vm.Push(lua.LTrue)
	}
	vm.Push(lua.LString("exit"))
	vm.Push(lua.LNumber(exit))
	return 3
}

func (s *System) seek(vm *lua.LState, f *file, _ int) int {
	ready(vm, f, true, "seeking")
	at, err := f.seek(vm.OptString(2, "cur"), vm.OptInt64(3, 0))
	if err != nil {
		return fail(vm, err)
	}
	vm.Push(lua.LNumber(at))
	return 1
}

// flush has nothing to do: writes go to the system at once.
func flush(vm *lua.LState, f *file, _ int) int {
	ready(vm, f, f.w != nil, "writing")
	vm.Push(lua.LTrue)
	return 1
}

func setvbuf(vm *lua.LState, f *file, _ int) int {
	if mode := vm.CheckString(2); mode != "no" {
		vm.RaiseError("%s: setvbuf %q: writes are never buffered", f.name, mode)
	}
	vm.Push(lua.LTrue)
	return 1
}
