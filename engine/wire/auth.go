// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"encoding/base64"
	"errors"
	"strings"

	"github.com/emersion/go-sasl"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

const maxAuthLine = 12288 // RFC 4954 §4 calls it sufficient

var (
	badBase64 = mail.Reply{Code: 501, Enhanced: "5.2", Text: "Cannot decode base64 response"}
	cancelled = mail.Reply{Code: 501, Enhanced: "5.2", Text: "Authentication canceled"}
	longAuth  = mail.Reply{Code: 500, Enhanced: "5.6", Text: "Authentication exchange line is too long"}
)

// mechanisms is what the Session lets the caller sign in by now.
func (c *conn) mechanisms() (names []string) {
	c.protect("mechanisms", func() { names = c.sess.Mechanisms() })
	return names
}

// auth answers AUTH, with all of the exchange that follows.
func (c *conn) auth(arg string) string {
	words := strings.Fields(arg)
	if r := c.checkAuth(words); r.Code != 0 {
		return c.reject(r)
	}
	var initial []byte
	if len(words) == 2 {
		var ok bool
		if initial, ok = decodeSASL(words[1]); !ok {
			return c.reject(badBase64)
		}
	}
	c.caller.beginSignIn()
	c.waitAfter(WithinAuth)
	var r mail.Reply
	c.protect("auth", func() { r = c.exchange(params.Upper(words[0]), initial) })
	c.waitAfter("AUTH")
	c.caller.endSignIn(r.Positive())
	switch {
	case c.closed || r.Code == 0:
	case r.Positive():
		c.junk = 0 // once in a connection
		c.respond(r)
	default:
		c.reject(r)
	}
	return ""
}

// checkAuth refuses an AUTH that cannot begin. The zero Reply lets it pass.
func (c *conn) checkAuth(words []string) mail.Reply {
	if c.caller.Account() != "" {
		return mail.Reply{Code: 503, Enhanced: "5.1", Text: "Already authenticated"}
	}
	if len(words) == 0 || len(words) > 2 {
		return params.Syntax("AUTH mechanism [initial-response]")
	}
	return mail.Reply{}
}

// exchange runs mechanism to its end. The zero Reply says that the connection
// ended within it.
func (c *conn) exchange(mechanism string, response []byte) mail.Reply {
	if c.closed {
		return mail.Reply{}
	}
	server, err := c.sess.Auth(c.ctx, mechanism)
	if err != nil {
		return c.authReply(err)
	}
	for {
		challenge, done, err := server.Next(response)
		if err != nil {
			return c.authReply(err)
		}
		if done && len(challenge) == 0 {
			return mail.Reply{Code: 235, Enhanced: "7.0", Text: "Authentication successful"}
		}
		var r mail.Reply
		if response, r = c.challenge(challenge); r.Code != 0 || c.closed {
			return r
		}
		if done { // the mechanism ends with data of the server (RFC 4954 §4)
			server = finalResponse{}
		}
	}
}

// finalResponse waits for the empty response to data that came with success.
type finalResponse struct{}

func (finalResponse) Next(response []byte) ([]byte, bool, error) {
	if len(response) > 0 {
		return nil, false, sasl.ErrUnexpectedClientResponse
	}
	return nil, true, nil
}

// challenge sends one and returns the response, or the Reply that ends the
// exchange.
func (c *conn) challenge(challenge []byte) ([]byte, mail.Reply) {
	c.out = append(c.out, "334 "...)
	c.out = base64.StdEncoding.AppendEncode(c.out, challenge)
	c.out = append(c.out, '\r', '\n')
	line, err := c.line(maxAuthLine)
	switch {
	case errors.Is(err, errLong):
		return nil, longAuth
	case err != nil:
		c.readError(err)
		return nil, mail.Reply{}
	case string(line) == "*":
		return nil, cancelled
	}
	response, ok := decodeSASL(string(line))
	if !ok {
		return nil, badBase64
	}
	return response, mail.Reply{}
}

// decodeSASL reads strict base64; "=" is an empty response (RFC 4954 §4). What
// it gives is never nil.
func decodeSASL(s string) ([]byte, bool) {
	if s == "=" {
		return []byte{}, true
	}
	if strings.ContainsAny(s, "\r\n") { // which the decoder would pass over
		return nil, false
	}
	b, err := base64.StdEncoding.Strict().DecodeString(s)
	return b, err == nil
}

// authReply is the reply to an exchange that the Session ended with err.
func (c *conn) authReply(err error) mail.Reply {
	c.now.reported = true
	var r mail.Reply
	if errors.As(err, &r) && r.Code/100 >= 4 {
		return r
	}
	return mail.Reply{Code: 535, Enhanced: "7.8", Text: "Authentication credentials invalid", Cause: err}
}
