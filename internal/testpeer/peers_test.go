// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"restante/internal/testpeer"
	"restante/internal/testpeer/postfix"
)

// fetchmail runs it once on a configuration and gives its exit code.
func fetchmail(t *testing.T, rc string) (int, string) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "fetchmailrc")
	if err := os.WriteFile(file, []byte(rc), 0o600); err != nil {
		t.Fatal(err)
	}
	args := named(t, "fetchmail", "-f", file, "--nosyslog", "--nodetach", "-v", "--pidfile", file+".pid", "--idfile", file+".ids")
	return runProgram(t, "", args[0], args[1:]...)
}

// named is a command that sees a host with a full name. fetchmail looks up the
// host's own name unless it has a dot, and refuses to work where it is not found,
// as in a container.
func named(t *testing.T, command ...string) []string {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(host, ".") {
		return command
	}
	if _, err = net.DefaultResolver.LookupHost(t.Context(), host); err == nil {
		return command
	}
	namespace := "-u" // of the name
	if os.Getuid() != 0 {
		namespace = "-ru" // only root of a user namespace may make it
	}
	other := append([]string{"unshare", namespace, "sh", "-c", `echo host.test >/proc/sys/kernel/hostname && exec "$@"`, "sh"}, command...)
	if out, uerr := exec.CommandContext(t.Context(), "unshare", namespace, "true").CombinedOutput(); uerr != nil {
		testpeer.Missing(t, "the host's own name, "+host+", in /etc/hosts", fmt.Errorf("%w; or unshare: %w: %s", err, uerr, out))
	}
	return other
}

// hostPort splits an address.
func hostPort(t *testing.T, addr string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return host, port
}

// pointDomain gives the service a zone in which the mail of one domain goes to
// addr.
func pointDomain(t *testing.T, s *testpeer.Service, domain, addr string) {
	t.Helper()
	pointDNS(t, s, addr, domain+". 60 IN MX 10 mx."+domain+".\nmx."+domain+". 60 IN A 127.0.0.1\n")
}

func TestFetchmailTakesByODMR(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "fetchmail")
	s, sink := startService(t), testpeer.StartSink(t)
	createHeldDomain(t, s, "held.test", account)
	host, port := hostPort(t, s.Addr(1))
	rc := "poll " + host + " protocol ODMR service " + port + " timeout 60\n" +
		"  user \"" + account + "\" password \"" + password + "\"\n" +
		"  fetchdomains held.test smtphost " + strings.Replace(sink.Addr, ":", "/", 1) + "\n"

	if code, out := fetchmail(t, rc); code != 0 || !strings.Contains(out, "453") {
		t.Errorf("with nothing waiting: exit %d:\n%s", code, out)
	}
	sent := sendMessages(t, s, "held.test", 5)
	if code, out := fetchmail(t, rc); code != 0 {
		t.Errorf("exit %d:\n%s", code, out)
	}
	checkSameMail(t, sent, sink.Messages())

	wrong := strings.Replace(rc, password, "wrong", 1)
	sendMessages(t, s, "held.test", 1)
	if code, out := fetchmail(t, wrong); code == 0 {
		t.Errorf("a wrong password is taken:\n%s", out)
	}
	foreign := strings.Replace(rc, "held.test", "other.test", 1)
	if code, out := fetchmail(t, foreign); code == 0 || !strings.Contains(out, "450") {
		t.Errorf("a foreign domain: exit %d:\n%s", code, out)
	}
	if n := len(sink.Messages()); n != len(sent) {
		t.Errorf("%d messages after two refusals, want %d", n, len(sent))
	}
}

// fetchmail reads one line of each TLS record, and its server offers PIPELINING.
func TestFetchmailTakesByODMROverTLS(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "fetchmail")
	s, mx := startService(t), newMX(t)
	createHeldDomain(t, s, "held.test", account)
	host, port := hostPort(t, openListener(t, s, "SecureBindings"))
	rc := "poll " + host + " protocol ODMR service " + port + " timeout 60\n" +
		"  user \"" + account + "\" password \"" + password + "\" ssl no sslcertck\n" +
		"  fetchdomains held.test smtphost " + strings.Replace(mx.Addr, ":", "/", 1) + "\n"
	sendMessages(t, s, "held.test", 3)
	large := "Subject: large\r\n\r\n" + strings.Repeat("a line of a large message\r\n", 20_000)
	if err := dial(t, s.Addr(1)).Send(sender, "someone@held.test", testpeer.DotStuff([]byte(large))); err != nil {
		t.Fatal(err)
	}
	if code, out := fetchmail(t, rc); code != 0 {
		t.Errorf("exit %d:\n%s", code, out)
	}
	got := mx.Messages()
	if len(got) != 4 || !strings.HasSuffix(string(got[3].Body), large) {
		t.Errorf("%d messages came, or the large one is not whole", len(got))
	}
}

func TestFetchmailTakesByETRN(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "fetchmail")
	s, sink := startService(t), testpeer.StartSink(t)
	createHeldDomain(t, s, "held.test")
	pointDomain(t, s, "held.test", sink.Addr)
	sent := sendMessages(t, s, "held.test", 5)
	if n := len(sink.Messages()); n != 0 {
		t.Fatalf("%d messages went out before they were asked for", n)
	}
	host, port := hostPort(t, s.Addr(1))
	rc := "poll " + host + " protocol ETRN service " + port + " timeout 60\n  fetchdomains held.test\n"
	if code, out := fetchmail(t, rc); code != 0 || !strings.Contains(out, "SMTP< 250") {
		t.Errorf("exit %d:\n%s", code, out)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := sink.Await(ctx, len(sent))
	if err != nil {
		t.Error(err)
	}
	checkSameMail(t, sent, got)
}

func TestPostfixSendsAndReceives(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "postfix")
	s := startService(t)
	createHeldDomain(t, s, "held.test")
	boxes := t.TempDir()
	if err := os.Chmod(boxes, 0o777); err != nil { // Postfix delivers as nobody
		t.Fatal(err)
	}
	receiver, err := postfix.Start(t.Context(), t.TempDir(), 20,
		"virtual_mailbox_domains = held.test", "virtual_mailbox_base = "+boxes,
		"virtual_mailbox_maps = inline:{someone@held.test=someone/}",
		"virtual_mailbox_limit = 0", "virtual_minimum_uid = 1", "virtual_uid_maps = static:65534", "virtual_gid_maps = static:65534")
	if err != nil {
		t.Fatal(err)
	}
	defer receiver.Stop()
	host, port := hostPort(t, s.Addr(1))
	sender, err := postfix.Start(t.Context(), t.TempDir(), 20, "relayhost = ["+host+"]:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Stop()
	pointDomain(t, s, "held.test", receiver.Addr)

	// Postfix takes in 10 and hands them to us; we hold them.
	const n = 10
	l, err := testpeer.Dial(sender.Addr)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if err := l.Send("a@sender.test", "someone@held.test", testpeer.DotStuff([]byte("Subject: x\r\n\r\n.\r\n..\r\n"))); err != nil {
			t.Fatal(err)
		}
	}
	l.Quit()
	await(t, "Postfix hands over what it was given", func() bool {
		left, err := sender.Queued()
		return err == nil && left == 0
	})
	if held := runCommand(t, s, "", "queue", "list"); !strings.Contains(held, "held.test") || !strings.Contains(held, "held") {
		t.Errorf("queue list:\n%s\nPostfix:\n%s", held, sender.Log())
	}

	// ETRN sends them on to the other Postfix.
	if l, err = testpeer.Dial(s.Addr(1)); err != nil {
		t.Fatal(err)
	}
	defer l.Quit()
	if err := l.Say("ETRN held.test", "250"); err != nil {
		t.Fatal(err)
	}
	var files []string
	defer func() {
		if t.Failed() {
			t.Logf("receiver:\n%s", receiver.Log())
		}
	}()
	await(t, "the receiving Postfix has them in a mailbox", func() bool {
		files, err = filepath.Glob(filepath.Join(boxes, "someone", "new", "*"))
		return err == nil && len(files) == n
	})
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		// Postfix, the sender, adds header lines of its own at the end.
		if _, body, _ := strings.Cut(string(text), "\n\n"); !strings.Contains(string(text), "\nSubject: x\n") || body != ".\n..\n" {
			t.Errorf("%s holds:\n%s", name, text)
		}
	}
}

// await looks again and again until ok, for a minute.
func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("not within a minute: %s", what)
		case <-again.C:
		}
	}
}

func TestSwaksSignsInOverSTARTTLS(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "swaks")
	s := startService(t)
	base := []string{"--server", s.Addr(1), "--from", "a@sender.test", "--to", "someone@hub.test", "--helo", "swaks.test"}
	for _, mech := range []string{"PLAIN", "LOGIN", "CRAM-MD5"} {
		auth := append(base, "--tls", "--auth", mech, "--auth-user", account)
		if code, out := runProgram(t, "", "swaks", append(auth, "--auth-password", password)...); code != 0 || !strings.Contains(out, "235 2.7.0") {
			t.Errorf("%s: exit %d:\n%s", mech, code, out)
		}
		if code, out := runProgram(t, "", "swaks", append(auth, "--auth-password", "wrong")...); code == 0 || !strings.Contains(out, "535 5.7.8") {
			t.Errorf("%s with a wrong password: exit %d:\n%s", mech, code, out)
		}
	}
	if code, out := runProgram(t, "", "swaks", append(base, "--pipeline")...); code != 0 {
		t.Errorf("pipelined: exit %d:\n%s", code, out)
	}
}

// A pipeConn makes a connection of the standard streams of a program; it has no
// deadlines.
type pipeConn struct {
	io.Reader
	io.WriteCloser
	net.Conn // the other methods panic
}

func (p pipeConn) Read(b []byte) (int, error)  { return p.Reader.Read(b) }
func (p pipeConn) Write(b []byte) (int, error) { return p.WriteCloser.Write(b) }
func (p pipeConn) Close() error                { return p.WriteCloser.Close() }

func TestOpensslSignsInAndTurnsOverSTARTTLS(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "openssl")
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	sent := sendMessages(t, s, "held.test", 3)

	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "openssl", "s_client", "-starttls", "smtp", "-connect", s.Addr(1), "-quiet", "-verify_quiet")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	l := &testpeer.Client{Conn: pipeConn{Reader: out, WriteCloser: in}, R: bufio.NewReader(out)}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + account + "\x00" + password))
	for _, step := range []struct{ say, want string }{
		{"EHLO openssl.test", "250"}, {"AUTH PLAIN " + plain, "235 2.7.0"}, {"TURN", "250"},
	} {
		if err := l.Say(step.say, step.want); err != nil {
			t.Fatal(err)
		}
	}
	var got []testpeer.Received
	if err := l.Receive(func(m testpeer.Received) error { got = append(got, m); return nil }); err != nil {
		t.Error(err)
	}
	checkSameMail(t, sent, got)
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Errorf("openssl: %v", err)
	}
}
