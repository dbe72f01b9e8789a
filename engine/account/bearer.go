// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"
)

// The mechanisms of callers with a token.
const (
	OAuthBearer = "OAUTHBEARER" // RFC 7628
	XOAuth2     = "XOAUTH2"     // Google's and Microsoft's
)

// Tokens checks bearer tokens.
type Tokens interface {
	ID() string // differs from that of one with other settings

	// Check gives the account that a token names. An error that is no [Refused] means
	// that nobody can tell now.
	Check(ctx context.Context, token string) (account string, err error)
}

// Bearer is the server's side of OAUTHBEARER and XOAUTH2. Check gets the name that the
// caller gives, which may be "", and the token; its error ends the exchange.
func Bearer(mech string, check func(name, token string) error) sasl.Server {
	parse := parseOAuthBearer
	if mech == XOAuth2 {
		parse = parseXOAuth2
	}
	s := new(steps)
	answer := func(r []byte) ([]byte, error) {
		name, token, ok := parse(string(r))
		if !ok {
			return nil, malformed(errors.New(mech + ": wants a name and auth=Bearer TOKEN"))
		}
		err := check(name, token)
		if refused := (*Refused)(nil); !errors.As(err, &refused) {
			return nil, err
		}
		// RFC 7628 §3.2.2: the refusal is said in a challenge, which the client answers.
		*s = steps{func([]byte) ([]byte, error) { return nil, err }}
		return []byte(`{"status":"invalid_token","schemes":"bearer"}`), nil
	}
	*s = steps{func(r []byte) ([]byte, error) {
		if r != nil {
			return answer(r)
		}
		*s = steps{answer}
		return []byte{}, nil
	}}
	return s
}

// parseOAuthBearer reads RFC 7628 §3.1 without channel binding:
// n,a=NAME,^Ahost=...^Aport=...^Aauth=Bearer TOKEN^A^A
func parseOAuthBearer(s string) (name, token string, ok bool) {
	head, rest, found := strings.Cut(s, "\x01")
	flag, authzid, named := strings.Cut(strings.TrimSuffix(head, ","), ",")
	if !found || flag != "n" || !named || !strings.HasSuffix(head, ",") || strings.Contains(authzid, ",") {
		return "", "", false
	}
	if authzid != "" {
		escaped, is := strings.CutPrefix(authzid, "a=")
		if !is {
			return "", "", false
		}
		name = strings.NewReplacer("=2C", ",", "=3D", "=").Replace(escaped) // RFC 5801 §4
	}
	token, ok = bearerToken(rest)
	return name, token, ok
}

// parseXOAuth2 reads user=NAME^Aauth=Bearer TOKEN^A^A.
func parseXOAuth2(s string) (name, token string, ok bool) {
	head, rest, _ := strings.Cut(s, "\x01")
	name, ok = strings.CutPrefix(head, "user=")
	if !ok || name == "" {
		return "", "", false
	}
	token, ok = bearerToken(rest)
	return name, token, ok
}

// bearerToken finds the token among pairs that each end with ^A, the last one with two.
func bearerToken(s string) (token string, ok bool) {
	pairs, ended := strings.CutSuffix(s, "\x01\x01")
	if !ended {
		return "", false
	}
	for pair := range strings.SplitSeq(pairs, "\x01") {
		scheme, value, _ := strings.Cut(pair, " ")
		if strings.EqualFold(scheme, "auth=Bearer") && token == "" {
			token = strings.TrimSpace(value)
		}
	}
	return token, token != ""
}
