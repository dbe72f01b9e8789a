// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/account"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/wire/params"
)

func people(t testing.TB) account.Lookup {
	t.Helper()
	joe, err := account.New("Joe", "pw", true)
	if err != nil {
		t.Fatal(err)
	}
	return func(name string) (account.Credential, bool) {
		return joe, strings.EqualFold(name, joe.Name)
	}
}

func TestMechanisms(t *testing.T) {
	lookup := people(t)
	yes, no := func() bool { return true }, func() bool { return false }
	tests := []struct {
		in     SignIn
		secure bool
		remote string
		want   string
	}{
		{SignIn{Lookup: lookup}, true, "127.0.0.1", ""}, // nobody can
		{SignIn{Lookup: lookup, Plain: true, Scram: true}, false, "192.0.2.1", "SCRAM-SHA-256"},
		{SignIn{Lookup: lookup, Plain: true, Scram: true, Cram: yes}, false, "192.0.2.1", "CRAM-MD5 SCRAM-SHA-256"},
		{SignIn{Lookup: lookup, Plain: true, Scram: true, Cram: no}, true, "192.0.2.1", "PLAIN LOGIN SCRAM-SHA-256"},
		{SignIn{Lookup: lookup, Plain: true}, true, "192.0.2.1", "PLAIN LOGIN"},
		{SignIn{Lookup: lookup, Plain: true, Clear: true}, false, "192.0.2.1", "PLAIN LOGIN"},
		{SignIn{Lookup: lookup, Clear: true}, false, "192.0.2.1", ""},
		{SignIn{Lookup: lookup, Plain: true}, false, "127.0.0.1", "PLAIN LOGIN"},
		{SignIn{Lookup: lookup, Plain: true}, false, "::ffff:127.0.0.1", "PLAIN LOGIN"},
	}
	for _, tt := range tests {
		p := testPolicy()
		p.SignIn = tt.in
		s := open(p, tt.remote)
		s.caller.secure = tt.secure
		if got := strings.Join(s.Mechanisms(), " "); got != tt.want {
			t.Errorf("%+v, TLS %v, from %s: %q, want %q", tt, tt.secure, tt.remote, got, tt.want)
		}
		for _, m := range []string{"PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256", "NTLM", "plain"} {
			_, err := s.Auth(t.Context(), m)
			listed := slices.Contains(s.Mechanisms(), strings.ToUpper(m))
			if (err == nil) != listed {
				t.Errorf("AUTH %s: %v though listed is %v", m, err, listed)
			}
			want := 504
			if tt.in.Plain && !tt.secure && strings.Contains("PLAIN LOGIN", strings.ToUpper(m)) {
				want = 538 // it would be offered over TLS
			}
			if r := (mail.Reply{}); err != nil && (!errors.As(err, &r) || r.Code != want) {
				t.Errorf("%+v, TLS %v: AUTH %s: %v, want %d", tt.in, tt.secure, m, err, want)
			}
		}
	}
}

// TestNoCredentialInJournal: what follows AUTH is told where it is the name of a
// mechanism. Anything else may be a password.
func TestNoCredentialInJournal(t *testing.T) {
	for said, what := range map[string]string{"ntlm": "NTLM", "XOAUTH2": "XOAUTH2", "sekretpw": `""`, "CZNJCMV0LVBHC3M=": `""`} {
		var log strings.Builder
		s := open(testPolicy(), "192.0.2.1")
		s.deps.Journal = journal.New(slog.New(slog.NewTextHandler(&log, nil)))
		if _, err := s.Auth(t.Context(), said); err == nil || !strings.Contains(log.String(), "verb=AUTH what="+what+" ") {
			t.Errorf("AUTH %s: %v, log %s", said, err, &log)
		}
	}
}

func plainTry(t *testing.T, s setup, password string) error {
	t.Helper()
	x, err := s.Auth(t.Context(), account.Plain)
	if err != nil {
		t.Fatal(err)
	}
	_, done, err := x.Next([]byte("\x00joe\x00" + password))
	if done == (err != nil) {
		t.Errorf("done %v with %v", done, err)
	}
	return err
}

func TestSigningIn(t *testing.T) {
	p := testPolicy()
	p.SignIn = SignIn{Lookup: people(t), Plain: true, Required: true}
	p.Domains = domains{forAuth: true}
	s := open(p, "192.0.2.1")
	s.caller.secure = true
	if r := s.mail(t, 0); r.Code != 530 {
		t.Errorf("MAIL before the sign-in: %v, want 530", r)
	}
	if err := plainTry(t, s, "wrong"); err == nil || s.caller.account != "" {
		t.Fatalf("a wrong password: %v, as %q", err, s.caller.account)
	}
	if err := plainTry(t, s, "pw"); err != nil || s.caller.account != "Joe" {
		t.Fatalf("the right one: %v, as %q", err, s.caller.account)
	}
	if r := s.mail(t, 0); !r.Positive() {
		t.Errorf("MAIL after it: %v", r)
	}
	if r := s.rcpt(t, "x@foreign.test"); !r.Positive() {
		t.Errorf("RCPT after it: %v", r)
	}
}

// trySignIn runs one exchange of a client that gives a name and a password.
func trySignIn(t *testing.T, s setup, mechanism, name, password string) error {
	t.Helper()
	_, c, err := account.SignIn{Name: name, Password: account.Secret(password), Mechanisms: []string{mechanism}, InClear: true}.Begin(t.Context(), []string{mechanism}, nil)
	if err != nil {
		t.Fatal(err)
	}
	_, out, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	x, err := s.Auth(t.Context(), mechanism)
	if err != nil {
		t.Fatal(err)
	}
	for {
		challenge, done, err := x.Next(out)
		if done || err != nil {
			return err
		}
		if out, err = c.Next(challenge); err != nil {
			return err
		}
	}
}

// TestLogonDomains: DOMAIN\user is the account user by every mechanism, and what a
// caller gets for a wrong password and an unknown name does not differ by form.
func TestLogonDomains(t *testing.T) {
	joe := people(t)
	lookup := func(name string) (account.Credential, bool) {
		if c, ok := joe(name); ok {
			return c, true
		}
		return account.Credential{}, false
	}
	corp := func(name string) string {
		if user, ok := strings.CutPrefix(name, `CORP\`); ok {
			return user
		}
		return name
	}
	for _, mechanism := range []string{account.Plain, account.Login, account.Cram} {
		for _, tt := range []struct {
			name, password string
			ok             bool
		}{
			{`CORP\joe`, "pw", true},
			{`joe`, "pw", true},
			{`OTHER\joe`, "pw", false},
			{`CORP\joe`, "wrong", false},
			{`CORP\ann`, "pw", false},
		} {
			p := testPolicy()
			p.SignIn = SignIn{Lookup: lookup, Name: corp, Plain: true, Cram: func() bool { return true }}
			s := open(p, "127.0.0.1")
			err := trySignIn(t, s, mechanism, tt.name, tt.password)
			if (err == nil) != tt.ok || tt.ok != (s.caller.account == "Joe") {
				t.Errorf("%s as %s with %q: %v, as %q", mechanism, tt.name, tt.password, err, s.caller.account)
			}
			if r := (mail.Reply{}); err != nil && (!errors.As(err, &r) || r.String() != "535 5.7.8 Authentication credentials invalid") {
				t.Errorf("%s as %s: answered %v", mechanism, tt.name, err)
			}
		}
	}
}

// TestLogonDomainsTellNothing: the salts of SCRAM are alike for both forms of a name,
// known or not, and wrong passwords of both count for one.
func TestLogonDomainsTellNothing(t *testing.T) {
	p := testPolicy()
	corp := func(name string) string { return strings.TrimPrefix(name, `CORP\`) }
	p.SignIn = SignIn{Lookup: people(t), Name: corp, Plain: true, Scram: true}
	s := open(p, "127.0.0.1")
	salt := func(name string) string {
		x, err := s.Auth(t.Context(), account.Scram)
		if err != nil {
			t.Fatal(err)
		}
		challenge, _, err := x.Next([]byte("n,,n=" + name + ",r=abcdefgh"))
		if err != nil {
			t.Fatal(err)
		}
		return strings.Split(string(challenge), ",")[1]
	}
	for _, name := range []string{"joe", "nobody"} {
		if a, b := salt(name), salt(`CORP\`+name); a != b {
			t.Errorf("%s has the salts %s and %s", name, a, b)
		}
	}
	if salt("joe") == salt("nobody") {
		t.Error("two accounts have one salt")
	}
	_ = trySignIn(t, s, account.Plain, `CORP\ann`, "wrong")
	x, err := s.Auth(t.Context(), account.Plain)
	if err != nil {
		t.Fatal(err)
	}
	_, _, _ = x.Next([]byte("\x00CORP\\ann\x00wrong"))
	if got := x.(*exchange).name; got != "ann" {
		t.Errorf("the wrong password counts for %q", got)
	}
}

func TestThreeFailures(t *testing.T) {
	p := testPolicy()
	p.SignIn = SignIn{Lookup: people(t), Plain: true}
	s := open(p, "127.0.0.1")
	for i, want := range []int{535, 535, 421} {
		var r mail.Reply
		if err := plainTry(t, s, "wrong"); !errors.As(err, &r) || r.Code != want {
			t.Errorf("failure %d: %v, want %d", i+1, err, want)
		}
		if strings.Contains(r.Text, "joe") {
			t.Errorf("the answer %q says too much", r.Text)
		}
	}
}

// TestSignInsAreAudited: each sign-in and lock-out leaves a line with the session, the
// address, the account, the mechanism and the reason, which the caller is not told.
func TestSignInsAreAudited(t *testing.T) {
	joe := people(t)
	lookup := func(name string) (account.Credential, bool) {
		c, known := joe(name)
		switch name {
		case "eve":
			return account.Credential{Name: "Eve"}, false // without a password
		case "tim":
			return account.Credential{Name: "tim", Scram: c.Scram}, true
		}
		if !known {
			c = account.Credential{}
		}
		return c, known
	}
	tests := []struct {
		mechanism, name, password, want string
		failed                          int // before, from the address
	}{
		{mechanism: account.Plain, name: "joe", password: "pw", want: `"signed in" client=192.0.2.1 account=Joe mechanism=PLAIN tls=true session=s7`},
		{mechanism: account.Scram, name: "joe", password: "pw", want: `"signed in" client=192.0.2.1 account=Joe mechanism=SCRAM-SHA-256 tls=true session=s7`},
		{mechanism: account.Plain, name: "joe", password: "x", want: `"sign-in refused" client=192.0.2.1 helo=client.test account=joe verb=AUTH mechanism=PLAIN tls=true reply="535 5.7.8 Authentication credentials invalid" why="wrong password" session=s7`},
		{mechanism: account.Scram, name: "joe", password: "x", want: `"sign-in refused" client=192.0.2.1 helo=client.test account=joe verb=AUTH mechanism=SCRAM-SHA-256 tls=true reply="535 5.7.8 Authentication credentials invalid" why="wrong password" session=s7`},
		{mechanism: account.Login, name: "ann", password: "x", want: `"sign-in refused" client=192.0.2.1 helo=client.test account=ann verb=AUTH mechanism=LOGIN tls=true reply="535 5.7.8 Authentication credentials invalid" why="no such account" session=s7`},
		{mechanism: account.Scram, name: "eve", password: "x", want: `"sign-in refused" client=192.0.2.1 helo=client.test account=eve verb=AUTH mechanism=SCRAM-SHA-256 tls=true reply="535 5.7.8 Authentication credentials invalid" why="the account has no password" session=s7`},
		{mechanism: account.Cram, name: "tim", password: "x", want: `"sign-in refused" client=192.0.2.1 helo=client.test account=tim verb=AUTH mechanism=CRAM-MD5 tls=true reply="535 5.7.8 Authentication credentials invalid" why="the account has no password for CRAM-MD5" session=s7`},
		{mechanism: account.Plain, name: "joe", password: "", want: `"sign-in refused" client=192.0.2.1 helo=client.test account="" verb=AUTH mechanism=PLAIN tls=true reply="501 5.5.2 Malformed authentication exchange" why="501 5.5.2 Malformed authentication exchange: PLAIN: wants authzid NUL authcid NUL password" session=s7`},
		{mechanism: account.Plain, name: "joe", password: "x", failed: 19, want: `"address locked out" client=192.0.2.1/32 account=joe mechanism=PLAIN until=2000-01-01T00:15:15.000Z session=s7`},
		{mechanism: account.Plain, name: "joe", password: "pw", failed: 20, want: `"sign-in refused" client=192.0.2.1 helo=client.test account=joe verb=AUTH mechanism=PLAIN tls=true reply="454 4.7.0 Too many failed sign-ins from your address, try again later" why="454 4.7.0 Too many failed sign-ins from your address, try again later: 192.0.2.1/32: 15 failed sign-ins, the last at 2000-01-01T00:00:00Z" session=s7`},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			p := testPolicy()
			p.SignIn = SignIn{Lookup: lookup, Plain: true, Scram: true, Cram: func() bool { return true }}
			s := open(p, "192.0.2.1")
			s.caller.secure = true
			var log strings.Builder
			s.deps.Journal = journal.New(slog.New(slog.NewTextHandler(&log, nil))).Session("s7", s.caller)
			for range tt.failed {
				s.deps.Auth.Failed(s.remote, 1, "ann")
			}
			if err := trySignIn(t, s, tt.mechanism, tt.name, tt.password); (err == nil) != strings.Contains(tt.want, "signed in") {
				t.Fatalf("%s as %s: %v", tt.mechanism, tt.name, err)
			}
			lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
			if _, line, _ := strings.Cut(lines[len(lines)-1], "msg="); line != tt.want || len(lines) > 2 || len(lines) == 2 && tt.failed != 19 {
				t.Errorf("%s as %s:\n%s\nwant %s", tt.mechanism, tt.name, &log, tt.want)
			}
		})
	}
}

// A fakeDirectory knows joe and, by another name, ann.
type fakeDirectory struct {
	id    string
	cache time.Duration
	err   error
	asked int
}

func (d *fakeDirectory) ID() string               { return d.id }
func (d *fakeDirectory) CacheTime() time.Duration { return d.cache }
func (d *fakeDirectory) Check(_ context.Context, name, password string) (string, error) {
	d.asked++
	switch {
	case d.err != nil:
		return "", d.err
	case password != "pw":
		return "", &account.Refused{Name: name, Reason: "wrong"}
	case name == "alias":
		return "ann", nil
	}
	return name, nil
}

// withDirectory is a policy where Joe is an account that is kept, and all others are
// the directory's.
func withDirectory(t *testing.T, d account.Directory) *Policy {
	p := testPolicy()
	kept := people(t)
	p.SignIn = SignIn{Plain: true, Scram: true, Directory: d, Outside: func(name string) bool { return !strings.EqualFold(name, "joe") }}
	p.SignIn.Lookup = func(name string) (account.Credential, bool) {
		if c, ok := kept(name); ok {
			return c, true
		}
		return account.Credential{}, false
	}
	return p
}

func TestDirectory(t *testing.T) {
	down := errors.New("no answer")
	tests := []struct {
		name, password string
		down           error
		want           string // the account, or the reply
		took           time.Duration
	}{
		{name: "ann", password: "pw", want: "ann"},
		{name: "alias", password: "pw", want: "ann"},
		{name: "joe", password: "pw", want: "Joe"},
		{name: "joe", password: "x", want: "535 5.7.8", took: refusalTime},
		{name: "ann", password: "x", want: "535 5.7.8", took: refusalTime},
		{name: "ann", password: "pw", down: down, want: "454 4.7.0"},
		{name: "joe", password: "pw", down: down, want: "Joe"},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			s := open(withDirectory(t, &fakeDirectory{id: "1", err: tt.down}), "127.0.0.1")
			begin := time.Now()
			err := trySignIn(t, s, account.Plain, tt.name, tt.password)
			got := s.caller.account
			if r := (mail.Reply{}); errors.As(err, &r) {
				got = r.String()[:9]
			}
			if took := time.Since(begin); got != tt.want || took != tt.took {
				t.Errorf("%s with %q: %s after %s, want %s after %s", tt.name, tt.password, got, took, tt.want, tt.took)
			}
		})
	}
}

// A right password is asked about once in the cache time, and a wrong one each time.
func TestDirectoryIsAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDirectory{id: "1", cache: time.Minute}
		s := open(withDirectory(t, d), "127.0.0.1")
		for _, tt := range []struct {
			password string
			later    time.Duration
			asked    int
		}{{"pw", 0, 1}, {"pw", 50 * time.Second, 1}, {"x", 0, 2}, {"pw", 10 * time.Second, 3}} {
			time.Sleep(tt.later)
			s.caller.account = ""
			if err := trySignIn(t, s, account.Plain, "ann", tt.password); (err == nil) != (tt.password == "pw") || d.asked != tt.asked {
				t.Errorf("%+v: %v after %d questions", tt, err, d.asked)
			}
		}
	})
}

// The sign-in of a directory's account holds while the site has that directory and
// keeps no account of the name.
func TestDirectorySignInsEnd(t *testing.T) {
	d := &fakeDirectory{id: "1"}
	s := open(withDirectory(t, d), "127.0.0.1")
	if err := trySignIn(t, s, account.Plain, "alias", "pw"); err != nil {
		t.Fatal(err)
	}
	now, none, other, kept := withDirectory(t, d), withDirectory(t, nil), withDirectory(t, &fakeDirectory{id: "2"}), withDirectory(t, d)
	none.SignIn.Directory = nil
	kept.SignIn.Outside = func(name string) bool { return name != "ann" }
	for i, tt := range []struct {
		under *Policy
		void  bool
	}{{now, false}, {none, true}, {other, true}, {kept, true}} {
		if got := s.SignInVoid(tt.under); got != tt.void {
			t.Errorf("policy %d: void %v", i, got)
		}
	}
}

// With a directory, those who may use PLAIN are not offered SCRAM, which the
// directory's accounts cannot do.
func TestMechanismsWithADirectory(t *testing.T) {
	for _, tt := range []struct {
		secure bool
		want   string
	}{{true, "PLAIN LOGIN CRAM-MD5"}, {false, "CRAM-MD5 SCRAM-SHA-256"}} {
		p := withDirectory(t, &fakeDirectory{})
		p.SignIn.Cram = func() bool { return true }
		s := open(p, "192.0.2.1")
		s.caller.secure = tt.secure
		if got := strings.Join(s.Mechanisms(), " "); got != tt.want {
			t.Errorf("TLS %v: %s, want %s", tt.secure, got, tt.want)
		}
	}
}

// A wrong password from an exempt address counts for the account alone.
func TestWrongPasswordsOfAnExemptAddress(t *testing.T) {
	for _, exempt := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			p := testPolicy()
			p.SignIn = SignIn{Lookup: people(t), Plain: true}
			p.Exempt = func(a netip.Addr) bool { return exempt && a.String() == "127.0.0.1" }
			s := open(p, "127.0.0.1")
			for range 19 { // one more locks the address out
				s.deps.Auth.Failed(s.remote, 1, "ann")
			}
			begin := time.Now()
			if err := plainTry(t, s, "wrong"); err == nil {
				t.Fatal("the password is taken")
			}
			out := s.deps.Auth.LockOuts()
			if took := time.Since(begin); (took == 0) != exempt || (len(out) == 0) != exempt {
				t.Errorf("exempt %v: the sign-in waits %v, locked out are %v", exempt, took, out)
			}
		})
	}
}

// TestPolicyOfTheNextCaller: a session keeps the policy that it came
// under, and the next one under what holds then.
func TestPolicyOfTheNextCaller(t *testing.T) {
	before, after := testPolicy(), testPolicy()
	after.Limits.Size = 10
	first, second := open(before, "192.0.2.1"), open(after, "192.0.2.1")
	args := params.Mail{From: address(t, "a@b.test"), Size: 11}
	if r := first.Mail(t.Context(), args); !r.Positive() {
		t.Errorf("the caller that was there: %v", r)
	}
	if r := second.Mail(t.Context(), args); r.Code != 552 {
		t.Errorf("the next one: %v", r)
	}
}
