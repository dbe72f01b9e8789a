// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"testing"
	"time"

	"restante/internal/testpeer"
)

// endless are scripts that end neither by themselves nor, most of them, between
// two steps of theirs.
var endless = []string{
	`while true do end`,
	`local function f() return f() end f()`,
	`pcall(function() local function f() return f() end f() end)`,
	`while true do pcall(error) end`,
	`string.byte(string.rep("x", 4000000), 1, 2^53)`,
	`unpack({}, 1, 2^53)`,
	`local codes = setmetatable({}, {__index = function() return 65 end}); while true do string.char(unpack(codes, 1, 100000)) end`,
	`while true do string.rep("x", 4000000) end`,
	`local t = {}; for i = 1, 30 do t[i] = string.rep("x", 100000) end; while true do string.format(string.rep("%s", 30), unpack(t)) end`,
	`local t = {}; for i = 1, 100000 do t[i] = "x" end; while true do table.concat(t) end`,
	`local t = {}; for i = 1, 100000 do t[i] = i end; while true do table.sort(t, function() return true end) end`,
	`local t = {}; for i = 1, 100000 do t[i] = i * 7919 % 100003 end; while true do table.sort(t) end`,
	`string.find(string.rep("a", 40), string.rep("a*", 30) .. "b")`,
	`while true do string.gsub(string.rep("x", 100000), "x", "y") end`,
	`while true do GetObject("IIS://LocalHost/SMTPSVC/1"):GetInfo() end`,
}

// A scriptRun is a script in a process of its own.
type scriptRun struct {
	*exec.Cmd
	source   string
	problems bytes.Buffer
}

// startScripts starts each script in a process, and returns when all of them
// run. All processes are there before the first script: a process starts slowly
// beside scripts that take the whole machine.
func startScripts(t *testing.T, s *testpeer.Service, sources []string, args ...string) (all []*scriptRun) {
	t.Helper()
	var begin, running []func() error
	args = append(append([]string{"--data", s.Data, "run"}, args...), "-")
	for _, source := range sources {
		r := &scriptRun{source: source, Cmd: exec.CommandContext(t.Context(), s.Bin, args...)}
		r.Stderr = &r.problems
		in, err := r.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out, err := r.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Start(); err != nil {
			t.Fatal(err)
		}
		begin = append(begin, func() error {
			_, err := io.WriteString(in, `print("go"); `+source)
			return errors.Join(err, in.Close())
		})
		running = append(running, func() error {
			if _, err := bufio.NewReader(out).ReadString('\n'); !errors.Is(err, io.EOF) { // a script that has ended is for ends
				return err
			}
			return nil
		})
		all = append(all, r)
	}
	for i, step := range append(begin, running...) {
		if err := step(); err != nil {
			t.Fatalf("%s: %v", sources[i%len(sources)], err)
		}
	}
	return all
}

// ends checks that the script failed with the message.
func (r *scriptRun) ends(t *testing.T, want ...string) {
	t.Helper()
	_ = r.Wait() // the exit code tells
	got := r.problems.String()
	for _, w := range want {
		if r.ProcessState.ExitCode() == 1 && got == "restante: run: "+w+"\n" {
			return
		}
	}
	t.Errorf("%s: exit code %d, %q; want 1, %q", r.source, r.ProcessState.ExitCode(), got, want)
}

// TestEndlessScriptsEnd ends endless scripts of each kind by their time-out.
func TestEndlessScriptsEnd(t *testing.T) {
	s := startService(t)
	for _, r := range startScripts(t, s, endless, "--timeout", "400ms") {
		r.ends(t, "stdin:1: stopped: it ran for more than 400ms", "stdin: stopped: it ran for more than 400ms")
	}
}

// TestTheServiceAnswersBesideEndlessScripts accepts a message and answers a
// command while 32 endless scripts run, which an interrupt then ends.
func TestTheServiceAnswersBesideEndlessScripts(t *testing.T) {
	s := startService(t)
	scripts := startScripts(t, s, append(slices.Clone(endless), append(endless, endless[:2]...)...))
	begin := time.Now()
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Send("joe@out.example", "ann@hub.example", testpeer.DotStuff([]byte("Subject: x\r\n\r\nx\r\n"))); err != nil {
		t.Error(err)
	}
	l.Quit()
	if _, err := s.Run(t.Context(), "", "status"); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > time.Minute { // in the service's process they made it minutes
		t.Errorf("a message and a command took %v", took)
	}
	for _, r := range scripts {
		if err := r.Process.Signal(os.Interrupt); err != nil {
			t.Errorf("%s: ended before it was to: %v", r.source, err)
		}
	}
	for _, r := range scripts {
		r.ends(t, "interrupted")
	}
}

// TestAScriptOutlivesTheService ends the service in the middle of a script.
func TestAScriptOutlivesTheService(t *testing.T) {
	s := startService(t)
	r := startScripts(t, s, []string{`while true do GetObject("IIS://LocalHost/SMTPSVC/1") end`})[0]
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	const where = "stdin:1: GetObject: IIS://LocalHost/SMTPSVC/1: "
	r.ends(t, where+"the service is needed and does not run (0x80004005)\nhint: restante --data "+s.Data+" serve",
		where+"the service is needed and does not run (0x80004005)",
		where+"the conversation with the service: the connection was lost (0x80004005)")
}
