// SPDX-License-Identifier: Apache-2.0

package luahost

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"restante/adsi-compat/luahost/stdlib"
	"restante/adsi-compat/luahost/system"
	"restante/internal/testpeer"
)

// TestFiles runs io and the functions of os that need the system, in a folder with
// a file.
func TestFiles(t *testing.T) {
	long := strings.Repeat("x", 10000)
	tests := []struct{ source, want string }{
		{`for l in io.lines("in") do print(#l) end`, "3\n10000\n0\n4\n"},
		{`local f = io.open("in"); print(f:read("*n"), f:read(), #f:read("*L"), f:read(0), f:read(2), f:read("*a"), f:read("*a"), f:read("*l"), f:read(1))`, "123\t\t10001\t\t\nl\tast\t\tnil\tnil\n"},
		{`local f = io.open("in", "rb"); print(f:seek("end"), f:seek("set", 1), f:read(2), f:seek(), f:seek("cur", -2), f:read(1))`, "10010\t1\t23\t3\t1\t2\n"},
		{`local f = assert(io.open("out", "w")); f:write("a", 1, "\n"):write("b"); print(io.type(f), f:close(), io.type(f), io.type(1))
			local f = io.open("out", "a+"); f:write("c"); f:seek("set"); print(f:read("*a"))`, "file\ttrue\tclosed file\tnil\na1\nbc\n"},
		{`local f = io.open("out", "w+"); f:write("abcdef"); f:seek("set"); print(f:read(2)); f:write("X"); f:seek("set"); print(f:read("*a"))`, "ab\nabXdef\n"},
		{`io.write("a", 1); io.stdout:write("b\n"); io.stderr:write("e\n"); print(io.read(), io.stdin:read("*n"), io.read())`, "a1b\ne\nline\t7\t\n"},
		{`io.output("out"); io.write("kept"); io.close(); io.input("out"); print(io.read("*a")); for l in io.lines() do print(l) end`, "kept\n"},
		{`local f = io.tmpfile(); f:write("x"); f:seek("set"); print(f:read("*a"))`, "x\n"},
		{`local n = os.tmpname(); print(io.open(n):read("*a"), os.remove(n), (os.remove(n)))`, "\ttrue\tnil\n"},
		{`print(os.rename("in", "in2"), os.rename("in2", "in"), os.getenv("NO_SUCH_THING"), #os.getenv("PATH") > 0)`, "true\ttrue\tnil\ttrue\n"},
		{`local f, why, n = io.open("none"); print(f, why:match("^none: "), n)`, "nil\tnone: \t2\n"},
		{`print(pcall(io.lines, "none"))`, "false\ttest.lua:1: none: no such file or directory\n"},
		{`print(select(2, pcall(io.read, "x")))`, "test.lua:1: bad argument #1 to (anonymous) (the formats are *l, *L, *a, *n and a number of octets)\n"},
		{`local f = io.open("in"); f:close(); print(pcall(f.read, f))`, "false\ttest.lua:1: in: the file is closed\n"},
		{`local f = io.open("in"); print(pcall(f.write, f, "x"))`, "false\ttest.lua:1: in: the file is not open for writing\n"},
		{`print(pcall(io.open, "in", "x"))`, "false\ttest.lua:1: io.open: the mode \"x\" is none of r, w, a, r+, w+, a+\n"},
		{`print(pcall(io.close))`, "false\ttest.lua:1: stdout: the file is not open for closing: it is the command's own\n"},
		{`print(dofile("part.lua"), (loadfile("none")), loadfile("part.lua")())`, "5\tnil\t5\n"},
		{`print(pcall(dofile, "bad.lua"))`, "false\tbad.lua:2: no\n"},
		{`local f = io.popen("cat in; exit 3"); print(#f:read("*a"), f:close())`, "10010\tnil\texit\t3\n"},
		{`local f = io.popen("cat", "w"); f:write("to it\n"); print(f:close())`, "to it\ntrue\texit\t0\n"},
		{`local f = io.popen("yes"); print(f:read()); f:close()`, "y\n"}, // it ends with its reader
		{`io.popen("cat > out2", "w"):write("left open")`, ""},
		{`print(io.open("out2"):read("*a"))`, "left open\n"},
		{`print(os.execute("echo hello"), os.execute("exit 4"), os.execute())`, "hello\n0\t4\t1\n"},
		{`sleep(0); WScript.Sleep(1); WScript.Echo("a", 1); print(WScript.Arguments.Count, WScript.Arguments(0), wscript, WScript.arguments:Item(1))
			for a in WScript.Arguments do for b in WScript.Arguments do break end print(a) break end`, "a 1\n2\tone\tnil\ttwo\none\n"},
		{`for a in WScript.Arguments do io.write(a, ";") end`, "one;two;"},
		{`print(pcall(WScript.Arguments, 2)); print(pcall(function() return WScript.Fly end))`, "false\ttest.lua:1: WScript.Arguments(2): there are 2, from 0\nfalse\ttest.lua:1: WScript has no Fly; there are arguments, echo, quit, scriptname, sleep (0x80005006)\n"},
	}
	if runtime.GOOS == "windows" {
		t.Skip("the programs of the table are those of Unix")
	}
	t.Chdir(t.TempDir())
	for name, text := range map[string]string{"in": "123\n" + long + "\n\nlast", "part.lua": "return 5", "bad.lua": "\nerror('no')"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := tree(t)
	for _, tt := range tests {
		var out strings.Builder
		err := Run(t.Context(), directory(s), Script{
			Name: "test.lua", Source: tt.source, Args: []string{"one", "two"},
			Streams: system.Streams{In: strings.NewReader("line\n7\n"), Out: &out, Err: &out},
		})
		if err != nil || out.String() != tt.want {
			t.Errorf("%s:\n%q, %v\nwant %q", tt.source, out.String(), err, tt.want)
		}
	}
}

// A dry run reads files, and refuses whatever would change one or start a program.
func TestDryRun(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("in", []byte("line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const refused = ": a dry run starts no program and changes no file: run the script without --dry-run"
	tests := []struct{ source, want string }{
		{`os.execute("echo x > out")`, "os.execute" + refused},
		{`io.popen("echo x > out")`, "io.popen" + refused},
		{`io.open("out", "w")`, "io.open: out" + refused},
		{`io.open("out", "a")`, "io.open: out" + refused},
		{`io.open("in", "r+")`, "io.open: in" + refused},
		{`io.open("out", "w+b")`, "io.open: out" + refused},
		{`io.output("out")`, "io.open: out" + refused},
		{`os.remove("in")`, "os.remove" + refused},
		{`os.rename("in", "out")`, "os.rename" + refused},
		{`os.tmpname()`, "os.tmpname" + refused},
		{`GetObject("IIS://LocalHost"):Export("", "out", "/LM", 0)`, "Export" + refused},
	}
	in := Script{Name: "test.lua", DryRun: true, Streams: system.Streams{In: strings.NewReader(""), Out: &strings.Builder{}}}
	for _, tt := range tests {
		in.Source = tt.source
		if err := Run(t.Context(), directory(tree(t)), in); err == nil || err.Error() != "test.lua:1: "+tt.want {
			t.Errorf("%s: %v, want %q", tt.source, err, tt.want)
		}
	}
	in.Source = `assert(io.open("in")):close() for l in io.lines("in") do print(l) end io.tmpfile():write("x") os.getenv("HOME") os.execute() io.write("x")`
	if err := Run(t.Context(), directory(tree(t)), in); err != nil {
		t.Error(err)
	}
	if files, err := os.ReadDir("."); err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

// A sandbox takes away what needs the system, and no more.
func TestSandbox(t *testing.T) {
	for sandbox, want := range map[bool]string{
		true:  "userdata userdata userdata userdata userdata userdata userdata userdata userdata function function",
		false: "table function function function function function function function function function function",
	} {
		var out strings.Builder
		err := Run(t.Context(), directory(tree(t)), Script{Name: "s.lua", Sandbox: sandbox, Streams: system.Streams{Out: &out}, Source: `WScript.Echo(
			type(io), type(dofile), type(loadfile), type(os.execute), type(os.exit), type(os.getenv), type(os.remove), type(os.rename), type(os.tmpname), type(os.time), type(require))`})
		if err != nil || out.String() != want+"\n" {
			t.Errorf("sandbox %v: %q, %v; want %q", sandbox, out.String(), err, want)
		}
	}
}

// The error of what a sandbox takes away, or of what does not exist here, says so, and
// docs list it.
func TestMissing(t *testing.T) {
	const sandbox = " is taken away by --sandbox"
	tests := []struct {
		source, want string
		sandbox      bool
	}{
		{`io.open("x")`, "io.open" + sandbox, true},
		{`for l in io.lines("x") do end`, "io.lines" + sandbox, true},
		{`io.stdout:write("x")`, "io.stdout" + sandbox, true},
		{`dofile("x")`, "dofile" + sandbox, true},
		{`loadfile("x")`, "loadfile" + sandbox, true},
		{`os.execute("x")`, "os.execute" + sandbox, true},
		{`os.exit(1)`, "os.exit" + sandbox, true},
		{`print(os.getenv("HOME"))`, "os.getenv" + sandbox, true},
		{`os.remove("x")`, "os.remove" + sandbox, true},
		{`os.rename("x", "y")`, "os.rename" + sandbox, true},
		{`local n = os.tmpname()`, "os.tmpname" + sandbox, true},

		{`coroutine.create(print)`, "coroutine.create does not exist here: collect values in a table, or return a function that gives the next one", false},
		{`local wrap = coroutine.wrap`, "coroutine.wrap does not exist here: ", false},
		{`print(debug.traceback())`, "debug.traceback does not exist here: the error that pcall returns names script and line", false},
		{`collectgarbage("collect")`, "collectgarbage does not exist here: ", false},
		{`module("x", package.seeall)`, "module does not exist here: return a table from the file, and get it by require", false},
		{`os.setlocale("C")`, "os.setlocale does not exist here: ", false},
		{`string.dump(print)`, "string.dump does not exist here: ", false},
		{`table.foreach({}, print)`, "table.foreach does not exist here: use for k, v in pairs(t) do", false},
		{`package.path = package.path .. ";x/?.lua"`, "package.path does not exist here: put modules into the script's folder", false},
		{`package.loadlib("x", "y")`, "package.loadlib does not exist here: ", false},
	}
	for _, tt := range tests {
		err := Run(t.Context(), directory(tree(t)), Script{Name: "test.lua", Source: tt.source, Sandbox: tt.sandbox, Streams: system.Streams{In: strings.NewReader(""), Out: &strings.Builder{}}})
		if err == nil || !strings.HasPrefix(err.Error(), "test.lua:1: "+tt.want) {
			t.Errorf("%s: %v, want %q", tt.source, err, tt.want)
		}
	}
	docs, err := os.ReadFile("../../docs/lua/host.md")
	if err != nil {
		t.Fatal(err)
	}
	for name, use := range stdlib.Missing() {
		if !strings.Contains(string(docs), "| `"+name+"` | "+use+" |") {
			t.Errorf("docs/lua/host.md lacks %s: %s", name, use)
		}
	}
}

// TestNothingElseIsMissing compares the names of the library with those of Lua 5.1.
func TestNothingElseIsMissing(t *testing.T) {
	testpeer.Need(t, "lua5.1")
	const list = `for k, v in pairs(_G) do
		if type(v) == "table" and k ~= "_G" and k ~= "arg" then for n in pairs(v) do print(k .. "." .. n) end else print(k) end end`
	names, err := exec.CommandContext(t.Context(), "lua5.1", "-e", list).Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(names)) {
		if library, _, _ := strings.Cut(name, "."); library == "coroutine" || library == "debug" || strings.HasPrefix(name, "package.loaded") {
			continue // see TestMissing
		}
		if out, err := run(t, tree(t), "print(rawequal("+name+", nil))"); err != nil || out != "false\n" {
			t.Errorf("%s: %q, %v", name, out, err)
		}
	}
}

// An error of a script names script and line, whatever raises it.
func TestErrorsNameTheirLine(t *testing.T) {
	tests := []struct{ source, want string }{
		{"\nerror('x')", "test.lua:2: x"},
		{"\nerror('x', 2)", "test.lua:2: x"},
		{"local function f() error('x', 2) end\nf()", "test.lua:2: x"},
		{"\nerror({})", "test.lua:2: the error is a table, not a text"},
		{"\nerror(nil)", "test.lua:2: the error is a nil, not a text"},
		{"\nerror(7)", "test.lua:2: 7"},
		{"\nerror(setmetatable({}, {__tostring = function() return 'x' end}))", "test.lua:2: x"},
		{"\nerror(GetObject('IIS://LocalHost'))", "test.lua:2: IIS://LocalHost"},
		{"error('usage: x', 0)", "usage: x"}, // the script wants no place
		{"local ok, e = pcall(error, 'x', 0)\nerror(e, 0)", "x"},
		{"local ok, e = pcall(error, 'x', 0)\nerror('y')", "test.lua:2: y"},
		{"\nassert(false, 'x')", "test.lua:2: x"},
		{"\nassert(nil)", "test.lua:2: assertion failed!"},
		{"\nassert(io.open('none'))", "test.lua:2: none: "},
		{"\nassert(false, {})", "test.lua:2: the error is a table, not a text"},
		{"\nlocal t; t.x = 1", "test.lua:2: attempt to index a non-table object(nil) with key 'x'"},
		{"local function f() return 1 + f() end\nf()", "test.lua:1: lua callstack overflow"},
		{"\nreturn GetObject('IIS://LocalHost/None')", "test.lua:2: GetObject: IIS://LocalHost/None: not found (0x80070003)"},
		{"\nreturn tostring()", "test.lua:2: bad argument #1 to tostring (value expected)"},
		{"\ntransaction(function()\nerror({}) end)", "test.lua:3: the error is a table, not a text"},
		{"\nx x", "test.lua:2: parse error near 'x'"},
		{"\nif x then\n", "test.lua:3: syntax error near <eof>"},
		{"\nlocal s = 'x", "test.lua:2: unterminated string near <eof>"},
		{"\ngoto nowhere", "test.lua:2: no visible label 'nowhere' for <goto>"},
		{"--" + strings.Repeat("x", 300000), "test.lua:1: has more than 262144 octets"},
	}
	for _, tt := range tests {
		if _, err := run(t, tree(t), tt.source); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%.80q: %v, want %q", tt.source, err, tt.want)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := Run(ctx, directory(tree(t)), Script{Name: "w.lua", Source: "\nwhile true do end", Streams: system.Streams{Out: &strings.Builder{}}}); err == nil || !strings.HasPrefix(err.Error(), "w.lua:2: stopped: ") {
		t.Error(err)
	}
}

// A text from a file without end meets the limit.
func TestAFileWithoutEnd(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("there is no /dev/zero")
	}
	if testpeer.WithoutRace(t) {
		return
	}
	for _, source := range []string{`io.open("/dev/zero"):read("*a")`, `io.open("/dev/zero"):read(1e12)`, `for l in io.lines("/dev/zero") do end`} {
		_, err := run(t, tree(t), source)
		if err == nil || err.Error() != "test.lua:1: /dev/zero: more than 32 MiB would be read into one text: read it by lines or in parts" {
			t.Errorf("%s: %v", source, err)
		}
	}
}

// A script ends itself, also from within pcall, and the number is the command's.
func TestExit(t *testing.T) {
	tests := []struct {
		source string
		want   error
	}{
		{`print("a"); os.exit(3); print("b")`, Exit(3)},
		{`print("a"); pcall(os.exit, 3); print("b")`, Exit(3)},
		{`print("a"); WScript.Quit(4)`, Exit(4)},
		{`print("a"); os.exit()`, nil},
		{`print("a"); os.exit(true)`, nil},
		{`print("a"); os.exit(false)`, Exit(1)},
	}
	for _, tt := range tests {
		if out, err := run(t, tree(t), tt.source); out != "a\n" || err != tt.want {
			t.Errorf("%s: %q, %v; want %v", tt.source, out, err, tt.want)
		}
	}
}

// What waits or runs a program ends with the script's time.
func TestWaitingEndsInTime(t *testing.T) {
	sources := []string{`sleep(1000)`, `WScript.Sleep(1e6)`, `sleep(1/0)`}
	if runtime.GOOS != "windows" {
		sources = append(sources, `os.execute("sleep 1000")`, `io.popen("sleep 1000"):read()`, `io.popen("exec sleep 1000"):close()`)
	}
	for _, source := range sources {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := Run(ctx, directory(tree(t)), Script{Name: "w.lua", Source: source, Streams: system.Streams{Out: &strings.Builder{}}})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestRequire(t *testing.T) {
	own := fstest.MapFS{
		"a.lua":     {Data: []byte("local n = ...; print('runs'); return {name = n, f = function() error('no') end}")},
		"sub/b.lua": {Data: []byte("x = 7")},
		"bad.lua":   {Data: []byte("\nx x")},
		"loop.lua":  {Data: []byte("require 'loop'")},
		"fails.lua": {Data: []byte("\n\nerror('at load')")},
		"sub/t.lua": {Data: []byte("\n\nerror({})")},
		"empty.lua": {Data: []byte("\nassert(nil, 'not here')")},
	}
	other := fstest.MapFS{"a.lua": {Data: []byte("error('the other')")}, "c.lua": {Data: []byte("return 'c'")}}
	tests := []struct{ source, want string }{
		{`local a = require "a"; print(a.name, require("a") == a)`, "runs\na\ttrue\n"},
		{`print(require "sub.b", x, require "c", require "json" == json, package.loaded.c)`, "true\t7\tc\ttrue\tc\n"},
		{`require("a").f()`, "runs\nerror: a.lua:1: no"},
		{`require "bad"`, "error: bad.lua:2: parse error near 'x'"},
		{`require "fails"`, "error: fails.lua:3: at load"},
		{`require "sub.t"`, "error: sub/t.lua:3: the error is a table, not a text"},
		{`require "empty"`, "error: empty.lua:2: not here"},
		{`require "loop"`, "error: loop.lua:1: require: loop requires itself"},
		{`require "none"`, "error: test.lua:1: require: there is no module none: no file none.lua in own nor in other"},
		{`require "../a"`, `error: test.lua:1: require: "../a" is no name of a module: it has letters, digits and dots between its parts`},
		{`require "..a"`, `error: test.lua:1: require: "..a" is no name of a module: it has letters, digits and dots between its parts`},
		{`require "/etc/passwd"`, `error: test.lua:1: require: "/etc/passwd" is no name of a module: it has letters, digits and dots between its parts`},
	}
	for _, tt := range tests {
		var out strings.Builder
		err := Run(t.Context(), directory(tree(t)), Script{Name: "test.lua", Source: tt.source, Streams: system.Streams{Out: &out},
			Modules: []system.Folder{{Name: "own", FS: own}, {Name: "other", FS: other}}})
		if err != nil {
			out.WriteString("error: " + err.Error())
		}
		if out.String() != tt.want {
			t.Errorf("%s: %q, want %q", tt.source, out.String(), tt.want)
		}
	}
}
