// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/tls"

	"restante/engine/mail"
)

// Hello is the name that the caller greeted with, "" before EHLO.
func (c *Caller) Hello() string { return "" }

// TLS is the state of the encryption; ok is false in clear.
func (c *Caller) TLS() (state tls.ConnectionState, ok bool) { return }

// SignIn says that the caller has proved to be account.
func (c *Caller) SignIn(account string) {}

// Account is who signed in, or "".
func (c *Caller) Account() string { return "" }

// Kick ends the connection with reply.
func (c *Caller) Kick(reply mail.Reply) {}
