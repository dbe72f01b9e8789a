// SPDX-License-Identifier: Apache-2.0

package wire

import "restante/engine/mail"

// A command is a verb of SMTP: when it may come, and what runs it.
type command struct {
	rule rule
	run  func(c *conn, arg string) string // gives the line for go-smtp, or "" when the verb is answered
}

// rule says when a verb may come.
type rule int

const (
	beforeEHLO       rule = 1 << iota
	beforeTLS             // in clear where commands need TLS (RFC 3207 §4)
	onODMR                // on the port of RFC 2645
	notInTransaction      // not between MAIL and the end of its message
	notImplemented        // known, and not done here
)

// commandOf gives the command of a verb in upper case. A switch is faster
// than a map, and each command line needs it.
func commandOf(verb string) (cmd command, known bool) {
	switch verb {
	case "EHLO":
		return command{beforeEHLO | beforeTLS | onODMR, (*conn).ehlo}, true
	case "HELO":
		return command{beforeEHLO | onODMR, (*conn).helo}, true
	case "MAIL":
		return command{notInTransaction, (*conn).mail}, true
	case "RCPT":
		return command{0, (*conn).rcpt}, true
	case "DATA":
		return command{0, (*conn).data}, true
	case "BDAT":
		return command{0, (*conn).bdat}, true
	case "RSET":
		return command{beforeEHLO | onODMR, (*conn).rset}, true
	case "NOOP":
		return command{beforeEHLO | beforeTLS | onODMR, (*conn).noop}, true
	case "QUIT":
		return command{beforeEHLO | beforeTLS | onODMR, (*conn).quit}, true
	case "HELP":
		return command{beforeEHLO, (*conn).help}, true
	case "VRFY":
		return command{beforeEHLO, (*conn).vrfy}, true
	case "STARTTLS":
		return command{beforeEHLO | beforeTLS | onODMR | notInTransaction, (*conn).startTLS}, true
	case "AUTH":
		return command{onODMR | notInTransaction, (*conn).auth}, true
	case "ETRN":
		return command{notInTransaction, (*conn).etrn}, true
	case "TURN":
		return command{notInTransaction, (*conn).turn}, true
	case "ATRN":
		return command{onODMR | notInTransaction, (*conn).atrn}, true
	case "EXPN", "SEND", "SOML", "SAML":
		return command{beforeEHLO | notImplemented, nil}, true
	}
	return command{}, false
}

// offers says that the configuration has what a verb needs.
func (c *conn) offers(verb string) bool {
	switch verb {
	case "STARTTLS":
		return c.cfg.TLS != nil
	case "ETRN":
		return c.cfg.Verbs.ETRN
	case "TURN":
		return c.cfg.Verbs.TURN
	case "ATRN":
		return c.cfg.Verbs.ATRN || c.cfg.ODMR
	case "BDAT":
		return c.cfg.Verbs.Chunking
	}
	return true
}

// checkSequence refuses a verb that may not come now. The zero Reply lets it
// pass.
func (c *conn) checkSequence(verb string, cmd command, known bool) mail.Reply {
	has := func(r rule) bool { return cmd.rule&r != 0 }
	switch {
	case !known:
		return mail.Reply{Code: 500, Enhanced: "5.2", Text: "Command unrecognized"}
	case has(notImplemented) || !c.offers(verb):
		return mail.Reply{Code: 502, Enhanced: "5.1", Text: verb + " command not implemented"}
	case c.cfg.ODMR && !has(onODMR):
		return mail.Reply{Code: 502, Enhanced: "5.1", Text: verb + " command not available on this port"}
	}
	if !c.encrypted && !has(beforeTLS) {
		if r := c.sess.Permit(c.ctx, verb); !r.Positive() {
			c.now.reported = true
			return r
		}
	}
	switch {
	case !c.greeted && !has(beforeEHLO):
		return mail.Reply{Code: 503, Enhanced: "5.1", Text: "Send EHLO first"}
	case c.inTransaction && has(notInTransaction):
		return mail.Reply{Code: 503, Enhanced: "5.1", Text: verb + " not permitted during a mail transaction"}
	}
	return mail.Reply{}
}
