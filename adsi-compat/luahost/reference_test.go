// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // for a loop without end
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

// expressions are compared one by one, by the values that they give; %q writes each.
var expressions = []string{
	"1e2", "010", "0x10", "0xFF + 010", "1e400 > 1e308", ".5", "5.", "3e-2",
	`string.format("%5d|%-5d|%05d|%+d|% d|%.3d|%5.3d", 42, 42, 42, 42, 42, 42, 42)`, `string.format("%d %i", 3.7, -3.7)`, `string.format("%d", "12")`,
	`string.format("%u %x %X %#x %o %#o %x", 42, 255, 255, 255, 8, 8, 0)`, `string.format("%x %u", -1, -1)`, `string.format("%#x", 0)`,
	`string.format("%e %E %.2e %10.1e|", 12345.678, 0.00012, 1, 1)`, `string.format("%f %.0f %.3f %8.2f|%-8.2f|%08.2f", 1, 2.5, 1/3, 3.14159, 3.14159, -3.14159)`,
	`string.format("%g %g %g %g %g %g %.3g %.10g %G", 1, 0.1, 1e20, 1e-5, 100000, 1000000, 1234.5, 123456789012, 1e-10)`, `string.format("%#g %#.3x", 1, 10)`,
	`string.format("%f %g %e %5.1f", 1/0, -1/0, 1/0, 1/0)`, `string.format("%+g %5g|%-5g|", 1/0, 1/0, 1/0)`,
	`string.format("%c%c", 72, 105)`, `string.format("%5c|%-5c|", 65, 65)`, `string.format("%q", 'a "b" \\ \n \r \0 c')`,
	`string.format("%s %10s|%-10s|%.2s|%5.1s|", "a", "b", "c", "defg", "hi")`, `string.format("%5s|", "é")`, `string.format("%s", 12)`, `string.format("100%%")`, `string.format("%.20s", "abc")`,
	`string.format("%d")`, `string.format("%d", "x")`, `string.format("%d", {})`, `string.format("%y", 1)`, `string.format("%")`, `string.format("%s")`, `string.format("%5", 1)`,
	`string.format("%d", nil)`, `string.format("%c", "x")`, `string.format("%q")`, `string.format("%10q", "x")`, `string.format("x", 1, 2)`, `string.format()`,
	`os.date("!%Y-%m-%d %H:%M:%S", 0)`, `os.date("!%c|%x|%X|%p|%D|%F|%T|%R|%r", 86399)`, `os.date("!%a %A %b %B %d %e %h %j %U %W %V %G %g %C %u %w %y %n%t%%", 1e9)`,
	`os.date("!%j %U %W %V %G %u %w", 1704067200)`, `os.date("!%U %W %V %G", 1735689599)`, `os.date("!%Z %z %I %M", 1e9)`, `os.date("%Z %z %c", 1e9)`, `os.date("!%s", 12345) ~= nil`,
	`os.date("!*t", 1e9).yday, os.date("!*t", 1e9).wday, os.date("!*t", 1e9).isdst, os.date("!*t", 1e9).hour, os.date("*t", 1e9).year`, `os.date("!%", 0)`, `os.date("", 0)`, `os.date({})`, `os.date("%c", "x")`,
	`os.time({year = 2001, month = 9, day = 9})`, `os.time({year = 2001, month = 9, day = 9, hour = 1, min = 46, sec = 40})`, `os.time({year = "2001", month = "9", day = "9"})`, `os.time({year = 2001, month = 14, day = -3})`,
	`os.time({year = 2001, month = 9})`, `os.time({month = 9, day = 1})`, `os.time({year = "x", month = 9, day = 1})`, `os.time({year = 2001.9, month = 9, day = 1})`, `os.time(os.date("*t", 1e9))`, `os.time("x")`, `os.time(1)`,
	`os.difftime(5, 3), os.difftime(5.5, 3), os.difftime(5)`, `type(os.clock()), type(os.time())`,
	`math.huge == 1/0, -math.huge == -1/0, string.format("%g", math.huge)`, `string.upper("aé~z{"), ("AÉ@Z["):lower(), ("x"):upper()`,
	`setmetatable(1, {})`, `setmetatable("x", nil)`, `getmetatable(setmetatable({}, {__metatable = 7}))`, `table.insert({}, 1, 2, 3)`, `table.insert({})`,
	`math.random(0)`, `math.random(2, 1)`, `math.random(1, 2, 3)`, `math.random(1), math.random(3, 3)`, `math.random("x")`,
	`pcall(assert, false, "x")`, `pcall(assert, nil, nil)`, `select("#", assert(1, 2, 3))`, `pcall(error, "x", 0)`, `type(select(2, pcall(error, {})))`,
}

// numerals are texts that tonumber may take, and bases.
var numerals = strings.Fields(`"1e2" "1." "-0x10" "0x10" "0x" "1e" "e1" "" "0x1p4" "1e400" "-1e400" "inf" "0b1" "0o7" "1_000" ".5" "5." "-.5" "+5" "--5" "0xg" "1e+2"
	"1E-2" "0X1F" "+0x10" "\t5\n" "0x1.8" "00012" "0x-1" "010" "5\0" "1\n2" "." "-" "0x.8" "1e2.5" "1,5" "٣" nil {} true 12 1.5
	"10",2 "ff",16 "FF",16 "zz",36 "8",8 "7.5",10 "1e2",10 "0x10",16 "-ff",16 "+11",2 "",10 "1e2",16 "1",1 "1",37 10,2 "9",9 "-",16 "0x",16 {},16 nil,10 "\t11\n",2`)

// TestExpressions compares the values of expressions, and which of them are errors, with
// those of Lua 5.1.
func TestExpressions(t *testing.T) {
	testpeer.Need(t, "lua5.1")
	all := slices.Clone(expressions)
	for _, n := range numerals {
		all = append(all, "tonumber("+n+")")
	}
	var b strings.Builder
	b.WriteString(`local function show(ok, ...) if not ok then print("error") return end
		local t = {} for i = 1, select("#", ...) do local v = select(i, ...) t[i] = type(v) == "number" and string.format("%.17g", v) or string.format("%q", tostring(v)) end
		print(table.concat(t, " ")) end` + "\n")
	for _, e := range all {
		fmt.Fprintf(&b, "io.write(%q, ' = ') show(pcall(function() return %s end))\n", strings.NewReplacer(`\`, `/`, "\n", " ").Replace(e), e)
	}
	cmd := exec.CommandContext(t.Context(), "lua5.1", "-")
	cmd.Stdin = strings.NewReader(b.String())
	want, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	got, err := run(t, tree(t), b.String())
	if err != nil {
		t.Fatal(err)
	}
	g, w := strings.Split(got, "\n"), strings.Split(string(want), "\n")
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) {
			t.Fatalf("%d lines, Lua 5.1 %d", len(g), len(w))
		}
		if g[i] != w[i] {
			t.Errorf("%s; Lua 5.1 %s", g[i], w[i])
		}
	}
}
