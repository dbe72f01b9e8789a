// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

// A fakeFilter does what it is told, and notes how it is used.
type fakeFilter struct {
	about   Transaction
	refuse  map[string]mail.Reply // recipients
	verdict func(m Arrival) Verdict
	told    []string // recipients
	seen    []string // messages
	closed  int
}

func (f *fakeFilter) Recipient(_ context.Context, to mail.Recipient) mail.Reply {
	f.told = append(f.told, to.Address.String())
	return f.refuse[to.Address.String()]
}

func (f *fakeFilter) Message(_ context.Context, m Arrival) Verdict {
	text, _ := io.ReadAll(m.Open())
	f.seen = append(f.seen, string(text))
	if f.verdict != nil {
		return f.verdict(m)
	}
	return Verdict{From: f.about.Envelope.From, To: m.Envelope.To, Open: m.Open}
}

func (f *fakeFilter) Close() { f.closed++ }

// filtered opens a session whose messages are shown to f.
func filtered(f *fakeFilter, remote string) (setup, *Policy) {
	p := testPolicy()
	p.NeverRefuse = func(d mail.Domain) bool { return d == "held.test" }
	p.Stored = func(a mail.Address) mail.Address {
		if a.Domain == "alias.test" {
			a.Domain = "hub.test"
		}
		return a
	}
	p.Filter = func(t Transaction) Filter {
		f.about = t
		return f
	}
	return open(p, remote), p
}

// TestFilter: what a filter decides about a message is what becomes of it, before 250.
func TestFilter(t *testing.T) {
	const message = "Subject: x\r\n\r\nbody\r\n"
	no := mail.Reply{Code: 550, Enhanced: "7.1", Text: "no"}
	other := func() io.Reader { return strings.NewReader("X-Filter: yes\r\n\r\nother\r\n") }
	for _, tt := range []struct {
		name, to string
		verdict  func(m Arrival) Verdict
		reply    string // to DATA
		stored   string // "": nothing is
		envelope string // sender and recipients
	}{
		{"nothing changed", "x@hub.test", nil, "250", message, "a@b.test x@hub.test"},
		{"all changed", "x@hub.test", func(m Arrival) Verdict {
			return Verdict{From: address(t, "c@d.test"), To: append(m.Envelope.To, mail.Recipient{Address: address(t, "y@alias.test")}), Open: other}
		}, "250", "X-Filter: yes\r\n\r\nother\r\n", "c@d.test x@hub.test y@hub.test"},
		{"refused", "x@hub.test", func(Arrival) Verdict { return Verdict{Refuse: no} }, "550 5.7.1 no", "", ""},
		{"refused for a domain that never refuses", "x@held.test", func(Arrival) Verdict { return Verdict{Refuse: no} }, "450 4.7.1 no", "", ""},
		{"discarded", "x@hub.test", func(m Arrival) Verdict { return Verdict{Discard: true, To: m.Envelope.To, Open: m.Open} }, "250 2.6.0", "", ""},
		{"for an administrator", "x@hub.test", func(m Arrival) Verdict {
			return Verdict{Quarantine: "why", From: address(t, "a@b.test"), To: m.Envelope.To, Open: m.Open}
		}, "250", message, "a@b.test x@hub.test why"},
	} {
		f := &fakeFilter{verdict: tt.verdict}
		s, _ := filtered(f, "192.0.2.1")
		s.mail(t, 0)
		if r := s.rcpt(t, tt.to); !r.Positive() {
			t.Fatalf("%s: %s", tt.name, r)
		}
		r := s.Data(t.Context(), strings.NewReader(message))
		s.Reset()
		if !strings.HasPrefix(r.String(), tt.reply) || len(f.seen) != 1 || f.seen[0] != message || f.closed != 1 {
			t.Errorf("%s: %s, it saw %q, closed %d times", tt.name, r, f.seen, f.closed)
		}
		if (len(s.intake.envs) == 1) != (tt.stored != "") {
			t.Errorf("%s: %d messages are stored", tt.name, len(s.intake.envs))
		}
		for _, env := range s.intake.envs {
			got := env.From.String()
			for _, to := range env.To {
				got += " " + to.Address.String()
			}
			if got = strings.TrimSpace(got + " " + env.Quarantine); got != tt.envelope || env.ID != f.about.Envelope.ID || !strings.Contains(r.Text, string(env.ID)) {
				t.Errorf("%s: the envelope is %s with the ID %s, the filter was told %s", tt.name, got, env.ID, f.about.Envelope.ID)
			}
			kept := s.intake.kept[env.ID]
			if trace, rest, _ := strings.Cut(kept, "\r\n"+tt.stored[:8]); !strings.HasPrefix(trace, "Received: from client.test") || tt.stored[:8]+rest != tt.stored {
				t.Errorf("%s: stored %q", tt.name, kept)
			}
		}
		if want := s.intake.aborted; want < 1 {
			t.Errorf("%s: a draft is left", tt.name)
		}
	}
}

// TestFilterOfRecipients: a filter is told of the recipients that are accepted, and of no
// others, and what it refuses is refused; one that does not come to DATA ends, too.
func TestFilterOfRecipients(t *testing.T) {
	no := mail.Reply{Code: 550, Enhanced: "1.1", Text: "no"}
	f := &fakeFilter{refuse: map[string]mail.Reply{"no@hub.test": no, "no@held.test": no}}
	s, p := filtered(f, "192.0.2.1")
	p.Limits.Refused = 1
	s.mail(t, 0)
	for _, tt := range []struct{ to, reply string }{
		{"x@foreign.test", "550 5.7.1"}, {"unknown@hub.test", "421"}, {"x@hub.test", "250"}, {"x@hub.test", "250"}, {"no@held.test", "450 4.1.1 no"}, {"no@hub.test", "421"},
	} {
		if r := s.rcpt(t, tt.to); !strings.HasPrefix(r.String(), tt.reply) {
			t.Errorf("%s: %s, want %s", tt.to, r, tt.reply)
		}
	}
	if got := strings.Join(f.told, " "); got != "x@hub.test no@held.test no@hub.test" {
		t.Errorf("the filter is told of %s", got)
	}
	if s.Close(); f.closed != 1 {
		t.Errorf("a session that ends closes it %d times", f.closed)
	}

	// Another list is in force at the next message.
	now, first, second := p, &fakeFilter{}, &fakeFilter{}
	s, p = filtered(first, "192.0.2.1")
	next := *p
	next.Filter = func(t Transaction) Filter {
		second.about = t
		return second
	}
	now = p
	s.deps.Current = func() *Policy { return now }
	s.mail(t, 0)
	s.rcpt(t, "x@hub.test")
	now = &next
	s.rcpt(t, "y@hub.test")
	if r := s.Data(t.Context(), strings.NewReader("\r\n")); !r.Positive() || len(first.told) != 2 || len(first.seen) != 1 {
		t.Errorf("the message that had begun: %s, %+v", r, first)
	}
	s.Reset()
	if r := s.send(t, "\r\n"); !r.Positive() || len(second.seen) != 1 || len(first.seen) != 1 {
		t.Errorf("the next one: %s, %+v", r, second)
	}
}

// TestFilterOfSubmissions: mail of an account, and of the Pickup folder, is shown as it
// will be sent, and looked at by no other check.
func TestFilterOfSubmissions(t *testing.T) {
	complete := regexp.MustCompile(`^Date: [^\n]*\r\nMessage-ID: [^\n]*\r\nSubject: x\r\n\r\n$`)
	f := &fakeFilter{}
	s, p := filtered(f, "192.0.2.1")
	p.Inspect = func(context.Context, Arrival) Opinion { return Opinion{Refuse: mail.Reply{Code: 550}} }
	s.caller.account = "joe"
	s.caller.secure = true
	s.proof.Store(&proof{mechanism: "PLAIN"})
	s.Mail(t.Context(), params.Mail{From: address(t, "a@b.test")})
	s.rcpt(t, "x@hub.test")
	if r := s.Data(t.Context(), strings.NewReader("Subject: x\r\n\r\n")); !r.Positive() || !complete.MatchString(f.seen[0]) {
		t.Errorf("%s; the filter sees %q", r, f.seen)
	}
	if a := f.about; a.Envelope.Account != "joe" || a.Mechanism != "PLAIN" || a.TLS == nil || a.Envelope.Helo != "client.test" || a.Hostname != "hub.test" {
		t.Errorf("the filter is told %+v", a)
	}
	in := &intake{}
	send := func() mail.Reply {
		return Submit(t.Context(), p, Deps{Intake: in}, Submission{
			ID: mail.NewMessageID(time.Now()), From: address(t, "app@hub.test"), To: []mail.Address{address(t, "x@foreign.test")},
			Text: strings.NewReader("Subject: x\r\n\r\n"), EightBit: func() bool { return false },
		})
	}
	*f = fakeFilter{}
	if r := send(); !r.Positive() || !complete.MatchString(f.seen[0]) || f.about.Envelope.Client.IsValid() || f.closed != 1 || len(in.envs) != 1 || in.aborted != 1 {
		t.Errorf("a file: %s; %+v, %d stored", r, f, len(in.envs))
	}
	*f = fakeFilter{refuse: map[string]mail.Reply{"x@foreign.test": {Code: 451}}}
	if r := send(); r.Code != 451 || f.closed != 1 {
		t.Errorf("a refused recipient of a file: %s", r)
	}
	*f = fakeFilter{verdict: func(Arrival) Verdict {
		return Verdict{Discard: true, Open: func() io.Reader { return strings.NewReader("") }}
	}}
	if r := send(); !r.Positive() || len(in.envs) != 1 {
		t.Errorf("a discarded file: %s, %d stored", r, len(in.envs))
	}
}
