// SPDX-License-Identifier: Apache-2.0

package testpeer_test

import (
	"bufio"
	"net"
	"regexp"
	"slices"
	"strings"
	"testing"

	"restante/admin/api"
	"restante/internal/testpeer"
)

// answerTo gives the reply to RCPT for one recipient to a caller from an address of
// this machine.
func answerTo(t *testing.T, s *testpeer.Service, client, to string) string {
	t.Helper()
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(client)}}
	conn, err := from.DialContext(t.Context(), "tcp", s.Addr(1))
	if err != nil {
		testpeer.Without(t, "calls from "+client, err)
	}
	l := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
	defer l.Quit()
	if err := l.Expect("220"); err != nil {
		t.Fatal(err)
	}
	say(t, l, "EHLO c.test", "250", "MAIL FROM:<a@sender.test>", "250")
	if _, err := conn.Write([]byte("RCPT TO:<" + to + ">\r\n")); err != nil {
		t.Fatal(err)
	}
	reply, err := l.Reply()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(reply)
}

// TestDnsBlocklists: a caller on a blocklist is refused with the list's text, one on none
// is not, nor anybody by what is no listing; explain says the same.
func TestDnsBlocklists(t *testing.T) {
	t.Parallel()
	s := startService(t)
	dns := pointDNS(t, s, s.Addr(1), `2.0.0.127.bl.test. 60 IN A 127.0.0.4
2.0.0.127.bl.test. 60 IN TXT "see https://bl.test/127.0.0.2"
3.0.0.127.bl.test. 60 IN A 127.255.255.254
4.0.0.127.bl.test. 60 IN A 203.0.113.1`)
	applyBatch(t, s, "set /LM/SMTPSVC/1 RelayIpList 192.0.2.0/24", "set /LM/SMTPSVC/1 DnsBlocklists bl.test")
	for _, tt := range []struct{ client, to, want string }{
		{"127.0.0.2", "x@hub.test", "550 5.7.1 Client host [127.0.0.2] blocked using bl.test; see https://bl.test/127.0.0.2"},
		{"127.0.0.2", "postmaster@hub.test", "250 2.1.5"},
		{"127.0.0.1", "x@hub.test", "250 2.1.5"},
		{"127.0.0.4", "x@hub.test", "250 2.1.5"},
		{"127.0.0.3", "x@hub.test", "250 2.1.5"}, // last: the list is not asked again
	} {
		if got := answerTo(t, s, tt.client, tt.to); !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s to %s is answered %q, want %q", tt.client, tt.to, got, tt.want)
		}
		told := call(t, s, api.Explain, api.ExplainRequest{Site: 1, Recipient: tt.to, Client: tt.client})
		if !strings.HasPrefix(told.Reply, tt.want) {
			t.Errorf("explain says of %s to %s %q", tt.client, tt.to, told.Reply)
		}
		refused := strings.HasPrefix(tt.want, "550")
		if refused != slices.ContainsFunc(told.Why, func(r api.Reason) bool { return r.Property == "DnsBlocklists" && r.Value == "bl.test" }) {
			t.Errorf("explain gives for %s to %s the reasons %+v", tt.client, tt.to, told.Why)
		}
	}
	await(t, "the refusal is logged", func() bool {
		return regexp.MustCompile(`client=127\.0\.0\.2 .*verb=RCPT what=x@hub\.test reply="550 5\.7\.1 Client host \[127\.0\.0\.2\] blocked using bl\.test`).MatchString(s.Log())
	})
	await(t, "the list's error is logged", func() bool { return strings.Contains(s.Log(), "a DNS blocklist is not asked for a minute") })
	if n := dns.Asked("2.0.0.127.bl.test."); n > 3 { // A, AAAA, TXT
		t.Errorf("the list is asked %d times about one caller", n)
	}
	runCommand(t, s, "", "mb", "set", "SMTPSVC/1", "RelayIpList", "127.0.0.2")
	if got := answerTo(t, s, "127.0.0.2", "x@hub.test"); !strings.HasPrefix(got, "250") {
		t.Errorf("one who may relay is answered %q", got)
	}
	if out, err := s.Run(t.Context(), "", "mb", "set", "SMTPSVC/1", "DnsBlocklists", "https://bl.test/"); err == nil || !strings.Contains(err.Error(), "DnsBlocklists") {
		t.Errorf("a URL is taken for a zone: %s, %v", out, err)
	}
}
