// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"restante/engine/mail"
)

// A Directory knows accounts that are not kept here, and checks their passwords.
type Directory interface {
	ID() string               // differs from that of one with other settings
	CacheTime() time.Duration // for which a right password need not be checked again

	// Check gives the name of the account. An error that is no [Refused] means that
	// the directory gave no answer.
	Check(ctx context.Context, name, password string) (account string, err error)
}

// unavailable answers a sign-in that nobody can decide about now.
func unavailable(cause error) error {
	return mail.Reply{Code: 454, Enhanced: "7.0", Text: "Temporary authentication failure", Cause: cause}
}

// Ask has a directory check a password, unless it was right within its CacheTime.
func (g *Authenticator) Ask(ctx context.Context, d Directory, name, password string) (string, error) {
	c := Credential{Scram: fmt.Sprintf("%q %q", d.ID(), name)}
	if account, ok := g.remembers(c, password); ok {
		return account, nil
	}
	account, err := d.Check(ctx, name, password)
	if refused := (*Refused)(nil); errors.As(err, &refused) {
		return "", err
	}
	if err != nil {
		return "", unavailable(err)
	}
	c.Name = account
	g.remember(c, password, d.CacheTime())
	return account, nil
}
