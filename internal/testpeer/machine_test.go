// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"errors"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"restante/internal/testpeer"
)

// checkRefused checks that `serve`, and a command that opens the store itself, end
// with a clear error that contains want.
func checkRefused(t *testing.T, s *testpeer.Service, want ...string) {
	t.Helper()
	for _, args := range [][]string{{"serve"}, {"mb", "get", "SMTPSVC/1", "MaxRecipients"}} {
		code, stdout, stderr := tryCommand(t, s, "", args...)
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

// A damage is one way to damage a file.
type damage struct {
	what string
	do   func(b []byte) []byte // nil: the file goes
}

var (
	removed  = damage{"is gone", nil}
	emptied  = damage{"is empty", func([]byte) []byte { return nil }}
	halved   = damage{"is cut off in the middle", func(b []byte) []byte { return b[:used(b)/2] }}
	flipped  = damage{"has one wrong bit in the middle", func(b []byte) []byte { b[used(b)/2] ^= 4; return b }}
	zeroed   = damage{"begins with zeros", func(b []byte) []byte { clear(b[:min(512, len(b))]); return b }}
	replaced = damage{"is something else", func(b []byte) []byte { return []byte(strings.Repeat("something else\n", 100)) }}
)

// used is the length of b without the zeros that end it.
func used(b []byte) int { return len(strings.TrimRight(string(b), "\x00")) }

// damageFile damages one file, and gives the function that restores it.
func damageFile(t *testing.T, name string, d damage) (heal func()) {
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

// A damaged store is refused with its name, and not changed: with the file restored,
// all mail and settings are there.
func TestDamagedStoreIsRefusedAndUnchanged(t *testing.T) {
	t.Parallel()
	rows := []struct {
		file  string // the last that matches
		clean bool   // harmed after an orderly end, and not after a SIGKILL
		all   []damage
	}{
		{"metabase/00001.mem", false, []damage{emptied, halved, flipped, zeroed, replaced}},
		{"metabase/MANIFEST", false, []damage{emptied, zeroed, replaced}},
		{"queue/00001.mem", false, []damage{emptied, halved, flipped, zeroed, replaced}},
		{"queue/MANIFEST", false, []damage{emptied, zeroed, replaced}},
		{"metabase/*.sst", true, []damage{removed, emptied, halved, flipped, zeroed, replaced}},
		{"metabase/MANIFEST", true, []damage{removed, emptied, halved, flipped, replaced}},
		{"queue/*.sst", true, []damage{removed, emptied, halved, flipped, zeroed, replaced}},
		{"queue/MANIFEST", true, []damage{removed, emptied, halved, flipped, replaced}},
	}
	each := testpeer.Rounds(5, 3, 1) // of how many rows one runs
	first := rand.IntN(each)
	t.Logf("seed of the rows: %d of %d", first, each)
	for _, clean := range []bool{false, true} {
		mail := acknowledged{service: newLimitedService(t)}
		for range 3 {
			set(t, mail.service, "ServerComment", strings.Repeat("x", 2000))
			runCommand(t, mail.service, "", "mb", "unset", "SMTPSVC/1", "ServerComment")
		}
		set(t, mail.service, "MaxRecipients", "77")
		mail.send(t, 20)
		if clean {
			if err := mail.service.Halt(); err != nil {
				t.Fatal(err)
			}
		} else {
			mail.service.Kill()
		}
		for _, row := range rows {
			for i, d := range row.all {
				if row.clean != clean || (i+first)%min(each, len(row.all)) != 0 {
					continue
				}
				t.Run(row.file+" "+d.what, func(t *testing.T) {
					files, err := filepath.Glob(filepath.Join(mail.service.Data, row.file))
					if err != nil || len(files) == 0 {
						t.Fatalf("no file %s: %v", row.file, err)
					}
					file := slices.Max(files)
					heal := damageFile(t, file, d)
					checkRefused(t, mail.service, filepath.Dir(file)+": damaged: ", filepath.Base(file), "nothing was changed: put back the folder from a backup")
					heal()
				})
			}
		}
		if err := mail.service.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := strings.TrimSpace(runCommand(t, mail.service, "", "mb", "get", "SMTPSVC/1", "MaxRecipients")); got != "77" {
			t.Errorf("MaxRecipients is %s", got)
		}
		mail.send(t, 1)
		mail.verify(t)
	}
}

// Held mail stays when the configuration is lost, and messages that the index has
// lost come back.
func TestHeldMailOutlivesALostStore(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: limited(t, startAnew(t))}
	mail.send(t, 5)
	mail.service.Kill()
	aside, store := mail.service.Data+".aside", filepath.Join(mail.service.Data, "metabase")
	if err := os.CopyFS(aside, os.DirFS(store)); err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"00001.mem", ""} {
		if err := os.RemoveAll(filepath.Join(store, gone)); err != nil {
			t.Fatal(err)
		}
		code, _, stderr := tryCommand(t, mail.service, "", "serve")
		if code != 1 || !strings.Contains(stderr, store+" has lost what it held: put it back from a backup") {
			t.Errorf("without metabase/%s: exit %d:\n%s", gone, code, stderr)
		}
		if err := errors.Join(os.RemoveAll(store), os.CopyFS(store, os.DirFS(aside))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(mail.service.Data, "queue"), aside+".queue"); err != nil {
		t.Fatal(err)
	}
	if err := mail.service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(mail.service.Log(), "a message that the index had lost is taken in again") {
		t.Error("the log does not tell")
	}
	mail.send(t, 1)
	mail.verify(t)
}

// A message with damaged octets stays and is named in the log; all others are handed
// over.
func TestDamagedMessageStaysAndOthersGo(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 9)
	if err := mail.service.Halt(); err != nil {
		t.Fatal(err)
	}
	damageFile(t, filepath.Join(mail.service.Data, "Mailroot", "Queue", "00000001.seg"), damage{"", func(b []byte) []byte {
		at := strings.Index(string(b), "Subject: number 4")
		b[at]++
		return b
	}})
	if err := mail.service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mail.messages = append(mail.messages[:4], mail.messages[5:]...)
	mail.send(t, 1)
	mail.verify(t)
	if !strings.Contains(mail.service.Log(), "damaged") {
		t.Error("the log does not tell of the damaged one")
	}
	if got := runCommand(t, mail.service, "", "queue", "list"); !strings.Contains(got, "held.test") {
		t.Errorf("the damaged one is gone:\n%s", got)
	}
}

func TestUnusableMachineKeyIsRefused(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 2)
	if err := mail.service.Halt(); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(mail.service.Data, "machine.key")
	for _, row := range []struct {
		d    damage
		want string
	}{
		{removed, key},
		{emptied, key},
		{halved, key},
		{replaced, key},
		{damage{"is another machine's", func(b []byte) []byte { return newMachineKey(t) }}, key},
	} {
		t.Run(row.d.what, func(t *testing.T) {
			heal := damageFile(t, key, row.d)
			checkRefused(t, mail.service, row.want)
			heal()
		})
	}
	if err := os.Chmod(key, 0o644); err != nil {
		t.Fatal(err)
	}
	checkRefused(t, mail.service, key, "others")
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := mail.service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	mail.verify(t)
}

// newMachineKey gives the machine key of another service.
func newMachineKey(t *testing.T) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(startAnew(t).Data, "machine.key"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A site that cannot listen reports the reason, the other sites go on, and it starts
// when the port is free.
func TestSiteWhosePortIsTakenSaysSo(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 1)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	addr := taken.Addr().String()
	_, _, stderr := tryCommand(t, mail.service, "", "site", "create", "--name", "second", "--bind", addr, "--domain", "second.test")
	tells := func(why string) func() bool {
		return func() bool {
			return strings.Contains(runCommand(t, mail.service, "", "status"), why) && strings.Contains(runCommand(t, mail.service, "", "site", "list"), why)
		}
	}
	await(t, "the taken port is reported, after "+stderr, tells("listen on "+addr+": bind: address already in use"))
	mail.send(t, 1)
	// At the start it is the same.
	if err := mail.service.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := mail.service.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := mail.service.Addr(2); got != "" {
		t.Errorf("site 2 says that it started on %s", got)
	}
	await(t, "the taken port is reported", tells("listen on "+addr+": bind: address already in use"))
	mail.send(t, 1)
	if code, _, stderr := tryCommand(t, mail.service, "", "site", "start", "2"); code == 0 || !strings.Contains(stderr, "address already in use") {
		t.Errorf("site start: exit %d: %s", code, stderr)
	}
	taken.Close()
	runCommand(t, mail.service, "", "site", "start", "2")
	if l, err := testpeer.Dial(addr); err != nil {
		t.Errorf("with the port free: %v", err)
	} else {
		l.Quit()
	}
	// Two sites with one address.
	own := mail.service.Addr(1)
	runCommand(t, mail.service, "", "site", "bind", "1", own) // which it has, as one that the system picked
	await(t, "site 1 keeps its address", func() bool {
		return !strings.Contains(runCommand(t, mail.service, "", "status"), "running ")
	})
	code, _, stderr := tryCommand(t, mail.service, "", "site", "bind", "2", own)
	if code == 0 {
		await(t, "the conflict of the sites is reported", tells("site 1 has it"))
	} else if !strings.Contains(stderr, own) {
		t.Errorf("site bind: exit %d: %s", code, stderr)
	}
	if l, err := testpeer.Dial(addr); err != nil {
		t.Errorf("site 2 has lost the address that it had: %v", err)
	} else {
		l.Quit()
	}
	mail.send(t, 1)
	mail.verify(t)
}

// A service without a usable certificate runs, offers no TLS, and reports the
// reason.
func TestUnusableCertificateSwitchesOffTLS(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 1)
	offers := func() bool {
		l, err := testpeer.Dial(mail.service.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Quit()
		return l.Say("STARTTLS", "220") == nil
	}
	if !offers() {
		t.Fatal("TLS is not offered from the beginning")
	}
	for i, row := range []struct {
		file string
		d    damage
	}{
		{"cert.pem", removed}, {"cert.pem", emptied}, {"cert.pem", replaced}, {"cert.pem", halved},
		{"key.pem", removed}, {"key.pem", emptied}, {"key.pem", replaced},
	} {
		if !sampled(i, 4) {
			continue
		}
		t.Run(row.file+" "+row.d.what, func(t *testing.T) {
			if err := mail.service.Halt(); err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(mail.service.Data, "tls", row.file)
			heal := damageFile(t, file, row.d)
			if err := mail.service.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			if offers() {
				t.Error("TLS is offered")
			}
			if got := runCommand(t, mail.service, "", "status"); !strings.Contains(got, "certificate") || !strings.Contains(got, file) {
				t.Errorf("status does not tell:\n%s", got)
			}
			mail.send(t, 1)
			heal()
		})
	}
	await(t, "the certificate that is back is used", offers)
	mail.verify(t)
}

// A command does not open the store while the service has it open, even if the
// socket is gone.
func TestStoreIsNotOpenedTwiceWithoutASocket(t *testing.T) {
	t.Parallel()
	mail := acknowledged{service: newLimitedService(t)}
	mail.send(t, 2)
	if err := os.Remove(filepath.Join(mail.service.Data, "control.sock")); err != nil {
		t.Fatal(err)
	}
	checkRefused(t, mail.service, mail.service.Data+": in use by another process")
	mail.send(t, 1)
	mail.verify(t)
}
