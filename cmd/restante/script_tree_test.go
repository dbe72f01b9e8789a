// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"restante/cmd/restante/internal/datadir"
)

// noFileHas TEXT PATH...: no file at or below the paths holds the text.
func noFileHas(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: no-file-has TEXT PATH...")
	}
	files := 0
	for _, root := range args[1:] {
		ts.Check(filepath.WalkDir(ts.MkAbs(root), func(name string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			b, err := os.ReadFile(name)
			if bytes.Contains(b, []byte(args[0])) {
				ts.Fatalf("%s holds %q", name, args[0])
			}
			files++
			return err
		}))
	}
	if files == 0 {
		ts.Fatalf("there are no files in %q", args[1:])
	}
}

// pause DURATION lets time pass for a deadline in another process.
func pause(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pause DURATION")
	}
	d, err := time.ParseDuration(args[0])
	ts.Check(err)
	<-time.After(d)
}

// stopDuring COMMAND [ARG]...: the service is stopped when the command has printed
// its first line; the command ends then, with exit code 1.
func stopDuring(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: stop-during COMMAND [ARG]...")
	}
	bin, err := lookPath(ts.Getenv("PATH"), args[0])
	ts.Check(err)
	c := exec.Command(bin, args[1:]...)
	c.Env = append(os.Environ(), "RESTANTE_DATA="+ts.Getenv("RESTANTE_DATA"))
	c.Stderr = ts.Stderr()
	out, err := c.StdoutPipe()
	ts.Check(err)
	ts.Check(c.Start())
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		ts.Fatalf("it has printed no line: %v", err)
	}
	svc(ts, false, []string{"stop"})
	_, _ = io.Copy(io.Discard, out)
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 1 {
		ts.Fatalf("it ends with %v, want exit code 1", err)
	}
}

// damage FILE: one octet in its middle is another one.
func damage(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: damage FILE")
	}
	name := ts.MkAbs(args[0])
	b, err := os.ReadFile(name)
	ts.Check(err)
	b[len(b)/2] ^= 0x20
	ts.Check(os.WriteFile(name, b, 0o600))
}

// lock-store opens the store, as another process would, until unlock-store.
func lockStore(ts *testscript.TestScript, neg bool, args []string) {
	db, err := datadir.OpenKV(filepath.Join(ts.Getenv("RESTANTE_DATA"), datadir.Store), nil, false)
	ts.Check(err)
	ts.Value(scriptEnvKey{}).(*scriptEnv).locked = db
}

func unlockStore(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(ts.Value(scriptEnvKey{}).(*scriptEnv).locked.Close())
}
