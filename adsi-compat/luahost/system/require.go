// SPDX-License-Identifier: Apache-2.0

package system

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"

	lua "github.com/yuin/gopher-lua"

	"restante/adsi-compat/luahost/stdlib"
)

// A Folder has modules for require.
type Folder struct {
	Name string // for messages
	FS   fs.FS
}

// OpenRequire makes require and package.loaded. A module NAME.PART is the file
// NAME/PART.lua of the first folder that has it; it runs once.
func OpenRequire(vm *lua.LState, folders []Folder) {
	loaded := vm.NewTable()
	for _, name := range []string{lua.StringLibName, lua.TabLibName, lua.MathLibName, lua.OsLibName, lua.IoLibName, "bit", "json"} {
		loaded.RawSetString(name, vm.GetGlobal(name))
	}
	library := vm.NewTable()
	library.RawSetString("loaded", loaded)
	vm.SetGlobal(lua.LoadLibName, library)
	running := map[string]bool{}
	vm.SetGlobal("require", vm.NewFunction(func(vm *lua.LState) int {
		name := vm.CheckString(1)
		if v := loaded.RawGetString(name); v != lua.LNil {
			vm.Push(v)
			return 1
		}
		if running[name] {
			vm.RaiseError("require: %s requires itself", name)
		}
		running[name] = true
		defer delete(running, name)
		vm.Push(findModule(vm, folders, name))
		vm.Push(lua.LString(name))
		vm.Call(1, 1)
		v := vm.Get(-1)
		if v == lua.LNil {
			if v = loaded.RawGetString(name); v == lua.LNil {
				v = lua.LTrue
			}
		}
		loaded.RawSetString(name, v)
		vm.Push(v)
		return 1
	}))
}

// findModule compiles the module, or raises what is wrong.
func findModule(vm *lua.LState, folders []Folder, name string) *lua.LFunction {
	file := strings.ReplaceAll(name, ".", "/") + ".lua"
	if strings.ContainsAny(name, `/\`) || !fs.ValidPath(file) {
		vm.RaiseError("require: %q is no name of a module: it has letters, digits and dots between its parts", name)
	}
	var names []string
	for _, folder := range folders {
		source, err := fs.ReadFile(folder.FS, file)
		if errors.Is(err, fs.ErrNotExist) {
			names = append(names, folder.Name)
			continue
		}
		if err != nil {
			vm.RaiseError("require: %s: %v", name, err)
		}
		fn, err := stdlib.Load(vm, string(source), file)
		if err != nil { // it has the file and line of the module
			vm.Error(lua.LString(err.Error()), 0)
		}
		return fn
	}
	vm.RaiseError("require: there is no module %s: no file %s in %s", name, file, strings.Join(names, " nor in "))
	return nil
}

// OpenFiles makes dofile and loadfile.
func OpenFiles(vm *lua.LState) {
	vm.SetGlobal("loadfile", vm.NewFunction(func(vm *lua.LState) int {
		fn, err := loadFile(vm, vm.CheckString(1))
		if err != nil {
			vm.Push(lua.LNil)
			vm.Push(lua.LString(err.Error()))
			return 2
		}
		vm.Push(fn)
		return 1
	}))
	vm.SetGlobal("dofile", vm.NewFunction(func(vm *lua.LState) int {
		fn, err := loadFile(vm, vm.CheckString(1))
		if err != nil {
			vm.RaiseError("dofile: %v", err)
		}
		top := vm.GetTop()
		vm.Push(fn)
		vm.Call(0, lua.MultRet)
		return vm.GetTop() - top
	}))
}

// OpenSandbox makes the use of what a sandbox takes away an error that says so.
func OpenSandbox(vm *lua.LState) {
	for _, name := range []string{
		lua.IoLibName, "dofile", "loadfile", "os.execute", "os.exit", "os.getenv", "os.remove", "os.rename", "os.tmpname",
	} {
		stdlib.Refuse(vm, name, "is taken away by --sandbox")
	}
}

func loadFile(vm *lua.LState, name string) (*lua.LFunction, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	source, err := io.ReadAll(io.LimitReader(f, stdlib.MaxSource+1)) // Load refuses a longer one
	if err != nil {
		return nil, err
	}
	return stdlib.Load(vm, string(source), name)
}
