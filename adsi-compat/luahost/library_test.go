// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"restante/adsi-compat/luahost/system"
	"restante/internal/testpeer"
)

// Each result is what Lua 5.1 gives.
func TestPatterns(t *testing.T) {
	tests := []struct{ source, want string }{
		{`string.find("hello world", "wor")`, "7\t9"},
		{`string.find("a.b", ".", 1, true)`, "2\t2"},
		{`string.find("a+b", "+", 1)`, "2\t2"}, // a quantifier with nothing before it
		{`string.find("hello", "l+")`, "3\t4"},
		{`string.find("hello", "(l)(l)")`, "3\t4\tl\tl"},
		{`string.find("hello", "xyz")`, "nil"},
		{`string.find("hello", "")`, "1\t0"},
		{`string.find("hello", "", 99)`, "6\t5"},
		{`string.find("hello", "l", -1)`, "nil"},
		{`string.find("hello", "l", -2)`, "4\t4"},
		{`string.find("hello", "^l", 3)`, "3\t3"},
		{`string.match("key = value", "^(%w+)%s*=%s*(%w+)$")`, "key\tvalue"},
		{`string.match("  trim  ", "^%s*(.-)%s*$") .. "|"`, "trim|"},
		{`string.match("2024-01-02", "(%d+)-(%d+)-(%d+)")`, "2024\t01\t02"},
		{`string.match("abc", "()b()")`, "2\t3"},
		{`string.match("f(a(b)c)d", "%b()")`, "(a(b)c)"},
		{`string.match("f(a", "%b()")`, "nil"},
		{`string.match([[say "it's" so]], [[(["'])(.-)%1]])`, `"` + "\tit's"},
		{`string.match("THE (quick) fox", "%f[%a]%a+", 5)`, "quick"},
		{`string.match("a]b", "[]]")`, "]"},
		{`string.match("a-b", "[a-]+")`, "a-"},
		{`string.match("a^b", "[b^]+")`, "^b"},
		{`string.match("x%y", "[%%]")`, "%"},
		{`string.match("abc", "[^a]+")`, "bc"},
		{`string.match("abc", "ab?c?d?")`, "abc"},
		{`string.match("a$", "a$$")`, "a$"},
		{`string.match("0xBEEF", "%x+", 3)`, "BEEF"},
		{`string.match("Ab1 ,\1\0", "%u%l%d%s%p%c%z") ~= nil`, "true"},
		{`string.match("aZ", "%U%L")`, "aZ"},
		{`string.gsub("hello", "l", "L")`, "heLLo\t2"},
		{`string.gsub("hello", "l", "L", 1)`, "heLlo\t1"},
		{`string.gsub("hello", "", "-")`, "-h-e-l-l-o-\t6"},
		{`string.gsub("abc", "%w", "%0%0")`, "aabbcc\t3"},
		{`string.gsub("abc", "%w", "%1%%")`, "a%b%c%\t3"},
		{`string.gsub("a b", "(%w) (%w)", "%2 %1")`, "b a\t1"},
		{`string.gsub("abab", "^a", "x")`, "xbab\t1"},
		{`string.gsub("$x $y", "%$(%w)", {x = 1})`, "1 $y\t2"},
		{`string.gsub("a b", "%w", function(c) if c == "a" then return c:upper() end end)`, "A b\t2"},
		{`string.gsub("ab", "()", "%1")`, "1a2b3\t3"},
		{`(function() local s = "" for k, v in string.gmatch("a=1, b=2", "(%w)=(%w)") do s = s .. k .. v end return s end)()`, "a1b2"},
		{`(function() local n = 0 for _ in string.gmatch("abc", "") do n = n + 1 end return n end)()`, "4"},
		{`(function() local s = "" for c in string.gmatch("a^b^", "^.?") do s = s .. c .. ";" end return s end)()`, "^b;^;"},

		{`string.rep("ab", 3), string.rep("x", 0), string.rep("x", -1)`, "ababab\t\t"},
		{`table.concat({1, "b", 3}, ", "), table.concat({}), table.concat({1, 2, 3}, "", 2, 3)`, "1, b, 3\t\t23"},
		{`string.format("%5.1f|%-4s|%d%%123", 1.25, "a", 7)`, "  1.2|a   |7%123"},
		{`string.format("%s %s", {} ~= nil, GetObject("IIS://LocalHost"))`, "true IIS://LocalHost"},
		{`loadstring("return 1 + 1")()`, "2"},

		{`"a" .. 1 .. "b" .. 2.5`, "a1b2.5"},
		{`(function(...) return "a" .. ... end)("b", "c")`, "ab"},
		{`"a" .. (function() return "b", "c" end)()`, "ab"},
		{`("a" .. "b"):upper() .. #("c" .. "d")`, "AB2"},
		{`(function(s) s = s .. "x" .. s; return s end)("y")`, "yxy"},
		{`(function(a, s) for i = 1, 2 do s = s .. a .. i end return s end)("a", "s")`, "sa1a2"},
		{`(function() local t = setmetatable({}, {__concat = function(l, r) return type(l) .. "+" .. type(r) end}); return t .. "x", "x" .. t, "a" .. "b" .. t .. "c" .. "d" end)()`,
			"table+string\tstring+table\tabtable+string"},

		// A call whose value goes to the last parameter, itself or by way of others.
		{`(function(s) s = (tostring(s)) .. s return s end)(5)`, "55"},
		{`(function(s) s = (tostring(s)) return s end)(5)`, "5"},
		{`(function(s) local t; s, t = tostring(s), 1 return s, t end)(5)`, "5\t1"},
		{`(function(s) local t; s, t = s .. "x" .. s, s return s, t end)(5)`, "5x5\t5"},
		{`(function(s) local t; t, s = 1, tostring(s) return s, t end)(5)`, "5\t1"},
		{`(function(a, s) s, a = (select(1, s, 6)) return s, a end)(1, 5)`, "5\tnil"},
		{`(function(s) s = select(1, s, 6), s return s end)(5)`, "5"},
		{`(function(s) s = s and tostring(s) return s end)(5)`, "5"},
		{`(function(s) s = nil or (tostring(s)) return s end)(5)`, "5"},
		{`(function(s) s = s and s .. "x" .. s or s return s end)(5)`, "5x5"},
		{`(function(s) s = -(tonumber(s)) return s end)(5)`, "-5"},
		{`(function(s) s = not tostring(s) return s end)(5)`, "false"},
		{`(function(s) s = #(s .. s) + #(tostring(s) .. s) return s end)(5)`, "4"},
		{`(function(s) s = {s .. "x", (tostring(s))} return s[1] .. s[2] end)(5)`, "5x5"},
		{`(function(s) local i, t = 1, {}; i, t[i] = tonumber(2), tostring(s) return i, t[1] end)(5)`, "2\t5"},
		{`(function(...) local a, b = "x" .. ...; return a, b end)(5, 6)`, "x5\tnil"},
		{`#{"a" .. "b", "c" .. "d"}, ("a" .. "b") == "ab", ({["a" .. "b"] = 1}).ab`, "2\ttrue\t1"},

		{`bit.band(0xFF, 0x0F), bit.bor(1, 2, 4), bit.bxor(5, 1), bit.bnot(0), bit.bnot(-1)`, "15\t7\t4\t4294967295\t0"},
		{`bit.lshift(1, 9), bit.lshift(1, 32), bit.rshift(-1, 28), bit.rshift(0x202, 1), bit.band(-1, 514)`, "512\t0\t15\t257\t514"},
		{`pcall(bit.band, 1.5)`, "false\ttest.lua:1: bad argument #1 to (anonymous) (a whole number of 32 bits is wanted)"},

		{`json.encode({1, "a", true, {}}), json.encode({b = 1, a = {x = 0.5}}), json.encode(json.array()), json.encode({json.null})`, `[1,"a",true,{}]` + "\t" + `{"a":{"x":0.5},"b":1}` + "\t[]\t[null]"},
		{`json.encode(json.decode('{"a":[],"b":{},"c":null,"d":[1,[2]],"e":"<\\u00e4>"}'))`, `{"a":[],"b":{},"c":null,"d":[1,[2]],"e":"<ä>"}`},
		{`#json.decode("[1,2]"), json.decode("null") == json.null, json.decode("7"), json.encode({a = 1}, true)`, "2\ttrue\t7\t{\n  \"a\": 1\n}"},
		{`select(2, pcall(json.decode, "{"))`, "test.lua:1: json.decode: unexpected EOF"},
		{`select(2, pcall(json.decode, "1 2"))`, "test.lua:1: json.decode: something follows the value"},
		{`select(2, pcall(json.encode, {1, a = 2}))`, "test.lua:1: json.encode: the list has the key a beside its members"},
		{`select(2, pcall(json.encode, print))`, "test.lua:1: json.encode: a function has no form in JSON"},
		{`select(2, pcall(json.encode, 0/0))`, "test.lua:1: json.encode: the number NaN has no form in JSON"},
		{`(function() local t = {}; t[1] = t; return select(2, pcall(json.encode, t)) end)()`, "test.lua:1: json.encode: a table is nested more than 100 deep: does it contain itself?"},
		{`(function(rows) local t = {} for _, r in ipairs(rows) do t[#t + 1] = r.line .. ":" .. table.concat(r, "|") end return table.concat(t, " ") end)(csv.rows("\239\187\191#TYPE x\r\n\"Domain\",\"Kind\"\r\n\"c2.example\",\"alias\"\r\n\r\n,,\r\n a , b # c\"\r\n\"x # y\",\"a \"\"b\"\"\"\n\"l1\nl2\",2,\n3", "DOMAIN", "KIND", "HOST"))`,
			"3:c2.example|alias 6:a|b 7:x # y|a \"b\" 8:l1\nl2|2 10:3"},
		{`csv.rows("a;b,c")[1][2], csv.rows("\"a,b\";c")[1][1], csv.rows("x\n a\tb")[2][2], csv.rows("\255\254a\0,\0b\0")[1][2], #csv.rows("# nothing\r\n")`, "c\ta,b\tb\tb\t0"},
		{`select(2, pcall(csv.rows, "a,b\n\nc\"d"))`, "test.lua:1: csv.rows: line 3: bare \" in non-quoted-field"},
		{`select(2, pcall(csv.rows, "a,b\n\"c"))`, "test.lua:1: csv.rows: line 2: extraneous or missing \" in quoted-field"},
		{`select(2, pcall(csv.rows, "M\252nchen"))`, "test.lua:1: csv.rows: the text is not UTF-8: save the list as CSV UTF-8"},
		{`(function() local p = {"return ", "7"} return load(function() return table.remove(p, 1) end)() end)()`, "7"},
		{`loadstring("x x")`, "nil\t<string>:1: parse error near 'x'"},
	}
	for _, tt := range tests {
		got, err := run(t, tree(t), "print("+tt.source+")")
		if err != nil || got != tt.want+"\n" {
			t.Errorf("%s: %q, %v; want %q", tt.source, got, err, tt.want)
		}
	}
}

// Without its limit each of these takes more time or memory than there is.
func TestLimits(t *testing.T) {
	if testpeer.WithoutRace(t) {
		return
	}
	tests := []struct{ source, want string }{
		{`string.rep("x", 300000000)`, "more than 33554432 octets"},
		{`string.rep("xx", 2^52)`, "more than 33554432 octets"},
		{`local s = string.rep("x", 17000000); table.concat({s, s})`, "more than 33554432 octets"},
		{`local t = {}; for i = 1, 100 do t[i] = "" end; table.concat(t, string.rep("x", 900000))`, "more than 33554432 octets"},
		{`string.gsub(string.rep("x", 1000000), "x", string.rep("y", 100))`, "more than 33554432 octets"},
		{`local s = string.rep("x", 4000000); string.gsub(s, ".+", string.rep("%0", 1000))`, "more than 33554432 octets"},
		{`string.format("%100000000d", 1)`, "at most two digits"},
		{`string.format("%.100000000d", 1)`, "at most two digits"},
		{`string.format("%-100000000s", "x")`, "at most two digits"},
		{`string.format("%*d", 100000000, 1)`, "at most two digits"},
		{`string.format(string.rep("%[1]s", 1000), string.rep("x", 1000000))`, "at most two digits"},
		{`local s, t = string.rep("x", 4000000), {}; for i = 1, 100 do t[i] = s end; string.format(string.rep("%s", 100), unpack(t))`, "more than 33554432 octets"},
		{`assert(loadstring(string.rep("not ", 1000000) .. "1"))`, "has more than 262144 octets"},
		{`assert(load(function() return "not not not not not " end))`, "has more than 262144 octets"},
		{`return ` + strings.Repeat("not ", 1000000) + `1`, "has more than 262144 octets"},
		{`("x"):find(string.rep("(", 30000))`, "too many captures"},
		{`("x"):rep(1000):find(string.rep("x?", 30000))`, "too complex"},
		{`("x"):find("[x")`, "lacks a ]"},
		{`("x"):find("x%")`, "ends with %"},
		{`("x"):find("%bx")`, "lacks its two characters"},
		{`("x"):find("%fx")`, "lacks its set"},
		{`("x"):find("(x")`, "leaves a capture open"},
		{`("x"):match("x)")`, "closes a capture"},
		{`("x"):find("%1")`, "names a capture"},
		{`("x"):gsub("x", "%2")`, "there is no capture 2"},
		{`("x"):gsub("x", function() return {} end)`, "invalid replacement value (a table)"},
		{`table.concat({1, {}, 3})`, "invalid value (table) at index 2"},
		{`local s = "x"; while true do s = s .. s end`, "test.lua:1: the text would have more than 33554432 octets"},
		{`local s = "x"; while true do s = s .. 1 .. s .. s .. s end`, "more than 33554432 octets"},
		{`return 1 .. nil`, "cannot perform concat operation between number and nil"},
		{`return {} .. "x" .. "y"`, "cannot perform concat operation between table and string"},
	}
	for _, tt := range tests {
		_, err := run(t, tree(t), tt.source)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%.80s: error %v, want %q", tt.source, err, tt.want)
		}
	}
	// A member at a great index does not allocate all members below it.
	if got, err := run(t, tree(t), `local t = {}; t[60000000] = 1; print(t[60000000], #t)`); err != nil || got != "1\t0\n" {
		t.Errorf("%q, %v", got, err)
	}
}

// A script ends when it takes more memory than it may, by a watcher of its own.
func TestMemoryIsBounded(t *testing.T) {
	_, err := runWithin(t, tree(t), 64<<20, `local t = {}; for i = 1, 1e9 do t[i] = string.rep("x", 1000000) .. i end`)
	if err == nil || !strings.Contains(err.Error(), "stopped: more than 64 MiB of memory") {
		t.Errorf("error %v", err)
	}
}

// TestGarbageIsNotCounted drops 30 MiB at a time.
func TestGarbageIsNotCounted(t *testing.T) {
	out, err := runWithin(t, tree(t), 96<<20, `for i = 1, 20 do local s = string.rep("x", 30 * 1024 * 1024) end print("done")`)
	if err != nil || out != "done\n" {
		t.Errorf("printed %q, error %v", out, err)
	}
}

// Without it each of these runs for years: a call of the library stops at the
// deadline, as each step of a script does.
func TestARunawaySearchIsStopped(t *testing.T) {
	for _, source := range []string{
		`string.find(string.rep("a", 40), string.rep("a*", 30) .. "b")`,
		`string.match(string.rep("a", 4000000), ".-b")`,
		`string.find(string.rep("(", 4000000), "%b()")`,
		`string.gsub(string.rep("a", 100000), "(a*)(a*)(a*)b", "")`,
		`string.gmatch(string.rep("a", 4000000), "(.-)%1.-b")()`,
		`string.find(string.rep("a", 4000000), "^(a*).-%1b")`,
		`string.find(string.rep("a", 100000), "[" .. string.rep("b", 100000) .. "]")`,
		`while true do pcall(string.find, string.rep("a", 40), string.rep("a*", 30) .. "b") end`,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := Run(ctx, directory(tree(t)), Script{Name: "find.lua", Source: source, Streams: system.Streams{Out: &strings.Builder{}}})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) || !strings.HasPrefix(err.Error(), "find.lua:") || !strings.Contains(err.Error(), ": stopped: ") {
			t.Errorf("%s: error %v", source, err)
		}
	}
}

// Each pattern is found, not found, or an error of the script.
func FuzzPattern(f *testing.F) {
	for _, pat := range []string{"^(a*)(.-)%1$", "%f[%w]%w+", "[^]-a%-]?", "%b()", "()x", "[", "%", "(()", "%9", "[a-", "[%"} {
		f.Add("(ab) a-]c", pat)
	}
	s := tree(f)
	f.Fuzz(func(t *testing.T, text, pat string) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		const source = `local from, to = string.find(arg[1], arg[2])
			if from then assert(from <= to + 1 and to <= #arg[1]) end
			string.gsub(arg[1], arg[2], "%0")
			for _ in string.gmatch(arg[1], arg[2]) do end`
		err := Run(ctx, directory(s), Script{Name: "p.lua", Source: source, Args: []string{text, pat}, Streams: system.Streams{Out: &strings.Builder{}}})
		if err != nil && (strings.Contains(err.Error(), "runtime error") || strings.Contains(err.Error(), "assertion")) {
			t.Errorf("%q in %q: %v", pat, text, err)
		}
	})
}
