// SPDX-License-Identifier: Apache-2.0

package session

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emersion/go-sasl"

	"restante/engine/account"
	"restante/engine/mail"
)

// maxFailures is how many refused sign-ins a connection outlives. RFC 4954 §4
// asks for three at least.
const maxFailures = 3

// Mechanisms lists what AUTH offers this caller now.
func (s *Session) Mechanisms() []string {
	_, secure := s.caller.TLS()
	return s.policy.SignIn.mechanisms(secure, s.remote)
}

// Auth begins an exchange.
func (s *Session) Auth(ctx context.Context, mechanism string) (sasl.Server, error) {
	mechanism = strings.ToUpper(mechanism)
	if !slices.Contains(s.Mechanisms(), mechanism) {
		_, secure := s.caller.TLS()
		return nil, s.refused(ctx, "AUTH", mechanism, s.policy.noMechanism(mechanism, secure, s.remote))
	}
	x := &exchange{ctx: ctx, session: s, mechanism: mechanism}
	server, err := s.deps.Auth.Server(mechanism, s.policy.SignIn.Lookup, x.signedIn)
	if err != nil {
		return nil, mail.Reply{Code: 454, Enhanced: "7.0", Text: "Temporary authentication failure", Cause: err}
	}
	x.Server = server
	return x, nil
}

// An exchange counts what goes wrong and writes down how it ends. It lives no
// longer than the command whose context it has.
type exchange struct {
	sasl.Server
	ctx       context.Context
	session   *Session
	mechanism string
}

func (x *exchange) signedIn(name string) {
	s := x.session
	s.caller.SignIn(name)
	_, secure := s.caller.TLS()
	s.deps.Journal.SignedIn(x.ctx, s.remote, name, x.mechanism, secure)
}

// Next runs one step.
func (x *exchange) Next(response []byte) ([]byte, bool, error) {
	challenge, done, err := x.Server.Next(response)
	if err != nil {
		err = x.failed(err)
	}
	return challenge, done, err
}

func (x *exchange) failed(err error) error {
	s := x.session
	s.failures++
	name := ""
	if refused := (*account.Refused)(nil); errors.As(err, &refused) {
		name = refused.Name
	}
	_, secure := s.caller.TLS()
	s.deps.Journal.SignInRefused(x.ctx, s.remote, name, x.mechanism, secure)
	if s.failures >= maxFailures {
		return mail.Reply{Code: 421, Enhanced: "7.0", Text: "Too many authentication failures, closing connection", Cause: err}
	}
	if r := (mail.Reply{}); errors.As(err, &r) {
		return r
	}
	return mail.Reply{Code: 535, Enhanced: "7.8", Text: "Authentication credentials invalid", Cause: err}
}
