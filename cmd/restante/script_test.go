// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"restante/internal/kv"
	"restante/internal/testpeer"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"restante": main,
	})
}

// TestCommands runs the scripts of the command line.
func TestCommands(t *testing.T) { scripts(t, "testdata/script") }

// TestService runs the scripts of a service with its callers and an administrator.
func TestService(t *testing.T) { scripts(t, "../../testdata/script") }

func scripts(t *testing.T, dir string) {
	commands := ""
	if testpeer.RaceEnabled() {
		bin, err := testpeer.Build(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		commands = filepath.Dir(bin)
	}
	lua, err := filepath.Abs("../../scripts")
	if err != nil {
		t.Fatal(err)
	}
	material, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	made := &setUps{dir: t.TempDir()}
	testscript.Run(t, testscript.Params{
		Dir: dir, RequireUniqueNames: true,
		UpdateScripts: os.Getenv("RESTANTE_UPDATE_SCRIPTS") != "",
		Condition: func(cond string) (bool, error) {
			if cond != "super" {
				return false, fmt.Errorf("there is no condition %s", cond)
			}
			return os.Getuid() == 0, nil // as works
		},
		Setup: func(e *testscript.Env) error {
			e.Setenv("RESTANTE_DATA", filepath.Join(e.WorkDir, "data"))
			e.Setenv("SCRIPTS", lua)
			e.Setenv("MATERIAL", material)
			e.Setenv("TZ", "UTC")
			e.Setenv("GORACE", "atexit_sleep_ms=0") // each command would wait a second at its end
			e.Setenv("SERVICE_PATH", e.Getenv("PATH"))
			if commands != "" {
				// The service keeps the race detector; commands, which start a
				// thousand times, would take three times as long with it.
				e.Setenv("PATH", commands+string(filepath.ListSeparator)+e.Getenv("PATH"))
			}
			w := &scriptEnv{made: made, lines: map[string]*testpeer.Client{}}
			e.Values[scriptEnvKey{}] = w
			e.Defer(w.close)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"svc": svc, "smtp": smtp, "code": code, "messages": messages, "same": same,
			"no-file-has": noFileHas, "pause": pause, "damage": damage, "lock-store": lockStore, "unlock-store": unlockStore,
			"stop-during": stopDuring, "as": as,
		},
	})
}

type scriptEnvKey struct{}

// A scriptEnv holds what one script has started.
type scriptEnv struct {
	made    *setUps
	service *testpeer.Service
	lines   map[string]*testpeer.Client
	locked  kv.DB // the store, by lock-store
}

func (w *scriptEnv) close() {
	for _, l := range w.lines {
		l.Close()
	}
	if w.service != nil {
		w.service.Kill()
	}
}

// setUps has a data folder for each list of options of a first start. Scripts start
// on copies, as a set-up under the race detector costs as much as a start.
type setUps struct {
	dir  string
	mu   sync.Mutex
	made map[string]string
}

func (s *setUps) folder(bin string, options []string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := strings.Join(options, " ")
	if data := s.made[key]; data != "" {
		return data, nil
	}
	data := filepath.Join(s.dir, fmt.Sprint(len(s.made)))
	first, err := testpeer.StartService(context.Background(), bin, data, options...)
	if err == nil {
		err = first.Halt()
	}
	if err != nil {
		return "", err
	}
	if s.made == nil {
		s.made = map[string]string{}
	}
	s.made[key] = data
	return data, nil
}

// svc start [ARG]... | svc stop | svc kill: the service on $RESTANTE_DATA.
// Start waits for the ready line and puts the sites' addresses into ADDR1,
// ADDR2 ...; kill ends it as a power cut would.
func svc(ts *testscript.TestScript, neg bool, args []string) {
	w := ts.Value(scriptEnvKey{}).(*scriptEnv)
	if neg || len(args) == 0 {
		ts.Fatalf("usage: svc start [ARG]... | stop | kill")
	}
	switch args[0] {
	case "start":
		bin, err := lookPath(ts.Getenv("SERVICE_PATH"), "restante")
		ts.Check(err)
		data, options := ts.Getenv("RESTANTE_DATA"), args[1:]
		if _, err := os.Stat(data); errors.Is(err, fs.ErrNotExist) && len(options) > 0 {
			from, err := w.made.folder(bin, options)
			ts.Check(err)
			ts.Check(testpeer.CopyData(data, from))
			options = nil
		}
		s, err := testpeer.StartService(context.Background(), bin, data, options...)
		ts.Check(err)
		w.service = s
		for n := 1; n < 10; n++ {
			ts.Setenv(fmt.Sprintf("ADDR%d", n), s.Addr(n))
		}
	case "stop":
		ts.Check(w.service.Halt())
		w.service = nil
	case "kill":
		w.service.Kill()
		w.service = nil
	default:
		ts.Fatalf("svc: no %q", args[0])
	}
}

// code N COMMAND [ARG]...: the command ends with that exit code.
func code(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND [ARG]...")
	}
	got := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if fmt.Sprint(got) != args[0] {
		ts.Fatalf("exit code %d, want %s", got, args[0])
	}
}

func lookPath(path, name string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		for _, full := range []string{filepath.Join(dir, name), filepath.Join(dir, name+".exe")} {
			if st, err := os.Stat(full); err == nil && !st.IsDir() {
				return full, nil
			}
		}
	}
	return "", fmt.Errorf("%s is not in PATH", name)
}

// smtp NAME open ADDR | say LINE | send FROM TO FILE | signin ACCOUNT PASSWORD
// | takein DIR | drop: one conversation. What the server answers is the
// command's standard output.
func smtp(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: smtp NAME open ADDR | say LINE | send FROM TO FILE | signin ACCOUNT PASSWORD | takein DIR | drop")
	}
	w := ts.Value(scriptEnvKey{}).(*scriptEnv)
	name, verb, rest := args[0], args[1], args[2:]
	if verb == "open" {
		c, err := net.Dial("tcp", rest[0])
		ts.Check(err)
		ts.Check(c.SetDeadline(time.Now().Add(2 * time.Minute)))
		w.lines[name] = &testpeer.Client{Conn: c, R: bufio.NewReader(c)}
		hear(ts, w.lines[name])
		return
	}
	l := w.lines[name]
	if l == nil {
		ts.Fatalf("smtp: %s is not open", name)
	}
	switch verb {
	case "say":
		_, err := fmt.Fprintf(l, "%s\r\n", strings.Join(rest, " "))
		ts.Check(err)
		hear(ts, l)
	case "send":
		ts.Check(l.Send(rest[0], rest[1], testpeer.DotStuff(crlf(ts.ReadFile(rest[2])))))
	case "signin":
		if err := l.SignIn(rest[0], rest[1]); err != nil {
			fmt.Fprintln(ts.Stdout(), err)
		} else {
			fmt.Fprintln(ts.Stdout(), "signed in")
		}
	case "takein":
		takeIn(ts, l, ts.MkAbs(rest[0]))
	case "drop":
		ts.Check(l.Close())
		delete(w.lines, name)
	default:
		ts.Fatalf("smtp: no %q", verb)
	}
}

func hear(ts *testscript.TestScript, l *testpeer.Client) {
	reply, err := l.Reply()
	ts.Check(err)
	fmt.Fprintln(ts.Stdout(), strings.TrimRight(reply, "\r\n"))
}

func crlf(s string) []byte {
	return []byte(strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\n", "\r\n"))
}

// takeIn plays the receiving server and writes each message to DIR/N.eml.
func takeIn(ts *testscript.TestScript, l *testpeer.Client, dir string) {
	ts.Check(os.MkdirAll(dir, 0o755))
	n := 0
	ts.Check(l.Receive(func(r testpeer.Received) error {
		n++
		return os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.eml", n)), r.Data, 0o644)
	}))
	// The service hangs up when it has the reply to QUIT, which is in its log then.
	ts.Check(l.SetReadDeadline(time.Now().Add(time.Minute)))
	_, err := io.Copy(io.Discard, l.R)
	ts.Check(err)
	fmt.Fprintf(ts.Stdout(), "%d messages\n", n)
}

// messages DIR makes twenty messages: 1 KiB to 5 MiB,
// one of dot lines, one of eight bits, one with a TURN of its own.
func messages(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: messages DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	for n := 1; n <= 20; n++ {
		ts.Check(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.eml", n)), message(n), 0o644))
	}
}

func message(n int) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "From: joe@out.example\r\nTo: ann@test.com\r\nSubject: message %d\r\n\r\n", n)
	switch n {
	case 2:
		b.WriteString(".\r\n..\r\n.line\r\n\r\n.\r\n")
	case 3:
		b.WriteString("gr\xfc\xdfe, \xe2\x82\xac\r\n")
	case 4:
		b.WriteString("before\r\nTURN\r\nafter\r\n")
	}
	size := 1024
	if n > 4 {
		size <<= (n - 5) % 13
	}
	if n == 20 {
		size = 5 << 20
	}
	for i := 0; b.Len() < size; i++ {
		fmt.Fprintf(&b, "%d: line %d of a message that is as long as it is\r\n", n, i)
	}
	return b.Bytes()
}

// same DIR DIR2: every message of the first is in the second, in order and to
// the octet but for the trace header above it.
func same(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: same DIR DIR2")
	}
	files, err := os.ReadDir(ts.MkAbs(args[0]))
	ts.Check(err)
	for _, f := range files {
		want, err := os.ReadFile(filepath.Join(ts.MkAbs(args[0]), f.Name()))
		ts.Check(err)
		got, err := os.ReadFile(filepath.Join(ts.MkAbs(args[1]), f.Name()))
		ts.Check(err)
		head, ok := bytes.CutSuffix(got, want)
		if !ok {
			ts.Fatalf("%s: came as %d octets that do not end in the %d that were sent", f.Name(), len(got), len(want))
		}
		if !bytes.HasPrefix(head, []byte("Received: ")) || bytes.Count(head, []byte("\r\nReceived: ")) != 0 {
			ts.Fatalf("%s: has more above it than a trace header: %q", f.Name(), head)
		}
	}
}
