// SPDX-License-Identifier: Apache-2.0

// Package oauth checks bearer tokens of an OpenID Connect issuer: JSON web tokens
// that it signed. It gets tokens for our own sign-in at other hosts. It is the only
// importer of go-oidc and of x/oauth2.
package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"

	"restante/engine/account"
)

// A Config says whose tokens are taken, and which claim of them names the account.
type Config struct{ Issuer, Audience, Claim string }

// A Verifier checks tokens. It has the keys of its issuer, and asks for them when a
// token has another key. Its methods may be called from anywhere.
type Verifier struct {
	cfg       Config
	client    *http.Client
	transport http.RoundTripper // for client's requests that are made

	discovery sync.Mutex // held while the issuer's configuration is asked for

	mu    sync.Mutex // guards what follows
	keys  oidc.KeySet
	asked map[string]answer // by URL
}

// An answer is what became of the last request for a URL.
type answer struct {
	at  time.Time
	err error
}

const (
	timeout  = 10 * time.Second // for the issuer's answer
	askAgain = 30 * time.Second // after an answer, whatever it was: tokens with made-up keys do not burden the issuer
	maxBody  = 1 << 20
)

// algorithms are those with a key that the issuer alone has.
var algorithms = []string{oidc.RS256, oidc.RS384, oidc.RS512, oidc.ES256, oidc.ES384, oidc.ES512, oidc.PS256, oidc.PS384, oidc.PS512, oidc.EdDSA}

// New makes a Verifier. It asks for nothing.
func New(cfg Config) *Verifier {
	v := &Verifier{cfg: cfg, transport: http.DefaultTransport, asked: map[string]answer{}}
	v.client = &http.Client{
		Transport: v, Timeout: timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return v
}

// ID differs from that of a Verifier with other settings.
func (v *Verifier) ID() string { return fmt.Sprintf("token %q", v.cfg) }

// errTooSoon is the error of a request that follows on another one, which was answered.
var errTooSoon = errors.New("the issuer was asked a moment ago")

// errRequest wraps the error of a request that had no answer.
type errRequest struct{ error }

func (e errRequest) Unwrap() error { return e.error }

// RoundTrip implements http.RoundTripper for the requests of go-oidc: it bounds them
// in number, destination and size.
func (v *Verifier) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkURL(r.URL); err != nil {
		return nil, errRequest{err}
	}
	v.mu.Lock()
	last, known := v.asked[r.URL.String()]
	recent := known && time.Since(last.at) < askAgain
	if !recent {
		v.asked[r.URL.String()] = answer{at: time.Now()}
	}
	v.mu.Unlock()
	if recent && last.err == nil {
		return nil, errTooSoon
	}
	if recent {
		return nil, last.err
	}
	resp, err := v.transport.RoundTrip(r)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", r.URL, resp.Status)
		_ = resp.Body.Close()
	}
	if err != nil {
		err = errRequest{err}
		v.mu.Lock()
		v.asked[r.URL.String()] = answer{time.Now(), err}
		v.mu.Unlock()
		return nil, err
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxBody), resp.Body}
	return resp, nil
}

// keySet gives the issuer's keys, which are discovered first.
func (v *Verifier) keySet(ctx context.Context) (oidc.KeySet, error) {
	if keys := v.known(); keys != nil {
		return keys, nil
	}
	v.discovery.Lock()
	defer v.discovery.Unlock()
	if keys := v.known(); keys != nil {
		return keys, nil
	}
	ctx = oidc.ClientContext(ctx, v.client)
	provider, err := oidc.NewProvider(ctx, v.cfg.Issuer)
	if err != nil {
		return nil, err
	}
	var found struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&found); err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.keys = oidc.NewRemoteKeySet(ctx, found.Keys)
	return v.keys, nil
}

func (v *Verifier) known() oidc.KeySet {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.keys
}

// A watchedKeys notes why no key could be had.
type watchedKeys struct {
	oidc.KeySet
	err error
}

func (k *watchedKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, token)
	if errors.Is(err, errTooSoon) { // another call may have got the keys after this one looked for them
		payload, err = k.KeySet.VerifySignature(ctx, token)
	}
	if request := (errRequest{}); errors.As(err, &request) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		k.err = err
	}
	return payload, err
}

// Check gives the account that a token names. An error that is an [account.Refused] is
// about the token; any other one means that the issuer's keys cannot be had.
func (v *Verifier) Check(ctx context.Context, token string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	set, err := v.keySet(ctx)
	if err != nil {
		return "", fmt.Errorf("issuer %s: %w", v.cfg.Issuer, err)
	}
	keys := &watchedKeys{KeySet: set}
	t, err := oidc.NewVerifier(v.cfg.Issuer, keys, &oidc.Config{ClientID: v.cfg.Audience, SupportedSigningAlgs: algorithms}).Verify(ctx, token)
	if keys.err != nil {
		return "", fmt.Errorf("issuer %s: %w", v.cfg.Issuer, keys.err)
	}
	if err != nil {
		return "", refused("%v", err)
	}
	return v.account(t)
}

func refused(format string, args ...any) error {
	return &account.Refused{Reason: "token: " + fmt.Sprintf(format, args...)}
}

// account reads the claim. A mailbox that the issuer has not verified is what the user
// entered.
func (v *Verifier) account(t *oidc.IDToken) (string, error) {
	var claims map[string]any
	if err := t.Claims(&claims); err != nil {
		return "", refused("%v", err)
	}
	name, _ := claims[v.cfg.Claim].(string)
	switch {
	case name == "":
		return "", refused("has no %s", v.cfg.Claim)
	case v.cfg.Claim == "email" && claims["email_verified"] == false:
		return "", refused("the issuer has not verified %s", name)
	}
	return name, nil
}

// checkURL takes https, and http on this machine by its address: nobody can answer in
// the place of either.
func checkURL(u *url.URL) error {
	ip, err := netip.ParseAddr(u.Hostname())
	local := err == nil && ip.IsLoopback()
	if u.Hostname() == "" || u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return fmt.Errorf("%q is no https:// URL, nor an http:// one of a loopback address", u)
	}
	return nil
}

// CheckIssuer returns an error for what is no URL of an issuer.
func CheckIssuer(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.ContainsAny(text, " \t") {
		return fmt.Errorf("%q is no URL of an issuer, such as https://login.corp.example", text)
	}
	return checkURL(u)
}
