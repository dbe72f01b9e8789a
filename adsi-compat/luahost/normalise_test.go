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
