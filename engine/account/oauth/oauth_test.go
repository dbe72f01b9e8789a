// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/account"
	"restante/internal/deptest"
	"restante/internal/testpeer"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/metabase":       "a Verifier does not know where its settings are stored",
		"/engine/wire":    "a Verifier checks the tokens of any caller",
		"/engine/session": "sessions ask a Verifier",
		"/engine/site":    "imports go down only",
		"/admin":          "imports go down only",
	})
}

func newVerifier(i *testpeer.Issuer) *Verifier {
	return New(Config{Issuer: i.URL, Audience: "smtp.test", Claim: "email"})
}

func isRefused(err error) bool {
	refused := (*account.Refused)(nil)
	return errors.As(err, &refused)
}

// TestTokens: a token is right in all, or refused.
func TestTokens(t *testing.T) {
	i, other := testpeer.NewIssuer(t), testpeer.NewIssuer(t)
	v := newVerifier(i)
	claims := func(pairs ...any) map[string]any {
		m := map[string]any{}
		for n := 0; n < len(pairs); n += 2 {
			m[pairs[n].(string)] = pairs[n+1]
		}
		return m
	}
	right := i.Token(t, nil)
	parts := strings.Split(right, ".")
	foreign := strings.Split(i.Token(t, claims("email", "boss@corp.test")), ".")
	tests := []struct {
		what, token, want string // the account; "": refused
	}{
		{"right", right, "joe@corp.test"},
		{"several audiences", i.Token(t, claims("aud", []string{"x.test", "smtp.test"})), "joe@corp.test"},
		{"verified", i.Token(t, claims("email_verified", true)), "joe@corp.test"},
		{"another issuer, named", i.Token(t, claims("iss", other.URL)), ""},
		{"another issuer's key", other.Token(t, claims("iss", i.URL)), ""},
		{"another audience", i.Token(t, claims("aud", "web.test")), ""},
		{"no audience", i.Token(t, claims("aud", nil)), ""},
		{"expired", i.Token(t, claims("exp", time.Now().Add(-time.Minute).Unix())), ""},
		{"without end", i.Token(t, claims("exp", nil)), ""},
		{"not begun", i.Token(t, claims("nbf", time.Now().Add(time.Hour).Unix())), ""},
		{"without the claim", i.Token(t, claims("email", nil)), ""},
		{"a claim that is no text", i.Token(t, claims("email", 7)), ""},
		{"not verified", i.Token(t, claims("email_verified", false)), ""},
		{"alg none", i.Sign(t, claims("alg", "none"), i.Claims(nil), nil), ""},
		{"alg none, no signature", strings.Join(strings.Split(i.Sign(t, claims("alg", "none"), i.Claims(nil), nil)[:], ".")[:2], ".") + ".", ""},
		{"HS256 with the public key", i.Sign(t, claims("alg", "HS256", "kid", "1"), i.Claims(nil), i.PublicKey()), ""},
		{"other claims behind the signature", parts[0] + "." + foreign[1] + "." + parts[2], ""},
		{"an unknown key", i.Sign(t, claims("alg", "ES256", "kid", "9"), i.Claims(nil), nil), ""},
		{"garbage", "garbage", ""},
		{"empty parts", "..", ""},
		{"nothing", "", ""},
		{"oversize", strings.Repeat("A", 1<<20), ""},
	}
	for _, tt := range tests {
		got, err := v.Check(t.Context(), tt.token)
		if got != tt.want || tt.want == "" && !isRefused(err) {
			t.Errorf("%s: %q, %v; want %q", tt.what, got, err, tt.want)
		}
	}
	if n := i.Requests.Load(); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

// inMemory has the requests of a Verifier answered without a network.
type inMemory struct{ http.Handler }

func (m inMemory) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	m.ServeHTTP(w, r)
	return w.Result(), nil
}

// TestIssuerIsDown: what cannot be checked is no refusal, and what can be goes on.
func TestIssuerIsDown(t *testing.T) {
	i := testpeer.NewIssuer(t)
	synctest.Test(t, func(t *testing.T) {
		v := newVerifier(i)
		v.transport = inMemory{i}
		check := func(what, token string, ok, refused bool) {
			t.Helper()
			synctest.Wait() // go-oidc shares the answer to a request until it has put that away
			if _, err := v.Check(t.Context(), token); (err == nil) != ok || isRefused(err) != refused {
				t.Errorf("%s: %v", what, err)
			}
		}
		later := func() { time.Sleep(askAgain) }
		i.Down.Store(true)
		first := i.Token(t, nil)
		check("down from the beginning", first, false, false)
		i.Down.Store(false)
		check("asked again too soon", first, false, false)
		later()
		check("up", first, true, false)
		i.Down.Store(true)
		check("down, with a known key", first, true, false)
		i.Rotate(t)
		next := i.Token(t, nil)
		check("a new key, too soon", next, false, true)
		later()
		check("a new key while it is down", next, false, false)
		i.Down.Store(false)
		later()
		check("a new key", next, true, false)
		check("the old one is gone", first, false, true)
	})
}

// Many who come first share one request.
func TestKeysAreAskedForOnce(t *testing.T) {
	i := testpeer.NewIssuer(t)
	v := newVerifier(i)
	token := i.Token(t, nil)
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if _, err := v.Check(t.Context(), token); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := i.Requests.Load(); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

func TestCheckIssuer(t *testing.T) {
	for text, ok := range map[string]bool{
		"https://login.corp.example": true, "https://login.corp.example/realm": true, "http://127.0.0.1:8080": true, "http://[::1]:8080": true,
		"http://login.corp.example": false, "http://localhost:8080": false, "login.corp.example": false, "https://": false,
		"https://a:b@login.corp.example": false, "https://login.corp.example?x=y": false, "ftp://127.0.0.1": false,
	} {
		if err := CheckIssuer(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
