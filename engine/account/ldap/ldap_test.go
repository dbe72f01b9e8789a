// SPDX-License-Identifier: Apache-2.0

package ldap

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"restante/engine/account"
	"restante/engine/mail"
	"restante/internal/deptest"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":       "a Directory does not know where its settings are stored",
		"/engine/wire":    "a Directory checks passwords for any caller",
		"/engine/session": "sessions ask a Directory",
		"/engine/site":    "imports go down only",
		"/admin":          "imports go down only",
	})
}

// server has each connection to it held by serve.
func server(t *testing.T, serve func(net.Conn)) (url string, connections *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	connections = new(atomic.Int32)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			go func() {
				defer c.Close()
				serve(c)
			}()
		}
	}()
	return "ldap://" + l.Addr().String(), connections
}

// reply is a BER message of an operation (61 the answer to a bind, 65 the end of a
// search) with a result code; id is that of the request.
func reply(id, op, code byte) []byte {
	return []byte{0x30, 0x0c, 2, 1, id, op, 7, 0x0a, 1, code, 4, 0, 4, 0}
}

// answers replies to the requests of a connection in turn.
func answers(replies ...[]byte) func(net.Conn) {
	return func(c net.Conn) {
		buf := make([]byte, 4096)
		for _, r := range replies {
			if _, err := c.Read(buf); err != nil {
				return
			}
			_, _ = c.Write(r)
		}
		_, _ = c.Read(buf) // until the client closes
	}
}

func mute(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// TestServersThatMisbehave: what a server does other than refuse the user is no
// refusal, and ends within the time-out.
func TestServersThatMisbehave(t *testing.T) {
	endless := func(c net.Conn) {
		_, _ = c.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x04, 0x84, 0x7f, 0xff, 0xff, 0})
		for block := make([]byte, 1<<16); ; {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	}
	tests := []struct {
		name     string
		serve    func(net.Conn)
		startTLS bool
		refused  bool
	}{
		{name: "mute", serve: mute},
		{name: "mute at StartTLS", serve: mute, startTLS: true},
		{name: "hangs up", serve: func(net.Conn) {}},
		{name: "hangs up within a reply", serve: func(c net.Conn) { _, _ = c.Write(reply(1, 0x61, 0)[:5]) }},
		{name: "no LDAP", serve: func(c net.Conn) { _, _ = io.WriteString(c, "220 mx.test ESMTP\r\n"); mute(c) }},
		{name: "without end", serve: endless},
		{name: "StartTLS refused", serve: answers(reply(1, 0x78, 2)), startTLS: true},
		{name: "no TLS behind StartTLS", serve: answers(reply(1, 0x78, 0), []byte("garbage, and more of it\r\n")), startTLS: true},
		{name: "busy", serve: answers(reply(1, 0x61, 51))},
		{name: "unavailable", serve: answers(reply(1, 0x61, 52))},
		{name: "an internal error", serve: answers(reply(1, 0x61, 80))},
		{name: "a referral", serve: answers(reply(1, 0x61, 10))},
		{name: "wants TLS", serve: answers(reply(1, 0x61, 13))},
		{name: "another message", serve: answers(reply(7, 0x61, 0))},
		{name: "wrong password", serve: answers(reply(1, 0x61, 49)), refused: true},
		{name: "account locked", serve: answers(reply(1, 0x61, 19)), refused: true},
		{name: "account inactive", serve: answers(reply(1, 0x61, 53)), refused: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			url, _ := server(t, tt.serve)
			d := New(Config{URLs: []string{url}, StartTLS: tt.startTLS, Template: "%s@corp.test", Timeout: 300 * time.Millisecond})
			_, err := d.Check(t.Context(), "joe", "pw")
			if refused := (*account.Refused)(nil); err == nil || errors.As(err, &refused) != tt.refused {
				t.Errorf("%v; a refusal is wanted: %v", err, tt.refused)
			}
		})
	}
}

// The next server is asked where one gives no answer, and stays the first one then.
func TestNextServerIsAsked(t *testing.T) {
	dead, tried := server(t, func(net.Conn) {})
	alive, asked := server(t, answers(reply(1, 0x61, 0)))
	d := New(Config{URLs: []string{dead, alive}, Template: "%s@corp.test", Timeout: 10 * time.Second})
	for range 2 {
		if name, err := d.Check(t.Context(), "joe", "pw"); err != nil || name != "joe" {
			t.Fatalf("%q, %v", name, err)
		}
	}
	if tried.Load() != 1 || asked.Load() != 2 {
		t.Errorf("the dead server was asked %d times, the other one %d times", tried.Load(), asked.Load())
	}
	refusing, _ := server(t, answers(reply(1, 0x61, 49)))
	d = New(Config{URLs: []string{refusing, alive}, Template: "%s@corp.test", Timeout: 10 * time.Second})
	if _, err := d.Check(t.Context(), "joe", "pw"); err == nil {
		t.Error("a server is asked for what another one refused")
	}
}

// A bind with a name and no password succeeds at many directories, for every name.
func TestEmptyPasswordNeverBinds(t *testing.T) {
	url, asked := server(t, answers(reply(1, 0x61, 0)))
	d := New(Config{URLs: []string{url}, Template: "%s@corp.test", Timeout: time.Second})
	refused := (*account.Refused)(nil)
	if _, err := d.Check(t.Context(), "joe", ""); !errors.As(err, &refused) || asked.Load() != 0 {
		t.Errorf("%v after %d connections", err, asked.Load())
	}
}

// Names mean nothing to a directory but themselves.
func TestNamesAreEscaped(t *testing.T) {
	for name, want := range map[string]string{"joe": "joe", "*": `\2a`, "a)(uid=*": `a\29\28uid=\2a`, `a\`: `a\5c`, "a\x00": `a\00`, "%s": "%s"} {
		requests := make(chan string, 8)
		url, _ := server(t, func(c net.Conn) {
			buf := make([]byte, 4096)
			n, _ := c.Read(buf)
			requests <- string(buf[:n])
			_, _ = c.Write(reply(1, 0x65, 0))
			mute(c)
		})
		d := New(Config{URLs: []string{url}, BaseDN: "dc=test", Filter: "(uid=%s)", Timeout: 10 * time.Second})
		if _, err := d.Check(t.Context(), name, "pw"); err == nil {
			t.Errorf("%q is found", name)
		}
		// An equality filter (a3) with the name as its octets: nothing is left of its signs.
		if got := <-requests; !strings.Contains(got, "\xa3"+string(rune(7+len(name)))+"\x04\x03uid\x04"+string(rune(len(name)))+name) {
			t.Errorf("%q (%s) is asked for as %q", name, want, got)
		}
	}
}

func TestChecksOfSettings(t *testing.T) {
	tests := []struct {
		check func(string) error
		text  string
		ok    bool
	}{
		{CheckURL, "ldaps://dc1.corp.example", true},
		{CheckURL, "ldap://127.0.0.1:3890/", true},
		{CheckURL, "ldap://[::1]:389", true},
		{CheckURL, "dc1.corp.example", false},
		{CheckURL, "ldapi:///var/run", false},
		{CheckURL, "ldaps://", false},
		{CheckURL, "ldaps://joe:pw@dc1.corp.example", false},
		{CheckURL, "ldaps://dc1/ou=x", false},
		{CheckFilter, "(uid=%s)", true},
		{CheckFilter, "(&(objectClass=user)(sAMAccountName=%s))", true},
		{CheckFilter, "(uid=joe)", false},
		{CheckMailFilter, MailFilter, true},
		{CheckMailFilter, "(&(uid=%u)(ou=%d))", true},
		{CheckMailFilter, "(mail=joe)", false},
		{CheckMailFilter, "(mail=%s", false},
		{CheckFilter, "(uid=%s", false},
		{CheckTemplate, "%s@corp.example", true},
		{CheckTemplate, `CORP\%s`, true},
		{CheckTemplate, "uid=%s,dc=test", true},
		{CheckTemplate, "uid=%s,,dc=test", false},
		{CheckTemplate, "corp.example", false},
		{CheckDN, "ou=people,dc=corp,dc=example", true},
		{CheckDN, "people", false},
	}
	for _, tt := range tests {
		if err := tt.check(tt.text); (err == nil) != tt.ok {
			t.Errorf("%q: %v", tt.text, err)
		}
	}
}

// Other settings are another directory: what one took is no longer known.
func TestID(t *testing.T) {
	a := Config{URLs: []string{"ldap://a"}, BindPassword: "x", Timeout: time.Second}
	b := a
	b.BindPassword = "y"
	first, again := New(a), New(a)
	if first.ID() != again.ID() || first.ID() == New(b).ID() {
		t.Error("the ID does not tell settings apart")
	}
}

// Addresses mean nothing to a directory but themselves, whatever part of them the
// filter asks for.
func TestAddressesAreEscaped(t *testing.T) {
	for _, tt := range []struct{ filter, local, want string }{
		{"(mail=%s)", "joe", "joe@a.test"},
		{"(mail=%s)", "*", "*@a.test"},
		{"(mail=%s)", "x)(mail=*", `"x)(mail=*"@a.test`},
		{"(mail=%s)", "%u%d", "%u%d@a.test"},
		{"(mail=%u)", "x)(mail=*", "x)(mail=*"},
		{"(mail=%d)", "joe", "a.test"},
	} {
		requests := make(chan string, 8)
		url, _ := server(t, func(c net.Conn) {
			buf := make([]byte, 4096)
			n, _ := c.Read(buf)
			requests <- string(buf[:n])
			_, _ = c.Write(reply(1, 0x65, 0))
			mute(c)
		})
		d := New(Config{URLs: []string{url}, BaseDN: "dc=test", Filter: tt.filter, Timeout: 10 * time.Second})
		if there, err := d.Has(t.Context(), mail.Address{Local: tt.local, Domain: "a.test"}); there || err != nil {
			t.Errorf("%q in %s: %v, %v", tt.local, tt.filter, there, err)
		}
		if got := <-requests; !strings.Contains(got, "\xa3"+string(rune(8+len(tt.want)))+"\x04\x04mail\x04"+string(rune(len(tt.want)))+tt.want) {
			t.Errorf("%q in %s is asked for as %q", tt.local, tt.filter, got)
		}
	}
}

// What a server does other than answer is no answer: nobody is refused for it.
func TestNoAnswerIsAnError(t *testing.T) {
	end := reply(1, 0x65, 0)
	says := map[string]string{"mute": ": no answer within 0.3 s", "no such base": "No Such Object", "busy": "Busy", "no naming context": "naming context", "void": "names no server"}
	for name, cfg := range map[string]Config{
		"mute":              {BaseDN: "dc=test", Filter: MailFilter},
		"no such base":      {BaseDN: "dc=test", Filter: MailFilter, URLs: []string{"32"}},
		"busy":              {BaseDN: "dc=test", Filter: MailFilter, URLs: []string{"51"}},
		"no naming context": {Filter: MailFilter, URLs: []string{"0"}},
		"void":              {Void: "SmtpDsHost names no server"},
	} {
		url, _ := server(t, mute)
		if len(cfg.URLs) > 0 {
			code := map[string]byte{"32": 32, "51": 51, "0": 0}[cfg.URLs[0]]
			url, _ = server(t, answers(reply(1, end[5], code)))
		}
		cfg.URLs, cfg.Timeout = []string{url}, time.Minute
		if name == "mute" {
			cfg.Timeout = 300 * time.Millisecond
		}
		if there, err := New(cfg).Has(t.Context(), mail.Address{Local: "joe", Domain: "a.test"}); there || err == nil || !strings.Contains(err.Error(), says[name]) {
			t.Errorf("%s: %v, %v", name, there, err)
		}
	}
}
