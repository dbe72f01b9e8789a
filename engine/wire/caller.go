// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"crypto/tls"

	"restante/engine/mail"
)

// Hello is the name that the caller greeted with, "" before EHLO and HELO, and
// again after STARTTLS.
func (c *Caller) Hello() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hello
}

// TLS is the state of the encryption; ok is false in clear.
func (c *Caller) TLS() (state tls.ConnectionState, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tls == nil {
		return tls.ConnectionState{}, false
	}
	return *c.tls, true
}

// SignIn says that the caller has proved to be account. Within an AUTH
// exchange it takes effect when the exchange ends with 235, otherwise at once.
func (c *Caller) SignIn(account string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.signing {
		c.claimed = account
		return
	}
	c.account = account
}

// Account is who signed in, or "". STARTTLS voids it (RFC 3207 §4.2).
func (c *Caller) Account() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.account
}

// Disconnect ends the connection with reply, a 421 as a rule. It waits for nothing:
// a verb that is being answered gets its answer first, a body that is still
// coming is broken off, a reversed connection is cut. Further calls do nothing.
func (c *Caller) Disconnect(reply mail.Reply) {
	if c.disconnect != nil {
		c.disconnect(reply)
	}
}

// beginSignIn makes SignIn wait for endSignIn.
func (c *Caller) beginSignIn() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.signing, c.claimed = true, ""
}

func (c *Caller) endSignIn(ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ok {
		c.account = c.claimed
	}
	c.signing, c.claimed = false, ""
}

func (c *Caller) greeted(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hello = name
}

// encrypted notes the TLS state and forgets what was said in clear.
func (c *Caller) encrypted(state tls.ConnectionState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.tls, c.hello, c.account = &state, "", ""
}
