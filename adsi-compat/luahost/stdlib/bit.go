// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"math"

	lua "github.com/yuin/gopher-lua"
)

// bits is the library bit. Its numbers have 32 bits; results are not negative, as
// DWORDs are written.
var bits = map[string]lua.LGFunction{
	"band":   fold(math.MaxUint32, func(a, b uint32) uint32 { return a & b }),
	"bor":    fold(0, func(a, b uint32) uint32 { return a | b }),
	"bxor":   fold(0, func(a, b uint32) uint32 { return a ^ b }),
	"bnot":   func(vm *lua.LState) int { vm.Push(lua.LNumber(^bitsAt(vm, 1))); return 1 },
	"lshift": shift(func(x uint32, n uint) uint32 { return x << n }),
	"rshift": shift(func(x uint32, n uint) uint32 { return x >> n }),
}

// bitsAt reads the argument at position n. A negative number is that of its two's
// complement.
func bitsAt(vm *lua.LState, n int) uint32 {
	f := float64(vm.CheckNumber(n))
	if f != math.Trunc(f) || f < math.MinInt32 || f > math.MaxUint32 {
		vm.ArgError(n, "a whole number of 32 bits is wanted")
	}
	return uint32(int64(f))
}

func fold(start uint32, do func(a, b uint32) uint32) lua.LGFunction {
	return func(vm *lua.LState) int {
		all := start
		for i := 1; i <= max(vm.GetTop(), 1); i++ {
			all = do(all, bitsAt(vm, i))
		}
		vm.Push(lua.LNumber(all))
		return 1
	}
}

func shift(do func(x uint32, n uint) uint32) lua.LGFunction {
	return func(vm *lua.LState) int {
		n := vm.CheckInt(2)
		if n < 0 {
			vm.ArgError(2, "bits to shift by are at least 0")
		}
		vm.Push(lua.LNumber(do(bitsAt(vm, 1), uint(n))))
		return 1
	}
}
