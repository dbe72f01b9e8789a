// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"restante/internal/testpeer"
	"restante/internal/testpeer/postfix"
)

// A sending is one message that a program sends over a connection of its own.
type sending struct {
	ID       string   `json:"id"`
	Host     string   `json:"host"`
	Port     int      `json:"port"`
	TLS      string   `json:"tls"`  // plain, starttls or implicit
	Mech     string   `json:"mech"` // "" for no sign-in
	User     string   `json:"user"`
	Password string   `json:"password"`
	From     string   `json:"from"`
	To       []string `json:"to"`
	File     string   `json:"file"` // with CRLF
	UTF8     bool     `json:"utf8"`
}

// unix is the message with LF alone, as files of Unix have it.
func (s sending) unix(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(s.File)
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "\r\n", "\n")
}

// A mailer is a program that sends mail.
type mailer struct {
	needs  []string // programs, as Need takes them
	module []string // a command that succeeds where a library of a language is installed
	tls    []string // the ways that it has; nil: all three
	mechs  []string // mechanisms that it has, "" for none
	not    []string // kinds of messages that it cannot send as they are
	send   func(t *testing.T, all []sending) error
}

// kinds are the messages that are sent: header and body, without the first line.
var kinds = map[string]string{
	"ordinary":   "Subject: ordinary\r\n\r\n.\r\n..\r\n.x\r\nFrom here\r\n\r\n\r\n",
	"8-bit":      "Subject: =?utf-8?q?gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: 8bit\r\n\r\nsch\xf6ne Gr\xfc\xdfe\r\n",
	"long lines": "Subject: long lines\r\n\r\n" + strings.Repeat("x", 998) + "\r\n." + strings.Repeat("y", 997) + "\r\n",
	"5 MB":       "Subject: large\r\n\r\n" + strings.Repeat("a line of a large message, and it is repeated\r\n.\r\n", 5<<20/49) + "end\r\n",
	"50":         "Subject: to many\r\n\r\nx\r\n",
	"UTF-8":      "Subject: grüße aus köln\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\nschöne Grüße\r\n",
}

func oneByOne(command func(t *testing.T, s sending) (stdin string, args []string)) func(*testing.T, []sending) error {
	return func(t *testing.T, all []sending) error {
		for _, s := range all {
			stdin, args := command(t, s)
			if code, out := runProgram(t, stdin, args[0], args[1:]...); code != 0 {
				return fmt.Errorf("%s: exit %d: %s", s.ID, code, out)
			}
		}
		return nil
	}
}

// byScript has a program send all by a script of ours.
func byScript(command ...string) func(*testing.T, []sending) error {
	return func(t *testing.T, all []sending) error {
		var text bytes.Buffer
		for _, s := range all {
			line, err := json.Marshal(s)
			if err != nil {
				return err
			}
			text.Write(append(line, '\n'))
		}
		jobs := filepath.Join(t.TempDir(), "jobs")
		if err := os.WriteFile(jobs, text.Bytes(), 0o600); err != nil {
			return err
		}
		if code, out := runProgram(t, "", command[0], append(command[1:], jobs)...); code != 0 {
			return fmt.Errorf("exit %d: %s", code, out)
		}
		return nil
	}
}

func (s sending) at() string { return s.Host + ":" + strconv.Itoa(s.Port) }

var mailers = map[string]mailer{
	"swaks": {needs: []string{"swaks"}, mechs: []string{"PLAIN", "LOGIN", "CRAM-MD5"}, not: []string{"UTF-8"}, send: oneByOne(swaksArgs)},
	"curl":  {needs: []string{"curl"}, mechs: []string{"PLAIN", "LOGIN", "CRAM-MD5"}, send: oneByOne(curlArgs)},
	"msmtp": {needs: []string{"msmtp"}, mechs: []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"}, not: []string{"UTF-8"}, send: oneByOne(msmtpArgs)},
	"nullmailer": {needs: []string{"nullmailer-smtp"}, mechs: []string{"PLAIN", "LOGIN"}, not: []string{"UTF-8"},
		send: oneByOne(nullmailerArgs)},
	"smtplib": {needs: []string{"python3"}, mechs: []string{"PLAIN", "LOGIN", "CRAM-MD5"},
		send: byScript("python3", "testdata/senders/by_smtplib.py")},
	"nodemailer": {needs: []string{"node"}, module: []string{"env", "NODE_PATH=/usr/share/nodejs", "node", "-e", "require('nodemailer')"}, mechs: []string{"PLAIN", "LOGIN", "CRAM-MD5"},
		send: byScript("env", "NODE_PATH=/usr/share/nodejs", "node", "testdata/senders/nodemailer.js")},
	"Net::SMTP": {needs: []string{"perl"}, module: []string{"perl", "-MAuthen::SASL", "-MIO::Socket::SSL", "-e", "1"}, mechs: []string{"PLAIN", "LOGIN", "CRAM-MD5"}, not: []string{"UTF-8"},
		send: byScript("perl", "testdata/senders/netsmtp.pl")},
	"exim":    {needs: []string{"exim4"}, mechs: []string{"PLAIN", "CRAM-MD5"}, send: oneByOne(eximArgs)},
	"postfix": {needs: []string{"postfix"}, tls: []string{"starttls"}, not: []string{"UTF-8"}, send: byPostfix},
}

func swaksArgs(t *testing.T, s sending) (string, []string) {
	args := []string{"swaks", "--server", s.at(), "--helo", "swaks.test", "--from", s.From, "--to", strings.Join(s.To, ","), "--data", "-", "--hide-all"}
	args = append(args, map[string][]string{"starttls": {"--tls"}, "implicit": {"--tls-on-connect"}}[s.TLS]...)
	if s.Mech != "" {
		args = append(args, "--auth", s.Mech, "--auth-user", s.User, "--auth-password", s.Password)
	}
	return strings.TrimSuffix(s.unix(t), "\n"), args // it ends the last line
}

func curlArgs(_ *testing.T, s sending) (string, []string) {
	scheme := map[string]string{"implicit": "smtps"}[s.TLS]
	if scheme == "" {
		scheme = "smtp"
	}
	args := []string{"curl", "-sS", "-k", "--url", scheme + "://" + s.at() + "/curl.test", "--mail-from", s.From, "--upload-file", s.File}
	for _, to := range s.To {
		args = append(args, "--mail-rcpt", to)
	}
	if s.TLS == "starttls" {
		args = append(args, "--ssl-reqd")
	}
	if s.Mech != "" {
		args = append(args, "--user", s.User+":"+s.Password, "--login-options", "AUTH="+s.Mech)
	}
	return "", args
}

func msmtpArgs(t *testing.T, s sending) (string, []string) {
	args := []string{"msmtp", "--host=" + s.Host, "--port=" + strconv.Itoa(s.Port), "--domain=msmtp.test", "--from=" + s.From}
	if s.TLS != "plain" {
		args = append(args, "--tls=on", "--tls-certcheck=off", map[string]string{"starttls": "--tls-starttls=on", "implicit": "--tls-starttls=off"}[s.TLS])
	}
	if s.Mech != "" {
		args = append(args, "--auth="+strings.ToLower(s.Mech), "--user="+s.User, "--passwordeval=echo "+s.Password)
	}
	return s.unix(t), append(append(args, "--"), s.To...)
}

func nullmailerArgs(t *testing.T, s sending) (string, []string) {
	file := filepath.Join(t.TempDir(), "queued")
	if err := os.WriteFile(file, []byte(s.From+"\n"+strings.Join(s.To, "\n")+"\n\n"+s.unix(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	options := []string{"host=" + s.Host, "port=" + strconv.Itoa(s.Port)}
	if s.TLS != "plain" {
		options = append(options, map[string]string{"starttls": "starttls", "implicit": "tls"}[s.TLS], "insecure")
	}
	if s.Mech != "" {
		options = append(options, "user="+s.User, "pass="+s.Password)
	}
	if s.Mech == "LOGIN" {
		options = append(options, "auth-login")
	}
	return strings.Join(options, "\n") + "\n\n", []string{"sh", "-c", `HELOHOST=null.test exec nullmailer-smtp 3<"$1"`, "sh", file}
}

// byPostfix hands all to a Postfix, which sends them on. Kinds by other ways than
// STARTTLS would take another one each.
func byPostfix(t *testing.T, all []sending) error {
	relay, err := postfix.Start(t.Context(), t.TempDir(), 5, "relayhost = ["+all[0].Host+"]:"+strconv.Itoa(all[0].Port), "smtp_tls_security_level = encrypt")
	if err != nil {
		return err
	}
	defer relay.Stop()
	for _, s := range all {
		l, err := testpeer.Dial(relay.Addr)
		if err != nil {
			return err
		}
		lines := [][2]string{{"MAIL FROM:<" + s.From + "> BODY=8BITMIME", "250"}}
		for _, to := range s.To {
			lines = append(lines, [2]string{"RCPT TO:<" + to + ">", "250"})
		}
		text, err := os.ReadFile(s.File)
		if err != nil {
			return err
		}
		for _, line := range append(lines, [2]string{"DATA", "354"}, [2]string{strings.TrimSuffix(string(testpeer.DotStuff(text)), "\r\n"), "250"}) {
			if err := l.Say(line[0], line[1]); err != nil {
				return fmt.Errorf("%s: %w\n%s", s.ID, err, relay.Log())
			}
		}
		l.Quit()
	}
	await(t, "Postfix hands over what it was given", func() bool {
		left, err := relay.Queued()
		return err == nil && left == 0
	})
	return nil
}

// eximConfig has Exim hand each message to us at once.
const eximConfig = `primary_hostname = exim.test
exim_path = EXIM
spool_directory = DIR
log_file_path = DIR/%slog
acl_not_smtp = accept
trusted_users = root
keep_environment =
smtputf8_advertise_hosts = *
begin routers
hub:
  driver = manualroute
  route_list = * HOST
  self = send
  transport = hub
begin transports
hub:
  driver = smtp
  port = PORT
  protocol = PROTOCOL
  helo_data = exim.test
  hosts_require_tls = TLS
  hosts_avoid_tls = CLEAR
  tls_verify_hosts =
  tls_try_verify_hosts =
  hosts_require_auth = AUTH
  hosts_try_auth = AUTH
begin authenticators
auth:
SECRET
begin rewrite
begin retry
`

func eximArgs(t *testing.T, s sending) (string, []string) {
	tool, err := exec.LookPath("exim4")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for at := dir; strings.HasPrefix(at, filepath.Clean(os.TempDir())+"/"); at = filepath.Dir(at) {
		_ = os.Chmod(at, 0o777) // Exim works as a user of its own
	}
	of := func(what bool) string {
		if what {
			return "*"
		}
		return ""
	}
	secret := "  driver = plaintext\n  public_name = PLAIN\n  client_send = ^" + s.User + "^" + s.Password
	if s.Mech == "CRAM-MD5" {
		secret = "  driver = cram_md5\n  public_name = CRAM-MD5\n  client_name = " + s.User + "\n  client_secret = " + s.Password
	}
	protocol := "smtp"
	if s.TLS == "implicit" {
		protocol = "smtps"
	}
	text := strings.NewReplacer("EXIM", tool, "DIR", dir, "HOST", s.Host, "PORT", strconv.Itoa(s.Port), "PROTOCOL", protocol, "TLS", of(s.TLS != "plain"),
		"CLEAR", of(s.TLS == "plain"), "AUTH", of(s.Mech != ""), "SECRET", secret).Replace(eximConfig)
	config := filepath.Join(dir, "exim.conf")
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return s.unix(t), append([]string{"exim4", "-C", config, "-odf", "-i", "-f", s.From, "--"}, s.To...)
}

// TestSendersOfAllKinds has programs that send mail send each kind of message, in the
// clear, over STARTTLS and over TLS from the first octet, and sign in by each mechanism
// that they have. What is in the Drop folder has the octets that were sent. In `make
// soak` each kind goes by each way.
func TestSendersOfAllKinds(t *testing.T) {
	t.Parallel()
	s := startService(t)
	set(t, s, "MaxMessageSize", "20000000")
	set(t, s, "MaxSessionSize", "0")
	set(t, s, "ConnectionLimitExempt", "127.0.0.1")
	host, port := hostPort(t, s.Addr(1))
	_, securePort := hostPort(t, openListener(t, s, "SecureBindings"))
	ports := map[string]string{"plain": port, "starttls": port, "implicit": securePort}
	dir := t.TempDir()
	t.Run("senders", func(t *testing.T) {
		for name, p := range mailers {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				testpeer.Need(t, p.needs...)
				if len(p.module) > 0 {
					if out, err := exec.CommandContext(t.Context(), p.module[0], p.module[1:]...).CombinedOutput(); err != nil {
						testpeer.Missing(t, name, fmt.Errorf("%w: %s", err, out))
					}
				}
				all := sendings(t, name, p, dir)
				for i := range all {
					all[i].Host, all[i].Port = host, mustInt(t, ports[all[i].TLS])
				}
				if err := p.send(t, all); err != nil {
					t.Fatal(err)
				}
				checkSent(t, s, all)
			})
		}
	})
}

// sendings has each kind of message, and each way and mechanism of a program, at least
// once.
func sendings(t *testing.T, name string, p mailer, dir string) (all []sending) {
	t.Helper()
	ways := p.tls
	if ways == nil {
		ways = []string{"plain", "starttls", "implicit"}
	}
	mechs := append([]string{""}, p.mechs...)
	var some []string
	for kind := range kinds {
		if !slices.Contains(p.not, kind) {
			some = append(some, kind)
		}
	}
	slices.Sort(some)
	add := func(kind, way, mech string) {
		id := fmt.Sprintf("%s/%d %s %s %s", name, len(all), kind, way, mech)
		one := sending{ID: id, TLS: way, Mech: mech, User: account, Password: password, From: "a@sender.test", To: []string{"b@hub.test"}, UTF8: kind == "UTF-8"}
		switch kind {
		case "50":
			one.To = nil
			for i := range 50 {
				one.To = append(one.To, fmt.Sprintf("r%d@hub.test", i))
			}
		case "UTF-8":
			one.From, one.To = "jörg@sender.test", []string{"käthe@hub.test"}
		}
		one.File = filepath.Join(dir, strings.ReplaceAll(id, "/", "_"))
		text := "X-Case: " + id + "\r\nFrom: a@sender.test\r\nTo: b@hub.test\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + fmt.Sprint(len(all)) + "@sender.test>\r\n" + kinds[kind]
		if err := os.WriteFile(one.File, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
	if testpeer.Rounds(0, 0, 1) == 1 {
		for _, kind := range some {
			for _, way := range ways {
				for _, mech := range mechs {
					add(kind, way, mech)
				}
			}
		}
		return all
	}
	for i := range max(len(some), len(ways), len(mechs)) {
		add(some[i%len(some)], ways[i%len(ways)], mechs[(i+i/len(ways))%len(mechs)])
	}
	return all
}

// checkSent holds the files of the Drop folder to what was sent.
func checkSent(t *testing.T, s *testpeer.Service, all []sending) {
	t.Helper()
	for _, one := range all {
		want, err := os.ReadFile(one.File)
		if err != nil {
			t.Fatal(err)
		}
		var got string
		await(t, one.ID+" is in the Drop folder", func() bool {
			got = findDropped(t, s, "X-Case: "+one.ID+"\r\n")
			return got != "" || t.Failed()
		})
		head, _, _ := strings.Cut(got, "X-Case: ")
		if body := strings.TrimPrefix(got, head); body != string(want) {
			t.Errorf("%s: %s", one.ID, firstDifference(body, string(want)))
		}
		for _, to := range one.To {
			if !strings.Contains(strings.ToLower(head), strings.ToLower(to)) {
				t.Errorf("%s: the envelope lacks %s:\n%s", one.ID, to, head)
			}
		}
	}
}

// findDropped gives the file of the Drop folder that has a line, or "".
func findDropped(t *testing.T, s *testpeer.Service, line string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.Data, "Mailroot", "Drop", "*.eml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			continue // it has gone to its name
		}
		head := make([]byte, 16<<10)
		n, _ := io.ReadFull(f, head)
		_ = f.Close()
		if bytes.Contains(head[:n], []byte(line)) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			return string(text)
		}
	}
	return ""
}

func firstDifference(got, want string) string {
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	cut := func(s string) string { return s[min(max(i-40, 0), len(s)):min(i+40, len(s))] }
	return fmt.Sprintf("%d octets, want %d; at %d %q, want %q", len(got), len(want), i, cut(got), cut(want))
}

func mustInt(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
