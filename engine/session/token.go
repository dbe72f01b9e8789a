// SPDX-License-Identifier: Apache-2.0

package session

import (
	"errors"
	"fmt"
	"strings"

	"github.com/emersion/go-sasl"

	"restante/engine/account"
	"restante/engine/mail"
)

// bearer is the server's side of a mechanism with a token. The token alone says which
// account that is; a name that the caller gives must be the same.
func (x *exchange) bearer() sasl.Server {
	return account.Bearer(x.mechanism, func(name, token string) error {
		s := x.session
		in := &s.policy.SignIn
		x.name = in.account(name)
		if x.refusal = s.deps.Auth.Admit(x.ctx, s.guesser(), x.name); x.refusal != nil {
			return x.refusal
		}
		got, err := in.Tokens.Check(x.ctx, token)
		refused := (*account.Refused)(nil)
		switch {
		case errors.As(err, &refused):
			return &account.Refused{Name: x.name, Reason: refused.Reason}
		case err != nil:
			return mail.Reply{Code: 454, Enhanced: "7.0", Text: "Temporary authentication failure", Cause: err}
		}
		kept, ok := in.Kept(got)
		switch {
		case ok:
			got = kept
		case !in.Outside(got):
			return &account.Refused{Name: x.name, Reason: fmt.Sprintf("token: is for %q, which is no name of an account", got)}
		}
		if x.name != "" && !strings.EqualFold(x.name, got) {
			return &account.Refused{Name: x.name, Reason: fmt.Sprintf("token: is for %q", got)}
		}
		x.proof.source = in.Tokens.ID()
		x.signedIn(got)
		return nil
	})
}
