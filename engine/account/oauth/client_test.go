// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"restante/engine/account"
)

// A fakeServer answers requests by a function, and keeps their forms.
type fakeServer struct {
	answer func(n int, form url.Values) (code int, body string)

	mu    sync.Mutex // guards what follows
	forms []url.Values
	urls  []string
}

func (f *fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.forms, f.urls = append(f.forms, form), append(f.urls, r.URL.String())
	n := len(f.forms)
	f.mu.Unlock()
	time.Sleep(time.Second) // of the bubble
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	code, body := f.answer(n, form)
	if code == 0 {
		return nil, errors.New("connection refused")
	}
	h := http.Header{"Content-Type": {"application/json"}}
	if code == http.StatusTemporaryRedirect {
		h.Set("Location", "https://elsewhere.test/token")
	}
	return &http.Response{StatusCode: code, Status: fmt.Sprint(code, " ", http.StatusText(code)), Header: h, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func (f *fakeServer) asked() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.forms)
}

var (
	byRefresh = Grant{TokenURL: "https://login.test/token", DeviceURL: "https://login.test/device", ClientID: "app", Refresh: "r0", Scopes: "mail offline"}
	byClient  = Grant{TokenURL: "https://login.test/token", ClientID: "app", Secret: "hush", Scopes: "mail"}
)

func numbered(n int, _ url.Values) (int, string) {
	return 200, fmt.Sprintf(`{"access_token":"a%d","token_type":"Bearer","expires_in":3600,"refresh_token":"r%d"}`, n, n)
}

// Fifty callers ask once; the token is used until a minute before its end, and then the
// refresh token that came with it.
func TestTokensAreAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeServer{answer: numbered}
		tokens := &Tokens{Transport: f}
		ask := func(want string) {
			t.Helper()
			var all sync.WaitGroup
			for range 50 {
				all.Go(func() {
					if got, err := tokens.Token(t.Context(), byRefresh); got != want || err != nil {
						t.Errorf("Token = %q, %v; want %q", got, err, want)
					}
				})
			}
			all.Wait()
		}
		ask("a1")
		time.Sleep(58 * time.Minute)
		ask("a1")
		time.Sleep(2 * time.Minute)
		ask("a2")
		tokens.Refused(byRefresh, "a1") // an older one
		ask("a2")
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { tokens.Refused(byRefresh, "a2") })
		}
		all.Wait()
		ask("a3")
		if newer, ok := tokens.Newer(byRefresh); newer != "r3" || !ok {
			t.Errorf("the newer refresh token is %q, %v", newer, ok)
		}
		time.Sleep(23 * time.Hour)
		if newer, ok := tokens.Newer(byRefresh); ok {
			t.Errorf("a newer refresh token is given on the same day: %q", newer)
		}
		time.Sleep(time.Hour)
		if newer, ok := tokens.Newer(byRefresh); newer != "r3" || !ok {
			t.Errorf("on the next day it is %q, %v", newer, ok)
		}
		if got, err := tokens.Token(t.Context(), byClient); got != "a4" || err != nil {
			t.Errorf("another grant gets %q, %v", got, err)
		}
		var said []string
		for _, form := range f.forms {
			said = append(said, form.Encode())
		}
		want := []string{
			"client_id=app&grant_type=refresh_token&refresh_token=r0", "client_id=app&grant_type=refresh_token&refresh_token=r1",
			"client_id=app&grant_type=refresh_token&refresh_token=r2", "client_id=app&client_secret=hush&grant_type=client_credentials&scope=mail",
		}
		if strings.Join(said, "\n") != strings.Join(want, "\n") {
			t.Errorf("the server was asked\n%s", strings.Join(said, "\n"))
		}
	})
}

// The error names the server and its words, without what was sent, and is given to others
// for half a minute.
func TestTokenServersThatGiveNone(t *testing.T) {
	for _, tt := range []struct {
		code       int
		body, want string
	}{
		{400, `{"error":"invalid_grant","error_description":"AADSTS700082: The refresh token has expired\r\nTrace ID: x"}`,
			"the token server login.test says invalid_grant: AADSTS700082: The refresh token has expired Trace ID: x; sign in anew by `domain oauth`"},
		{401, `{"error":"invalid_client","error_description":"` + strings.Repeat("no ", 500) + `"}`, "the token server login.test says invalid_client: no no"},
		{503, "<html>down</html>", "the token server login.test answers 503 Service Unavailable"},
		{0, "", "the token server login.test does not answer: connection refused"},
		{200, "{}", "the token server login.test: oauth2: server response missing access_token"},
		{200, "<html>", "the token server login.test: oauth2: cannot parse json"},
		{307, "", "the token server login.test answers 307 Temporary Redirect"},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeServer{answer: func(int, url.Values) (int, string) { return tt.code, tt.body }}
			tokens := &Tokens{Transport: f}
			for _, g := range []Grant{byRefresh, byClient} {
				before := f.asked()
				var all sync.WaitGroup
				for range 10 {
					all.Go(func() {
						_, err := tokens.Token(t.Context(), g)
						if err == nil || !strings.HasPrefix(err.Error(), tt.want) || len(err.Error()) > 500 || strings.Contains(err.Error(), "hush") || strings.Contains(err.Error(), "r0") {
							t.Errorf("%d %s: %v, want %s", tt.code, tt.body, err, tt.want)
						}
					})
				}
				all.Wait()
				if n := f.asked() - before; n != 1 {
					t.Errorf("%d: asked %d times", tt.code, n)
				}
			}
			f.answer = numbered
			time.Sleep(askAgain)
			if _, err := tokens.Token(t.Context(), byRefresh); err != nil {
				t.Errorf("%d: half a minute later: %v", tt.code, err)
			}
			for _, one := range f.urls {
				if one != byRefresh.TokenURL {
					t.Errorf("%s was asked", one)
				}
			}
		})
	}
}

func TestGrantsThatAreNotComplete(t *testing.T) {
	for _, tt := range []struct {
		grant Grant
		want  string
	}{
		{Grant{Refresh: "r"}, "there is no RouteOauthClientId"},
		{Grant{ClientID: "app"}, "there is no RouteOauthRefreshToken, which `domain oauth` gets"},
	} {
		if _, err := new(Tokens).Token(t.Context(), tt.grant); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%+v: %v", tt.grant, err)
		}
	}
}

// A caller that gives up says nothing of the server to the others.
func TestCallersThatGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := &Tokens{Transport: &fakeServer{answer: numbered}}
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 2 {
			all.Go(func() {
				if _, err := tokens.Token(ctx, byRefresh); !errors.Is(err, context.Canceled) {
					t.Errorf("after the end of the context: %v", err)
				}
			})
		}
		synctest.Wait()
		cancel()
		all.Wait()
		if _, err := tokens.Token(t.Context(), byRefresh); err != nil {
			t.Errorf("the next caller: %v", err)
		}
	})
}

func TestDeviceCodes(t *testing.T) {
	const code = `{"device_code":"d1","user_code":"ABCD","verification_uri":"https://login.test/go","expires_in":900,"interval":5}`
	pending := `{"error":"authorization_pending"}`
	for _, tt := range []struct {
		name    string
		answers []string // to the question whether it was typed; the last one repeats
		want    account.Secret
		err     string
		after   time.Duration
	}{
		{"typed", []string{pending, `{"error":"slow_down"}`, pending, `{"access_token":"a","refresh_token":"r9"}`}, "r9", "", 34 * time.Second},
		{"not typed", []string{pending}, "", ErrExpired.Error(), 15 * time.Minute},
		{"expired at the server", []string{pending, `{"error":"expired_token"}`}, "", ErrExpired.Error(), 12 * time.Second},
		{"refused", []string{`{"error":"access_denied","error_description":"no"}`}, "", "the token server login.test says access_denied: no", 7 * time.Second},
		{"no refresh token", []string{`{"access_token":"a"}`}, "", "the server gives no refresh token: RouteOauthScopes", 7 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			f := &fakeServer{answer: func(n int, form url.Values) (int, string) {
				if n == 1 {
					return 200, code
				}
				body := tt.answers[min(n-2, len(tt.answers)-1)]
				if strings.Contains(body, "error") {
					return 400, body
				}
				return 200, body
			}}
			tokens := &Tokens{Transport: f}
			start := time.Now()
			c, err := tokens.Begin(t.Context(), byRefresh)
			if err != nil || c.Code != "ABCD" || c.URL != "https://login.test/go" || c.Device != "d1" || !c.Expires.Equal(start.Add(15*time.Minute)) {
				t.Fatalf("%s: Begin = %+v, %v", tt.name, c, err)
			}
			got, err := tokens.Wait(t.Context(), byRefresh, c)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.HasPrefix(err.Error(), tt.err) {
				t.Errorf("%s: %q, %v", tt.name, got, err)
			}
			if took := time.Since(start); took > tt.after {
				t.Errorf("%s: after %v", tt.name, took)
			}
			if f.forms[0].Get("scope") != "mail offline" || f.forms[1].Get("device_code") != "d1" || f.urls[0] != byRefresh.DeviceURL || f.urls[1] != byRefresh.TokenURL {
				t.Errorf("%s: asked %v at %v", tt.name, f.forms, f.urls)
			}
		})
	}
	synctest.Test(t, func(t *testing.T) {
		tokens := &Tokens{Transport: &fakeServer{answer: func(int, url.Values) (int, string) {
			return 400, `{"error":"invalid_scope","error_description":"Invalid device flow scope"}`
		}}}
		if _, err := tokens.Begin(t.Context(), byRefresh); err == nil || err.Error() != "the token server login.test says invalid_scope: Invalid device flow scope" {
			t.Errorf("Begin = %v", err)
		}
	})
}
