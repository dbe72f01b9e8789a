// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"strconv"
	"strings"

	"restante/engine/mail"
)

// rule says when a verb may come.
type rule int

const (
	known rule = 1 << iota
	beforeEHLO
	beforeTLS        // in clear where TLS is demanded (RFC 3207 §4)
	onODMR           // on the port of RFC 2645
	notInTransaction // not within a transaction
	notImplemented   // known, and not done here
)

func ruleOf(verb string) rule {
	switch verb {
	case "EHLO", "NOOP", "QUIT":
		return known | beforeEHLO | beforeTLS | onODMR
	case "HELO", "RSET":
		return known | beforeEHLO | onODMR
	case "STARTTLS":
		return known | beforeEHLO | beforeTLS | onODMR | notInTransaction
	case "AUTH", "ATRN":
		return known | onODMR | notInTransaction
	case "MAIL", "ETRN", "TURN":
		return known | notInTransaction
	case "RCPT", "DATA", "BDAT":
		return known
	case "VRFY", "HELP":
		return known | beforeEHLO
	case "EXPN", "SEND", "SOML", "SAML":
		return known | beforeEHLO | notImplemented
	}
	return 0
}

// command runs one line. It gives what go-smtp is to do about it, or "" when
// it has been answered.
func (c *conn) command(line string) string {
	if i := strings.IndexFunc(line, isControl); i >= 0 {
		c.reject(mail.Reply{Code: 500, Enhanced: "5.2", Text: "control octet in a command"})
		return ""
	}
	verb, arg, _ := strings.Cut(strings.TrimRight(line, " \t"), " ")
	verb, arg = upper(verb), strings.TrimLeft(arg, " \t")
	if verb != "BDAT" {
		c.inRefusedBDAT = false
	}
	if r := c.checkSequence(verb); r.Code != 0 {
		if verb == "BDAT" {
			return c.rejectChunk(arg, r)
		}
		c.reject(r)
		return ""
	}
	return c.dispatch(verb, arg)
}

// upper makes ASCII letters capitals. Strings.ToUpper would make verbs of words
// that hold other letters: a dotless i, a long s.
func upper(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' {
			r -= 'a' - 'A'
		}
		return r
	}, s)
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// checkSequence refuses a verb that may not come now. The zero Reply lets it pass.
func (c *conn) checkSequence(verb string) mail.Reply {
	its := ruleOf(verb)
	is := func(r rule) bool { return its&r != 0 }
	switch {
	case !is(known):
		return mail.Reply{Code: 500, Enhanced: "5.2", Text: "unknown command"}
	case is(notImplemented) || !c.offers(verb):
		return mail.Reply{Code: 502, Enhanced: "5.1", Text: verb + " is not available here"}
	case c.cfg.Verbs.ODMR && !is(onODMR):
		return mail.Reply{Code: 502, Enhanced: "5.1", Text: verb + " is not available on this port"}
	case c.cfg.RequireTLS && !c.encrypted && !is(beforeTLS):
		return mail.Reply{Code: 530, Enhanced: "7.0", Text: "STARTTLS first"}
	case !c.greeted && !is(beforeEHLO):
		return mail.Reply{Code: 503, Enhanced: "5.1", Text: "EHLO first"}
	case c.inTransaction && is(notInTransaction):
		return mail.Reply{Code: 503, Enhanced: "5.1", Text: verb + " within a transaction"}
	}
	return mail.Reply{}
}

// offers says that the configuration and the Session have what verb needs.
func (c *conn) offers(verb string) bool {
	_, releases := c.sess.(Releaser)
	switch verb {
	case "STARTTLS":
		return c.cfg.TLS != nil
	case "AUTH":
		_, ok := c.sess.(Authenticator)
		return ok
	case "ETRN":
		return c.cfg.Verbs.ETRN && releases
	case "TURN":
		return c.cfg.Verbs.TURN && releases
	case "ATRN":
		return c.cfg.Verbs.ATRN && releases
	case "BDAT":
		return c.cfg.Verbs.Chunking
	}
	return true
}

func (c *conn) dispatch(verb, arg string) string {
	switch verb {
	case "EHLO", "HELO":
		return c.hello(arg, verb == "EHLO")
	case "MAIL":
		return c.mail(arg)
	case "RCPT":
		return c.rcpt(arg)
	case "DATA":
		return c.data(arg)
	case "BDAT":
		return c.bdat(arg)
	case "RSET":
		return c.rset(arg)
	case "NOOP":
		c.respond(mail.Reply{Code: 250, Enhanced: "0.0", Text: "ok"})
	case "QUIT":
		c.quit(arg)
	case "HELP":
		c.respond(mail.Reply{Code: 214, Enhanced: "0.0", Text: "this is SMTP, see RFC 5321"})
	case "VRFY":
		c.respond(mail.Reply{Code: 252, Enhanced: "5.2", Text: "not verified; send, and it will be tried"})
	case "STARTTLS":
		c.startTLS(arg)
	case "AUTH":
		c.auth(arg)
	case "ETRN":
		c.etrn(arg)
	case "TURN", "ATRN":
		c.turn(arg, verb == "ATRN")
	}
	return ""
}

// hello answers EHLO and HELO. IIS's clients leave the name out at times; they
// are known by their address then.
func (c *conn) hello(name string, extended bool) string {
	if name == "" {
		name = literal(c.caller)
	}
	if strings.ContainsAny(name, " \t") || len(name) > 255 {
		c.reject(mail.Reply{Code: 501, Enhanced: "5.4", Text: "one name, please"})
		return ""
	}
	if h, ok := c.sess.(Hearer); ok {
		r := c.callSession("hello", func() mail.Reply { return h.Hello(c.ctx, name, extended) })
		if c.closed {
			return ""
		}
		if !r.Positive() {
			c.respond(r)
			return ""
		}
	}
	c.greeted = true
	c.caller.greeted(name)
	text := c.cfg.Hostname + " greets " + name
	line := "HELO x\r\n"
	if extended {
		text += c.extensions()
		line = "EHLO x\r\n"
	}
	c.setReply(mail.Reply{Code: 250, Text: text}, noStatus)
	return line
}

func literal(c *Caller) string {
	ip := c.Remote.Addr()
	switch {
	case !ip.IsValid():
		return "unknown"
	case ip.Is4():
		return "[" + ip.String() + "]"
	}
	return "[IPv6:" + ip.WithZone("").String() + "]"
}

// extensions is the list of EHLO, each keyword on a line of its own.
func (c *conn) extensions() string {
	var b strings.Builder
	list := func(on bool, keyword string) {
		if on {
			b.WriteString("\n" + keyword)
		}
	}
	v := c.cfg.Verbs
	mechanisms := c.mechanisms()
	signIn := len(mechanisms) > 0 || c.caller.Account() != ""
	list(v.Pipelining, "PIPELINING")
	if !v.ODMR {
		list(true, strings.TrimSuffix("SIZE "+strconv.FormatInt(max(c.cfg.MaxSize, 0), 10), " 0"))
		list(v.EightBit, "8BITMIME")
		list(v.Chunking, "CHUNKING")
		list(v.DSN, "DSN")
		list(c.offers("ETRN"), "ETRN")
		// RFC 5321 §F.1: TURN is only for those who can prove who they are.
		list(c.offers("TURN") && signIn, "TURN")
	}
	list(v.EnhancedCodes, "ENHANCEDSTATUSCODES")
	list(c.offers("ATRN") && (signIn || v.ODMR), "ATRN") // RFC 2645 §4: must be listed there
	list(c.offers("STARTTLS") && !c.encrypted, "STARTTLS")
	if len(mechanisms) > 0 {
		names := strings.Join(mechanisms, " ")
		list(true, "AUTH "+names)
		list(true, "AUTH="+names) // what Outlook Express 4 and Exchange 5.0 look for
	}
	return b.String()
}

func (c *conn) mail(arg string) string {
	m, r := parseMail(arg, c.cfg.Verbs, c.offers("AUTH"))
	if r.Code != 0 {
		c.reject(r)
		return ""
	}
	if c.cfg.MaxSize > 0 && m.Size > c.cfg.MaxSize { // no error: SIZE is made for asking
		c.respond(tooBig(c.cfg.MaxSize))
		return ""
	}
	c.now.mail, c.now.style = m, batched
	return c.forward("MAIL FROM:<>\r\n")
}

func (c *conn) rcpt(arg string) string {
	if !c.inTransaction {
		c.reject(needMail)
		return ""
	}
	r, bad := parseRcpt(arg, c.cfg.Verbs)
	if bad.Code != 0 {
		c.rcptCommands++
		c.reject(bad)
		return ""
	}
	c.now.rcpt, c.now.style = r, batched
	return c.forward("RCPT TO:<x@x>\r\n")
}

var (
	needMail     = mail.Reply{Code: 503, Enhanced: "5.1", Text: "MAIL first"}
	needRcpt     = mail.Reply{Code: 503, Enhanced: "5.1", Text: "RCPT first"}
	noRecipients = mail.Reply{Code: 554, Enhanced: "5.1", Text: "no valid recipients"}
	noArgument   = mail.Reply{Code: 501, Enhanced: "5.4", Text: "no argument, please"}
)

// checkRecipients refuses a body that nobody would get. The zero Reply lets it pass.
func (c *conn) checkRecipients() mail.Reply {
	switch {
	case !c.inTransaction:
		return needMail
	case c.rcptCommands == 0:
		return needRcpt
	case c.rcptAccepted == 0:
		return noRecipients
	}
	return mail.Reply{}
}

func (c *conn) data(arg string) string {
	r := c.checkRecipients()
	if arg != "" {
		r = noArgument
	}
	if r.Code != 0 {
		c.reject(r)
		return ""
	}
	return c.forward("DATA\r\n")
}

func (c *conn) rset(arg string) string {
	if arg != "" {
		c.reject(noArgument)
		return ""
	}
	c.setReply(mail.Reply{Code: 250, Enhanced: "0.0", Text: "ok"}, batched)
	return "RSET\r\n"
}

func (c *conn) quit(arg string) {
	if arg != "" {
		c.reject(noArgument)
		return
	}
	c.sayGoodbye(mail.Reply{Code: 221, Enhanced: "0.0", Text: c.cfg.Hostname + " closes the connection"})
}

// startTLS answers STARTTLS. What was read behind it came in clear, perhaps
// from somebody between us and the caller: it is dropped unseen (RFC 3207 §6).
func (c *conn) startTLS(arg string) {
	switch {
	case arg != "":
		c.reject(noArgument)
		return
	case c.encrypted:
		c.reject(mail.Reply{Code: 503, Enhanced: "5.1", Text: "TLS is on already"})
		return
	}
	c.respond(mail.Reply{Code: 220, Enhanced: "0.0", Text: "go ahead"})
	c.in.drop()
	if c.closed || !c.handshake() {
		c.closed = true
		return
	}
	c.dialogue = dialogue{encrypted: true, errorCount: c.errorCount, restart: true}
	c.protect("reset", c.sess.Reset)
}
