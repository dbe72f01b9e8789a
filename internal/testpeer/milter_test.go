// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/emersion/go-msgauth/dkim"

	"restante/admin/api"
	"restante/internal/testpeer"
	"restante/internal/testpeer/slapd"
)

// startFilter starts a program in the foreground, and returns when it takes connections.
// The function ends it.
func startFilter(t *testing.T, network, address, program string, args ...string) (stop func()) {
	t.Helper()
	path, err := slapd.Look(program)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	stop = func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
	}
	t.Cleanup(func() {
		stop()
		if t.Failed() {
			t.Logf("%s:\n%s", program, &log)
		}
	})
	await(t, program+" takes connections", func() bool {
		select {
		case <-ended:
			t.Fatalf("%s ended: %s", program, &log)
		default:
		}
		c, err := net.Dial(network, address)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	})
	return stop
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// freePort gives an address that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startOpenDKIM starts an OpenDKIM that signs mail of hub.test, and gives its socket and
// the record with its key.
func startOpenDKIM(t *testing.T) (socket, record string) {
	t.Helper()
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	keyFile := writeFile(t, filepath.Join(dir, "key.pem"), string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})))
	socket = filepath.Join(dir, "s")
	config := writeFile(t, filepath.Join(dir, "opendkim.conf"), "Domain hub.test\nSelector s\nKeyFile "+keyFile+"\nSocket local:"+socket+
		"\nMode s\nInternalHosts 127.0.0.1\nCanonicalization simple/simple\nSyslog no\nBackground no\nRequireSafeKeys no\nDNSTimeout 1\nNameservers 127.0.0.1\n")
	startFilter(t, "unix", socket, "opendkim", "-f", "-x", config)
	return socket, "v=DKIM1; k=rsa; p=" + base64.StdEncoding.EncodeToString(public)
}

// rspamdConfig has no module that looks anything up.
const rspamdConfig = `options {
	tempdir = "DIR"; pidfile = "DIR/pid"; control_socket = "DIR/control mode=0600"; hs_cache_dir = "DIR"; rrd = ""; cache_file = "DIR/cache";
	filters = ""; disable_hyperscan = true; url_tld = "/dev/null"; dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; }
}
logging { type = "console"; level = "info"; }
worker "rspamd_proxy" {
	bind_socket = "ADDR"; milter = yes; count = 1; timeout = 60s;
	upstream "local" { default = yes; self_scan = yes; }
}
actions { reject = 15; add_header = 6; }
lua = "/usr/share/rspamd/rules/rspamd.lua"; lang_detection { enabled = false; }
`

// TestMilters: mail goes through OpenDKIM, whose signature verifies, and rspamd, which
// refuses what is spam; while one is down, what is set for it becomes of mail, and status
// and explain say that it is.
func TestMilters(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "opendkim", "rspamd")
	s := startService(t)
	socket, record := startOpenDKIM(t)
	dir, addr := t.TempDir(), freePort(t)
	config := writeFile(t, filepath.Join(dir, "rspamd.conf"), strings.NewReplacer("DIR", dir, "ADDR", addr).Replace(rspamdConfig))
	stop := startFilter(t, "tcp", addr, "rspamd", "-f", "-i", "-c", config)
	set(t, s, "Milters", "unix:"+socket, "inet:"+addr)

	const text = "From: a@hub.test\r\nTo: x@hub.test\r\nSubject:  as it\r\n\tcame\r\nDate: Sat, 28 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@hub.test>\r\n\r\nbody\r\n.\r\n..\r\n"
	send := func(text string) error {
		l := dial(t, s.Addr(1))
		defer l.Quit()
		return l.Send("a@hub.test", "x@hub.test", testpeer.DotStuff([]byte(text)))
	}
	if err := send(text); err != nil {
		t.Fatal(err)
	}
	_, message, _ := strings.Cut(awaitDropped(t, s, 1)[0], "x-receiver: x@hub.test\r\n")
	if first, _, _ := strings.Cut(message, "DKIM-Signature:"); !strings.HasPrefix(first, "Received: ") || strings.Count(first, "\r\n") != 4 || !strings.HasSuffix(message, text) {
		t.Errorf("the message is %q", message)
	}
	found, err := dkim.VerifyWithOptions(strings.NewReader(message), &dkim.VerifyOptions{LookupTXT: func(string) ([]string, error) { return []string{record}, nil }})
	if err != nil || len(found) != 1 || found[0].Err != nil {
		t.Errorf("the signature: %+v, %v", found, err)
	}
	const spam = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X\r\n"
	if err := send(text + spam); err == nil || !strings.Contains(err.Error(), "554 5.7.1 Gtube pattern") {
		t.Errorf("spam is answered %v", err)
	}
	await(t, "the verdicts are logged", func() bool {
		return strings.Contains(s.Log(), "filter=unix:"+socket+" verdict=accept changes=\"field DKIM-Signature\" session=") &&
			strings.Contains(s.Log(), "filter=inet:"+addr+" verdict=accept") && strings.Contains(s.Log(), "554 5.7.1 Gtube pattern: milter inet:"+addr)
	})

	stop()
	if err := send(text); err == nil || !strings.Contains(err.Error(), "451 4.7.1 The message cannot be checked now") {
		t.Errorf("while rspamd is down, mail is answered %v", err)
	}
	down := "milter inet:" + addr + " is down since "
	if st := call(t, s, api.Status, struct{}{}); !strings.Contains(st.Sites[0].Why, down) {
		t.Errorf("the site is shown as %+v", st.Sites[0])
	}
	told := call(t, s, api.Explain, api.ExplainRequest{Site: 1, Recipient: "x@hub.test"})
	if !slices.ContainsFunc(told.Why, func(r api.Reason) bool { return r.Property == "Milters" && strings.Contains(r.Value, down) }) {
		t.Errorf("explain says %+v", told.Why)
	}
	set(t, s, "Milters", "inet:"+addr+" accept")
	if err := send(text); err != nil {
		t.Errorf("with accept, mail is answered %v", err)
	}
	set(t, s, "Milters")
	if st := call(t, s, api.Status, struct{}{}); st.Sites[0].Why != "" {
		t.Errorf("without filters, the site is shown as %+v", st.Sites[0])
	}
}
