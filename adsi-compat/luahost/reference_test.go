// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"restante/adsi-compat/luahost/system"
	"restante/internal/testpeer"
)

// A generator writes small programs of Lua that end: each loop counts.
type generator struct {
	*rand.Rand
	b     strings.Builder
	depth int
	fresh int
}

func (g *generator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g *generator) name() string { return g.pick("a", "b", "c", "d", "t.x", "u[1]", "u[2]") }

// number writes an expression that is a number, nil or a boolean.
func (g *generator) number(deep int) string {
	if deep <= 0 {
		return g.pick("a", "b", "c", "d", "1", "2", "-3", "nil", "true", "t.x", "#t", "(a)", "...")
	}
	x, y := g.number(deep-1), g.number(deep-1)
	return g.pick(
		"N("+x+") + N("+y+")", "N("+x+") * N("+y+") - 1", "-N("+x+")", "("+x+") == ("+y+")", "N("+x+") < N("+y+")", "not ("+x+")",
		"("+x+") and ("+y+")", "("+x+") or ("+y+")", "f("+x+", "+y+")", "(f("+x+"))", "select('#', f("+x+"), f("+y+"))", "o:m("+x+")",
		"#({"+x+", f("+y+")}) + #{f("+x+")}", "(function(...) return select('#', ...), "+x+" end)("+y+", f(1))", "N("+x+") % 7",
		"#(S("+x+") .. S("+y+") .. 'x')", "g and g("+x+")", "({"+x+", k = "+y+"}).k", "(N("+x+") > N("+y+") or nil) and "+x)
}

func (g *generator) block(n int) {
	for range n {
		g.statement()
	}
}

func (g *generator) statement() {
	e := func() string { return g.number(g.IntN(3)) }
	nest := func(head, end string) {
		g.b.WriteString(head + "\n")
		g.depth++
		g.block(1 + g.IntN(3))
		g.depth--
		g.b.WriteString(end + "\n")
	}
	kinds := 14
	if g.depth > 2 {
		kinds = 6
	}
	g.fresh++
	v := fmt.Sprintf("v%d", g.fresh)
	brk := g.pick("", "", "if "+e()+" then break end ", "do break end ")
	switch g.IntN(kinds) {
	case 0:
		fmt.Fprintf(&g.b, "%s = %s\n", g.name(), e())
	case 1:
		fmt.Fprintf(&g.b, "%s, %s = %s, %s\n", g.name(), g.name(), e(), e())
	case 2:
		fmt.Fprintf(&g.b, "local %s, %s = %s\n", g.pick("a", "b"), g.pick("c", "d"), e())
	case 3, 4:
		fmt.Fprintf(&g.b, "print(S(%s), S((%s)))\n", g.pick("a", "b", "c", "d", "t.x", "#t"), e())
	case 5:
		fmt.Fprintf(&g.b, "a = f(%s) t[#t + 1] = %s\n", e(), e())
	case 6:
		nest("if "+e()+" then", "else print('else') end")
	case 7:
		nest("for "+v+" = 1, "+g.pick("0", "1", "3")+" do "+brk+"fs[#fs + 1] = function() "+v+" = "+v+" + 1 return "+v+" end", "end")
	case 8:
		nest("do local "+v+" = 0 while "+v+" < 3 and ("+e()+" or true) do "+v+" = "+v+" + 1 "+brk, "end end")
	case 9:
		nest("do local "+v+" = 0 repeat local z = "+v+" "+v+" = "+v+" + 1 "+brk, "until z > 1 or N("+e()+") > 1e9 end")
	case 10:
		nest("for "+v+", w in "+g.pick("ipairs({5, 6, 7})", "ipairs(t)", "it", "it, nil, 1", "it2()", "(it)")+" do "+brk+"print("+v+")", "end")
	case 11:
		nest("local function h"+v+"(a, b, ...)", "return "+e()+" end print(S((h"+v+"("+g.number(0)+", 2, 3))))")
	case 12:
		nest("g = function(...) local b, c = ... gs = gs + 1 if gs > 60 then return end", "return "+g.pick("...", e(), "f("+e()+")")+" end")
	case 13:
		fmt.Fprintf(&g.b, "for i = 1, 2 do %s end while true do break end\n", g.pick("", "print(i)"))
	}
}

// header has what programs use. N is a number and S a text of any value.
const header = `local print, a, b, c, d, g = print, 1, 2, nil, 4
local t, u, fs, calls, gs = {7, 8, x = 5}, {7, 8}, {}, 0, 0
local function N(x) if type(x) == "number" and x == x and x > -1e9 and x < 1e9 then return x end return x and 1 or 0 end
local function S(x) if type(x) == "number" then return string.format("%d", N(x)) end return type(x) == "table" and "T" or type(x) == "function" and "F" or tostring(x) end
local function f(...) calls = calls + 1 if calls > 2000 then error("enough") end return ... end
local o = {n = 3, m = function(self, x) return self.n, x end}
local it = setmetatable({}, {__call = function(_, s, i) i = (i or 0) + 1 if i < 4 then return i, s end end})
local function it2() return it, nil, 1 end
`

const footer = `
for i = 1, #fs do print(S(fs[i]()), S(fs[i]())) end
print(S(a), S(b), S(c), S(d), S(t.x), #t, S(u[1]), S(u[2]))
`

func program(seed uint64) string {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, 1))}
	g.block(4 + g.IntN(6))
	return header + "local function main(...)\n" + g.b.String() + "end\nprint(pcall(main, 1, 2) == true)" + footer
}

// TestReference compares what small programs print with what Lua 5.1 itself prints.
// The programs are the same in every run: see docs/upstream.md for what is left
// of more of them.
func TestReference(t *testing.T) {
	testpeer.Need(t, "lua5.1")
	const programs = 300
	dir := t.TempDir()
	driver := strings.Builder{}
	for seed := range uint64(programs) {
		file := filepath.Join(dir, fmt.Sprintf("%d.lua", seed))
		if err := os.WriteFile(file, []byte(program(seed)), 0o600); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&driver, "print('=== %d') print(pcall(dofile, %q) == true)\n", seed, file)
	}
	list := filepath.Join(dir, "all.lua")
	if err := os.WriteFile(list, []byte(driver.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	reference, err := exec.CommandContext(t.Context(), "lua5.1", list).Output()
	if err != nil {
		t.Fatal(err)
	}
	want, dirs := strings.Split(string(reference), "=== "), directory(tree(t))
	if len(want) != programs+1 {
		t.Fatalf("%d outputs of %d programs", len(want)-1, programs)
	}
	differ := 0
	for i, w := range want[1:] {
		var out strings.Builder
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := Run(ctx, dirs, Script{Name: "p.lua", Source: program(uint64(i)), Streams: system.Streams{In: strings.NewReader(""), Out: &out, Err: &out}})
		cancel()
		got := fmt.Sprintf("%d\n%s%t\n", i, out.String(), err == nil)
		if got == w {
			continue
		}
		if differ++; differ <= 3 {
			t.Errorf("printed %q, %v; Lua 5.1 %q, by\n%s", got, err, w, strings.TrimPrefix(program(uint64(i)), header))
		}
	}
	if differ > 0 {
		t.Errorf("%d of %d programs differ", differ, programs)
	}
}
