// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"restante/internal/testpeer"
)

// openssl connects by openssl s_client with the options, says QUIT, and gives what
// it prints of the connection; ok if there was a handshake.
func openssl(t *testing.T, addr string, implicit bool, options ...string) (out string, ok bool) {
	t.Helper()
	args := []string{"s_client", "-connect", addr, "-brief"}
	if !implicit {
		args = append(args, "-starttls", "smtp")
	}
	code, out := runProgram(t, "QUIT\r\n", "openssl", append(args, options...)...)
	return out, code == 0 && strings.Contains(out, "CONNECTION ESTABLISHED")
}

// words are the arguments in one text.
func words(text string) []string { return strings.Fields(text) }

// Callers of each kind can use TLS of a fresh set-up, by STARTTLS and from the
// first octet.
func TestOpensslAtAFreshSetUp(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "openssl")
	s := startService(t)
	secure := openListener(t, s, "SecureBindings")
	for _, tt := range []struct{ options, want string }{
		{"", "Protocol version: TLSv1.3"},
		{"-tls1_3 -sigalgs RSA-PSS+SHA256", "Signature type: RSA-PSS"},
		{"-tls1_2", "Signature type: ECDSA"},
		{"-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256", "Ciphersuite: ECDHE-RSA-AES128-GCM-SHA256"},
		{"-tls1_2 -cipher ECDHE-ECDSA-AES256-GCM-SHA384", "Ciphersuite: ECDHE-ECDSA-AES256-GCM-SHA384"},
		{"-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256 -servername other.test", "Ciphersuite: ECDHE-RSA-AES128-GCM-SHA256"},
		{"-tls1_2 -cipher AES128-SHA:@SECLEVEL=0", ""},
		{"-tls1_1 -cipher ALL:@SECLEVEL=0", ""},
		{"-tls1 -cipher ALL:@SECLEVEL=0", ""},
	} {
		for implicit, addr := range map[bool]string{false: s.Addr(1), true: secure} {
			out, ok := openssl(t, addr, implicit, words(tt.options)...)
			if ok != (tt.want != "") || !regexp.MustCompile(`(?im)`+tt.want).MatchString(out) {
				t.Errorf("openssl s_client %s, implicit %v: want %q:\n%s", tt.options, implicit, tt.want, out)
			}
		}
	}
}

// TlsOldDevices lets in what is refused before and after, and nothing but that
// changes; TlsMinVersion keeps out TLS 1.2.
func TestOpensslAsAnOldDevice(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "openssl")
	s := startService(t)
	secure := openListener(t, s, "SecureBindings")
	device := []string{
		"-tls1 -cipher ALL:@SECLEVEL=0", "-tls1_1 -cipher ALL:@SECLEVEL=0", "-tls1 -cipher AES128-SHA:@SECLEVEL=0",
		"-tls1_2 -cipher AES128-SHA:@SECLEVEL=0", "-tls1_2 -cipher ECDHE-RSA-AES128-SHA256:@SECLEVEL=0",
		"-tls1_2 -cipher ALL:@SECLEVEL=0 -sigalgs RSA+SHA1", "-tls1_2 -cipher AES128-GCM-SHA256",
	}
	check := func(setting string, options string, want bool) {
		for implicit, addr := range map[bool]string{false: s.Addr(1), true: secure} {
			if out, ok := openssl(t, addr, implicit, words(options)...); ok != want {
				t.Errorf("%s: openssl s_client %s, implicit %v: %v\n%s", setting, options, implicit, ok, out)
			}
		}
	}
	for _, on := range []bool{false, true, false} {
		set(t, s, "TlsOldDevices", fmt.Sprint(on))
		for _, options := range device {
			check(fmt.Sprintf("TlsOldDevices %v", on), options, on)
		}
		check("whatever TlsOldDevices says", "-tls1_2", true)
		check("whatever TlsOldDevices says", "-tls1_3", true)
	}
	set(t, s, "TlsMinVersion", "tls1.3")
	check("TlsMinVersion tls1.3", "-tls1_2", false)
	check("TlsMinVersion tls1.3", "-tls1_3", true)
	_, err := s.Run(t.Context(), "", "mb", "set", "SMTPSVC/1", "TlsMinVersion", "tls1.1")
	if want := `/LM/SMTPSVC/1: TlsMinVersion: "tls1.1" is none of`; !strings.Contains(fmt.Sprint(err), want) {
		t.Errorf("%v, want %s", err, want)
	}
}

// Handshakes that fail are in the log with the reason, and are counted.
func TestOpensslFails(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "openssl")
	s := startService(t)
	secure := openListener(t, s, "SecureBindings")
	rows := [][2]string{
		{"-tls1_1 -cipher ALL:@SECLEVEL=0", `the caller's TLS is too old`}, {"-tls1_2 -cipher AES128-SHA:@SECLEVEL=0", `no cipher in common`},
		{"-tls1_2 -verify_return_error", `the caller does not accept the certificate: remote error: tls: `},
		{"-tls1_3 -verify_return_error", `not accept the certificate: `},
	}
	for _, row := range rows {
		for verb, addr := range map[string]string{"STARTTLS": s.Addr(1), "TLS": secure} {
			if _, ok := openssl(t, addr, verb == "TLS", words(row[0])...); ok {
				t.Errorf("%s works", row[0])
			}
			line := regexp.MustCompile(`msg=refused site=1 client=127\.0\.0\.1 .*verb=` + verb + ` .*` + row[1] + `.* session=`)
			await(t, line.String()+" in the log", func() bool { return line.MatchString(s.Log()) })
		}
	}
	// openListener has left a connection, perhaps.
	if out := runCommand(t, s, "", "site", "show", "1"); !regexp.MustCompile(`[89] handshakes of TLS failed`).MatchString(out) {
		t.Errorf("they are not counted:\n%s", out)
	}
}

// The certificate has the name that a caller asks for, where one has it.
func TestOpensslAsksForAName(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "openssl")
	s := startService(t)
	secure := openListener(t, s, "SecureBindings")
	dir := filepath.Join(s.Data, "certs")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	var files []string
	for i, name := range []string{"mail.one.test", "*.two.test"} {
		cert, key := testpeer.NewCertificate(t, testpeer.ECDSAKey(t), name)
		for kind, text := range map[string]string{"cert": cert, "key": key} {
			file := fmt.Sprintf("certs/%d.%s", i, kind)
			files = append(files, file)
			if err := os.WriteFile(filepath.Join(s.Data, file), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	set(t, s, "TlsMoreCertificates", files...)
	for asked, want := range map[string]string{"": "hub.test", "hub.test": "hub.test", "mail.one.test": "mail.one.test", "x.two.test": "*.two.test", "none.test": "hub.test"} {
		options := []string{"-noservername"}
		if asked != "" {
			options = []string{"-servername", asked}
		}
		for implicit, addr := range map[bool]string{false: s.Addr(1), true: secure} {
			if out, ok := openssl(t, addr, implicit, options...); !ok || !strings.Contains(out, "Peer certificate: CN = "+want+"\n") && !strings.Contains(out, "Peer certificate: CN="+want+"\n") {
				t.Errorf("%q, implicit %v: want %s\n%s", asked, implicit, want, out)
			}
		}
	}
}

// shown gives the name in the certificate that a caller gets by STARTTLS.
func shown(t *testing.T, s *testpeer.Service) (string, error) {
	t.Helper()
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		return "", err
	}
	defer l.Close()
	if err := l.Say("STARTTLS", "220"); err != nil {
		return "", err
	}
	c := tls.Client(l.Conn, &tls.Config{InsecureSkipVerify: true})
	if err := c.HandshakeContext(t.Context()); err != nil {
		return "", err
	}
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// Certificates are exchanged by writing files, without a start and without a
// connection that fails. Files that do not fit each other show in status and in
// the log.
func TestCertificatesAreExchangedUnderCallers(t *testing.T) {
	t.Parallel()
	s := startService(t)
	dir := filepath.Join(s.Data, "tls")
	end, failed := make(chan struct{}), atomic.Int32{}
	var callers sync.WaitGroup
	callers.Go(func() {
		for {
			select {
			case <-end:
				return
			default:
				if _, err := shown(t, s); err != nil && failed.Add(1) == 1 {
					t.Errorf("a caller: %v", err)
				}
			}
		}
	})
	is := func(name string) {
		t.Helper()
		await(t, name+" is shown", func() bool {
			got, err := shown(t, s)
			return err == nil && got == name
		})
	}
	const stays = "the certificates that were read before stay in use: certificate: "
	status := func(want bool) {
		t.Helper()
		await(t, fmt.Sprintf("%q in status: %v", stays, want), func() bool { return strings.Contains(runCommand(t, s, "", "status"), stays) == want })
	}
	for i := range 5 {
		name := fmt.Sprintf("v%d.test", i)
		testpeer.WriteCertificate(t, dir, name)
		is(name)
	}
	cert, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{cert[:len(cert)/2], nil} {
		if err := os.WriteFile(filepath.Join(dir, "cert.pem"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		status(true)
		is("v4.test")
	}
	testpeer.WriteCertificate(t, dir, "last.test")
	is("last.test")
	status(false)
	close(end)
	callers.Wait()
	// Half a certificate, none, and on the way to the last pair no key and one that does
	// not fit: each is told once where it stands for a while.
	if n := strings.Count(s.Log(), `msg="the certificate's files changed and are of no use`); n < 1 || n > 4 {
		t.Errorf("%d lines in the log:\n%s", n, s.Log())
	}
}

// The commands of docs/tls.md give an old data folder, with an ECDSA certificate
// alone, an RSA certificate.
func TestAnOldDataFolderGetsAnRSACertificate(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "openssl")
	text, err := os.ReadFile("../../docs/tls.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile(`(?m)^    openssl req (?:.*\n    ?)*.*rm rsa-key.*$`).FindString(string(text))
	s := startService(t)
	testpeer.WriteCertificate(t, filepath.Join(s.Data, "tls"), "hub.test")
	const rsa = "-tls1_2 -cipher ECDHE-RSA-AES128-GCM-SHA256"
	works := func() bool {
		_, ok := openssl(t, s.Addr(1), false, words(rsa)...)
		return ok
	}
	await(t, "the old certificate is in use", func() bool { return !works() })
	if code, out := runProgram(t, "cd "+s.Data+" && "+commands, "sh"); code != 0 || commands == "" {
		t.Fatalf("%s\n%s", commands, out)
	}
	await(t, "callers can use RSA", works)
	if out, ok := openssl(t, s.Addr(1), false, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"); !ok {
		t.Errorf("callers cannot use ECDSA:\n%s", out)
	}
}
