// SPDX-License-Identifier: Apache-2.0

package account

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"restante/engine/mail"
	"restante/internal/deptest"
)

func book(cs ...Credential) Lookup {
	return func(name string) (Credential, bool) {
		for _, c := range cs {
			if strings.EqualFold(c.Name, name) {
				return c, true
			}
		}
		return Credential{}, false
	}
}

// converse runs an exchange of both ends as a wire would.
func converse(t *testing.T, s sasl.Server, c sasl.Client) error {
	t.Helper()
	_, r, err := c.Start()
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		challenge, done, err := s.Next(r)
		if err != nil {
			return err
		}
		if done {
			return nil
		}
		if r, err = c.Next(challenge); err != nil {
			return err
		}
		if r == nil {
			r = []byte{}
		}
	}
	t.Fatal("the exchange has no end")
	return nil
}

func TestBothEnds(t *testing.T) {
	full := mustNew(t, "TestServer", "s3cret", true)
	plain := mustNew(t, "plain", "s3cret", false)
	broken := Credential{Name: "broken", Scram: "nonsense"}
	g := NewAuthenticator(Options{})
	tests := []struct {
		name, password string
		ok, cram       bool
	}{
		{"testserver", "s3cret", true, true}, // names are compared without case
		{"TestServer", "s3cret", true, true},
		{"testserver", "S3cret", false, false},
		{"plain", "s3cret", true, false}, // not kept for CRAM-MD5
		{"plain", "s3cret ", false, false},
		{"nobody", "s3cret", false, false},
		{"broken", "s3cret", false, false},
	}
	for _, mech := range []string{Plain, Login, Cram, Scram} {
		for _, tt := range tests {
			who := ""
			s, err := g.Server(mech, book(full, plain, broken), func(name string) { who += name })
			if err != nil {
				t.Fatal(err)
			}
			c, err := by(mech, tt.name, tt.password)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.ok
			if mech == Cram {
				want = tt.cram
			}
			err = converse(t, s, c)
			if (err == nil) != want {
				t.Errorf("%s as %s: %v; want ok %v", mech, tt.name, err, want)
			}
			if refused := (*Refused)(nil); err != nil && !errors.As(err, &refused) {
				t.Errorf("%s as %s: error %v is no Refused", mech, tt.name, err)
			}
			if err != nil && strings.Contains(err.Error(), tt.password) {
				t.Errorf("%s: the error %q gives the password away", mech, err)
			}
			if (who != "") != want || want && !strings.EqualFold(who, tt.name) {
				t.Errorf("%s as %s: signed in as %q", mech, tt.name, who)
			}
			if want && who != full.Name && who != plain.Name {
				t.Errorf("%s: the name is %q, not as the credential spells it", mech, who)
			}
			if _, _, err := s.Next([]byte{}); err == nil {
				t.Errorf("%s: a finished exchange goes on", mech)
			}
		}
	}
	if _, err := g.Server("NTLM", book(), nil); err == nil {
		t.Error("an unknown mechanism is served")
	}
	if _, err := by("NTLM", "a", "b"); err == nil {
		t.Error("an unknown mechanism is spoken")
	}
}

// A message as a client sends it, and what must come of it: a challenge, "ok",
// or an error's beginning.
type turn struct {
	send any // string, or nil for no initial response
	want string
}

func TestConversations(t *testing.T) {
	c := mustNew(t, "tim", "s3cret", true)
	b64 := base64.StdEncoding.EncodeToString
	tests := []struct {
		name  string
		mech  string
		turns []turn
	}{
		{"PLAIN after an empty challenge", Plain, []turn{{nil, ""}, {"\x00tim\x00s3cret", "ok"}}},
		{"PLAIN at once", Plain, []turn{{"\x00tim\x00s3cret", "ok"}}},
		{"PLAIN for oneself", Plain, []turn{{"tim\x00tim\x00s3cret", "ok"}}},
		{"PLAIN for another", Plain, []turn{{"root\x00tim\x00s3cret", "sign-in as"}}},
		{"PLAIN without NULs", Plain, []turn{{"tim s3cret", "501"}}},
		{"PLAIN with too many", Plain, []turn{{"\x00tim\x00s3\x00cret", "501"}}},
		{"PLAIN without a password", Plain, []turn{{"\x00tim\x00", "501"}}},
		{"LOGIN by prompts", Login, []turn{{nil, "Username:"}, {"tim", "Password:"}, {"s3cret", "ok"}}},
		{"LOGIN with the name at once", Login, []turn{{"tim", "Password:"}, {"s3cret", "ok"}}},
		{"LOGIN, wrong", Login, []turn{{nil, "Username:"}, {"tim", "Password:"}, {"", "sign-in as"}}},
		{"LOGIN without a name", Login, []turn{{nil, "Username:"}, {"", "501"}}},
		{"CRAM-MD5 with an initial response", Cram, []turn{{"tim", "501 5.7.0"}}},
		{"CRAM-MD5, no digest", Cram, []turn{{nil, "<"}, {"tim", "501"}}},
		{"CRAM-MD5, short digest", Cram, []turn{{nil, "<"}, {"tim b913", "501"}}},
		{"CRAM-MD5, no hex", Cram, []turn{{nil, "<"}, {"tim " + strings.Repeat("z", 32), "501"}}},
		{"SCRAM without a form", Scram, []turn{{"hello", "501"}}},
		{"SCRAM with channel binding", Scram, []turn{{"p=tls-unique,,n=tim,r=abcdef", "501"}}},
		{"SCRAM with a foreign nonce", Scram, []turn{{nil, ""}, {"n,,n=tim,r=abcdef", "r=abcdef"},
			{"c=biws,r=abcdef,p=" + b64(make([]byte, 32)), "sign-in as"}}},
		{"SCRAM, nothing more", Scram, []turn{{"n,,n=tim,r=abcdef", "r=abcdef"}, {"", "sign-in as"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := NewAuthenticator(Options{}).Server(tt.mech, book(c), func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			for i, u := range tt.turns {
				var r []byte
				if text, ok := u.send.(string); ok {
					r = []byte(text)
				}
				challenge, done, err := s.Next(r)
				got := string(challenge)
				switch {
				case err != nil:
					got = err.Error()
				case done:
					got = "ok"
				}
				if !strings.HasPrefix(got, u.want) || u.want == "" && got != "" {
					t.Fatalf("turn %d: %q, want %q", i, got, u.want)
				}
			}
		})
	}
}

// TestRFC2195 is the example of its section 2.
func TestRFC2195(t *testing.T) {
	who := ""
	lookup := book(Credential{Name: "tim", Secret: "tanstaaftanstaaf"})
	a := NewAuthenticator(Options{Challenge: func() string { return "<1896.697170952@postoffice.reston.mci.net>" }})
	s, err := a.Server(Cram, lookup, func(n string) { who = n })
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.Next(nil); err != nil {
		t.Fatal(err)
	}
	if _, done, err := s.Next([]byte("tim b913a602c7eda7a495b4e6e7334d3890")); !done || err != nil || who != "tim" {
		t.Errorf("done %v, %v, as %q", done, err, who)
	}
}

// TestRFC7677 is the example of its section 3.
func TestRFC7677(t *testing.T) {
	salt, err := base64.StdEncoding.DecodeString("W22ZaJ0SNY7soEsUEjb6gQ==")
	if err != nil {
		t.Fatal(err)
	}
	v, err := derive("pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	who := ""
	a := NewAuthenticator(Options{Nonce: func() string { return "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" }})
	s, err := a.Server(Scram, book(Credential{Name: "user", Scram: v.format()}), func(n string) { who = n })
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range []struct{ send, want string }{
		{"n,,n=user,r=rOprNGfwEbeRWgbNEkqO", "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"},
		{"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=", "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
		{"", ""},
	} {
		got, _, err := s.Next([]byte(u.send))
		if string(got) != u.want || err != nil {
			t.Fatalf("%q is answered %q, %v; want %q", u.send, got, err, u.want)
		}
	}
	if who != "user" {
		t.Errorf("signed in as %q", who)
	}
}

// TestOurDerivationIsTheLibrarys holds our faster derivation to scram's.
func TestOurDerivationIsTheLibrarys(t *testing.T) {
	client, err := scram.SHA256.NewClient("a", "pässword", "")
	if err != nil {
		t.Fatal(err)
	}
	want, err := client.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	got, err := derive("pässword", []byte("0123456789abcdef"), 4096)
	if err != nil || string(got.StoredKey) != string(want.StoredKey) || string(got.ServerKey) != string(want.ServerKey) {
		t.Errorf("derive = %x, %x, %v; want %x, %x", got.StoredKey, got.ServerKey, err, want.StoredKey, want.ServerKey)
	}
}

func TestUnknownNamesLookLikeOthers(t *testing.T) {
	g := NewAuthenticator(Options{})
	first := func(name string) string {
		s, err := g.Server(Scram, book(mustNew(t, "tim", "x", false)), nil)
		if err != nil {
			t.Fatal(err)
		}
		r, _, err := s.Next([]byte("n,,n=" + name + ",r=abc"))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		_, salt, _ := strings.Cut(string(r), ",")
		return salt
	}
	if a, b := first("nobody"), first("Nobody"); a != b {
		t.Errorf("a name that nobody has shows %q, then %q", a, b)
	}
	if first("nobody") == first("noone") {
		t.Error("all unknown names share a salt")
	}
	if a, b := first("tim"), first("nobody"); len(a) != len(b) || !strings.HasSuffix(b, fmt.Sprintf(",i=%d", iterations)) {
		t.Errorf("known %q and unknown %q differ in form", a, b)
	}
}

// TestRefusalsTellNothing: whatever is wrong with a sign-in, a caller sees the same
// dialogue, and a password costs one derivation of the same length.
func TestRefusalsTellNothing(t *testing.T) {
	known := mustNew(t, "joe", "right", true)
	noPassword := Credential{Name: "eve", Unusable: "off"}
	lookup := func(name string) (Credential, bool) {
		switch name {
		case "joe":
			return known, true
		case "tim": // without a password that CRAM-MD5 may use
			return Credential{Name: "tim", Scram: known.Scram}, true
		case "eve":
			return noPassword, false
		}
		return Credential{Name: name}, false
	}
	for _, mech := range []string{Plain, Login, Cram, Scram} {
		var first string
		for _, name := range []string{"joe", "tim", "eve", "nobody"} {
			g := NewAuthenticator(Options{Nonce: func() string { return "nonce" }, Challenge: func() string { return "<1@x>" }})
			taken := countSlots(g)
			s, err := g.Server(mech, lookup, func(string) { t.Errorf("%s as %s signs in", mech, name) })
			if err != nil {
				t.Fatal(err)
			}
			c, err := by(mech, name, "wrong")
			if err != nil {
				t.Fatal(err)
			}
			seen := refusedDialogue(t, s, c)
			if n := taken(); n != map[string]int{Plain: 1, Login: 1}[mech] {
				t.Errorf("%s as %s: %d derivations", mech, name, n)
			}
			if first == "" {
				first = seen
			}
			if seen != first {
				t.Errorf("%s as %s: %s\nas joe: %s", mech, name, seen, first)
			}
		}
	}
	if v, err := parseVerifier(known.Scram); err != nil || v.Iters != NewAuthenticator(Options{}).decoy.Iters {
		t.Errorf("an unknown name costs another number of iterations: %v", err)
	}
}

// countSlots counts the derivations of g until the function that it returns is called.
func countSlots(g *Authenticator) func() int {
	g.slots = make(chan struct{})
	stop, count := make(chan struct{}), make(chan int)
	go func() {
		for n := 0; ; n++ {
			select {
			case <-g.slots:
				g.slots <- struct{}{}
			case <-stop:
				count <- n
				return
			}
		}
	}()
	return func() int { close(stop); return <-count }
}

// refusedDialogue is what the client of a refused exchange sees: the challenges,
// the salt and the nonce left out.
func refusedDialogue(t *testing.T, s sasl.Server, c sasl.Client) string {
	t.Helper()
	var seen strings.Builder
	_, response, err := c.Start()
	for err == nil {
		var challenge []byte
		if challenge, _, err = s.Next(response); err != nil {
			break
		}
		form := regexp.MustCompile("[rs]=[^,]*").ReplaceAllFunc(challenge, func(b []byte) []byte { return fmt.Append(nil, string(b[0]), len(b) > 20) })
		fmt.Fprintf(&seen, "%s\n", form)
		response, err = c.Next(challenge)
	}
	if refused := (*Refused)(nil); !errors.As(err, &refused) {
		t.Fatalf("%v after %s", err, &seen)
	}
	return seen.String()
}

func TestRightPasswordsAreRemembered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := NewAuthenticator(Options{})
		c := mustNew(t, "a", "old", false)
		if _, err := g.check(book(c), "a", "old"); err != nil {
			t.Fatal(err)
		}
		remembers := func(password string) bool { _, ok := g.remembers(c, password); return ok }
		if !remembers("old") || remembers("new") {
			t.Error("what was right is not remembered, or more than that")
		}
		if _, err := g.check(book(c), "a", "new"); err == nil {
			t.Error("a wrong password passes beside the right one")
		}
		if len(g.right) != 1 {
			t.Errorf("%d entries after one success", len(g.right))
		}
		changed := mustNew(t, "a", "new", false)
		if _, err := g.check(book(changed), "a", "old"); err == nil {
			t.Error("the old password still passes after a change")
		}
		if _, err := g.check(book(), "a", "old"); err == nil {
			t.Error("a deleted account still signs in")
		}
		time.Sleep(rememberFor)
		if remembers("old") {
			t.Error("a success is remembered for ever")
		}
		for i := range rememberMax + 10 {
			g.remember(c, fmt.Sprint(i), rememberFor)
		}
		if len(g.right) > rememberMax {
			t.Errorf("%d entries, more than %d", len(g.right), rememberMax)
		}
	})
}

func FuzzServer(f *testing.F) {
	for _, mech := range []string{Plain, Login, Cram, Scram} {
		f.Add(mech, "\x00tim\x00s3cret", "tim b913a602c7eda7a495b4e6e7334d3890", "")
		f.Add(mech, "n,,n=tim,r=abc", "c=biws,r=abc,p=AAAA", "x")
	}
	// Cheap to derive, so that fuzzing is quick; and the password is not in the seeds.
	v, err := derive("a password that nobody guesses", []byte("salt"), minIterations)
	if err != nil {
		f.Fatal(err)
	}
	lookup := book(Credential{Name: "tim", Scram: v.format(), Secret: "a password that nobody guesses"})
	g := NewAuthenticator(Options{})
	g.decoy.Iters = minIterations
	f.Fuzz(func(t *testing.T, mech, a, b, c string) {
		s, err := g.Server(mech, lookup, func(name string) { t.Errorf("%s: %q, %q, %q signs in as %s", mech, a, b, c, name) })
		if err != nil {
			return
		}
		for _, r := range []string{a, b, c} {
			_, done, err := s.Next([]byte(r))
			if done {
				t.Errorf("%s: %q, %q, %q is done", mech, a, b, c)
			}
			if reply := (mail.Reply{}); errors.As(err, &reply) && !reply.Permanent() {
				t.Errorf("%s: answered %v", mech, reply)
			}
			if err != nil {
				return
			}
		}
	})
}

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase": "where credentials are kept is not this package's business",
		"go-smtp":   "only engine/wire speaks SMTP",
	})
}
