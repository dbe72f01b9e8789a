// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/tls"
	"io"
	"slices"
	"strings"
	"testing"

	"restante/engine/mail"
)

// refusals are the calls of Refused.
func (f *fake) refusals() (out []string) {
	for _, call := range f.seen() {
		if text, ok := strings.CutPrefix(call, "refused "); ok {
			out = append(out, text)
		}
	}
	return out
}

// TestRefusalsAreReported: the Session is told of each refusal that is not its
// own, once, and of no credential.
func TestRefusalsAreReported(t *testing.T) {
	tests := []struct {
		name, say string
		want      []string
		alter     func(*Config)
	}{
		{"nothing is wrong", hello + "|MAIL FROM:<a@x.test>|RCPT TO:<b@x.test>|DATA|x|.|NOOP", nil, nil},
		{"syntax", hello + "|MAIL FROM:<a@x.test|MAIL FROM:<a@@x.test>|RSET x", []string{"MAIL FROM:<a@x.test 501", "MAIL FROM:<a@@x.test> 501", "RSET x 501"}, nil},
		{"sequence", "MAIL FROM:<>|" + hello + "|RCPT TO:<b@x.test>|DATA", []string{"MAIL FROM:<> 503", "RCPT TO:<b@x.test> 503", "DATA  503"}, nil},
		{"what the Session refuses is its own", hello + "|MAIL FROM:<no@x.test>|MAIL FROM:<a@x.test>|RCPT TO:<no@x.test>|ETRN a.test", []string{"ETRN a.test 503"}, nil},
		{"words that are no verb", hello + "|c2VjcmV0|AUTH PLAIN|!", []string{"  500", "AUTH PLAIN 501"}, nil},
		{"credentials", hello + "|AUTH NTLM c2VjcmV0|AUTH PLAIN !c2VjcmV0|AUTH PLAIN AGEAYg==", []string{"AUTH PLAIN 501"}, nil},
		{"credentials, whatever stands before them", "AUTH c2VjcmV0|" + hello + "|AUTH PLAIN\t!c2VjcmV0|AUTH\tc2VjcmV0\tx y|AUTH login c2VjcmV0 x",
			[]string{"AUTH  503", "AUTH PLAIN 501", "AUTH  501", "AUTH LOGIN 501"}, nil},
		{"too many errors", "A|B|C", []string{"  500", "  500", "  421"}, func(c *Config) { c.Limits.Errors = 2 }},
		{"a line without end", strings.Repeat("x", 100<<10), []string{"  421"}, nil},
		{"verbs that are not known", "GET / HTTP/1.1|XFORWARD ADDR=192.0.2.1|c2VjcmV0Zm9yYWxs|" + hello + "|AUTH NTLM|Ym|NOOP|HALLO|gr\xfc\xdfe", []string{"  500", "  500", "  500", "  500", "  500", "  500"}, nil},
		{"a command between two BDAT", toData[:len(toData)-6] + "BDAT 1|xVRFY joe|BDAT 0 LAST|~", []string{"VRFY joe 503"}, nil},
		{"a BDAT without a size", toData[:len(toData)-6] + "BDAT x", []string{"BDAT x 501"}, nil},
		{"and between two", toData[:len(toData)-6] + "BDAT 1|xBDAT 1 FIRST|QUIT~", []string{"BDAT 1 FIRST 501"}, nil},
		{"a tab after the verb", "EHLO\tc.test|MAIL\tFROM:<>|RSET\t|NOOP\tx|MAIL\t FROM:x y", []string{"MAIL FROM:x y 555"}, nil},
		{"a series of BDAT", hello + "|BDAT 1|xBDAT 1|xBDAT 1 LAST|x~", []string{"BDAT 1 503"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config()
			if tt.alter != nil {
				tt.alter(&cfg)
			}
			h := startHost(t, cfg)
			d := h.dial()
			say := unfold(tt.say + "|QUIT")
			if rest, open := strings.CutSuffix(tt.say, "~"); open {
				say = strings.ReplaceAll(rest, "|", "\r\n") + "QUIT\r\n"
			}
			d.send(say)
			io.Copy(io.Discard, d.r)
			f := d.session(h)
			h.end()
			if got := f.refusals(); !slices.Equal(got, tt.want) {
				t.Errorf("told of %q, want %q", got, tt.want)
			}
		})
	}
}

// TestFailedHandshakesAreReported: with STARTTLS and with TLS from the first
// octet, the Session is told why.
func TestFailedHandshakesAreReported(t *testing.T) {
	for _, implicit := range []bool{false, true} {
		cfg := config()
		cfg.TLS, _ = certificate(t)
		cfg.TLS.MinVersion, cfg.ImplicitTLS = tls.VersionTLS12, implicit
		h := startHost(t, cfg)
		d := h.dial()
		want := []string{"TLS  454"}
		if !implicit {
			want = []string{"STARTTLS  454"}
			d.expect("", "220")
			d.expect("STARTTLS", "220")
		}
		old := tls.Client(d.nc, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err := old.Handshake(); err == nil {
			t.Fatal("TLS 1.1 is spoken")
		}
		_, _ = io.Copy(io.Discard, d.nc) // the end of the server would be another reason
		f := d.session(h)
		h.end()
		if got := f.refusals(); !slices.Equal(got, want) {
			t.Errorf("implicit %v: told of %q, want %q", implicit, got, want)
		}
		if f.failed == nil || !strings.Contains(f.failed.Error(), "unsupported versions") {
			t.Errorf("implicit %v: the reason is %v", implicit, f.failed)
		}
		if seen := f.seen(); seen[len(seen)-1] != "close" {
			t.Errorf("implicit %v: %q", implicit, seen)
		}
	}
}

// TestCommandsOfTheTable: each verb has a rule or runs, and nothing else does.
func TestCommandsOfTheTable(t *testing.T) {
	for _, verb := range strings.Fields("EHLO HELO MAIL RCPT DATA BDAT RSET NOOP QUIT HELP VRFY STARTTLS AUTH ETRN TURN ATRN XCLIENT EXPN SEND SOML SAML") {
		cmd, known := commandOf(verb)
		if !known || (cmd.run == nil) != (cmd.rule&notImplemented != 0) {
			t.Errorf("%s: known %v, rule %b", verb, known, cmd.rule)
		}
	}
	if _, known := commandOf("ehlo"); known {
		t.Error("a verb in lower case is known: command folds them first")
	}
	c := conn{cfg: Config{Verbs: mail.Verbs{}}}
	for _, verb := range strings.Fields("ETRN TURN ATRN BDAT STARTTLS") {
		if c.offers(verb) {
			t.Errorf("%s is offered though it is off", verb)
		}
	}
}
