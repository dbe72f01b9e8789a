// SPDX-License-Identifier: Apache-2.0

package site

import (
	"encoding/base64"
	"io"
	"strings"
	"testing"

	"restante/engine/account"
	"restante/internal/testpeer"
)

var b64 = base64.StdEncoding

// signIn has a client of package account sign in over the line, as RFC 4954
// says, and gives the last reply.
func signIn(t *testing.T, l *testpeer.Client, mech, name string, password account.Secret) string {
	t.Helper()
	_, c, err := account.SignIn{Name: name, Password: password, Mechanisms: []string{mech}, InClear: true}.Begin(t.Context(), []string{mech}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, first, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	line := "AUTH " + mech
	if first != nil {
		line += " " + b64.EncodeToString(first)
	}
	for {
		if _, err := io.WriteString(l.Conn, line+"\r\n"); err != nil {
			t.Fatal(err)
		}
		reply, err := l.Reply()
		if err != nil {
			t.Fatal(err)
		}
		challenge, more := strings.CutPrefix(reply, "334 ")
		if !more {
			return reply
		}
		raw, err := b64.DecodeString(challenge)
		if err != nil {
			t.Fatalf("challenge %q: %v", reply, err)
		}
		answer, err := c.Next(raw)
		if err != nil {
			t.Fatal(err)
		}
		line = b64.EncodeToString(answer)
	}
}

func TestSignInByEveryMechanism(t *testing.T) {
	h := started(t)
	for _, mech := range []string{account.Plain, account.Login, account.Cram, account.Scram} {
		l := h.dial()
		if got := signIn(t, l, mech, "joe", "wrong"); !strings.HasPrefix(got, "535 5.7.8 ") {
			t.Errorf("%s with a wrong password: %q", mech, got)
		}
		if got := signIn(t, l, mech, "JOE", "pw"); !strings.HasPrefix(got, "235 2.7.0 ") {
			t.Errorf("%s: %q", mech, got)
		}
		if list := h.Sessions(); list[len(list)-1].Account != "joe" {
			t.Errorf("%s: signed in as %q", mech, list[len(list)-1].Account)
		}
		if err := l.Say("AUTH PLAIN", "503"); err != nil {
			t.Errorf("%s: a second sign-in: %v", mech, err)
		}
	}
}

func TestThreeFailuresEndTheConnection(t *testing.T) {
	h := started(t)
	l := h.dial()
	for range 2 {
		if got := signIn(t, l, account.Plain, "joe", "wrong"); !strings.HasPrefix(got, "535 ") {
			t.Errorf("failure: %q", got)
		}
	}
	if got := signIn(t, l, account.Plain, "joe", "wrong"); !strings.HasPrefix(got, "421 4.7.0 ") {
		t.Errorf("the third failure: %q", got)
	}
	if _, err := l.Reply(); err == nil {
		t.Error("the connection is still there")
	}
}

func TestMechanismsInEHLO(t *testing.T) {
	h := started(t)
	if l := h.dial(); !lists(l, "AUTH PLAIN LOGIN CRAM-MD5 SCRAM-SHA-256") {
		t.Error("EHLO does not list what a caller of this machine may use")
	}
	next := h.make(2, loopback)
	next.Session.SignIn.Plain, next.Session.SignIn.Cram, next.Session.SignIn.Scram = false, nil, false
	h.Apply(next)
	l := h.dial()
	if err := l.Say("AUTH PLAIN", "50"); err != nil {
		t.Errorf("AUTH where there is none: %v", err)
	}
}
