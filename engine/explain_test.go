// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"restante/engine/mail"
	"restante/engine/policy"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/internal/testpeer"
	"restante/metabase"
)

// certify puts a certificate where site 1 finds it.
func (h *harness) certify() []metabase.Op {
	h.t.Helper()
	cert, _ := testpeer.Certificate(h.t, "hub.example", time.Now().Add(time.Hour))
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		h.t.Fatal(err)
	}
	var out bytes.Buffer
	_ = pem.Encode(&out, &pem.Block{Type: "CERTIFICATE", Bytes: cert.Certificate[0]}) // a buffer takes all
	_ = pem.Encode(&out, &pem.Block{Type: "PRIVATE KEY", Bytes: key})
	name := filepath.Join(h.t.TempDir(), "cert.pem")
	if err := os.WriteFile(name, out.Bytes(), 0o600); err != nil {
		h.t.Fatal(err)
	}
	return []metabase.Op{h.set(settings.SitePath(1), "TlsCertificateFile", name)}
}

// ask is what a session with the client answers at last: the first refusal, or
// the reply to RCPT.
func (h *harness) ask(c policy.Client, to string) string {
	h.t.Helper()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(c.Addr, 0))}
	conn, err := d.DialContext(h.t.Context(), "tcp", h.status(1).Listening[0].String())
	if err != nil {
		h.t.Fatal(err)
	}
	defer conn.Close()
	l := &testpeer.Client{Conn: conn, R: bufio.NewReader(conn)}
	say := func(line string) string {
		if line != "" {
			if _, err := l.Write([]byte(line + "\r\n")); err != nil {
				h.t.Fatal(err)
			}
		}
		reply, err := l.Reply()
		if err != nil {
			h.t.Fatalf("%s: %v", line, err)
		}
		return reply
	}
	steps := []string{"", "EHLO c.test"}
	if c.TLS {
		steps = append(steps, "STARTTLS", "EHLO c.test")
	}
	if c.Account != "" {
		steps = append(steps, "AUTH PLAIN "+base64.StdEncoding.EncodeToString([]byte("\x00"+c.Account+"\x00pw")))
	}
	steps = append(steps, "MAIL FROM:<a@b.example>", "RCPT TO:<"+to+">")
	for _, step := range steps[:len(steps)-1] {
		if reply := say(step); reply[0] != '2' {
			return reply
		}
		if step == "STARTTLS" {
			secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // it vouches for itself
			l = &testpeer.Client{Conn: secure, R: bufio.NewReader(secure)}
		}
	}
	return say(steps[len(steps)-1])
}

// TestExplainIsWhatASessionAnswers holds explanations to sessions with the
// same client, under the same settings.
func TestExplainIsWhatASessionAnswers(t *testing.T) {
	h := started(t)
	one := settings.SitePath(1)
	h.apply(append(append(h.account("joe", "pw"), h.hold(1, "held.example", "joe")...), h.certify()...)...)
	inside, outside := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2")
	if runtime.GOOS != "linux" {
		outside = inside // only Linux has all of 127.0.0.0/8
	}
	callers := []policy.Client{{Addr: inside}, {Addr: outside}, {Addr: outside, TLS: true}, {Addr: outside, Account: "joe"}, {Addr: outside, Account: "joe", TLS: true}}
	tests := []struct {
		name   string
		before uint32 // ServerCommand, or 0
		ops    []metabase.Op
	}{
		{"a fresh site", 0, nil},
		{"relay list", 0, []metabase.Op{h.set(one, "RelayIpList", "127.0.0.1")}},
		{"no relay by accounts", 0, []metabase.Op{h.set(one, "RelayForAuth", "false")}},
		{"IPSecurity", 0, []metabase.Op{h.set(one, "IPSecurity", "127.0.0.1")}},
		{"no enhanced codes", 0, []metabase.Op{h.set(one, "IPSecurity"), h.set(one, "SmtpInboundCommandSupportOptions", "0x100")}},
		{"AuthFlags without anonymous", 0, []metabase.Op{h.set(one, "IPSecurity"), h.set(one, "AuthFlags", "6")}},
		{"AuthFlags with anonymous alone", 0, []metabase.Op{h.set(one, "AuthFlags", "1")}},
		{"TLS", 0, []metabase.Op{h.set(one, "AuthFlags", "7"), h.set(one, "AccessSSLFlags", "8")}},
		{"TLS and a sign-in", 0, []metabase.Op{h.set(one, "AuthFlags", "6")}},
		{"a list of recipients", 0, []metabase.Op{h.set(one, "AuthFlags", "7"), h.set(one, "AccessSSLFlags", "0"), h.set(one, "Recipients", "X", "y")}},
		{"others", 0, []metabase.Op{h.set(one, "Recipients", "X.Y")}},
		{"a file that is not there", 0, []metabase.Op{h.set(one, "RecipientsFile", "none.txt")}},
		{"none", 0, []metabase.Op{h.set(one, "Recipients"), h.set(one, "RecipientsFile", ""), h.set(one, "AuthFlags", "6"), h.set(one, "AccessSSLFlags", "8")}},
		{"paused", uint32(site.Pause), nil},
		{"and on", uint32(site.Continue), []metabase.Op{h.set(one, "MaxConnections", "1")}},
	}
	for _, tt := range tests {
		if tt.before != 0 {
			if err := h.Command(t.Context(), 1, tt.before); err != nil {
				t.Fatal(err)
			}
		}
		if len(tt.ops) > 0 {
			h.apply(tt.ops...)
		}
		h.eventually("the callers before have left", func() bool { return h.status(1).Connections == 0 })
		set, err := settings.Load(h.store.Snapshot(), 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range callers {
			for _, to := range []string{"x@hub.example", "X.y@HELD.example", "\"q q\"@foreign.example", "postmaster", "nonsense", "post.master", "PostMaster@hub.example", "x@[192.0.2.1]", "@relay.test:x@hub.example"} {
				addr, bad := policy.Recipient(set, to)
				if bad.Code != 0 {
					t.Fatal(bad)
				}
				c.Paused = h.status(1).State == site.Paused
				told, got := policy.Explain(t.Context(), set, h.Sources(), c, addr), h.ask(c, to)
				if told.Reply.String() != strings.TrimSpace(got) || told.Reply.Positive() != (told.Refusal == "") {
					t.Errorf("%s: to %s from %+v: explained as %q (%s), answered %q", tt.name, to, c, told.Reply, told.Refusal, got)
				}
				if len(told.Reasons) == 0 {
					t.Errorf("%s: to %s from %+v: no property decides %q", tt.name, to, c, told.Reply)
				}
				h.eventually("the caller is gone", func() bool { return h.status(1).Connections == 0 })
			}
		}
	}
	// What a session cannot read is no recipient for an explanation either.
	h.apply(h.set(one, "AccessSSLFlags", "0"), h.set(one, "AuthFlags", "7"), h.set(one, "SmtpInboundCommandSupportOptions", "0x7fffff"), h.set(one, "MaxConnections", "100"))
	set, err := settings.Load(h.store.Snapshot(), 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range []string{"", "x@", "@hub.example", "x@hub..example", "a b@hub.example"} {
		_, bad := policy.Recipient(set, to)
		if got := h.ask(policy.Client{Addr: inside}, to); bad.String() != strings.TrimSpace(got) {
			t.Errorf("to %q: explained as %q, answered %q", to, bad, got)
		}
	}
	// One connection is all that there may be.
	h.apply(h.set(one, "MaxConnections", "1"))
	h.eventually("the callers before have left", func() bool { return h.status(1).Connections == 0 })
	l := h.dial(1)
	defer l.Quit()
	c := policy.Client{Addr: inside, TLS: true, Account: "joe", Connections: h.status(1).Connections}
	set, err = settings.Load(h.store.Snapshot(), 1)
	if err != nil {
		t.Fatal(err)
	}
	told, got := policy.Explain(t.Context(), set, h.Sources(), c, mail.Address{Local: "x", Domain: "hub.example"}), h.ask(c, "x@hub.example")
	if told.Reasons[0].Property != "MaxConnections" || told.Reply.Code != 421 || told.Reply.String() != strings.TrimSpace(got) {
		t.Errorf("one too many: explained as %q because of %+v, answered %q", told.Reply, told.Reasons, got)
	}
	// An address beyond ASCII is one where SMTPUTF8 is offered.
	if to, bad := policy.Recipient(set, "grüße@HUB.example"); bad.Code != 0 || to.String() != "grüße@hub.example" {
		t.Errorf("beyond ASCII: %q, %v", to, bad)
	}
	h.apply(h.set(one, "InboundExtensions", "0"))
	if set, err = settings.Load(h.store.Snapshot(), 1); err != nil {
		t.Fatal(err)
	}
	if _, bad := policy.Recipient(set, "grüße@hub.example"); bad.Status() != "5.6.7" {
		t.Errorf("beyond ASCII without SMTPUTF8: %v", bad)
	}
}
