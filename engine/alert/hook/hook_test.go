// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The example of the Standard Webhooks specification.
func TestSign(t *testing.T) {
	const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	got := Sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("Sign = %q, want %q", got, want)
	}
}

// The request in docs/held-mail-alerts.md is one that is sent, and its signature is that of
// the secret on the page.
func TestPage(t *testing.T) {
	raw, err := os.ReadFile("../../../docs/held-mail-alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(raw)
	between := func(a, b string) string {
		_, rest, _ := strings.Cut(page, a)
		text, _, _ := strings.Cut(rest, b)
		return text
	}
	body := strings.ReplaceAll(between("\n\n{", "\n```"), "\n", "")
	var e Event
	if err := json.Unmarshal([]byte("{"+body), &e); err != nil || string(encode(e)) != "{"+body {
		t.Errorf("the body is {%s, %v; an event has %s", body, err, encode(e))
	}
	got := Sign(Secret(between("WakeSecret ", "\n")), between("Webhook-Id: ", "\n"), between("Webhook-Timestamp: ", "\n"), encode(e))
	if want := between("Webhook-Signature: ", "\n"); got != want {
		t.Errorf("the signature is %s, on the page %s", got, want)
	}
}

func TestChecks(t *testing.T) {
	abs, err := filepath.Abs("x")
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		check func(string) error
		text  string
		ok    bool
	}{
		{CheckSecret, "0123456789abcdef", true},
		{CheckSecret, "0123456789abcde", false},
		{CheckSecret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", true},
		{CheckSecret, "whsec_MfKQ9r8G", false},
		{CheckSecret, "whsec_no base64 at all, but long", false},
		{CheckURL, "https://host.example/a?b=c", true},
		{CheckURL, "http://127.0.0.1:8080", true},
		{CheckURL, "HTTPS://host.example", true},
		{CheckURL, "https://user:pass@host.example/", false},
		{CheckURL, "ftp://host.example/", false},
		{CheckURL, "https:///path", false},
		{CheckURL, "host.example", false},
		{CheckURL, "https://host.example/#part", false},
		{CheckURL, "https://host.example:65535/", true},
		{CheckURL, "https://host.example:65536/", false},
		{CheckURL, "https://host.example:0/", false},
		{CheckProgram, abs, true},
		{CheckProgram, "x", false},
		{CheckProgram, abs + "/../y", false},
		{CheckProgram, "", false},
	} {
		if err := tt.check(tt.text); (err == nil) != tt.ok {
			t.Errorf("%q: %v, want it accepted: %v", tt.text, err, tt.ok)
		}
	}
}

func event() Event {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return Event{ID: "id1", Type: MailWaits, Time: at, Data: Data{Site: 1, Domain: "a.test", Reason: "first", Messages: 2, Bytes: 300, Oldest: at}}
}

// A receiver can verify a request; every answer but 2xx is an error, and a redirection is
// not followed.
func TestPost(t *testing.T) {
	var got *http.Request
	var body []byte
	code := 204
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r
		body, _ = io.ReadAll(r.Body)
		w.Header().Set("Location", "/other")
		w.WriteHeader(code)
	}))
	defer srv.Close()
	const secret = "0123456789abcdef"
	if err := Post(t.Context(), srv.URL+"/hook", secret, event()); err != nil {
		t.Fatal(err)
	}
	at := got.Header.Get("webhook-timestamp")
	if got.Header.Get("webhook-id") != "id1" || got.Header.Get("webhook-signature") != Sign(secret, "id1", at, body) || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("the header is %v", got.Header)
	}
	var e Event
	if err := json.Unmarshal(body, &e); err != nil || e != event() {
		t.Errorf("the body is %s: %v", body, err)
	}
	if err := Post(t.Context(), srv.URL, "", event()); err != nil || got.Header.Get("webhook-signature") != "" {
		t.Errorf("without a secret: %v, %v", err, got.Header)
	}
	for _, c := range []int{302, 307, 400, 500} {
		if code = c; Post(t.Context(), srv.URL, "", event()) == nil || got.URL.Path != "/" {
			t.Errorf("the answer %d is no error, or %s was asked", c, got.URL)
		}
	}
	code = 410
	if err := Post(t.Context(), srv.URL, "", event()); !errors.Is(err, ErrGone) {
		t.Errorf("410: %v", err)
	}
	srv.Close()
	if err := Post(t.Context(), srv.URL+"/token", "", event()); err == nil || strings.Contains(err.Error(), "token") {
		t.Errorf("the error of a receiver that is down: %v", err)
	}
}

// TestMain is the program that TestRun starts.
func TestMain(m *testing.M) {
	if os.Getenv("RESTANTE_EVENT") == "" {
		os.Exit(m.Run())
	}
	if os.Getenv("RESTANTE_DOMAIN") == "family.test" {
		family(os.Args[1:])
	}
	in, _ := io.ReadAll(os.Stdin)
	out := strings.Join(append(os.Environ(), os.Args[2:]...), "\n") + "\n" + string(in)
	_ = os.WriteFile(os.Args[1], []byte(out), 0o600)
	_, _ = io.WriteString(os.Stderr, "it goes\n wrong")
	if os.Getenv("RESTANTE_DOMAIN") == "bad.test" {
		os.Exit(3)
	}
	os.Exit(0)
}

// family is a program that starts itself once more: the parent ends, or hangs, as its first
// argument says, and the child answers on a connection to the second until that is closed.
func family(args []string) {
	switch args[0] {
	case "child":
		conn, err := net.Dial("tcp", args[1])
		if err == nil {
			_, _ = io.Copy(conn, conn)
		}
		os.Exit(0)
	case "leaves", "hangs":
		cmd := exec.Command(os.Args[0], "child", args[1])
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if cmd.Start() != nil {
			os.Exit(1)
		}
		if args[0] == "hangs" {
			_ = cmd.Wait()
		}
		os.Exit(0)
	}
}

// A program gets its arguments as they are, the event, and nothing secret of the
// service's environment.
func TestRun(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("RESTANTE_STORE", "postgres://user:secret@host/db")
	file := filepath.Join(t.TempDir(), "out")
	if err := Run(t.Context(), []string{self, file, "$HOME; two three", "*"}, event()); err != nil {
		t.Fatal(err)
	}
	out, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"RESTANTE_ID=id1", "RESTANTE_EVENT=mail.waiting", "RESTANTE_TIME=2026-03-01T12:00:00Z", "RESTANTE_SITE=1", "RESTANTE_DOMAIN=a.test", "RESTANTE_REASON=first",
		"RESTANTE_MESSAGES=2", "RESTANTE_BYTES=300", "RESTANTE_OLDEST=2026-03-01T12:00:00Z", "RESTANTE_PERCENT=0", "RESTANTE_LAST_CALL=",
		"$HOME; two three", "*", string(encode(event())),
	} {
		if !bytes.Contains(append([]byte("\n"), append(out, '\n')...), []byte("\n"+want+"\n")) {
			t.Errorf("it did not get %s:\n%s", want, out)
		}
	}
	if bytes.Contains(out, []byte("secret")) {
		t.Errorf("it got secrets:\n%s", out)
	}
	e := event()
	e.Data.Domain = "bad.test"
	if err := Run(t.Context(), []string{self, file}, e); err == nil || !strings.Contains(err.Error(), "it goes wrong") {
		t.Errorf("the error is %v", err)
	}
	if err := Run(t.Context(), []string{file + "-missing"}, e); err == nil {
		t.Error("a program that is missing is no error")
	}
}
