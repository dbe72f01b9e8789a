// SPDX-License-Identifier: Apache-2.0

package session

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"restante/engine/mail"
	"restante/internal/kv"
)

// A submission goes to any domain, whatever a caller would have to be for that, and
// has the fields of a message.
func TestSubmit(t *testing.T) {
	p := testPolicy()
	p.RequireTLS, p.SignIn.Required = true, true
	in := &intake{}
	id := mail.NewMessageID(time.Now())
	to := []mail.Address{address(t, "x@foreign.test"), address(t, "y@held.test"), address(t, "x@foreign.test")}
	r := Submit(t.Context(), p, Deps{Intake: in}, Submission{
		ID: id, From: address(t, "app@hub.test"), To: to,
		Text: strings.NewReader("Subject: s\r\n\r\ntext\r\n"), EightBit: func() bool { return true },
	})
	if !r.Positive() || len(in.envs) != 1 {
		t.Fatalf("%v, %d messages", r, len(in.envs))
	}
	env := in.envs[0]
	if env.ID != id || env.From.String() != "app@hub.test" || len(env.To) != 2 || !env.Body8Bit || env.Client.IsValid() || env.Size != int64(len(in.kept[id])) {
		t.Errorf("%+v", env)
	}
	want := `^Received: from mail pickup service by hub\.test\r\n\tid ` + string(id) + `; \w{3}, [^\n]*\r\n` +
		`Date: \w{3}, [^\n]*\r\nMessage-ID: <` + string(id) + `@hub\.test>\r\nSubject: s\r\n\r\ntext\r\n$`
	if !regexp.MustCompile(want).MatchString(in.kept[id]) {
		t.Errorf("%q, want %s", in.kept[id], want)
	}
}

// Mail of a caller that has signed in, or that is taken because its address may relay,
// gets the fields that it lacks, and is signed with them; mail that passes through is not.
func TestSubmittedMailIsCompleted(t *testing.T) {
	for _, tt := range []struct {
		name, client, account, to string
		added                     bool
	}{
		{"a stranger, to a local domain", "192.0.2.1", "", "x@hub.test", false},
		{"a stranger, to a held domain", "192.0.2.1", "", "x@held.test", false},
		{"who may relay, to a foreign domain", "127.0.0.1", "", "x@foreign.test", true},
		{"who may relay, to a held domain", "127.0.0.1", "", "x@held.test", false},
		{"an account, to a foreign domain", "192.0.2.1", "joe", "x@foreign.test", true},
		{"an account, to a held domain", "192.0.2.1", "joe", "x@held.test", true},
	} {
		p := testPolicy()
		p.SignIn.Lookup = people(t)
		p.Domains = domains{forAuth: true}
		sign := &fakeSigning{}
		p.Sign = func(mail.Envelope) Signing { return sign }
		s := open(p, tt.client)
		s.caller.account = tt.account
		s.mail(t, 0)
		if r := s.rcpt(t, tt.to); !r.Positive() {
			t.Fatalf("%s: %v", tt.name, r)
		}
		r := s.Data(t.Context(), strings.NewReader("Subject: s\r\n\r\ntext\r\n"))
		if !r.Positive() || len(s.intake.envs) != 1 {
			t.Fatalf("%s: %v", tt.name, r)
		}
		got := s.intake.kept[s.intake.envs[0].ID]
		head, _, _ := strings.Cut(got, "Subject: s\r\n\r\ntext\r\n")
		if has := strings.Contains(head, "\r\nDate: ") && strings.Contains(head, "\r\nMessage-ID: <"); has != tt.added || len(head) == len(got) {
			t.Errorf("%s: the message is %q; fields added: want %v", tt.name, got, tt.added)
		}
		if top := s.intake.envs[0].Top; (top == "Signed: yes\r\n" && sign.String() == got) != tt.added || !tt.added && top+sign.String() != "" {
			t.Errorf("%s: on top is %q, and %q was signed", tt.name, top, sign)
		}
	}
}

// A submission is signed unless another host brought it.
func TestForeignSubmissionsAreNotSigned(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		p, in := testPolicy(), &intake{}
		p.Sign = func(mail.Envelope) Signing { return &fakeSigning{} }
		r := Submit(t.Context(), p, Deps{Intake: in}, Submission{
			ID: mail.NewMessageID(time.Now()), From: address(t, "app@hub.test"), To: []mail.Address{address(t, "x@foreign.test")}, Foreign: foreign,
			Text: strings.NewReader("Subject: s\r\n\r\ntext\r\n"), EightBit: func() bool { return false },
		})
		if !r.Positive() || len(in.envs) != 1 || (in.envs[0].Top == "") != foreign {
			t.Errorf("foreign %v: %v, %+v", foreign, r, in.envs)
		}
	}
}

// A fakeSigning keeps what it is shown.
type fakeSigning struct {
	strings.Builder
	closed bool
}

func (s *fakeSigning) Fields() string { return "Signed: yes\r\n" }
func (s *fakeSigning) Close()         { s.closed = true }

// A signing ends with its message, taken or not.
func TestSigningsEnd(t *testing.T) {
	for _, in := range []*intake{{}, {create: kv.ErrFull}, {write: kv.ErrFull}, {accept: kv.ErrFull}} {
		p, made := testPolicy(), []*fakeSigning{}
		p.Sign = func(mail.Envelope) Signing {
			made = append(made, &fakeSigning{})
			return made[len(made)-1]
		}
		Submit(t.Context(), p, Deps{Intake: in}, Submission{
			ID: mail.NewMessageID(time.Now()), To: []mail.Address{address(t, "x@foreign.test")}, Text: strings.NewReader("\r\n" + strings.Repeat("x", 100_000)),
			EightBit: func() bool { return false },
		})
		if len(made) != 1 || !made[0].closed {
			t.Errorf("with %+v: %d signings, closed %v", in, len(made), len(made) == 1 && made[0].closed)
		}
	}
}

// The limits of a message hold, and a refusal is permanent unless it is the store's.
func TestSubmissionsThatAreRefused(t *testing.T) {
	three := []string{"a@b.test", "c@b.test", "d@b.test"}
	tests := []struct {
		name   string
		limits Limits
		in     intake
		to     []string
		text   string
		want   string
	}{
		{"too many recipients", Limits{Recipients: 2}, intake{}, three, "\r\n", "552 5.5.3 Too many recipients"},
		{"as many as there may be", Limits{Recipients: 3}, intake{}, three, "\r\n", "250 2.6.0 "},
		{"too big", Limits{Size: 10}, intake{}, three, "Subject: s\r\n\r\n", "552 5.3.4 "},
		{"in circles", Limits{Hops: 2}, intake{}, three, strings.Repeat("Received: x\r\n", 3) + "\r\n", "554 5.4.6 "},
		{"nobody", Limits{}, intake{}, nil, "\r\n", "554 5.5.1 "},
		{"a full disk", Limits{}, intake{create: mail.Reply{Code: 452, Enhanced: "3.1"}}, three, "\r\n", "452 4.3.1"},
		{"a disk that is full at the end", Limits{}, intake{accept: kv.ErrFull}, three, "\r\n", "451 4.3.0"},
	}
	for _, tt := range tests {
		p := testPolicy()
		p.Limits = tt.limits
		m := Submission{ID: mail.NewMessageID(time.Now()), Text: strings.NewReader(tt.text), EightBit: func() bool { return false }}
		for _, to := range tt.to {
			m.To = append(m.To, address(t, to))
		}
		if r := Submit(t.Context(), p, Deps{Intake: &tt.in}, m); !strings.HasPrefix(r.String(), tt.want) {
			t.Errorf("%s: %v, want %s", tt.name, r, tt.want)
		}
		if len(tt.in.envs) > 0 != strings.HasPrefix(tt.want, "250") {
			t.Errorf("%s: %d messages", tt.name, len(tt.in.envs))
		}
	}
}
