// SPDX-License-Identifier: Apache-2.0

package system

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"

	lua "github.com/yuin/gopher-lua"

	"restante/adsi-compat/luahost/stdlib"
)

// A file is what io.open, io.popen and io.tmpfile give a script, or one of the
// command's own streams. What is written goes to the system at once.
type file struct {
	name     string
	r        *bufio.Reader // nil: it cannot be read
	w        io.Writer     // nil: it cannot be written
	of       *os.File      // nil: a stream or a program
	program  *exec.Cmd
	programs *Programs // that the program is one of
	pipe     io.Closer // to or from the program
	own      bool      // of the command: it is not closed
	remove   bool      // when it is closed
	closed   bool
}

// errTooLong is the error of a text that a script would read into memory.
var errTooLong = fmt.Errorf("more than %d MiB would be read into one text: read it by lines or in parts", stdlib.MaxText>>20)

// close ends a file. The number is that with which a program has ended.
func (f *file) close() (exit int, err error) {
	f.closed = true
	switch {
	case f.program != nil:
		_ = f.pipe.Close() // the program sees that nothing more comes, or is read
		return f.programs.wait(f.program)
	case f.of != nil:
		err = f.of.Close()
		if f.remove {
			err = errors.Join(err, os.Remove(f.of.Name()))
		}
	}
	return 0, err
}

// line reads one line, with its end where keep is set. It returns io.EOF after
// the last one.
func (f *file) line(keep bool) (string, error) {
	var whole []byte
	for {
		part, err := f.r.ReadSlice('\n')
		if whole = append(whole, part...); len(whole) > stdlib.MaxText {
			return "", errTooLong
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil && (err != io.EOF || len(whole) == 0) {
			return "", err
		}
		if !keep {
			whole = bytes.TrimSuffix(whole, []byte("\n"))
		}
		return string(whole), nil
	}
}

// rest reads what remains, up to most octets.
func (f *file) rest(most int64) (string, error) {
	var b strings.Builder
	if _, err := io.Copy(&b, io.LimitReader(f.r, min(most, stdlib.MaxText+1))); err != nil {
		return "", err
	}
	if b.Len() > stdlib.MaxText {
		return "", errTooLong
	}
	return b.String(), nil
}

// number reads a number, or none where there is none.
func (f *file) number() (lua.LValue, error) {
	var n lua.LNumber
	_, err := fmt.Fscan(f.r, (*float64)(&n))
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return lua.LNil, io.EOF
	}
	if err != nil {
		return lua.LNil, nil // as Lua: what is there is no number
	}
	return n, nil
}

// read reads by one format of Lua's file:read. It returns io.EOF where there is
// nothing more.
func (f *file) read(vm *lua.LState, n int) (lua.LValue, error) {
	if size, ok := vm.Get(n).(lua.LNumber); ok {
		if _, err := f.r.Peek(1); err != nil || size < 1 {
			return lua.LString(""), err
		}
		text, err := f.rest(int64(size))
		return lua.LString(text), err
	}
	format := strings.TrimPrefix(vm.CheckString(n), "*")
	switch {
	case strings.HasPrefix(format, "n"):
		return f.number()
	case strings.HasPrefix(format, "a"):
		text, err := f.rest(stdlib.MaxText + 1)
		return lua.LString(text), err
	case strings.HasPrefix(format, "l"), strings.HasPrefix(format, "L"):
		text, err := f.line(format[0] == 'L')
		return lua.LString(text), err
	}
	vm.ArgError(n, "the formats are *l, *L, *a, *n and a number of octets")
	return nil, nil
}

// seek moves to a place, counted from the start, here or the end.
func (f *file) seek(whence string, offset int64) (int64, error) {
	from := slices.Index([]string{"set", "cur", "end"}, whence)
	if f.of == nil || from < 0 {
		return 0, fmt.Errorf("%s: cannot seek from %q", f.name, whence)
	}
	if f.r != nil && from == io.SeekCurrent {
		offset -= int64(f.r.Buffered())
	}
	at, err := f.of.Seek(offset, from)
	if err == nil && f.r != nil {
		f.r.Reset(f.of)
	}
	return at, err
}

// fail returns an error to a script as Lua does: nil, the text, the system's
// number.
func fail(vm *lua.LState, err error) int {
	text, number := err.Error(), syscall.Errno(0)
	if of := (*fs.PathError)(nil); errors.As(err, &of) {
		text = of.Path + ": " + of.Err.Error()
	}
	errors.As(err, &number)
	vm.Push(lua.LNil)
	vm.Push(lua.LString(text))
	vm.Push(lua.LNumber(number))
	return 3
}
