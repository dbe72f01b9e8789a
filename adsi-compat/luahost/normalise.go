// SPDX-License-Identifier: Apache-2.0

package luahost

import (
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
	return vm.NewFunctionFromProto(proto), nil
}

// normaliseBlock rewrites what gopher-lua compiles wrongly, within each
// statement:
//
//   - `for x in e do`, where e is no call, leaves the loop's second and third
//     register as they were: it becomes `for x in e, nil, nil do`;
//   - a loop whose body is `break` alone never ends after another loop: it gets
//     a statement before that.
func normaliseBlock(block []ast.Stmt) {
	for _, s := range block {
		normaliseStmt(s)
	}
}

func normaliseStmt(s ast.Stmt) {
	switch s := s.(type) {
	case *ast.AssignStmt:
		normaliseExprs(s.Lhs...)
		normaliseExprs(s.Rhs...)
	case *ast.LocalAssignStmt:
		normaliseExprs(s.Exprs...)
	case *ast.FuncCallStmt:
		normaliseExprs(s.Expr)
	case *ast.DoBlockStmt:
		normaliseBlock(s.Stmts)
	case *ast.WhileStmt:
		normaliseExprs(s.Condition)
		s.Stmts = loopBody(s.Stmts)
	case *ast.RepeatStmt:
		normaliseExprs(s.Condition)
		s.Stmts = loopBody(s.Stmts)
	case *ast.IfStmt:
		normaliseExprs(s.Condition)
		normaliseBlock(s.Then)
		normaliseBlock(s.Else)
	case *ast.NumberForStmt:
		normaliseExprs(s.Init, s.Limit, s.Step)
		s.Stmts = loopBody(s.Stmts)
	case *ast.GenericForStmt:
		normaliseExprs(s.Exprs...)
		s.Exprs = threeValues(s.Exprs)
		s.Stmts = loopBody(s.Stmts)
	case *ast.FuncDefStmt:
		normaliseExprs(s.Name.Func, s.Name.Receiver, s.Func)
	case *ast.ReturnStmt:
		normaliseExprs(s.Exprs...)
	}
}

func normaliseExprs(list ...ast.Expr) {
	for _, e := range list {
		switch e := e.(type) {
		case *ast.FunctionExpr:
			normaliseBlock(e.Stmts)
		case *ast.AttrGetExpr:
			normaliseExprs(e.Object, e.Key)
		case *ast.TableExpr:
			for _, f := range e.Fields {
				normaliseExprs(f.Key, f.Value)
			}
		case *ast.FuncCallExpr:
			normaliseExprs(e.Func, e.Receiver)
			normaliseExprs(e.Args...)
		case *ast.LogicalOpExpr:
			normaliseExprs(e.Lhs, e.Rhs)
		case *ast.RelationalOpExpr:
			normaliseExprs(e.Lhs, e.Rhs)
		case *ast.StringConcatOpExpr:
			normaliseExprs(e.Lhs, e.Rhs)
		case *ast.ArithmeticOpExpr:
			normaliseExprs(e.Lhs, e.Rhs)
		case *ast.UnaryMinusOpExpr:
			normaliseExprs(e.Expr)
		case *ast.UnaryNotOpExpr:
			normaliseExprs(e.Expr)
		case *ast.UnaryLenOpExpr:
			normaliseExprs(e.Expr)
		}
	}
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
