// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	lua "github.com/yuin/gopher-lua"
)

// transaction calls a function whose changes become one batch, and gives what it
// returns. An error of the function goes on, and nothing is changed.
func (h *host) transaction(vm *lua.LState) int {
	fn, top := vm.CheckFunction(1), vm.GetTop()
	check(vm, h.dir.Transaction(h.ctx, func() error {
		vm.Push(fn)
		vm.Call(0, lua.MultRet)
		return nil
	}))
	return vm.GetTop() - top
}
