// SPDX-License-Identifier: Apache-2.0

package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"restante/engine/account"
)

// A Grant is by what we get tokens for our own sign-in at another host (RFC 6749): a
// refresh token or, without one, the credentials of the client. Two that are equal are
// the same.
type Grant struct {
	TokenURL, DeviceURL string
	ClientID            string
	Secret              account.Secret // of the client
	Refresh             account.Secret // token; "": none
	Scopes              string         // with blanks between them
}

// Lacks names what is not set, "" for nothing.
func (g Grant) Lacks() string {
	switch {
	case g.ClientID == "":
		return "RouteOauthClientId"
	case g.Refresh == "" && g.Secret == "":
		return "RouteOauthRefreshToken, which `domain oauth` gets, or RouteOauthSecret"
	}
	return ""
}

// Tokens gets access tokens and keeps them until they expire. Its methods may be called
// from anywhere; many callers of one Grant ask its server once. The zero value can be
// used.
type Tokens struct {
	Transport http.RoundTripper // nil: http.DefaultTransport

	mu   sync.Mutex // guards what follows
	kept map[Grant]*keptToken
}

// A keptToken is what is known of one Grant.
type keptToken struct {
	turn chan struct{} // holds one item: who has it may ask

	token   string
	until   time.Time // the token is good
	refresh account.Secret
	told    time.Time // when Newer gave one; zero: never
	err     error     // of the last request
	again   time.Time
}

const (
	// A token that is used for longer than it is good ends a conversation.
	tokenReserve = time.Minute

	// How long a token is taken to be good whose server does not say.
	tokenTime = 30 * time.Minute

	// Grants that are kept. A site has few.
	maxKept = 1000
)

func (t *Tokens) entry(g Grant) *keptToken {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.kept[g]
	if k == nil {
		if t.kept == nil || len(t.kept) >= maxKept {
			t.kept = map[Grant]*keptToken{}
		}
		k = &keptToken{turn: make(chan struct{}, 1), refresh: g.Refresh}
		k.turn <- struct{}{}
		t.kept[g] = k
	}
	return k
}

// Token gives a token that is good. Of an error of the server, callers get the same one
// for half a minute, before it is asked again.
func (t *Tokens) Token(ctx context.Context, g Grant) (string, error) {
	if lacks := g.Lacks(); lacks != "" {
		return "", fmt.Errorf("there is no %s", lacks)
	}
	k := t.entry(g)
	select {
	case <-k.turn:
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
	defer func() { k.turn <- struct{}{} }()
	now := time.Now()
	switch {
	case k.token != "" && now.Before(k.until):
		return k.token, nil
	case k.err != nil && now.Before(k.again):
		return "", k.err
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	got, err := t.get(within, g, k.refresh)
	if err != nil {
		if ctx.Err() != nil { // it says nothing of the server
			return "", context.Cause(ctx)
		}
		k.token, k.err, k.again = "", t.explain(g.TokenURL, err), time.Now().Add(askAgain)
		return "", k.err
	}
	k.err, k.token, k.until = nil, got.AccessToken, got.Expiry.Add(-tokenReserve)
	if got.Expiry.IsZero() {
		k.until = time.Now().Add(tokenTime)
	}
	if got.RefreshToken != "" { // it may be another one
		k.refresh = account.Secret(got.RefreshToken)
	}
	return k.token, nil
}

// Refused has the next call of Token ask for another one, if token is still that which
// it gives: the host has refused it.
func (t *Tokens) Refused(g Grant, token string) {
	k := t.entry(g)
	<-k.turn
	if k.token == token {
		k.token = ""
	}
	k.turn <- struct{}{}
}

// Newer gives the refresh token that came in the place of that of the Grant, once a day:
// some servers end the older one after a time, and there is no need to store each.
func (t *Tokens) Newer(g Grant) (account.Secret, bool) {
	k := t.entry(g)
	<-k.turn
	defer func() { k.turn <- struct{}{} }()
	now := time.Now()
	if k.refresh == g.Refresh || !k.told.IsZero() && now.Sub(k.told) < 24*time.Hour {
		return "", false
	}
	k.told = now
	return k.refresh, true
}

// get asks the server. The refresh token may be a newer one than that of the Grant.
func (t *Tokens) get(ctx context.Context, g Grant, refresh account.Secret) (*oauth2.Token, error) {
	ctx = t.with(ctx)
	if refresh == "" {
		c := clientcredentials.Config{
			ClientID: g.ClientID, ClientSecret: string(g.Secret), TokenURL: g.TokenURL,
			Scopes: strings.Fields(g.Scopes), AuthStyle: oauth2.AuthStyleInParams,
		}
		return c.Token(ctx)
	}
	return g.config().TokenSource(ctx, &oauth2.Token{RefreshToken: string(refresh)}).Token()
}

// config has the client's credentials in the body of each request: not every server
// takes them in a header, and one of a public client has no secret.
func (g Grant) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID: g.ClientID, ClientSecret: string(g.Secret), Scopes: strings.Fields(g.Scopes),
		Endpoint: oauth2.Endpoint{TokenURL: g.TokenURL, DeviceAuthURL: g.DeviceURL, AuthStyle: oauth2.AuthStyleInParams},
	}
}

// with has requests end with ctx, which oauth2 does not see to for all of them, and go by
// a client that follows no redirect: the credentials are for the server that is set.
func (t *Tokens) with(ctx context.Context) context.Context {
	by := t.Transport
	if by == nil {
		by = http.DefaultTransport
	}
	return context.WithValue(ctx, oauth2.HTTPClient, &http.Client{
		Transport:     bounded{ctx, by},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	})
}

type bounded struct {
	ctx context.Context // of the requests of one call
	by  http.RoundTripper
}

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Context().Done() == nil {
		r = r.WithContext(b.ctx)
	}
	return b.by.RoundTrip(r)
}

// explain words an error of a server, without what a request or an answer has beyond
// that.
func (t *Tokens) explain(server string, err error) error {
	host := server
	if u, bad := url.Parse(server); bad == nil {
		host = u.Host
	}
	var said *oauth2.RetrieveError
	var sent *url.Error
	switch {
	case errors.As(err, &said) && said.ErrorCode != "":
		text := said.ErrorCode
		if said.ErrorDescription != "" {
			text += ": " + clip(said.ErrorDescription)
		}
		if said.ErrorCode == "invalid_grant" {
			text += "; sign in anew by `domain oauth`"
		}
		return fmt.Errorf("the token server %s says %s", host, text)
	case errors.As(err, &said):
		return fmt.Errorf("the token server %s answers %s", host, said.Response.Status)
	case errors.As(err, &sent):
		return fmt.Errorf("the token server %s does not answer: %w", host, sent.Err)
	}
	return fmt.Errorf("the token server %s: %s", host, clip(err.Error()))
}

// clip makes one short line of a text of somebody else.
func clip(text string) string {
	text = strings.Join(strings.Fields(text), " ")
	const most = 300
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "..."
	}
	return text
}

// A Code is what a person types at a page of the server to let us sign in (RFC 8628).
type Code struct {
	URL      string    `json:"verification_uri"`
	Complete string    `json:"verification_uri_complete,omitempty"` // the same with the code in it
	Code     string    `json:"user_code"`
	Device   string    `json:"device_code,omitempty"` // for Wait; a secret
	Expires  time.Time `json:"expires,omitzero"`
	Interval int64     `json:"interval,omitempty"` // seconds between questions whether it was typed
}

// Begin asks for a Code.
func (t *Tokens) Begin(ctx context.Context, g Grant) (Code, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	d, err := g.config().DeviceAuth(t.with(ctx))
	if err != nil {
		return Code{}, t.explain(g.DeviceURL, err)
	}
	if d.DeviceCode == "" || d.UserCode == "" || d.VerificationURI == "" {
		return Code{}, t.explain(g.DeviceURL, errors.New("its answer has no code"))
	}
	return Code{URL: d.VerificationURI, Complete: d.VerificationURIComplete, Code: d.UserCode, Device: d.DeviceCode, Expires: d.Expiry, Interval: d.Interval}, nil
}

// ErrExpired means that the code was not typed in time.
var ErrExpired = errors.New("the code has expired before anybody signed in")

// maxInterval bounds what a server may ask for.
const maxInterval = 60

// Wait waits until the code was typed, and gives the refresh token.
func (t *Tokens) Wait(ctx context.Context, g Grant, c Code) (account.Secret, error) {
	got, err := g.config().DeviceAccessToken(t.with(ctx), &oauth2.DeviceAuthResponse{
		DeviceCode: c.Device, Expiry: c.Expires, Interval: min(max(c.Interval, 0), maxInterval),
	})
	var said *oauth2.RetrieveError
	switch {
	case ctx.Err() != nil:
		return "", context.Cause(ctx)
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &said) && said.ErrorCode == "expired_token":
		return "", ErrExpired
	case err != nil:
		return "", t.explain(g.TokenURL, err)
	case got.RefreshToken == "":
		return "", errors.New("the server gives no refresh token: RouteOauthScopes needs the one for it, such as offline_access")
	}
	return account.Secret(got.RefreshToken), nil
}

// CheckEndpoint returns an error for what is no URL to send credentials to.
func CheckEndpoint(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.Fragment != "" || strings.ContainsAny(text, " \t") {
		return fmt.Errorf("%q is no URL of a token server, such as https://login.corp.example/token", text)
	}
	return checkURL(u)
}
