// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"slices"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
)

// concatName stands in compiled code for the function that concatenates.
const concatName = "\x00concat\x00"

// concatCall makes a call of a chain of concatenations. gopher-lua's instruction
// makes a text of any length before the script can be stopped.
func concatCall(e *ast.StringConcatOpExpr) ast.Expr {
	name := &ast.StringExpr{Value: concatName}
	name.SetLine(e.Line())
	call := &ast.FuncCallExpr{Func: name} // it gives one value
	call.SetLine(e.Line())
	call.SetLastLine(e.Line())
	for {
		call.Args = append(call.Args, e.Lhs)
		next, ok := e.Rhs.(*ast.StringConcatOpExpr)
		if !ok {
			break
		}
		e = next
	}
	switch last := e.Rhs.(type) { // its first value alone
	case *ast.FuncCallExpr:
		last.AdjustRet = true
	case *ast.Comma3Expr:
		last.AdjustRet = true
	}
	call.Args = append(call.Args, e.Rhs)
	normaliseList(call.Args)
	return call
}

func isConcat(e ast.Expr) bool {
	call, ok := e.(*ast.FuncCallExpr)
	if !ok {
		return false
	}
	name, ok := call.Func.(*ast.StringExpr)
	return ok && name.Value == concatName
}

// link puts the function that concatenates into compiled code.
func link(proto *lua.FunctionProto, concatenate *lua.LFunction) {
	for i, c := range proto.Constants {
		if c == lua.LString(concatName) {
			proto.Constants[i] = concatenate
		}
	}
	for _, inner := range proto.FunctionPrototypes {
		link(inner, concatenate)
	}
}

// concatenate joins its arguments from the last to the first, as `..` does.
func concatenate(vm *lua.LState) int {
	i := vm.GetTop()
	right := vm.Get(i)
	for i--; i >= 1; {
		if left := vm.Get(i); !lua.LVCanConvToString(left) || !lua.LVCanConvToString(right) {
			right = concatByMeta(vm, left, right)
			i--
			continue
		}
		texts, length := []string{lua.LVAsString(right)}, len(lua.LVAsString(right))
		for ; i >= 1 && lua.LVCanConvToString(vm.Get(i)); i-- {
			texts = append(texts, lua.LVAsString(vm.Get(i)))
			length += len(texts[len(texts)-1])
		}
		if length > MaxText {
			tooLong(vm)
		}
		slices.Reverse(texts)
		right = lua.LString(strings.Join(texts, ""))
	}
	vm.Push(right)
	return 1
}

func concatByMeta(vm *lua.LState, left, right lua.LValue) lua.LValue {
	do := vm.GetMetaField(left, "__concat")
	if do.Type() != lua.LTFunction {
		do = vm.GetMetaField(right, "__concat")
	}
	if do.Type() != lua.LTFunction {
		vm.RaiseError("cannot perform concat operation between %v and %v", left.Type(), right.Type())
	}
	vm.Push(do)
	vm.Push(left)
	vm.Push(right)
	vm.Call(2, 1)
	defer vm.Pop(1)
	return vm.Get(-1)
}
