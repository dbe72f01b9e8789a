// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"restante/engine/mail"
	"restante/internal/testpeer"
)

// by begins an exchange by one mechanism.
func by(mech, name, password string) (sasl.Client, error) {
	_, c, err := SignIn{Name: name, Password: Secret(password), Mechanisms: []string{mech}, InClear: true}.Begin(context.Background(), []string{mech}, nil)
	return c, err
}

func TestStrongestMechanismInCommon(t *testing.T) {
	all, shown, proofs := ByPassword, []string{Plain, Login}, []string{Scram, Cram}
	const (
		clear  = "454 4.7.11 offers no TLS, and there is no sign-in without it: the password is not sent in clear (RouteClearTextAuth)"
		common = "454 4.7.4 offers no sign-in that can be used: it offers "
	)
	for _, tt := range []struct {
		allowed []string
		inClear bool
		offered string
		tls     bool
		want    string
	}{
		{all, false, "LOGIN PLAIN CRAM-MD5 SCRAM-SHA-256", true, Scram},
		{all, false, "SCRAM-SHA-1 scram-sha-256", true, Scram},
		{all, false, "LOGIN PLAIN CRAM-MD5", true, Cram},
		{all, false, "LOGIN PLAIN", true, Plain},
		{all, false, "LOGIN XOAUTH2", true, Login},
		{shown, false, "LOGIN XOAUTH2", true, Login},
		{shown, false, "CRAM-MD5 PLAIN SCRAM-SHA-256", true, Plain},
		{proofs, false, "PLAIN LOGIN CRAM-MD5", true, Cram},
		{all, false, "LOGIN PLAIN CRAM-MD5", false, Cram}, // the password is not shown
		{all, false, "LOGIN PLAIN", false, clear},
		{all, true, "LOGIN PLAIN", false, Plain},
		{shown, false, "CRAM-MD5 LOGIN", false, clear},
		{shown, true, "CRAM-MD5 LOGIN", false, Login},
		{all, true, "", true, common + "none; the settings allow SCRAM-SHA-256, CRAM-MD5, PLAIN, LOGIN (RouteAction)"},
		{proofs, true, "PLAIN LOGIN", true, common + "PLAIN, LOGIN; the settings allow SCRAM-SHA-256, CRAM-MD5 (RouteAction)"},
		{all, true, "NTLM GSSAPI", false, common + "NTLM, GSSAPI; "},
		{all, false, "SCRAM-SHA-256-PLUS", false, common},  // there is nothing to be bound to
		{shown, false, "SCRAM-SHA-256-PLUS", true, common}, // nor is it allowed
	} {
		var state *tls.ConnectionState
		if tt.tls {
			state = &tls.ConnectionState{}
		}
		mech, c, err := SignIn{Name: "joe", Password: "pw", Mechanisms: tt.allowed, InClear: tt.inClear}.Begin(t.Context(), strings.Fields(tt.offered), state)
		if err == nil {
			if started, _, err := c.Start(); err != nil || started != mech {
				t.Errorf("%+v: chose %q and began %q, %v", tt, mech, started, err)
			}
		} else if r := (mail.Reply{}); errors.As(err, &r) && !r.Peer {
			mech = r.Error()
		}
		if !strings.HasPrefix(mech, tt.want) {
			t.Errorf("%+v: %s, %v", tt, mech, err)
		}
	}
}

// By SCRAM-SHA-256-PLUS somebody between the two TLS connections is found out.
func TestScramIsBoundToTLS(t *testing.T) {
	ours, theirs := handshake(t)
	_, other := handshake(t)
	in := SignIn{Name: "joe", Password: "pw", Mechanisms: []string{Scram}}
	creds, err := scram.SHA256.NewClient("joe", "pw", "")
	if err != nil {
		t.Fatal(err)
	}
	stored, err := creds.GetStoredCredentialsWithError(scram.KeyFactors{Salt: "0123456789abcdef", Iters: 4096})
	if err != nil {
		t.Fatal(err)
	}
	server, err := scram.SHA256.NewServer(func(string) (scram.StoredCredentials, error) { return stored, nil })
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []tls.ConnectionState{theirs, other} {
		bound, err := scram.NewTLSExporterBinding(&end)
		if err != nil {
			t.Fatal(err)
		}
		conv := server.NewConversationWithChannelBinding(bound)
		mech, c, err := in.Begin(t.Context(), []string{"SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}, &ours)
		if err != nil || mech != ScramPlus {
			t.Fatalf("began by %q, %v", mech, err)
		}
		_, said, err := c.Start()
		for err == nil && !conv.Done() {
			var challenge string
			if challenge, err = conv.Step(string(said)); err == nil {
				said, err = c.Next([]byte(challenge))
			}
		}
		same := end.Version == theirs.Version && string(bound.Data) == string(must(scram.NewTLSExporterBinding(&theirs)).Data)
		if proved := c.(interface{ Proved() error }).Proved() == nil; proved != same || (err == nil) != same {
			t.Errorf("over the same connection %v: proved %v, %v", same, proved, err)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// handshake gives both ends of a TLS connection.
func handshake(t *testing.T) (client, server tls.ConnectionState) {
	t.Helper()
	cert, _ := testpeer.Certificate(t, "mx.test", time.Now().Add(time.Hour))
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	theirs := tls.Server(b, &tls.Config{Certificates: []tls.Certificate{cert}})
	done := make(chan error, 1)
	go func() { done <- theirs.Handshake() }()
	ours := tls.Client(a, &tls.Config{InsecureSkipVerify: true})
	err := ours.Handshake()
	go io.Copy(io.Discard, ours) // session tickets
	if err := errors.Join(err, <-done); err != nil {
		t.Fatal(err)
	}
	return ours.ConnectionState(), theirs.ConnectionState()
}

// fakeToken gives the next token after a refusal.
type fakeToken struct {
	n   int
	err error
}

func (f *fakeToken) Get(context.Context) (string, error) { return fmt.Sprint("t", f.n), f.err }
func (f *fakeToken) Refused(token string) {
	if token == fmt.Sprint("t", f.n) {
		f.n++
	}
}

// Tokens go over TLS alone, by OAUTHBEARER before XOAUTH2, whatever may be sent in clear.
func TestTokensAreSentOverTLS(t *testing.T) {
	for _, tt := range []struct {
		offered string
		tls     bool
		err     error
		want    string // initial response, or of the error
	}{
		{"LOGIN XOAUTH2", true, nil, "XOAUTH2 user=a=b,c@d.test^auth=Bearer t0^^"}, // as Microsoft 365 has it
		{"LOGIN PLAIN XOAUTH2 PLAIN-CLIENTTOKEN OAUTHBEARER XOAUTH", true, nil, "OAUTHBEARER n,a=a=3Db=2Cc@d.test,^auth=Bearer t0^^"},
		{"LOGIN XOAUTH2", false, nil, "454 4.7.11 offers no TLS, and there is no sign-in without it: a token is never sent in clear"},
		{"LOGIN PLAIN SCRAM-SHA-256", true, nil, "454 4.7.4 offers no sign-in that can be used: it offers LOGIN, PLAIN, SCRAM-SHA-256; the settings allow OAUTHBEARER, XOAUTH2"},
		{"XOAUTH2", true, errors.New("the token server is down"), "454 4.7.0 cannot be signed in to now: there is no access token: the token server is down"},
	} {
		var state *tls.ConnectionState
		if tt.tls {
			state = &tls.ConnectionState{}
		}
		in := SignIn{Name: "a=b,c@d.test", Mechanisms: ByToken, InClear: true, Token: &fakeToken{err: tt.err}}
		_, c, err := in.Begin(t.Context(), strings.Fields(tt.offered), state)
		got := ""
		if r := (mail.Reply{}); errors.As(err, &r) {
			got = r.Error()
		} else if mech, first, err := c.Start(); err == nil {
			got = mech + " " + strings.ReplaceAll(string(first), "\x01", "^")
		}
		if !strings.HasPrefix(got, tt.want) {
			t.Errorf("%s, TLS %v: %s", tt.offered, tt.tls, got)
		}
	}
}
