// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"restante/internal/testpeer"
)

// refuses wants `serve`, and a command that opens the store itself, to end with
// an error that says want, and with nothing else.
func refuses(t *testing.T, s *testpeer.Service, want ...string) {
	t.Helper()
	for _, args := range [][]string{{"serve"}, {"mb", "get", "SMTPSVC/1", "MaxRecipients"}} {
		code, stdout, stderr := ask(t, s, "", args...)
		stderr = withoutLog(stderr)
		if code != 1 || !clearError.MatchString(stderr) || stdout != "" {
			t.Errorf("%v: exit %d, stdout %q:\n%s", args, code, stdout, stderr)
		}
		for _, w := range want {
			if !strings.Contains(stderr, w) {
				t.Errorf("%v: does not say %q:\n%s", args, w, stderr)
			}
		}
		if strings.Contains(want[0], "queue") {
			return // which the command does not open
		}
	}
}

// withoutLog leaves out the lines of the log.
func withoutLog(stderr string) string {
	var b strings.Builder
	for line := range strings.Lines(stderr) {
		if !strings.HasPrefix(line, "time=") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// damage is what may happen to a file.
type damage struct {
	what string
	do   func(b []byte) []byte // nil: the file goes
}

var (
	removed   = damage{"is gone", nil}
	emptied   = damage{"is empty", func([]byte) []byte { return nil }}
	halved    = damage{"is cut off in the middle", func(b []byte) []byte { return b[:used(b)/2] }}
	flipped   = damage{"has one wrong bit in the middle", func(b []byte) []byte { b[used(b)/2] ^= 4; return b }}
	begun     = damage{"begins with zeros", func(b []byte) []byte { clear(b[:min(512, len(b))]); return b }}
	scribbled = damage{"is something else", func(b []byte) []byte { return []byte(strings.Repeat("something else\n", 100)) }}
)

// used is the length of b without the zeros that end it.
func used(b []byte) int { return len(strings.TrimRight(string(b), "\x00")) }

// harm damages one file and gives what puts it back.
func harm(t *testing.T, name string, d damage) (heal func()) {
	t.Helper()
	const zeros = 64 << 10 // enough of those that end a log
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	b = b[:min(len(b), used(b)+zeros)]
	aside := filepath.Join(t.TempDir(), "whole")
	if err := os.Rename(name, aside); err != nil {
		t.Fatal(err)
	}
	if d.do != nil {
		if err := os.WriteFile(name, d.do(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return func() {
		t.Helper()
		if err := os.Rename(aside, name); err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedStore harms the stores in many ways. Each is told and refused, and
// changes nothing: with the file put back, all is there.
func TestDamagedStore(t *testing.T) {
	rows := []struct {
		file  string
		clean bool // harmed after an orderly end, and not after a SIGKILL
		all   []damage
	}{
		{"metabase/00001.mem", false, []damage{emptied, halved, flipped, begun, scribbled}},
		{"metabase/MANIFEST", false, []damage{emptied, begun, scribbled}},
		{"queue/00001.mem", false, []damage{emptied, halved, flipped, begun, scribbled}},
		{"queue/MANIFEST", false, []damage{emptied, begun, scribbled}},
		{"metabase/000001.sst", true, []damage{removed, emptied, halved, flipped, begun, scribbled}},
		{"metabase/MANIFEST", true, []damage{removed, emptied, halved, flipped, scribbled}},
		{"queue/000001.sst", true, []damage{removed, emptied, halved, flipped, begun, scribbled}},
		{"queue/MANIFEST", true, []damage{removed, emptied, halved, flipped, scribbled}},
	}
	for _, clean := range []bool{false, true} {
		k := keeper{s: badHouse(t)}
		for range 3 {
			command(t, k.s, "", "mb", "set", "SMTPSVC/1", "ServerComment", strings.Repeat("x", 2000))
			command(t, k.s, "", "mb", "unset", "SMTPSVC/1", "ServerComment")
		}
		command(t, k.s, "", "mb", "set", "SMTPSVC/1", "MaxRecipients", "77")
		k.send(t, 20)
		if clean {
			if err := k.s.Halt(); err != nil {
				t.Fatal(err)
			}
		} else {
			k.s.Kill()
		}
		for _, row := range rows {
			for _, d := range row.all {
				if row.clean != clean {
					continue
				}
				t.Run(row.file+" "+d.what, func(t *testing.T) {
					heal := harm(t, filepath.Join(k.s.Data, row.file), d)
					folder := filepath.Join(k.s.Data, filepath.Dir(row.file))
					refuses(t, k.s, folder+": damaged: ", filepath.Base(row.file), "nothing was changed: put back the folder from a backup")
					heal()
				})
			}
		}
		if err := k.s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(command(t, k.s, "", "mb", "get", "SMTPSVC/1", "MaxRecipients")); got != "77" {
			t.Errorf("MaxRecipients is %s", got)
		}
		k.send(t, 1)
		k.sound(t)
	}
}

// TestLostStore wants mail that is held to stay held when the configuration is
// gone, and mail that the index has lost to come back.
func TestLostStore(t *testing.T) {
	k := keeper{s: badHouse(t)}
	k.send(t, 5)
	k.s.Kill()
	aside, store := k.s.Data+".aside", filepath.Join(k.s.Data, "metabase")
	if err := os.CopyFS(aside, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"00001.mem", ""} {
		if err := os.RemoveAll(filepath.Join(store, gone)); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := ask(t, k.s, "", "serve")
		if code != 1 || !strings.Contains(stderr, store+" has lost what it held: put it back from a backup") {
			t.Errorf("without metabase/%s: exit %d:\n%s", gone, code, stderr)
		}
		if err := errors.Join(os.RemoveAll(store), os.CopyFS(store, os.DirFS(aside))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(k.s.Data, "queue"), aside+".queue"); err != nil {
		t.Fatal(err)
	}
	if err := k.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(k.s.Log(), "a message that the index had lost is taken in again") {
		t.Error("the log does not tell")
	}
	k.send(t, 1)
	k.sound(t)
}

// TestDamagedBody wants the one message whose octets are wrong to stay, told in
// the log, and all others to be handed over.
func TestDamagedBody(t *testing.T) {
	k := keeper{s: badHouse(t)}
	k.send(t, 9)
	if err := k.s.Halt(); err != nil {
		t.Fatal(err)
	}
	harm(t, filepath.Join(k.s.Data, "Mailroot", "Queue", "00000001.seg"), damage{"", func(b []byte) []byte {
		at := strings.Index(string(b), "Subject: number 4")
		b[at]++
		return b
	}})
	if err := k.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.sent = append(k.sent[:4], k.sent[5:]...)
	k.send(t, 1)
	k.sound(t)
	if !strings.Contains(k.s.Log(), "damaged") {
		t.Error("the log does not tell of the damaged one")
	}
	if got := command(t, k.s, "", "queue", "list"); !strings.Contains(got, "held.test") {
		t.Errorf("the damaged one is gone:\n%s", got)
	}
}

func TestMachineKey(t *testing.T) {
	k := keeper{s: badHouse(t)}
	k.send(t, 2)
	if err := k.s.Halt(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(k.s.Data, "machine.key")
	for _, row := range []struct {
		d    damage
		want string
	}{
		{removed, key},
		{emptied, key},
		{halved, key},
		{scribbled, key},
		{damage{"is another machine's", func(b []byte) []byte { return anotherKey(t) }}, key},
	} {
		t.Run(row.d.what, func(t *testing.T) {
			heal := harm(t, key, row.d)
			refuses(t, k.s, row.want)
			heal()
		})
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	refuses(t, k.s, key, "others")
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := k.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	k.sound(t)
}

// anotherKey is the key of another service.
func anotherKey(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(serve(t).Data, "machine.key"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestTakenPort wants a site that cannot have its address to say so, the others
// to go on, and the site to start when the address is free.
func TestTakenPort(t *testing.T) {
	k := keeper{s: badHouse(t)}
	k.send(t, 1)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	_, _, stderr := ask(t, k.s, "", "site", "create", "--name", "second", "--bind", addr, "--domain", "second.test")
	tells := func(why string) func() bool {
		return func() bool {
			return strings.Contains(command(t, k.s, "", "status"), why) && strings.Contains(command(t, k.s, "", "site", "list"), why)
		}
	}
	await(t, "the taken port is told, after "+stderr, tells("listen on "+addr+": bind: address already in use"))
	k.send(t, 1)
	// At the start it is the same.
	if err := k.s.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := k.s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := k.s.Addr(2); got != "" {
		t.Errorf("site 2 says that it started on %s", got)
	}
	await(t, "the taken port is told", tells("listen on "+addr+": bind: address already in use"))
	k.send(t, 1)
	if code, _, stderr := ask(t, k.s, "", "site", "start", "2"); code == 0 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("site start: exit %d: %s", code, stderr)
	}
	taken.Close()
	command(t, k.s, "", "site", "start", "2")
	if l, err := testpeer.Dial(addr); err != nil {
		t.Errorf("with the port free: %v", err)
	} else {
		l.Quit()
	}
	// Two sites with one address.
	own := k.s.Addr(1)
	command(t, k.s, "", "site", "bind", "1", own) // which it has, as one that the system picked
	await(t, "site 1 keeps its address", func() bool {
		return !strings.Contains(command(t, k.s, "", "status"), "running ")
	})
	code, _, stderr := ask(t, k.s, "", "site", "bind", "2", own)
	if code == 0 {
		await(t, "the two sites' quarrel is told", tells("site 1 has it"))
	} else if !strings.Contains(stderr, own) {
		t.Errorf("site bind: exit %d: %s", code, stderr)
	}
	if l, err := testpeer.Dial(addr); err != nil {
		t.Errorf("site 2 has lost the address that it had: %v", err)
	} else {
		l.Quit()
	}
	k.send(t, 1)
	k.sound(t)
}

// TestCertificate wants a service without a usable certificate to run, to offer
// no TLS, and to say why.
func TestCertificate(t *testing.T) {
	k := keeper{s: badHouse(t)}
	k.send(t, 1)
	offers := func() bool {
		l, err := testpeer.Dial(k.s.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Quit()
		return l.Say("STARTTLS", "220") == nil
	}
	if !offers() {
		t.Fatal("TLS is not offered from the beginning")
	}
	for _, row := range []struct {
		file string
		d    damage
	}{
		{"cert.pem", removed}, {"cert.pem", emptied}, {"cert.pem", scribbled}, {"cert.pem", halved},
		{"key.pem", removed}, {"key.pem", emptied}, {"key.pem", scribbled},
	} {
		t.Run(row.file+" "+row.d.what, func(t *testing.T) {
			if err := k.s.Halt(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(k.s.Data, "tls", row.file)
			heal := harm(t, file, row.d)
			if err := k.s.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if offers() {
				t.Error("TLS is offered")
			}
			if got := command(t, k.s, "", "status"); !strings.Contains(got, "certificate") || !strings.Contains(got, file) {
				t.Errorf("status does not tell:\n%s", got)
			}
			k.send(t, 1)
			heal()
		})
	}
	await(t, "the certificate that is back is used", offers)
	k.sound(t)
}

// TestSocketIsGone wants the store not to be opened twice when the service
// cannot be asked.
func TestSocketIsGone(t *testing.T) {
	k := keeper{s: badHouse(t)}
	k.send(t, 2)
	if err := os.Remove(filepath.Join(k.s.Data, "control.sock")); err != nil {
		t.Fatal(err)
	}
	refuses(t, k.s, k.s.Data+": in use by another process")
	k.send(t, 1)
	k.sound(t)
}
