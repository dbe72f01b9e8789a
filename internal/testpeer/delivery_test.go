// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"restante/admin/api"
	"restante/engine/resolver/dnstest"
	"restante/internal/testpeer"
	"restante/internal/testpeer/postfix"
)

// pointDNS points the service's DNS at a zone, and its outgoing port at addr's.
func pointDNS(t *testing.T, s *testpeer.Service, addr, zone string) *dnstest.Server {
	t.Helper()
	dns := dnstest.Serve(t, zone)
	_, port := hostPort(t, addr)
	applyBatch(t, s, "set /LM/SMTPSVC/1 DnsServers "+dns.Addr, "set /LM/SMTPSVC/1 RemoteSmtpPort "+port, "set /LM/SMTPSVC/1 AllowLoopbackHosts true")
	return dns
}

// serveMXAt has an MX listen on another address of this machine, on the port of
// addr.
func serveMXAt(t *testing.T, mx *testpeer.MX, ip, addr string) {
	t.Helper()
	_, port := hostPort(t, addr)
	l, err := net.Listen("tcp", net.JoinHostPort(ip, port))
	if err != nil {
		testpeer.Missing(t, "address "+ip, err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			all.Go(func() {
				defer c.Close()
				mx.Serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
}

// newMXAt starts an MX on another address of this machine, on addr's port.
func newMXAt(t *testing.T, ip, addr string) *testpeer.MX {
	t.Helper()
	mx := testpeer.NewMX(t, testpeer.MXOptions{})
	serveMXAt(t, mx, ip, addr)
	return mx
}

// testMessage is a small message with that subject.
func testMessage(subject string) []byte {
	return []byte("From: <a@hub.test>\r\nSubject: " + subject + "\r\n\r\nline\r\n.dot\r\n")
}

// sendMessage sends one message with all recipients in one transaction.
func sendMessage(t *testing.T, s *testpeer.Service, from, subject string, to ...string) {
	t.Helper()
	l, err := testpeer.Dial(s.Addr(1))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Quit()
	say := func(command, code string) {
		t.Helper()
		if err := l.Say(command, code); err != nil {
			t.Fatal(err)
		}
	}
	say("MAIL FROM:<"+from+">", "250")
	for _, rcpt := range to {
		say("RCPT TO:<"+rcpt+">", "250")
	}
	say("DATA", "354")
	if _, err := l.Write(testpeer.DotStuff(testMessage(subject))); err != nil {
		t.Fatal(err)
	}
	if err := l.Expect("250"); err != nil {
		t.Fatal(err)
	}
}

// awaitSubjects waits until an MX has n messages, and gives all their subjects.
func awaitSubjects(t *testing.T, mx *testpeer.MX, n int) []string {
	t.Helper()
	await(t, fmt.Sprintf("%d messages at the host", n), func() bool { return len(mx.Messages()) >= n })
	var out []string
	for _, m := range mx.Messages() {
		out = append(out, subjectOf(t, m.Body))
	}
	return out
}

func subjectOf(t *testing.T, m []byte) string {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(string(m)))
	if err != nil {
		t.Errorf("no message: %v: %q", err, m)
		return ""
	}
	return msg.Header.Get("Subject")
}

// queueEntryFor is what the queue says of a domain, or nothing where no mail
// waits for it.
func queueEntryFor(t *testing.T, s *testpeer.Service, domain string) (d api.Destination) {
	t.Helper()
	for _, d := range call(t, s, api.QueueList, api.QueueRequest{}) {
		if string(d.Domain) == domain {
			return d
		}
	}
	return d
}

// awaitEmptyQueue waits until no mail is left.
func awaitEmptyQueue(t *testing.T, s *testpeer.Service) {
	t.Helper()
	await(t, "nothing is left", func() bool { return len(call(t, s, api.QueueList, api.QueueRequest{})) == 0 })
}

// retry has the mail for a domain, or all of it, tried now.
func retry(t *testing.T, s *testpeer.Service, domain string) {
	t.Helper()
	call(t, s, api.QueueAct, api.ActRequest{Act: "retry", Domain: domain, All: domain == ""})
}

// awaitDeferred waits until the mail of a domain has an error of its last attempt.
func awaitDeferred(t *testing.T, s *testpeer.Service, domain string) api.Destination {
	t.Helper()
	var w api.Destination
	await(t, "mail for "+domain+" is put off", func() bool {
		w = queueEntryFor(t, s, domain)
		return w.LastError != ""
	})
	return w
}

// awaitDropped waits until the Drop folder has n files, and gives their text.
func awaitDropped(t *testing.T, s *testpeer.Service, n int) []string {
	t.Helper()
	var out []string
	await(t, fmt.Sprintf("%d files in the Drop folder", n), func() bool {
		files, err := filepath.Glob(filepath.Join(s.Data, "Mailroot", "Drop", "*.eml"))
		if err != nil || len(files) < n {
			return false
		}
		out = nil
		for _, name := range files {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, string(text))
		}
		return true
	})
	return out
}

// A report is what a sender reads of RFC 3464's.
type report struct {
	To         string                          // whom it came to
	Sender     string                          // its own: x-sender
	Recipients map[string]textproto.MIMEHeader // by final recipient
	Returned   string                          // of the message
}

// readReport takes a report apart as a mail reader does.
func readReport(t *testing.T, text string) report {
	t.Helper()
	msg, err := mail.ReadMessage(strings.NewReader(text))
	if err != nil {
		t.Fatalf("%v:\n%s", err, text)
	}
	kind, params, err := mime.ParseMediaType(msg.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || params["report-type"] != "delivery-status" {
		t.Fatalf("Content-Type %q, %v, %v:\n%s", kind, params, err, text)
	}
	r := report{To: msg.Header.Get("X-Receiver"), Sender: msg.Header.Get("X-Sender"), Recipients: map[string]textproto.MIMEHeader{}}
	parts := multipart.NewReader(msg.Body, params["boundary"])
	for _, want := range []string{"text/plain", "message/delivery-status", "message/rfc822"} {
		p, err := parts.NextPart()
		if err != nil {
			t.Fatalf("no %s: %v:\n%s", want, err, text)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		switch got, _, _ := mime.ParseMediaType(p.Header.Get("Content-Type")); {
		case got == "message/delivery-status":
			r.readRecipients(t, string(body))
		case got == "message/rfc822", got == "text/rfc822-headers":
			r.Returned = string(body)
		case got != want:
			t.Errorf("a part is %q, want %q", got, want)
		}
	}
	return r
}

func (r *report) readRecipients(t *testing.T, text string) {
	t.Helper()
	groups := strings.Split(strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n")), "\n\n")
	for _, g := range groups[1:] {
		h, err := mail.ReadMessage(strings.NewReader(g + "\n\n"))
		if err != nil {
			t.Fatalf("%v: %q", err, g)
		}
		final := strings.TrimPrefix(h.Header.Get("Final-Recipient"), "rfc822; ")
		r.Recipients[strings.TrimPrefix(final, "rfc822;")] = textproto.MIMEHeader(h.Header)
	}
}

// awaitReport waits for the only report in the Drop folder, which is for sender. It
// compares the status of each recipient.
func awaitReport(t *testing.T, s *testpeer.Service, status map[string]string) report {
	t.Helper()
	files := awaitDropped(t, s, 1)
	if len(files) != 1 {
		t.Fatalf("%d files in the Drop folder, want 1", len(files))
	}
	r := readReport(t, files[0])
	if r.To != sender || strings.Trim(r.Sender, "<>") != "" {
		t.Errorf("the report goes from %q to %q", r.Sender, r.To)
	}
	if len(r.Recipients) != len(status) {
		t.Errorf("the report is about %v, want %v", r.Recipients, status)
	}
	for to, want := range status {
		if f := r.Recipients[to]; f.Get("Action") != "failed" || f.Get("Status") != want {
			t.Errorf("%s: %v, want failed and %s", to, f, want)
		}
	}
	return r
}

const sender = "boss@hub.test"

func TestTheSecondHostTakesMailWhenTheFirstIsDown(t *testing.T) {
	t.Parallel()
	s, base := startService(t), testpeer.StartSink(t)
	second, third := newMXAt(t, "127.0.0.3", base.Addr), newMXAt(t, "127.0.0.4", base.Addr)
	pointDNS(t, s, base.Addr, `far.test. IN MX 30 c.far.test.
far.test. IN MX 10 a.far.test.
far.test. IN MX 20 b.far.test.
a.far.test. IN A 127.0.0.2
b.far.test. IN A 127.0.0.3
c.far.test. IN A 127.0.0.4
`)
	sendMessage(t, s, sender, "first is down", "x@far.test")
	awaitSubjects(t, second, 1)
	first := newMXAt(t, "127.0.0.2", base.Addr)
	sendMessage(t, s, sender, "first is up", "x@far.test")
	if got := awaitSubjects(t, first, 1); got[0] != "first is up" || len(second.Messages()) != 1 || len(third.Messages()) != 0 {
		t.Errorf("first %q, second %d, third %d messages", got, len(second.Messages()), len(third.Messages()))
	}
}

func TestHostsOfOnePreferenceShareTheMail(t *testing.T) {
	t.Parallel()
	s, base := startService(t), testpeer.StartSink(t)
	a, b := newMXAt(t, "127.0.0.2", base.Addr), newMXAt(t, "127.0.0.3", base.Addr)
	pointDNS(t, s, base.Addr, `far.test. IN MX 10 a.far.test.
far.test. IN MX 10 b.far.test.
a.far.test. IN A 127.0.0.2
b.far.test. IN A 127.0.0.3
`)
	const most = 40 // practically never does one host get all of them
	n := 0
	for ; n < most && (len(a.Messages()) == 0 || len(b.Messages()) == 0); n++ {
		sendMessage(t, s, sender, strconv.Itoa(n), "x@far.test")
		await(t, "one message more", func() bool { return len(a.Messages())+len(b.Messages()) == n+1 })
	}
	if n == most {
		t.Errorf("%d and %d messages", len(a.Messages()), len(b.Messages()))
	}
}

func TestDomainThatTakesNoMailIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	s, base := startService(t), testpeer.StartSink(t)
	pointDNS(t, s, base.Addr, "null.test. IN MX 0 .\nnull.test. IN A 127.0.0.1\n")
	sendMessage(t, s, sender, "to nobody", "x@null.test")
	r := awaitReport(t, s, map[string]string{"x@null.test": "5.1.10"})
	if subjectOf(t, []byte(r.Returned)) != "to nobody" {
		t.Errorf("returned:\n%s", r.Returned)
	}
	if len(base.Messages()) != 0 {
		t.Error("mail went to a domain that takes none")
	}
}

func TestDomainThatDoesNotExistIsReportedAtOnce(t *testing.T) {
	t.Parallel()
	s, base := startService(t), testpeer.StartSink(t)
	pointDNS(t, s, base.Addr, "other.test. IN A 127.0.0.1\n")
	sendMessage(t, s, sender, "to nowhere", "x@none.test")
	awaitReport(t, s, map[string]string{"x@none.test": "5.1.2"})
}

func TestNameServerThatFailsIsAskedAgainLater(t *testing.T) {
	t.Parallel()
	s, base := startService(t), testpeer.StartSink(t)
	dns := pointDNS(t, s, base.Addr, "far.test. IN A 127.0.0.1\n")
	dns.Fail("slow.test")
	sendMessage(t, s, sender, "later", "x@slow.test")
	if w := awaitDeferred(t, s, "slow.test"); w.Messages != 1 || !strings.HasPrefix(w.LastError, "451") {
		t.Errorf("%+v", w)
	}
}

func TestEveryWayOfNamingAHostIsFollowed(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, mx.Addr, `plain.test. IN A 127.0.0.1
alias.test. IN CNAME plain.test.
mxalias.test. IN MX 10 alias.test.
both.test. IN MX 10 host.both.test.
host.both.test. IN A 127.0.0.9
host.both.test. IN A 127.0.0.1
aliasmx.test. IN CNAME real.test.
real.test. IN MX 5 plain.test.
number.test. IN MX 5 127.0.0.1.
`)
	domains := []string{"plain.test", "alias.test", "mxalias.test", "both.test", "aliasmx.test", "number.test", "[127.0.0.1]"}
	for _, d := range domains {
		sendMessage(t, s, sender, d, "x@"+d)
	}
	got := awaitSubjects(t, mx, len(domains))
	for _, d := range domains {
		if !slices.Contains(got, d) {
			t.Errorf("mail for %s did not come", d)
		}
	}
}

func TestHostWithOnlyAnIPv6AddressIsReached(t *testing.T) {
	t.Parallel()
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		testpeer.Without(t, "IPv6", err)
	} else {
		l.Close()
	}
	s, base := startService(t), testpeer.StartSink(t)
	mx := newMXAt(t, "::1", base.Addr)
	pointDNS(t, s, base.Addr, "six.test. IN MX 10 mx.six.test.\nmx.six.test. IN AAAA ::1\n")
	sendMessage(t, s, sender, "by name", "x@six.test")
	sendMessage(t, s, sender, "by literal", "x@[IPv6:::1]")
	if got := awaitSubjects(t, mx, 2); !slices.Contains(got, "by name") || !slices.Contains(got, "by literal") {
		t.Errorf("%q", got)
	}
}

func TestSmartHostOfADomainTakesItsMailAtItsPort(t *testing.T) {
	t.Parallel()
	s, base, smart, other := startService(t), testpeer.StartSink(t), testpeer.NewMX(t, testpeer.MXOptions{}), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, base.Addr, "smart.test. IN A 127.0.0.1\nother.test. IN A 127.0.0.1\nrelay.test. IN A 127.0.0.1\nfar.test. IN A 127.0.0.1\n")
	_, port := hostPort(t, smart.Addr)
	_, otherPort := hostPort(t, other.Addr)
	runCommand(t, s, "", "domain", "create", "1", "smart.test", "--remote", "--smart-host", "[127.0.0.1]:"+port)
	applyBatch(t, s, "add /LM/SMTPSVC/1/Domain/other.test IIsSmtpDomain",
		"set /LM/SMTPSVC/1/Domain/other.test RouteAction smarthost",
		"set /LM/SMTPSVC/1/Domain/other.test RouteActionString relay.test:"+otherPort)
	sendMessage(t, s, sender, "smart", "x@smart.test")
	sendMessage(t, s, sender, "other", "x@other.test")
	sendMessage(t, s, sender, "far", "x@far.test")
	if got := awaitSubjects(t, smart, 1); got[0] != "smart" {
		t.Errorf("the smart host has %q", got)
	}
	if got := awaitSubjects(t, other, 1); got[0] != "other" {
		t.Errorf("the other smart host has %q", got)
	}
	await(t, "the third goes by DNS", func() bool { return len(base.Messages()) == 1 })
}

func TestSmartHostOfTheSiteTakesAllRemoteMail(t *testing.T) {
	t.Parallel()
	s, base, smart := startService(t), testpeer.StartSink(t), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, base.Addr, "far.test. IN A 127.0.0.1\n")
	applyBatch(t, s, "set /LM/SMTPSVC/1 SmartHost '"+smart.Addr+"'", "set /LM/SMTPSVC/1 SmartHostType 2")
	sendMessage(t, s, sender, "far", "x@far.test")
	sendMessage(t, s, sender, "no such domain", "x@none.test") // the smart host decides that
	sendMessage(t, s, sender, "local", "x@hub.test")
	awaitSubjects(t, smart, 2)
	if files := awaitDropped(t, s, 1); len(files) != 1 || len(base.Messages()) != 0 {
		t.Errorf("%d files, %d messages by DNS", len(files), len(base.Messages()))
	}
}

func TestSmartHostOfTheSiteMayComeSecond(t *testing.T) {
	t.Parallel()
	s, base, smart := startService(t), testpeer.StartSink(t), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, base.Addr, "up.test. IN A 127.0.0.1\ndown.test. IN A 127.0.0.2\n")
	applyBatch(t, s, "set /LM/SMTPSVC/1 SmartHost '"+smart.Addr+"'", "set /LM/SMTPSVC/1 SmartHostType 1")
	sendMessage(t, s, sender, "up", "x@up.test")
	sendMessage(t, s, sender, "down", "x@down.test")
	if got := awaitSubjects(t, smart, 1); !slices.Equal(got, []string{"down"}) {
		t.Errorf("the smart host has %q", got)
	}
	await(t, "the direct way", func() bool { return len(base.Messages()) == 1 })
}

// A password does not leave in clear: the mail waits, and the queue says why,
// until the host offers TLS or the property allows it.
func TestSmartHostWithoutTLSGetsNoPassword(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	signedIn := false // guarded by mu
	smart := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.HasPrefix(line, "EHLO"):
			return "250-mx.test\r\n250 AUTH PLAIN LOGIN"
		case strings.HasPrefix(line, "AUTH"):
			signedIn = true
			return "235 2.7.0 yes"
		}
		return ""
	}})
	s := startService(t)
	_, port := hostPort(t, smart.Addr)
	runCommand(t, s, "", "domain", "create", "1", "smart.test", "--remote", "--smart-host", "[127.0.0.1]:"+port)
	at := "set /LM/SMTPSVC/1/Domain/smart.test "
	applyBatch(t, s, at+"RouteUserName bob", at+"RoutePassword geheim", at+"RouteAction smarthost,auth_cleartext")
	sendMessage(t, s, sender, "waits", "x@smart.test")
	await(t, "the reason", func() bool {
		return strings.Contains(runCommand(t, s, "", "queue", "list"), "offers no TLS, and there is no sign-in without it: the password is not sent in clear (RouteClearTextAuth)")
	})
	mu.Lock()
	if signedIn {
		t.Error("the password was sent in clear")
	}
	mu.Unlock()
	applyBatch(t, s, at+"RouteClearTextAuth true")
	runCommand(t, s, "", "queue", "retry", "--domain", "smart.test")
	awaitSubjects(t, smart, 1)
}

func TestSmartHostsAreTriedInTheirOrder(t *testing.T) {
	t.Parallel()
	s, second := startService(t), testpeer.NewMX(t, testpeer.MXOptions{})
	port := portOf(t, second.Addr)
	pointDNS(t, s, second.Addr, "")
	applyBatch(t, s, "set /LM/SMTPSVC/1 SmartHost 'none.invalid:"+port+", [127.0.0.2]:"+port+", [127.0.0.1]:"+port+"'", "set /LM/SMTPSVC/1 SmartHostType 2")
	sendMessage(t, s, sender, "first is down", "x@far.test")
	awaitSubjects(t, second, 1)
	first := newMXAt(t, "127.0.0.2", second.Addr)
	sendMessage(t, s, sender, "first is up", "x@far.test")
	if got := awaitSubjects(t, first, 1); got[0] != "first is up" || len(second.Messages()) != 1 {
		t.Errorf("first %q, second %d messages", got, len(second.Messages()))
	}
}

func TestLongAnswersOfANameServerAreFetched(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, mx.Addr, "far.test. IN MX 10 mx.far.test.\nmx.far.test. IN A 127.0.0.1\n").Truncate()
	sendMessage(t, s, sender, "over TCP", "x@far.test")
	awaitSubjects(t, mx, 1)
}

// A zone of a stranger leads to this machine, to nobody or to everybody.
func TestWhatIsNoOtherHostIsNotCalled(t *testing.T) {
	t.Parallel()
	s := startService(t)
	mx := newMX(t)
	pointDNS(t, s, mx.Addr, `loop4.test. IN A 127.0.0.1
loop6.test. IN AAAA ::1
mapped.test. IN AAAA ::ffff:127.0.0.1
any4.test. IN A 0.0.0.0
any6.test. IN AAAA ::
multi.test. IN A 224.0.0.1
all.test. IN A 255.255.255.255
net.test. IN A 127.255.255.255
six.test. IN AAAA 2002:7f00:1::1
mx.test. IN MX 10 localhost.
mx.test. IN MX 20 127.0.0.1.
mx.test. IN MX 30 loop4.test.
`)
	set(t, s, "AllowLoopbackHosts", "false")
	var to []string
	for _, d := range []string{"loop4.test", "loop6.test", "mapped.test", "any4.test", "any6.test", "multi.test", "all.test", "net.test", "six.test", "mx.test", "localhost", "[127.0.0.1]", "[IPv6:::1]"} {
		to = append(to, "x@"+d)
		sendMessage(t, s, sender, "for "+d, "x@"+d)
	}
	failed := map[string]string{}
	for _, text := range awaitDropped(t, s, len(to)) {
		for rcpt, f := range readReport(t, text).Recipients {
			failed[rcpt] = f.Get("Action") + " " + f.Get("Status")
		}
	}
	for _, rcpt := range to {
		want := "failed 5.4.6" // this machine
		if rcpt == "x@multi.test" || rcpt == "x@all.test" {
			want = "failed 5.4.4" // no host
		}
		if failed[rcpt] != want {
			t.Errorf("%s: %q, want %q", rcpt, failed[rcpt], want)
		}
	}
	if mx.Conns() > 0 {
		t.Errorf("%d connections to this machine", mx.Conns())
	}
	set(t, s, "AllowLoopbackHosts", "true")
	sendMessage(t, s, sender, "lab", "x@mx.test")
	awaitSubjects(t, mx, 1)
}

func TestMailDoesNotComeBackToABackupHost(t *testing.T) {
	t.Parallel()
	s := startService(t)
	// Hosts of the zone are called on our own port.
	pointDNS(t, s, s.Addr(1), `far.test. IN MX 10 mx.far.test.
far.test. IN MX 20 hub.test.
far.test. IN MX 30 worse.far.test.
mx.far.test. IN A 127.0.0.2
worse.far.test. IN A 127.0.0.3
hub.test. IN A 127.0.0.1
nearest.test. IN MX 10 another.name.test.
another.name.test. IN A 127.0.0.1
`)
	worse := newMXAt(t, "127.0.0.3", s.Addr(1))
	sendMessage(t, s, sender, "backup", "x@far.test")
	if w := awaitDeferred(t, s, "far.test"); w.Messages != 1 {
		t.Errorf("%+v", w)
	}
	mx := newMXAt(t, "127.0.0.2", s.Addr(1))
	retry(t, s, "far.test")
	awaitSubjects(t, mx, 1)
	if n := strings.Count(string(mx.Messages()[0].Body), "Received:"); n != 1 || len(worse.Messages()) != 0 {
		t.Errorf("%d trace headers; %d messages at a host behind us", n, len(worse.Messages()))
	}

	sendMessage(t, s, sender, "we are its only host", "x@nearest.test")
	awaitReport(t, s, map[string]string{"x@nearest.test": "5.4.6"})
}

func TestMailIsEncryptedWhereThatIsOffered(t *testing.T) {
	t.Parallel()
	cert, _ := testpeer.Certificate(t, "somebody.else.test", time.Now().Add(-time.Hour)) // any will do
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\n")
	sendMessage(t, s, sender, "encrypted", "x@far.test")
	awaitSubjects(t, mx, 1)
	if m := mx.Messages()[0]; !m.TLS || m.Hello != "hub.test" {
		t.Errorf("TLS %v, hello %q", m.TLS, m.Hello)
	}
}

func TestMailGoesInClearWhereTheHandshakeFails(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{TLS: &tls.Config{}}) // no certificate
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\n")
	sendMessage(t, s, sender, "in clear", "x@far.test")
	awaitSubjects(t, mx, 1)
	if m := mx.Messages()[0]; m.TLS || mx.Conns() != 2 {
		t.Errorf("TLS %v, %d connections", m.TLS, mx.Conns())
	}
}

func TestMailWaitsWhereRequiredTLSIsMissing(t *testing.T) {
	t.Parallel()
	cert, _ := testpeer.Certificate(t, "far.test", time.Now().Add(time.Hour))
	clear := testpeer.NewMX(t, testpeer.MXOptions{})
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{TLS: &tls.Config{Certificates: []tls.Certificate{cert}}})
	pointDNS(t, s, clear.Addr, "far.test. IN A 127.0.0.1\n")
	applyBatch(t, s, "add /LM/SMTPSVC/1/Domain/far.test IIsSmtpDomain", "set /LM/SMTPSVC/1/Domain/far.test RouteAction ssl")
	sendMessage(t, s, sender, "secret", "x@far.test")
	if w := awaitDeferred(t, s, "far.test"); !strings.Contains(w.LastError, "4.7.5") {
		t.Errorf("no TLS: %+v", w)
	}
	// A host with TLS and a self-signed certificate.
	_, port := hostPort(t, mx.Addr)
	applyBatch(t, s, "set /LM/SMTPSVC/1 RemoteSmtpPort "+port)
	retry(t, s, "")
	await(t, "the other host is asked", func() bool { return mx.Conns() > 0 })
	awaitDeferred(t, s, "far.test")
	applyBatch(t, s, "set /LM/SMTPSVC/1 SmtpSSLRequireTrustedCA false")
	await(t, "it goes as soon as the certificate is not looked at", func() bool {
		retry(t, s, "")
		return len(mx.Messages()) == 1
	})
	if !mx.Messages()[0].TLS || len(clear.Messages()) != 0 {
		t.Errorf("TLS %v; %d messages in clear", mx.Messages()[0].TLS, len(clear.Messages()))
	}
}

func TestPostfixAndServiceEncryptBothWays(t *testing.T) {
	t.Parallel()
	testpeer.Need(t, "postfix", "openssl")
	cert, key := testpeer.WriteCertificate(t, t.TempDir(), "postfix.test")
	s, sink := startService(t), testpeer.StartSink(t)
	host, port := hostPort(t, s.Addr(1))
	p, err := postfix.Start(t.Context(), t.TempDir(), 20,
		"smtpd_tls_security_level = may", "smtpd_tls_cert_file = "+cert, "smtpd_tls_key_file = "+key,
		"smtpd_tls_received_header = yes", "smtp_tls_security_level = encrypt", "smtp_tls_loglevel = 1",
		"transport_maps = inline:{hub.test=smtp:["+host+"]:"+port+"}",
		"relayhost = [127.0.0.1]:"+portOf(t, sink.Addr), "smtp_tls_policy_maps = inline:{[127.0.0.1]:"+portOf(t, sink.Addr)+"=none}")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	// From us to Postfix; and on to the sink, which has no TLS.
	pointDNS(t, s, p.Addr, "away.test. IN A 127.0.0.1\n")
	sendMessage(t, s, sender, "to Postfix", "x@away.test")
	await(t, "Postfix passes it on", func() bool { return len(sink.Messages()) == 1 })
	if got := string(sink.Messages()[0].Data); !strings.Contains(got, "using TLSv1.3") {
		t.Errorf("Postfix got it in clear:\n%s\n%s", got, p.Log())
	}

	// From Postfix, which will not send in clear, to us.
	l, err := testpeer.Dial(p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Quit()
	if err := l.Send("x@away.test", sender, testpeer.DotStuff(testMessage("from Postfix"))); err != nil {
		t.Fatal(err)
	}
	if got := awaitDropped(t, s, 1)[0]; !strings.Contains(got, "with ESMTPS") {
		t.Errorf("we got it in clear:\n%s\n%s", got, p.Log())
	}
}

func portOf(t *testing.T, addr string) string {
	t.Helper()
	_, port := hostPort(t, addr)
	return port
}

func TestEveryRecipientHasAnOutcomeOfItsOwn(t *testing.T) {
	t.Parallel()
	var later sync.Map // recipients that are put off no more
	answer := func(line string) string {
		switch {
		case !strings.HasPrefix(line, "RCPT"):
		case strings.Contains(line, "<bad@"):
			return "550 5.1.1 no such user"
		case strings.Contains(line, "<later@"):
			if _, ok := later.Load("now"); !ok {
				return "450 4.2.1 mailbox is busy"
			}
		}
		return ""
	}
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{Answer: answer})
	pointDNS(t, s, mx.Addr, "one.test. IN A 127.0.0.1\ntwo.test. IN A 127.0.0.1\nthree.test. IN MX 0 .\n")
	applyBatch(t, s, "set /LM/SMTPSVC/1 ReportCollectTime 2")
	sendMessage(t, s, sender, "to many", "good@one.test", "bad@one.test", "later@one.test", "good@two.test", "later@two.test", "x@three.test")

	awaitSubjects(t, mx, 2) // one transaction for each domain
	for _, m := range mx.Messages() {
		if len(m.Rcpts) != 1 || !strings.HasPrefix(m.Rcpts[0], "good@") {
			t.Errorf("taken for %q", m.Rcpts)
		}
	}
	status := map[string]string{}
	for _, text := range awaitDropped(t, s, 1) { // of all that failed
		r := readReport(t, text)
		if r.To != sender || subjectOf(t, []byte(r.Returned)) != "to many" {
			t.Errorf("report to %q about:\n%s", r.To, r.Returned)
		}
		for to, f := range r.Recipients {
			status[to] = f.Get("Action") + " " + f.Get("Status")
		}
		if diag := r.Recipients["bad@one.test"].Get("Diagnostic-Code"); r.Recipients["bad@one.test"] != nil && !strings.Contains(diag, "no such user") {
			t.Errorf("the peer's own words are gone: %q", diag)
		}
	}
	if len(status) != 2 || status["bad@one.test"] != "failed 5.1.1" || status["x@three.test"] != "failed 5.1.10" {
		t.Errorf("told: %v", status)
	}

	// Deferred mail waits for the first interval of the retry schedule.
	for _, d := range []string{"one.test", "two.test"} {
		w := awaitDeferred(t, s, d)
		if in := time.Until(w.NextTry); w.Messages != 1 || in < 13*time.Minute || in > 15*time.Minute || !strings.Contains(w.LastError, "mailbox is busy") {
			t.Errorf("%s: %+v, next try in %s", d, w, in)
		}
	}
	later.Store("now", true)
	retry(t, s, "one.test")
	retry(t, s, "two.test")
	awaitSubjects(t, mx, 4)
	for _, m := range mx.Messages()[2:] {
		if len(m.Rcpts) != 1 || !strings.HasPrefix(m.Rcpts[0], "later@") {
			t.Errorf("the second time taken for %q", m.Rcpts)
		}
	}
	awaitEmptyQueue(t, s)
	if n := len(awaitDropped(t, s, 1)); n != 1 {
		t.Errorf("%d reports", n)
	}
}

func TestHostThatTakesFewRecipientsGetsTheRestInMoreMessages(t *testing.T) {
	t.Parallel()
	n := 0
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		switch {
		case strings.HasPrefix(line, "MAIL"):
			n = 0
		case strings.HasPrefix(line, "RCPT"):
			if n++; n > 2 {
				return "452 4.5.3 too many recipients"
			}
		}
		return ""
	}})
	s := startService(t)
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\n")
	to := []string{"a@far.test", "b@far.test", "c@far.test", "d@far.test", "e@far.test"}
	sendMessage(t, s, sender, "to five", to...)
	awaitSubjects(t, mx, 3)
	var got []string
	for _, m := range mx.Messages() {
		got = append(got, m.Rcpts...)
	}
	if !slices.Equal(got, to) || mx.Conns() != 1 {
		t.Errorf("taken for %q over %d connections", got, mx.Conns())
	}
}

func TestNoReportIsMadeAboutAReport(t *testing.T) {
	t.Parallel()
	s := startService(t)
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if strings.HasPrefix(line, "RCPT") {
			return "550 5.1.1 no such user"
		}
		return ""
	}})
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\n")
	sendMessage(t, s, "", "from nobody", "x@far.test")           // the null sender
	sendMessage(t, s, "forged@far.test", "forged", "y@far.test") // the report is refused as well
	bad := filepath.Join(s.Data, "Mailroot", "Badmail", "*.eml")
	var files []string
	await(t, "two messages in Badmail", func() bool {
		files, _ = filepath.Glob(bad)
		return len(files) == 2
	})
	var subjects []string
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		subjects = append(subjects, subjectOf(t, text))
		why, _ := os.ReadFile(strings.TrimSuffix(name, ".eml") + ".txt")
		if !strings.Contains(string(why), "Why: 550 5.1.1 no such user") {
			t.Errorf("beside a message in Badmail: %q", why)
		}
	}
	await(t, "two lines that say so", func() bool { return strings.Count(s.Log(), `msg="in badmail"`) == 2 })
	if strings.Contains(s.Log(), "msg=delivered") {
		t.Error("a line says that a message is delivered")
	}
	if slices.Sort(subjects); !slices.Contains(subjects, "from nobody") {
		t.Errorf("in Badmail: %q", subjects)
	}
	awaitEmptyQueue(t, s)
	if drop, _ := filepath.Glob(filepath.Join(s.Data, "Mailroot", "Drop", "*")); len(drop) != 0 {
		t.Errorf("dropped: %q", drop)
	}
}

func TestMailThatIsTooOldIsReported(t *testing.T) {
	t.Parallel()
	s, base := startService(t), testpeer.StartSink(t)
	pointDNS(t, s, base.Addr, "far.test. IN A 127.0.0.2\nheld.test. IN A 127.0.0.2\n")
	createHeldDomain(t, s, "held.test")
	sendMessage(t, s, sender, "old", "x@far.test")
	sendMessage(t, s, sender, "held", "x@held.test")
	awaitDeferred(t, s, "far.test")
	// The same message, three days older.
	dir := filepath.Join(t.TempDir(), "out")
	runCommand(t, s, "", "queue", "export", dir)
	runCommand(t, s, "", "--yes", "queue", "delete", "--all")
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 2 {
		t.Fatalf("exported %q, %v", files, err)
	}
	for _, name := range files {
		setAge(t, name, 72*time.Hour)
	}
	runCommand(t, s, "", "queue", "import", dir)
	r := awaitReport(t, s, map[string]string{"x@far.test": "5.4.7"})
	if subjectOf(t, []byte(r.Returned)) != "old" {
		t.Errorf("returned:\n%s", r.Returned)
	}
	if w := queueEntryFor(t, s, "held.test"); w.Messages != 1 || w.State != "held" {
		t.Errorf("held mail does not grow old: %+v", w)
	}
}

// setAge moves the arrival of an exported message into the past.
func setAge(t *testing.T, file string, by time.Duration) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var env map[string]any
	if err := json.Unmarshal(text, &env); err != nil {
		t.Fatal(err)
	}
	for k, v := range env {
		if strings.EqualFold(k, "received") {
			at, err := time.Parse(time.RFC3339Nano, v.(string))
			if err != nil {
				t.Fatal(err)
			}
			env[k] = at.Add(-by).Format(time.RFC3339Nano)
		}
	}
	if text, err = json.Marshal(env); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestFrozenMailGoesNowhereUntilItIsThawed(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.2\n")
	sendMessage(t, s, sender, "frozen", "x@far.test")
	awaitDeferred(t, s, "far.test")
	runCommand(t, s, "", "queue", "freeze", "--domain", "far.test")
	serveMXAt(t, mx, "127.0.0.2", mx.Addr)
	retry(t, s, "")
	sendMessage(t, s, sender, "not frozen", "x@far.test")
	if got := awaitSubjects(t, mx, 1); !slices.Equal(got, []string{"not frozen"}) {
		t.Errorf("went out: %q", got)
	}
	runCommand(t, s, "", "queue", "thaw", "--all")
	if got := awaitSubjects(t, mx, 2); got[1] != "frozen" {
		t.Errorf("went out: %q", got)
	}
}

func TestDeletedMailIsGoneAndBouncedMailIsReported(t *testing.T) {
	t.Parallel()
	s, base := startService(t), testpeer.StartSink(t)
	pointDNS(t, s, base.Addr, "far.test. IN A 127.0.0.2\nnear.test. IN A 127.0.0.2\n")
	sendMessage(t, s, sender, "deleted", "x@far.test")
	sendMessage(t, s, sender, "bounced", "x@near.test")
	awaitDeferred(t, s, "far.test")
	awaitDeferred(t, s, "near.test")
	runCommand(t, s, "", "--yes", "queue", "delete", "--domain", "far.test")
	if w := queueEntryFor(t, s, "far.test"); w.Messages != 0 {
		t.Errorf("after delete: %+v", w)
	}
	runCommand(t, s, "", "--yes", "queue", "bounce", "--domain", "near.test")
	r := awaitReport(t, s, map[string]string{"x@near.test": "5.0.0"})
	if subjectOf(t, []byte(r.Returned)) != "bounced" {
		t.Errorf("returned:\n%s", r.Returned)
	}
	awaitEmptyQueue(t, s)
}

func TestExportedMailIsImportedElsewhere(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.2\n")
	sendMessage(t, s, sender, "moved", "x@far.test", "y@far.test")
	awaitDeferred(t, s, "far.test")
	dir := filepath.Join(t.TempDir(), "out")
	runCommand(t, s, "", "queue", "export", dir)

	other := startService(t)
	pointDNS(t, other, mx.Addr, "far.test. IN A 127.0.0.1\n")
	runCommand(t, other, "", "queue", "import", dir)
	awaitSubjects(t, mx, 1)
	m := mx.Messages()[0]
	if !strings.HasSuffix(string(m.Body), "\r\n"+string(testMessage("moved"))) || !slices.Equal(m.Rcpts, []string{"x@far.test", "y@far.test"}) || m.From != sender {
		t.Errorf("from %q to %q:\n%s", m.From, m.Rcpts, m.Body)
	}
	if w := queueEntryFor(t, s, "far.test"); w.Messages != 1 {
		t.Errorf("where it was exported from: %+v", w)
	}
}

func TestMailIsRetriedWhenItsRouteChanges(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\n")
	applyBatch(t, s, "set /LM/SMTPSVC/1 SmartHost nosuch.invalid", "set /LM/SMTPSVC/1 SmartHostType 2")
	sendMessage(t, s, sender, "stranded", "x@far.test")
	awaitDeferred(t, s, "far.test")
	applyBatch(t, s, "unset /LM/SMTPSVC/1 SmartHost", "unset /LM/SMTPSVC/1 SmartHostType")
	awaitSubjects(t, mx, 1) // without a command for the queue
}

func TestRouteChangedDuringAnAttemptIsTriedAtOnce(t *testing.T) {
	t.Parallel()
	reached, goOn := make(chan struct{}), make(chan struct{})
	wrong := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if strings.HasPrefix(line, "RCPT") {
			close(reached)
			<-goOn
			return "450 4.7.1 not from you"
		}
		return ""
	}})
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\n")
	applyBatch(t, s, "set /LM/SMTPSVC/1 SmartHost "+wrong.Addr, "set /LM/SMTPSVC/1 SmartHostType 2")
	sendMessage(t, s, sender, "under way", "x@far.test")
	<-reached
	applyBatch(t, s, "unset /LM/SMTPSVC/1 SmartHost", "unset /LM/SMTPSVC/1 SmartHostType")
	close(goOn)
	awaitSubjects(t, mx, 1)
}

func TestRouteChangedWhileStoppedIsTriedAtTheStart(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\n")
	applyBatch(t, s, "set /LM/SMTPSVC/1 SmartHost nosuch.invalid", "set /LM/SMTPSVC/1 SmartHostType 2")
	sendMessage(t, s, sender, "stranded", "x@far.test")
	awaitDeferred(t, s, "far.test")
	again := func() {
		t.Helper()
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	again() // nothing has changed: it waits for its time
	if w := queueEntryFor(t, s, "far.test"); w.State != "retry" || time.Until(w.NextTry) < 5*time.Minute {
		t.Errorf("%+v", w)
	}
	if err := s.Halt(); err != nil {
		t.Fatal(err)
	}
	runCommand(t, s, "unset /LM/SMTPSVC/1 SmartHost\nunset /LM/SMTPSVC/1 SmartHostType\n", "mb", "apply")
	again()
	awaitSubjects(t, mx, 1)
}

func TestChangeThatMovesNoMailTriesNone(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if strings.HasPrefix(line, "RCPT") {
			return "450 4.7.1 greylisted"
		}
		return ""
	}})
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\nother.test. IN A 127.0.0.1\n")
	sendMessage(t, s, sender, "waits", "x@far.test")
	awaitDeferred(t, s, "far.test")
	before := mx.Conns()
	applyBatch(t, s, "set /LM/SMTPSVC/1 MaxMessageSize 1000000", "set /LM/SMTPSVC/1 SmtpRemoteProgressiveRetry 5")
	runCommand(t, s, "", "domain", "create", "1", "new.test", "--remote", "--smart-host", mx.Addr)
	sendMessage(t, s, sender, "another", "x@other.test")
	awaitDeferred(t, s, "other.test")
	if n := mx.Conns() - before; n != 1 {
		t.Errorf("%d connections, want one for the new message", n)
	}
}

func TestRelayIsGrantedByAddressOrSignIn(t *testing.T) {
	t.Parallel()
	s, base := startService(t), testpeer.StartSink(t)
	pointDNS(t, s, base.Addr, "")
	runCommand(t, s, "", "domain", "create", "1", "relayed.test", "--remote", "--relay")
	createHeldDomain(t, s, "held.test")
	runCommand(t, s, "", "domain", "create", "1", "alias.test", "--alias")
	runCommand(t, s, "", "domain", "create", "1", "routed.test", "--remote")
	everywhere := []string{"x@hub.test", "x@alias.test", "x@held.test", "x@relayed.test", "postmaster", "Postmaster", "postmaster@hub.test", "X@HUB.TEST", "nobody", "x%foreign.test"}
	foreign := []string{"x@foreign.test", "x@routed.test", "x@sub.held.test", "x@[127.0.0.1]", "x%foreign.test@sub.hub.test"}
	for _, tt := range []struct {
		name     string
		settings []string
		signIn   bool
		relays   bool
	}{
		{"an anonymous client", []string{"set /LM/SMTPSVC/1 RelayIpList 192.0.2.1"}, false, false},
		{"a signed-in client", []string{"set /LM/SMTPSVC/1 RelayForAuth true"}, true, true},
		{"a signed-in client without RelayForAuth", []string{"set /LM/SMTPSVC/1 RelayForAuth false"}, true, false},
		{"a listed address", []string{"set /LM/SMTPSVC/1 RelayIpList 192.0.2.1 127.0.0.0/8"}, false, true},
	} {
		applyBatch(t, s, tt.settings...)
		l, err := testpeer.Dial(s.Addr(1))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Quit()
		if tt.signIn {
			if err := l.SignIn(account, password); err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Say("MAIL FROM:<x@hub.test>", "250"); err != nil {
			t.Fatal(err)
		}
		check := func(to, want string) {
			if err := l.Say("RCPT TO:<"+to+">", want); err != nil {
				t.Errorf("%s to %s: %v", tt.name, to, err)
			}
		}
		for _, to := range everywhere {
			check(to, "250 2.1.5")
		}
		for _, to := range foreign {
			if tt.relays {
				check(to, "250 2.1.5")
			} else {
				check(to, "550 5.7.1 Unable to relay for <"+to+">")
			}
		}
	}
}

func TestLocalMailIsDroppedOctetForOctet(t *testing.T) {
	t.Parallel()
	s := startService(t)
	runCommand(t, s, "", "domain", "create", "1", "alias.test", "--alias")
	sendMessage(t, s, "a@sender.test", "both", "one@hub.test", "two@hub.test")
	sendMessage(t, s, "", "alias", "three@alias.test")
	files := awaitDropped(t, s, 2)
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(subjectOf(t, []byte(b)), subjectOf(t, []byte(a))) })
	for i, want := range []struct{ envelope, subject string }{
		{"x-sender: a@sender.test\r\nx-receiver: one@hub.test\r\nx-receiver: two@hub.test\r\nReceived: from caller.test ", "both"},
		{"x-sender: \r\nx-receiver: three@hub.test\r\nReceived: from caller.test ", "alias"},
	} {
		if !strings.HasPrefix(files[i], want.envelope) || !strings.HasSuffix(files[i], "\r\n"+string(testMessage(want.subject))) {
			t.Errorf("want %q\nand %q; got\n%s", want.envelope, testMessage(want.subject), files[i])
		}
	}
	if all, _ := filepath.Glob(filepath.Join(s.Data, "Mailroot", "Drop", "*")); len(all) != 2 {
		t.Errorf("in the folder: %q", all)
	}
}

func TestMailForPostmasterAloneIsLocal(t *testing.T) {
	t.Parallel()
	s := startService(t)
	sendMessage(t, s, "a@sender.test", "trouble", "postmaster")
	if got := awaitDropped(t, s, 1)[0]; !strings.Contains(got, "\r\nx-receiver: postmaster@hub.test\r\n") {
		t.Errorf("got\n%s", got)
	}
}

func TestOneConversationCarriesManyMessages(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{})
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.2\n")
	for i := range 15 {
		sendMessage(t, s, sender, strconv.Itoa(i), "x@far.test")
	}
	awaitDeferred(t, s, "far.test")
	serveMXAt(t, mx, "127.0.0.2", mx.Addr)
	retry(t, s, "")
	awaitSubjects(t, mx, 15)
	if n := mx.Conns(); n != 1 {
		t.Errorf("%d conversations", n)
	}
}

func TestSuccessIsReportedOnRequestOnly(t *testing.T) {
	t.Parallel()
	s, mx := startService(t), testpeer.NewMX(t, testpeer.MXOptions{Plain: true}) // without DSN
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\nnull.test. IN MX 0 .\n")
	l := dial(t, s.Addr(1))
	say(t, l, "MAIL FROM:<"+sender+"> RET=HDRS ENVID=job1", "250",
		"RCPT TO:<x@far.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;old@far.test", "250",
		"RCPT TO:<x@null.test> NOTIFY=NEVER", "250", "RCPT TO:<y@far.test>", "250", "DATA", "354")
	if _, err := l.Write(testpeer.DotStuff(testMessage("asked for"))); err != nil {
		t.Fatal(err)
	}
	if err := l.Expect("250"); err != nil {
		t.Fatal(err)
	}
	awaitSubjects(t, mx, 1)
	files := awaitDropped(t, s, 1)
	r := readReport(t, files[0])
	if f := r.Recipients["x@far.test"]; len(r.Recipients) != 1 || f.Get("Action") != "relayed" || f.Get("Original-Recipient") != "rfc822; old@far.test" {
		t.Errorf("the report is about %v", r.Recipients)
	}
	if strings.Contains(files[0], ".dot") || !strings.Contains(files[0], "Original-Envelope-Id: job1") {
		t.Errorf("RET=HDRS and ENVID are not heeded:\n%s", files[0])
	}
	awaitEmptyQueue(t, s)
	if n := len(awaitDropped(t, s, 1)); n != 1 {
		t.Errorf("%d reports", n)
	}
}

func TestServiceSignsInAtASmartHost(t *testing.T) {
	t.Parallel()
	mx, far, near := testpeer.NewMX(t, testpeer.MXOptions{}), startService(t), startService(t)
	pointDNS(t, far, mx.Addr, "away.test. IN A 127.0.0.1\n")
	applyBatch(t, far, "set /LM/SMTPSVC/1 RelayIpList 192.0.2.1", "set /LM/SMTPSVC/1 RelayForAuth true")
	applyBatch(t, near, "set /LM/SMTPSVC/1 SmartHost "+far.Addr(1), "set /LM/SMTPSVC/1 SmartHostType 2",
		"set /LM/SMTPSVC/1 RouteAction auth_cleartext", "set /LM/SMTPSVC/1 RouteUserName "+account,
		"set /LM/SMTPSVC/1 RoutePassword wrong")
	sendMessage(t, near, sender, "by sign-in", "x@away.test")
	if w := awaitDeferred(t, near, "away.test"); !strings.HasPrefix(w.LastError, "535") {
		t.Errorf("with a wrong password: %+v", w)
	}
	applyBatch(t, near, "set /LM/SMTPSVC/1 RoutePassword '"+password+"'")
	awaitSubjects(t, mx, 1)
}

// A stop waits for the answer of a host that has the whole message, which goes out once.
// Meanwhile reads are answered, and changes are told of the stop.
func TestServiceEndsInOrderDuringADelivery(t *testing.T) {
	t.Parallel()
	s := startService(t)
	reached, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	mx := testpeer.NewMX(t, testpeer.MXOptions{Answer: func(line string) string {
		if line == "." {
			once.Do(func() { close(reached) })
			<-goOn
		}
		return ""
	}})
	pointDNS(t, s, mx.Addr, "far.test. IN A 127.0.0.1\n")
	sendMessage(t, s, sender, "first", "x@far.test")
	<-reached
	sendMessage(t, s, sender, "second", "x@far.test")
	ended := make(chan error, 1)
	go func() { ended <- s.Halt() }()
	await(t, "the stop is shown", func() bool {
		return strings.Contains(runCommand(t, s, "", "status"), "the service is stopping")
	})
	runCommand(t, s, "", "mb", "get", "SMTPSVC/1", "SmartHost")
	if _, err := s.Run(t.Context(), "", "mb", "set", "SMTPSVC/1", "SmartHost", "a.test"); err == nil || !strings.Contains(err.Error(), "exit status 5: restante: mb set: the service is stopping") {
		t.Errorf("mb set: %v", err)
	}
	close(goOn)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := mx.Messages(); len(got) != 1 || strings.Contains(s.Log(), "cuts a conversation") {
		t.Errorf("%d messages came until the end", len(got))
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := awaitSubjects(t, mx, 2); !slices.Equal(got, []string{"first", "second"}) {
		t.Errorf("the host has %q", got)
	}
}
