// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"fmt"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// compileSource is vm.Load of a source that gopher-lua compiles rightly.
func compileSource(vm *lua.LState, source, name string) (*lua.LFunction, error) {
	chunk, err := parse.Parse(strings.NewReader(source), name)
	var proto *lua.FunctionProto
	if err == nil {
		normaliseBlock(chunk)
		proto, err = lua.Compile(chunk, name)
	}
	if err != nil {
		return nil, &lua.ApiError{Type: lua.ApiErrorSyntax, Object: lua.LString(err.Error()), Cause: err}
	}
	link(proto, vm.NewFunction(concatenate))
	return vm.NewFunctionFromProto(proto), nil
}

// normaliseBlock rewrites what gopher-lua compiles wrongly or without a bound, within
// each statement:
//
//   - `for x in e do`, where e is no call, leaves the loop's second and third
//     register as they were: it becomes `for x in e, nil, nil do`;
//   - a loop whose body is `break` alone never ends after another loop: it gets
//     a statement before that;
//   - an assignment of a call's one value to the last parameter puts the function
//     where the parameter is, which may be an argument of the call, see assignment;
//   - a concatenation becomes a call, see concatCall.
func normaliseBlock(block []ast.Stmt) {
	for i, s := range block {
		normaliseStmt(s)
		if s, ok := s.(*ast.AssignStmt); ok {
			block[i] = assignment(s)
		}
	}
}

func normaliseStmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		normaliseList(s.Lhs)
		normaliseList(s.Rhs)
	case *ast.LocalAssignStmt:
		normaliseList(s.Exprs)
	case *ast.FuncCallStmt:
		normaliseExprs(&s.Expr)
	case *ast.DoBlockStmt:
		normaliseBlock(s.Stmts)
	case *ast.WhileStmt:
		normaliseExprs(&s.Condition)
		s.Stmts = loopBody(s.Stmts)
	case *ast.RepeatStmt:
		normaliseExprs(&s.Condition)
		s.Stmts = loopBody(s.Stmts)
	case *ast.IfStmt:
		normaliseExprs(&s.Condition)
		normaliseBlock(s.Then)
		normaliseBlock(s.Else)
	case *ast.NumberForStmt:
		normaliseExprs(&s.Init, &s.Limit, &s.Step)
		s.Stmts = loopBody(s.Stmts)
	case *ast.GenericForStmt:
		normaliseList(s.Exprs)
		s.Exprs = threeValues(s.Exprs)
		s.Stmts = loopBody(s.Stmts)
	case *ast.FuncDefStmt:
		normaliseExprs(&s.Name.Func, &s.Name.Receiver)
		normaliseBlock(s.Func.Stmts)
	case *ast.ReturnStmt:
		normaliseList(s.Exprs)
		if len(s.Exprs) == 1 && isConcat(s.Exprs[0]) {
			s.Exprs[0].(*ast.FuncCallExpr).AdjustRet = true // no tail call: its errors would lack their line
		}
	}
}

func normaliseList(list []ast.Expr) {
	for i := range list {
		normaliseExprs(&list[i])
	}
}

// normaliseExprs rewrites expressions in their places.
func normaliseExprs(places ...*ast.Expr) {
	for _, place := range places {
		switch e := (*place).(type) {
		case *ast.FunctionExpr:
			normaliseBlock(e.Stmts)
		case *ast.AttrGetExpr:
			normaliseExprs(&e.Object, &e.Key)
		case *ast.TableExpr:
			for _, f := range e.Fields {
				normaliseExprs(&f.Key, &f.Value)
			}
		case *ast.FuncCallExpr:
			normaliseExprs(&e.Func, &e.Receiver)
			normaliseList(e.Args)
		case *ast.LogicalOpExpr:
			normaliseExprs(&e.Lhs, &e.Rhs)
		case *ast.RelationalOpExpr:
			normaliseExprs(&e.Lhs, &e.Rhs)
		case *ast.StringConcatOpExpr:
			*place = concatCall(e)
		case *ast.ArithmeticOpExpr:
			normaliseExprs(&e.Lhs, &e.Rhs)
		case *ast.UnaryMinusOpExpr:
			normaliseExprs(&e.Expr)
		case *ast.UnaryNotOpExpr:
			normaliseExprs(&e.Expr)
		case *ast.UnaryLenOpExpr:
			normaliseExprs(&e.Expr)
		}
	}
}

// assignment gives s itself or, where a value is that of a call to the name in the
// same place, an assignment by way of local variables.
func assignment(s *ast.AssignStmt) ast.Stmt {
	last := len(s.Rhs) - 1
	if call, ok := s.Rhs[last].(*ast.FuncCallExpr); ok && last >= len(s.Lhs)-1 {
		call.AdjustRet = false // further values are dropped all the same
	}
	wrong := false
	for i := range min(last, len(s.Lhs)) {
		_, name := s.Lhs[i].(*ast.IdentExpr)
		_, call := s.Rhs[i].(*ast.FuncCallExpr)
		wrong = wrong || name && call
	}
	if call, ok := s.Rhs[last].(*ast.FuncCallExpr); !wrong && !(ok && call.AdjustRet) {
		return s
	}
	first := &ast.LocalAssignStmt{Exprs: s.Rhs}
	second := &ast.AssignStmt{Lhs: s.Lhs}
	block := &ast.DoBlockStmt{Stmts: []ast.Stmt{first, second}}
	for i := range s.Lhs {
		value := &ast.IdentExpr{Value: fmt.Sprintf("(value %d)", i)}
		value.SetLine(s.Line())
		first.Names, second.Rhs = append(first.Names, value.Value), append(second.Rhs, value)
	}
	for _, part := range []ast.Stmt{first, second, block} {
		part.SetLine(s.Line())
		part.SetLastLine(s.LastLine())
	}
	return block
}

// threeValues completes the expressions of a loop, where the last is no call and
// no `...`, which give as many values as are wanted.
func threeValues(exprs []ast.Expr) []ast.Expr {
	last := exprs[len(exprs)-1]
	switch last.(type) {
	case *ast.FuncCallExpr, *ast.Comma3Expr:
		return exprs
	}
	for len(exprs) < 3 {
		none := &ast.NilExpr{}
		none.SetLine(last.Line())
		exprs = append(exprs, none)
	}
	return exprs
}

func loopBody(block []ast.Stmt) []ast.Stmt {
	normaliseBlock(block)
	if len(block) != 1 {
		return block
	}
	if _, lone := block[0].(*ast.BreakStmt); !lone {
		return block
	}
	none, before := &ast.NilExpr{}, &ast.LocalAssignStmt{Names: []string{"(nothing)"}}
	none.SetLine(block[0].Line())
	before.SetLine(block[0].Line())
	before.SetLastLine(block[0].Line())
	before.Exprs = []ast.Expr{none}
	return []ast.Stmt{before, block[0]}
}
