// SPDX-License-Identifier: Apache-2.0

package account

import (
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"

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
}

// ByPassword are the mechanisms of a SignIn, the strongest first.
var ByPassword = []string{Scram, Cram, Plain, Login}

// Shows reports whether a mechanism shows the host the password.
func Shows(mechanism string) bool { return mechanism == Plain || mechanism == Login }

// Begin starts an exchange by the strongest mechanism that may be used and that the
// host offers. State is that of TLS, nil without it. The error is a mail.Reply whose
// text goes on after the host's name.
func (s SignIn) Begin(offered []string, state *tls.ConnectionState) (string, sasl.Client, error) {
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
	if state == nil && !s.InClear {
		if common = slices.DeleteFunc(common, Shows); len(common) == 0 {
			return "", nil, mail.Reply{Code: 454, Enhanced: "7.11", Text: "offers no TLS, and there is no sign-in without it",
				Cause: errors.New("the password is not sent in clear (RouteClearTextAuth)")}
		}
	}
	mech := common[0]
	if mech == Scram && state != nil && offers(ScramPlus) {
		if bound, err := bindTo(state); err == nil {
			c, err := s.scram(&bound)
			return ScramPlus, c, err
		}
		if !offers(Scram) {
			return s.Begin(slices.DeleteFunc(slices.Clone(offered), func(o string) bool { return strings.EqualFold(o, ScramPlus) }), state)
		}
	}
	c, err := s.client(mech)
	return mech, c, err
}

func (s SignIn) client(mech string) (sasl.Client, error) {
	switch mech {
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
