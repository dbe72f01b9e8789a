// SPDX-License-Identifier: Apache-2.0

package stdlib

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	lua "github.com/yuin/gopher-lua"
	"github.com/yuin/gopher-lua/ast"
	"github.com/yuin/gopher-lua/parse"
)

// compileSource is vm.Load of a source that gopher-lua compiles rightly.
func compileSource(vm *lua.LState, source, name string) (*lua.LFunction, error) {
	chunk, err := parse.Parse(strings.NewReader(localFunctions(source)), name)
	var proto *lua.FunctionProto
	if err == nil {
		normaliseBlock(chunk)
		proto, err = lua.Compile(chunk, name)
	}
	if err != nil {
		return nil, wrongSyntax(err, source, name)
	}
	link(proto, vm.NewFunction(concatenate))
	return vm.NewFunctionFromProto(proto), nil
}

// AtEnd ends the error of a source that lacks its end.
const AtEnd = "near <eof>"

var atLine = regexp.MustCompile(` at line ([0-9]+)$`)

// wrongSyntax says at which line of a source something is wrong.
func wrongSyntax(err error, source, name string) error {
	var wrong *parse.Error
	var refused *lua.CompileError
	switch {
	case errors.As(err, &refused):
		line := strconv.Itoa(refused.Line)
		if m := atLine.FindStringSubmatch(refused.Message); m != nil { // the other is the end of the function
			line = m[1]
		}
		return fmt.Errorf("%s:%s: %s", name, line, refused.Message)
	case !errors.As(err, &wrong):
		return fmt.Errorf("%s: %w", name, err)
	case wrong.Pos.Line == parse.EOF:
		return fmt.Errorf("%s:%d: %s %s", name, strings.Count(source, "\n")+1, wrong.Message, AtEnd)
	}
	return fmt.Errorf("%s:%d: %s near '%s'", name, wrong.Pos.Line, wrong.Message, wrong.Token)
}

// normaliseBlock rewrites what gopher-lua compiles wrongly or without a bound, within
// each statement:
//
//   - `for x in e do`, where e is no call, leaves the loop's second and third
//     register as they were: it becomes `for x in e, nil, nil do`;
//   - a loop or a do-block whose body is `break` alone never ends after another
//     loop, or goes elsewhere: it gets a statement before that;
//   - in `local f = function ... end` the function has the new f for the one
//     outside, as only `local function f` has it, see localFunctions: it becomes
//     one of several values;
//   - an assignment of a call's one value to the last parameter puts the function
//     where the parameter is, which may be an argument of the call, and one of
//     several values may take a wrong one, or assign one before it is read: see
//     assignment;
//   - a number such as 010 is octal: see literal;
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
		if len(s.Names) == 1 && len(s.Exprs) == 1 && isFunction(s.Exprs[0]) {
			none := &ast.NilExpr{}
			none.SetLine(s.LastLine())
			s.Exprs = append(s.Exprs, none)
		}
	case *ast.FuncCallStmt:
		normaliseExprs(&s.Expr)
	case *ast.DoBlockStmt:
		s.Stmts = loopBody(s.Stmts)
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

func isFunction(e ast.Expr) bool {
	_, ok := e.(*ast.FunctionExpr)
	return ok
}

// localFunctions writes `local function f` as `local f f = function`, which the
// manual (§2.5.9) defines it to be: gopher-lua's parser makes one tree of it and of
// `local f = function`, in which another f is meant. Lines stay. A source that
// does not parse is returned as it is.
func localFunctions(source string) string {
	source = strings.ReplaceAll(source, "\r\n", "\n")
	starts := []int{0} // of lines
	for i := range len(source) {
		if source[i] == '\n' {
			starts = append(starts, i+1)
		}
	}
	scan := parse.NewScanner(strings.NewReader(source), "")
	var before [2]ast.Token
	var b strings.Builder
	done := 0
	for {
		tok, err := scan.Scan(&parse.Lexer{})
		if err != nil || strings.Contains(source, "\r") { // then lines are counted otherwise
			return source
		}
		if tok.Type == parse.EOF {
			return b.String() + source[done:]
		}
		if before[0].Type == parse.TLocal && before[1].Type == parse.TFunction && tok.Type == parse.TIdent {
			from := starts[before[0].Pos.Line-1] + before[0].Pos.Column - 1
			to := starts[tok.Pos.Line-1] + tok.Pos.Column - 1 + len(tok.Str)
			b.WriteString(source[done:from] + "local " + tok.Str + strings.Repeat("\n", tok.Pos.Line-before[0].Pos.Line) + " " + tok.Str + " = function")
			done = to
		}
		before[0], before[1] = before[1], tok
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
		case *ast.NumberExpr:
			e.Value = literal(e.Value)
		case *ast.UnaryMinusOpExpr:
			normaliseExprs(&e.Expr)
		case *ast.UnaryNotOpExpr:
			normaliseExprs(&e.Expr)
		case *ast.UnaryLenOpExpr:
			normaliseExprs(&e.Expr)
		}
	}
}

// assignment gives s itself or, where gopher-lua may put a value into a wrong place,
// single assignments by way of local variables: for several values, and for one
// that is a call's in parentheses. What the parts are is found out before anything is assigned
// (Lua manual, §2.4.3), and the last is assigned first, as Lua itself does.
func assignment(s *ast.AssignStmt) ast.Stmt {
	last := len(s.Rhs) - 1
	if call, ok := s.Rhs[last].(*ast.FuncCallExpr); ok && last >= len(s.Lhs)-1 {
		call.AdjustRet = false // further values are dropped all the same
	}
	if call, ok := s.Rhs[last].(*ast.FuncCallExpr); len(s.Lhs) == 1 && len(s.Rhs) == 1 && !(ok && call.AdjustRet) {
		return s
	}
	block := &ast.DoBlockStmt{}
	for i, place := range s.Lhs {
		if part, ok := place.(*ast.AttrGetExpr); ok {
			object, key := hidden("object", i, s.Line()), hidden("key", i, s.Line())
			block.Stmts = append(block.Stmts,
				&ast.LocalAssignStmt{Names: []string{object.Value}, Exprs: []ast.Expr{part.Object}},
				&ast.LocalAssignStmt{Names: []string{key.Value}, Exprs: []ast.Expr{part.Key}})
			part.Object, part.Key = object, key
		}
	}
	values := &ast.LocalAssignStmt{Exprs: s.Rhs}
	block.Stmts = append(block.Stmts, values)
	for i := range s.Lhs {
		values.Names = append(values.Names, hidden("value", i, s.Line()).Value)
	}
	for i := len(s.Lhs) - 1; i >= 0; i-- {
		block.Stmts = append(block.Stmts, &ast.AssignStmt{Lhs: s.Lhs[i : i+1], Rhs: []ast.Expr{hidden("value", i, s.Line())}})
	}
	for _, part := range append(block.Stmts, block) {
		part.SetLine(s.Line())
		part.SetLastLine(s.LastLine())
	}
	return block
}

// hidden is a local variable that no script can name.
func hidden(what string, i, line int) *ast.IdentExpr {
	v := &ast.IdentExpr{Value: fmt.Sprintf("(%s %d)", what, i)}
	v.SetLine(line)
	return v
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
	if len(block) == 0 {
		return block
	}
	switch block[0].(type) {
	case *ast.AssignStmt, *ast.LocalAssignStmt, *ast.FuncCallStmt, *ast.FuncDefStmt, *ast.ReturnStmt:
		return block
	}
	none, before := &ast.NilExpr{}, &ast.LocalAssignStmt{Names: []string{"(nothing)"}}
	none.SetLine(block[0].Line())
	before.SetLine(block[0].Line())
	before.SetLastLine(block[0].Line())
	before.Exprs = []ast.Expr{none}
	return append([]ast.Stmt{before}, block...)
}
