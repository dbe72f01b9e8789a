// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/emersion/go-sasl"
	"github.com/xdg-go/scram"

	"restante/engine/mail"
)

// A SignIn is how we sign in at another host.
type SignIn struct {
	Name       string
	Password   Secret
	Mechanisms []string // that may be used, the strongest first
	InClear    bool     // those that show the password may be used without TLS, too
	Token      Token    // for ByToken; nil: there is none
}

// A Token is an access token of OAuth 2.0 for our sign-in, or the way to get one.
type Token interface {
	Get(ctx context.Context) (string, error)
	Refused(token string) // by the host: the next Get gives another one
}

// ByToken are the mechanisms of a SignIn with a Token.
var ByToken = []string{OAuthBearer, XOAuth2}

// ByPassword are the mechanisms of a SignIn, the strongest first.
var ByPassword = []string{Scram, Cram, Plain, Login}

// Shows reports whether a mechanism shows the host the password.
func Shows(mechanism string) bool { return mechanism == Plain || mechanism == Login }

// Begin starts an exchange by the strongest mechanism that may be used and that the
// host offers. State is that of TLS, nil without it. The error is a mail.Reply whose
// text goes on after the host's name.
func (s SignIn) Begin(ctx context.Context, offered []string, state *tls.ConnectionState) (string, sasl.Client, error) {
	offers := func(mech string) bool {
		return slices.ContainsFunc(offered, func(o string) bool { return strings.EqualFold(o, mech) })
	}
	common := slices.DeleteFunc(slices.Clone(s.Mechanisms), func(mech string) bool { return !offers(mech) && !(mech == Scram && state != nil && offers(ScramPlus)) })
	if len(common) == 0 {
		what := "it offers none"
		if len(offered) > 0 {
			what = "it offers " + strings.Join(offered, ", ")
		}
		return "", nil, mail.Reply{Code: 454, Enhanced: "7.4", Text: "offers no sign-in that can be used",
			Cause: fmt.Errorf("%s; the settings allow %s (RouteAction)", what, strings.Join(s.Mechanisms, ", "))}
	}
	if state == nil {
		why := "a token is never sent in clear"
		common = slices.DeleteFunc(common, func(mech string) bool { return slices.Contains(ByToken, mech) })
		if s.Token == nil && !s.InClear {
			why, common = "the password is not sent in clear (RouteClearTextAuth)", slices.DeleteFunc(common, Shows)
		}
		if len(common) == 0 {
			return "", nil, mail.Reply{Code: 454, Enhanced: "7.11", Text: "offers no TLS, and there is no sign-in without it", Cause: errors.New(why)}
		}
	}
	mech := common[0]
	if mech == Scram && state != nil && offers(ScramPlus) {
		if bound, err := bindTo(state); err == nil {
			c, err := s.scram(&bound)
			return ScramPlus, c, err
		}
		if !offers(Scram) {
			return s.Begin(ctx, slices.DeleteFunc(slices.Clone(offered), func(o string) bool { return strings.EqualFold(o, ScramPlus) }), state)
		}
	}
	c, err := s.client(ctx, mech)
	return mech, c, err
}

func (s SignIn) client(ctx context.Context, mech string) (sasl.Client, error) {
	switch mech {
	case OAuthBearer, XOAuth2:
		token, err := s.Token.Get(ctx)
		if err != nil {
			return nil, mail.Reply{Code: 454, Enhanced: "7.0", Text: "cannot be signed in to now: there is no access token", Cause: err}
		}
		return &tokenClient{mech: mech, name: s.Name, token: token, from: s.Token}, nil
	case Plain:
		return sasl.NewPlainClient("", s.Name, string(s.Password)), nil
	case Login:
		return &loginClient{name: s.Name, password: s.Password}, nil
	case Cram:
		return &cramClient{name: s.Name, password: s.Password}, nil
	case Scram:
		return s.scram(nil)
	}
	return nil, fmt.Errorf("sign-in by %q is not known", mech)
}

func (s SignIn) scram(bound *scram.ChannelBinding) (sasl.Client, error) {
	c, err := scram.SHA256.NewClient(s.Name, string(s.Password), "")
	if err != nil {
		return nil, mail.Reply{Code: 454, Enhanced: "7.4", Text: "cannot be signed in to", Cause: fmt.Errorf("the name or the password for SCRAM-SHA-256 (RFC 4013): %w", err)}
	}
	c.WithMinIterations(minIterations)
	if bound != nil {
		return &scramClient{ScramPlus, c.NewConversationWithChannelBinding(*bound)}, nil
	}
	return &scramClient{Scram, c.NewConversation()}, nil
}

// bindTo ties an exchange to its connection. RFC 9266 §3: TLS 1.3 has tls-exporter.
func bindTo(state *tls.ConnectionState) (scram.ChannelBinding, error) {
	if state.Version >= tls.VersionTLS13 {
		return scram.NewTLSExporterBinding(state)
	}
	return scram.NewTLSServerEndpointBinding(state)
}

// tokenClient sends a token, by RFC 7628 or by Google's and Microsoft's form of it.
type tokenClient struct {
	mech, name, token string
	from              Token
	said              string // by the host, of its refusal
}

func (c *tokenClient) Start() (string, []byte, error) {
	head := "user=" + c.name
	if c.mech == OAuthBearer {
		head = "n,a=" + strings.NewReplacer("=", "=3D", ",", "=2C").Replace(c.name) + "," // RFC 5801 §4
	}
	return c.mech, []byte(head + "\x01auth=Bearer " + c.token + "\x01\x01"), nil
}

// Next answers a refusal, which comes as a challenge (RFC 7628 §3.2.3).
func (c *tokenClient) Next(challenge []byte) ([]byte, error) {
	if c.said != "" {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	c.said = "the host says of the token: " + printable(challenge)
	if c.mech == OAuthBearer {
		return []byte{1}, nil
	}
	return []byte{}, nil
}

// printable is a text of a host on one line.
func printable(text []byte) string {
	const most = 300
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == utf8.RuneError {
			return ' '
		}
		return r
	}, string(text[:min(len(text), most)]))
}

// Refused has another token used from now on, and gives what the host said of this one.
func (c *tokenClient) Refused() string {
	c.from.Refused(c.token)
	return c.said
}

// loginClient answers by order, not by prompt: servers word them differently.
// It sends no initial response, which some servers refuse.
type loginClient struct {
	name     string
	password Secret
	asked    int
}

func (c *loginClient) Start() (string, []byte, error) { return Login, nil, nil }

func (c *loginClient) Next([]byte) ([]byte, error) {
	c.asked++
	switch c.asked {
	case 1:
		return []byte(c.name), nil
	case 2:
		return []byte(c.password), nil
	}
	return nil, sasl.ErrUnexpectedServerChallenge
}

type cramClient struct {
	name     string
	password Secret
	asked    bool
}

func (c *cramClient) Start() (string, []byte, error) { return Cram, nil, nil }

func (c *cramClient) Next(challenge []byte) ([]byte, error) {
	if c.asked {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	c.asked = true
	digest := cramDigest(c.password, string(challenge))
	return []byte(c.name + " " + hex.EncodeToString(digest)), nil
}

// scramClient also makes the host prove that it knows the password.
type scramClient struct {
	mech string
	conv *scram.ClientConversation
}

func (c *scramClient) Start() (string, []byte, error) {
	first, err := c.conv.Step("")
	return c.mech, []byte(first), err
}

// Proved says whether the host has proved that it knows the password.
func (c *scramClient) Proved() error {
	if !c.conv.Valid() {
		return errors.New("the host has not proved that it knows the password")
	}
	return nil
}

func (c *scramClient) Next(challenge []byte) ([]byte, error) {
	if c.conv.Done() {
		return nil, sasl.ErrUnexpectedServerChallenge
	}
	r, err := c.conv.Step(string(challenge))
	return []byte(r), err
}
