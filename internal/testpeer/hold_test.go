// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/admin/api"
	"restante/engine/mail"
	"restante/internal/testpeer"
)

// TestHoldQuota: a held domain with a quota puts further mail off, whichever way it
// comes, and the other mail goes on.
func TestHoldQuota(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	createHeldDomain(t, s, "other.test", account)
	domain := func(lines ...string) {
		t.Helper()
		for i := range lines {
			lines[i] = strings.Replace(lines[i], " ", " SMTPSVC/1/Domain/held.test ", 1)
		}
		applyBatch(t, s, lines...)
	}
	send := func(to string) string {
		l := dial(t, s.Addr(1))
		defer l.Quit()
		if err := l.Send("a@sender.test", to, testpeer.DotStuff([]byte("Subject: x\r\n\r\n"+strings.Repeat("x", 900)+"\r\n"))); err != nil {
			return err.Error()
		}
		return "250"
	}

	domain("set HoldMaxMessages 2", "set HoldWarnPercent 100")
	sendMessages(t, s, "held.test", 1)
	if got := answer(t, s, "u@held.test"); !strings.HasPrefix(got, "250") {
		t.Errorf("below the quota: %s", got)
	}
	sendMessages(t, s, "held.test", 1)
	sendMessages(t, s, "other.test", 3)
	const full = "452 4.2.2 The mail that waits for held.test has reached its quota"
	if got := answer(t, s, "u@held.test"); !strings.HasPrefix(got, full) {
		t.Errorf("at the quota: %s", got)
	}
	if !strings.Contains(s.Log(), `msg="near quota" site=1 domain=held.test percent=100 messages=2`) {
		t.Error("the log does not warn")
	}
	await(t, "the refusal is logged", func() bool {
		return strings.Contains(s.Log(), "no room for more held mail: HoldMaxMessages of held.test is 2")
	})
	told := call(t, s, api.Explain, api.ExplainRequest{Site: 1, Recipient: "u@held.test"})
	if !strings.HasPrefix(told.Reply, full) || !strings.Contains(told.Refusal, "HoldMaxMessages") ||
		!slices.ContainsFunc(told.Why, func(r api.Reason) bool { return r.Property == "HoldMaxMessages" && r.Value == "2" }) {
		t.Errorf("explain says %+v", told)
	}
	l := dial(t, s.Addr(1))
	say(t, l, "MAIL FROM:<a@sender.test>", "250", "RCPT TO:<u@held.test>", "452 4.2.2", "RCPT TO:<u@other.test>", "250", "RCPT TO:<u@hub.test>", "250")
	l.Quit()

	file := filepath.Join(s.Data, "Mailroot", "Pickup", "one.eml")
	if err := os.WriteFile(file, []byte("x-sender: a@hub.test\r\nx-receiver: u@held.test\r\nSubject: x\r\n\r\nx\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	await(t, "the file is put off", func() bool {
		return strings.Contains(s.Log(), `"a file stays in the Pickup folder"`) && strings.Contains(s.Log(), "4.2.2")
	})
	sent := filepath.Join(s.Data, "Mailroot", "Pickup", "two.eml")
	if err := os.WriteFile(sent, []byte("x-sender: a@hub.test\r\nx-receiver: u@hub.test\r\nSubject: x\r\n\r\nx\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	awaitDropped(t, s, 1)
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*one.eml"))
	if err != nil || len(left) != 1 || os.Remove(left[0]) != nil {
		t.Errorf("the file of Pickup: %q, %v", left, err)
	}

	dir := filepath.Join(t.TempDir(), "out")
	runCommand(t, s, "", "queue", "export", dir)
	runCommand(t, s, "", "--yes", "queue", "delete", "--domain", "other.test")
	runCommand(t, s, "", "--yes", "queue", "delete", "--domain", "held.test")
	domain("set HoldMaxMessages 1")
	if out, err := s.Run(t.Context(), "", "queue", "import", dir); err == nil || !strings.Contains(err.Error(), "4.2.2") || !strings.Contains(err.Error(), "HoldMaxMessages of held.test is 1") {
		t.Errorf("the import of more: %s, %v", out, err)
	}
	s.Kill()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := answer(t, s, "u@held.test"); !strings.HasPrefix(got, full) {
		t.Errorf("after a restart: %s", got)
	}

	domain("unset HoldMaxMessages", "set HoldMaxBytes 5000000000")
	if got := send("u@held.test"); got != "250" {
		t.Errorf("with a large HoldMaxBytes: %s", got)
	}
	waits := call(t, s, api.DomainShow, api.DomainRequest{Site: 1, Name: "held.test"}).Bytes
	domain(fmt.Sprintf("set HoldMaxBytes %d", waits+900))
	l = dial(t, s.Addr(1))
	say(t, l, "MAIL FROM:<a@sender.test> SIZE=2000", "250", "RCPT TO:<u@held.test>", "452 4.2.2", "RSET", "250",
		"MAIL FROM:<a@sender.test> SIZE=100", "250", "RCPT TO:<u@held.test>", "250")
	l.Quit()
	if got := send("u@held.test"); !strings.Contains(got, full) { // it has not told its size
		t.Errorf("more than HoldMaxBytes: %s", got)
	}
	domain("unset HoldMaxBytes")
	applyBatch(t, s, "set SMTPSVC/1 HoldReserveBytes 1000000000000000")
	if got := answer(t, s, "u@held.test"); !strings.HasPrefix(got, full) {
		t.Errorf("below HoldReserveBytes: %s", got)
	}
	if got := send("u@hub.test"); got != "250" {
		t.Errorf("other mail below HoldReserveBytes: %s", got)
	}
	if out := runCommand(t, s, "", "mb", "get", "SMTPSVC/1/Domain/held.test", "HoldReserveBytes"); out != "1000000000000000\n" {
		t.Errorf("mb get says %q", out)
	}
}

// TestHoldEnd: held mail that nobody has called for is returned, archived or kept when
// EtrnDays have passed.
func TestHoldEnd(t *testing.T) {
	t.Parallel()
	s := startService(t)
	dir := t.TempDir()
	old := time.Now().AddDate(0, 0, -40)
	for _, end := range []string{"return", "archive", "keep"} {
		domain := end + ".test"
		createHeldDomain(t, s, domain, account)
		applyBatch(t, s, "set SMTPSVC/1/Domain/"+domain+" HoldEnd "+end)
		env := mail.Envelope{
			ID: mail.NewMessageID(old), Received: old, From: mail.Address{Local: "sender", Domain: "hub.test"},
			To: []mail.Recipient{{Address: mail.Address{Local: "u", Domain: mail.Domain(domain)}}},
		}
		text, err := json.Marshal(env)
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string]string{".json": string(text), ".eml": "Subject: old\r\n\r\nfor " + domain + "\r\n"} {
			if err := os.WriteFile(filepath.Join(dir, string(env.ID)+name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	runCommand(t, s, "", "queue", "import", dir)
	if report := awaitDropped(t, s, 1)[0]; !strings.Contains(report, "u@return.test") || strings.Contains(report, "u@archive.test") {
		t.Errorf("the report to the sender:\n%s", report)
	}
	archive := filepath.Join(s.Data, "Mailroot", "Archive")
	await(t, "a message is archived", func() bool { return strings.Contains(s.Log(), "msg=archived") })
	found, err := filepath.Glob(filepath.Join(archive, "*.eml"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the archive has %q, %v", found, err)
	}
	if text, err := os.ReadFile(found[0]); err != nil || !strings.Contains(string(text), "for archive.test") {
		t.Errorf("the archive has %q, %v", text, err)
	}
	st := call(t, s, api.Status, struct{}{})
	if st.Sites[0].Counters.Archived != 1 || st.Sites[0].Held != 1 {
		t.Errorf("status says %+v", st.Sites[0])
	}
	applyBatch(t, s, "set SMTPSVC/1 HoldArchiveDirectory elsewhere/archive")
	runCommand(t, s, "", "queue", "import", archive)
	await(t, "it is archived elsewhere", func() bool {
		found, err := filepath.Glob(filepath.Join(s.Data, "elsewhere", "archive", "*.json"))
		return err == nil && len(found) == 1
	})
	applyBatch(t, s, "set SMTPSVC/1/Domain/archive.test HoldEnd keep")
	runCommand(t, s, "", "queue", "import", filepath.Join(s.Data, "elsewhere", "archive"))
	if d := call(t, s, api.DomainShow, api.DomainRequest{Site: 1, Name: "archive.test"}); d.Messages != 1 || !d.Expires.IsZero() {
		t.Errorf("after the import, domain show says %+v", d)
	}
	changed := time.Now()
	applyBatch(t, s, "set SMTPSVC/1/Domain/archive.test HoldEnd archive")
	await(t, "it is to be archived in an hour", func() bool {
		d := call(t, s, api.DomainShow, api.DomainRequest{Site: 1, Name: "archive.test"})
		in := d.Expires.Sub(changed)
		return d.Messages == 1 && in >= time.Hour && in < 2*time.Hour
	})
	for _, bad := range []string{"HoldEnd drop", "HoldArchiveDirectory Mailroot/Queue/x"} {
		words := strings.Fields(bad)
		if out, err := s.Run(t.Context(), "", "mb", "set", "SMTPSVC/1", words[0], words[1]); err == nil {
			t.Errorf("%s is taken: %s", bad, out)
		}
	}
}

// TestTurnHistory: the releases of held mail are listed, also after a restart, and domain
// show tells the last call and when the next one is expected.
func TestTurnHistory(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), newMX(t)
	createHeldDomain(t, s, "held.test", account)
	createHeldDomain(t, s, "other.test", account)
	pointDNS(t, s, mx.Addr, "held.test. IN A 127.0.0.1\n")
	applyBatch(t, s, "set SMTPSVC/1/Domain/held.test CallInterval 360", "set SMTPSVC/1 TurnHistoryDays 7", "set SMTPSVC/1/Domain/held.test EtrnAllow any")
	history := func(q api.HistoryRequest) (list []string) {
		t.Helper()
		for _, r := range call(t, s, api.TurnHistory, q) {
			list = append(list, fmt.Sprintf("%s %s %s %d %d %d %s", r.Domain, r.Verb, r.Account, r.Messages, r.InDoubt, r.Left, r.Outcome))
			if r.Messages > 0 && (r.Bytes == 0 || r.End.Before(r.Begin) || r.Begin.IsZero()) {
				t.Errorf("%+v", r)
			}
		}
		return list
	}
	check := func(q api.HistoryRequest, want ...string) {
		t.Helper()
		await(t, fmt.Sprintf("the history of %+v has %d lines", q, len(want)), func() bool { return len(history(q)) == len(want) })
		if got := history(q); !slices.Equal(got, want) {
			t.Errorf("the history of %+v is %q, want %q", q, got, want)
		}
	}

	sendMessages(t, s, "held.test", 2)
	collectByTurn(t, s, account, mx)
	turned := "held.test TURN testserver 2 0 0 done"
	check(api.HistoryRequest{}, turned)
	collectByTurn(t, s, account, mx) // nothing waits: no release, but a call
	shown := call(t, s, api.DomainShow, api.DomainRequest{Site: 1, Name: "held.test"})
	if c := shown.LastCall; c == nil || c.Verb != "TURN" || c.Account != account || c.TLS || !c.Address.IsLoopback() || c.Outcome != "nothing waits" {
		t.Errorf("the last call is %+v", c)
	} else if !shown.NextCall.Equal(c.Begin.Add(6 * time.Hour)) {
		t.Errorf("the next call is expected %s after it", shown.NextCall.Sub(c.Begin))
	}

	sendMessages(t, s, "held.test", 1)
	l := dial(t, s.Addr(1))
	say(t, l, "ETRN held.test", "250")
	etrn := "held.test ETRN  1 0 0 done"
	check(api.HistoryRequest{Site: 1}, etrn, turned)
	sendMessages(t, s, "other.test", 1)
	runCommand(t, s, "", "queue", "release", "other.test")
	await(t, "the release of a host that cannot be found is listed", func() bool { return len(history(api.HistoryRequest{Domain: "other.test"})) == 1 })
	if got := history(api.HistoryRequest{Domain: "other.test"})[0]; !strings.HasPrefix(got, "other.test queue release  0 0 1 4") {
		t.Errorf("the release by hand: %q", got)
	}
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	check(api.HistoryRequest{Domain: "held.test"}, etrn, turned)
	check(api.HistoryRequest{Account: "TESTSERVER"}, turned)
	check(api.HistoryRequest{Since: time.Now()})
	if out := runCommand(t, s, "", "turn", "history", "1", "held.test", "--account", account, "--since", "24h"); strings.Count(out, "\n") != 2 ||
		!strings.Contains(out, "TURN  testserver  127.0.0.1  2 ") {
		t.Errorf("turn history says\n%s", out)
	}
	if out := runCommand(t, s, "", "domain", "show", "1", "held.test"); !strings.Contains(out, "ETRN from 127.0.0.1, account -: 1 of 1 message, ") {
		t.Errorf("domain show says\n%s", out)
	}
}

// TestHoldAlerts: the owner of a held domain gets a digest, and a web server and a program
// are told that mail waits, each as the properties say at that time. An owner who is refused keeps no other from it.
func TestHoldAlerts(t *testing.T) {
	t.Parallel()
	s := startService(t)
	createHeldDomain(t, s, "held.test", account)
	createHeldDomain(t, s, "late.test", account)
	const secret = "0123456789abcdef-1"
	var mu sync.Mutex
	told := map[string][]string{} // by domain
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var e struct {
			ID, Type string
			Data     struct {
				Domain, Reason string
				Messages       int
			}
		}
		_ = json.Unmarshal(body, &e)
		id := r.Header.Get("webhook-id")
		mac := hmac.New(sha256.New, []byte(secret))
		fmt.Fprintf(mac, "%s.%s.%s", id, r.Header.Get("webhook-timestamp"), body)
		signed := r.Header.Get("webhook-signature") == "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) && id == e.ID
		mu.Lock()
		defer mu.Unlock()
		told[e.Data.Domain] = append(told[e.Data.Domain], fmt.Sprintf("%s %s %d %v", e.Type, e.Data.Reason, e.Data.Messages, signed))
	}))
	defer srv.Close()
	events := func(domain string) []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(told[domain])
	}
	out := filepath.Join(t.TempDir(), "out")
	applyBatch(t, s, "set SMTPSVC/1 WakeUrl "+srv.URL, "set SMTPSVC/1 WakeSecret "+secret,
		"set SMTPSVC/1/Domain/late.test WakeAfter 60",
		"set SMTPSVC/1/Domain/held.test HoldOwner boss@hub.test gone@lost.test", "add SMTPSVC/1/Domain/lost.test IIsSmtpDomain",
		"set SMTPSVC/1/Domain/lost.test RouteAction alias", "set SMTPSVC/1/Domain/lost.test Recipients boss", "set SMTPSVC/1/Domain/held.test HoldMaxMessages 3",
		"set SMTPSVC/1/Domain/held.test WakeCommand /bin/sh -c 'echo $RESTANTE_EVENT $RESTANTE_DOMAIN $RESTANTE_MESSAGES >$0' "+out)
	sendMessages(t, s, "late.test", 1)
	sendMessages(t, s, "held.test", 2)
	digest := awaitDropped(t, s, 1)[0]
	for _, want := range []string{"To: <boss@hub.test>", "Subject: Mail for held.test: 66 % of the quota", "Auto-Submitted: auto-generated", "messages waiting    2"} {
		if !strings.Contains(digest, want) {
			t.Errorf("%q is missing in the digest:\n%s", want, digest)
		}
	}
	await(t, "the web server is told", func() bool { return len(events("held.test")) > 0 })
	await(t, "the program is told", func() bool {
		text, err := os.ReadFile(out)
		return err == nil && string(text) == "mail.waiting held.test 2\n"
	})
	if got, want := events("held.test"), []string{"mail.waiting first 2 true"}; !slices.Equal(got, want) {
		t.Errorf("the web server is told %q, want %q", got, want)
	}
	if got := events("late.test"); len(got) > 0 {
		t.Errorf("before WakeAfter: %q", got)
	}
	applyBatch(t, s, "set SMTPSVC/1/Domain/late.test WakeAfter 0", "unset SMTPSVC/1 WakeSecret")
	sendMessages(t, s, "late.test", 1)
	await(t, "the web server is told at once", func() bool { return len(events("late.test")) > 0 })
	if got, want := events("late.test"), []string{"mail.waiting first 2 false"}; !slices.Equal(got, want) {
		t.Errorf("the web server is told %q, want %q", got, want)
	}
	s.Kill()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	sendMessages(t, s, "late.test", 1)
	sendMessages(t, s, "held.test", 1) // the quota is full: a threshold, and no wake-up within a minute of the first
	digest = awaitDropped(t, s, 2)[1]
	if !strings.Contains(digest, "100 % of the quota") && !strings.Contains(awaitDropped(t, s, 2)[0], "100 % of the quota") {
		t.Errorf("the digest after a restart:\n%s", digest)
	}
	if got := events("late.test"); len(got) != 1 {
		t.Errorf("after a restart the web server is told %q", got)
	}
}
