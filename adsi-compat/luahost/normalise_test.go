// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	lua "github.com/yuin/gopher-lua"

	"restante/adsi-compat/luahost/stdlib"
	"restante/adsi-compat/luahost/system"
)

// TestLoops runs loops that gopher-lua's compiler gets wrong by itself.
func TestLoops(t *testing.T) {
	const svc = `local svc = GetObject("IIS://LocalHost/SMTPSVC"); local two = GetObject("IIS://LocalHost/SMTPSVC/2"); `
	const count = `local t = setmetatable({}, {__call = function(_, s, i) i = (i or 0) + 1; if i < 4 then return i end end}); `
	const walk = ` do print(c) end`
	tests := []struct{ source, want string }{
		{svc + `for c in svc do print(c.Name) end`, "1\n2\n"},
		{svc + `for c in two do print(c.Name) end for c in svc do print(c.Name) end`, "Domain\n1\n2\n"},
		{svc + `for c in svc do for d in c do print(c.Name, d.Name) end end`, "1\tDomain\n2\tDomain\n"},
		{svc + `local t = {a = svc}; for c in t.a do print(c.Name) end`, "1\n2\n"},
		{`for c in GetObject("IIS://LocalHost/SMTPSVC") do print(c.Name) end`, "1\n2\n"},
		{count + `local x, y, z = 7, 8, 9; for c in t` + walk, "1\n2\n3\n"},
		{count + `for c in t, 5` + walk, "1\n2\n3\n"},
		{count + `for c in t, 5, 1` + walk, "2\n3\n"},
		{count + `for c in (t)` + walk, "1\n2\n3\n"},
		{count + `for c in t and t` + walk, "1\n2\n3\n"},
		{count + `for c in (function() return t, nil, 2 end)()` + walk, "3\n"},
		{count + `local function f(...) for c in ... do print(c) end end f(t, nil, 1)`, "2\n3\n"},
		{count + `local f = function() for c in t` + walk + ` end; f()`, "1\n2\n3\n"},
		{count + `local t2 = {f = function() for c in t` + walk + ` end}; t2.f()`, "1\n2\n3\n"},
		{count + `print(not (function() for c in t` + walk + ` end)())`, "1\n2\n3\ntrue\n"},
		{count + `loadstring("local t = ...; for c in t do print(c) end")(t)`, "1\n2\n3\n"},
		{`for k, v in pairs({5}) do print(k, v) end`, "1\t5\n"},
		{`for i = 1, 2 do end while true do break end print("end")`, "end\n"},
		{`while false do end for i = 1, 9 do break end print("end")`, "end\n"},
		{`for i = 1, 2 do end repeat break until false print("end")`, "end\n"},
		{`for i = 1, 2 do end for k in pairs({1}) do break end print("end")`, "end\n"},
		{`for i = 1, 2 do while true do break end end print("end")`, "end\n"},
		{`local function f() for i = 1, 2 do end while true do break end return "end" end print(f())`, "end\n"},
		{`for i in pairs({5}) do do break end print(i) end print("end")`, "end\n"},
		{`local function f() for i in pairs({5}) do do do break end end print(i) end return "end" end print(f())`, "end\n"},
		{`for i = 1, 2 do end for i in pairs({5, 6}) do if i > 1 then do break end end print(i) end`, "1\n"},
		{`local g = function() return g end print(g())`, "nil\n"},
		{`local x, y, t = 3, 5, {} c, t[2] = x, y print(c, t[2])`, "3\t5\n"},
		{`local c, t = 1, {} local function f() local x, y = 3, 5 c, t.k = x, y end f() print(c, t.k)`, "3\t5\n"},
		{`local function f(a, b) c = 7 a, c = b, (a) return a, c end print(f(1, 2))`, "2\t1\n"},
		{`local i, t = 1, {} t[i], i = 20, i + 1 print(t[1], t[2], i)`, "20\tnil\t2\n"},
		{`local i, t = 1, {} i, t[i] = i + 1, 20 print(t[1], t[2], i)`, "20\tnil\t2\n"},
		{`local t = {1, 2, 3} t[1], t[2], t[3] = t[3], t[1], t[2] print(t[1], t[2], t[3])`, "3\t1\t2\n"},
		{`local t = {} local function f() return 1, 2, 3 end t.a, t.b, t.c, t.d = f() print(t.a, t.b, t.c, t.d)`, "1\t2\t3\tnil\n"},
		{`local t = {} local function f(x) t.n = x return t end f(1).a, f(2).b = t.n, t.n print(t.a, t.b)`, "2\t2\n"},
		{`for i in pairs({5}) do if 1 then break end print(i) end print("end")`, "end\n"},
		{"local g = 1 local\n g = function() return g end print(g())", "1\n"},
		{"local\nfunction -- one\n g(n) if n == 0 then return 'end' end return g(n - 1) end print(g(3))", "end\n"},
		{"local a = 'local function x' local function local_1() return local_1 ~= nil end print(a, local_1()) --[[ local function y ]]", "local function x\ttrue\n"},
		{"print((pcall(loadstring('local\\nfunction\\nf() error() end f()'))), select(2, pcall(loadstring('local function f()\\r\\n error(1) end f()'))))", "false\t1\n"},
	}
	for _, tt := range tests {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		var out strings.Builder
		err := Run(ctx, directory(tree(t)), Script{Name: "loop.lua", Source: tt.source, Streams: system.Streams{In: strings.NewReader(""), Out: &out, Err: &out}})
		cancel()
		if err != nil || out.String() != tt.want {
			t.Errorf("%s: %q, %v; want %q", tt.source, out.String(), err, tt.want)
		}
	}
}

var address = regexp.MustCompile(`0x[0-9a-f]+`) // of the function that concatenates

// FuzzCompile compiles any source, twice to the same, and never panics.
func FuzzCompile(f *testing.F) {
	for _, s := range []string{
		"for c in x do break end", "local function f(...) return ... end", "a.b.c:d{e = function() repeat until x end}", "x = [==[\n]==] .. 1e9 .. \"\\z\\255\"",
		strings.Repeat("(", 300) + "x" + strings.Repeat(")", 300), strings.Repeat("not ", 300) + "x", "#!/bin/sh\nx()", "goto a ::a::", "local a <const> = 1", "\xff", "--[[", "return " + strings.Repeat("-", 9) + "1",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, source string) {
		vm := lua.NewState(lua.Options{SkipOpenLibs: true})
		defer vm.Close()
		fn, err := stdlib.Load(vm, source, "fuzz.lua")
		again, err2 := stdlib.Load(vm, source, "fuzz.lua")
		if (fn == nil) != (err != nil) || (err == nil) != (err2 == nil) || err == nil && address.ReplaceAllString(fn.Proto.String(), "") != address.ReplaceAllString(again.Proto.String(), "") {
			t.Errorf("%q: %v, then %v", source, err, err2)
		}
	})
}
