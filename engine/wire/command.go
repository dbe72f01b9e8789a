// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

// maxHello bounds the name of EHLO that the Session gets.
const maxHello = 255

// command runs one line. It gives what go-smtp is to do about it, or "" when
// it has been answered.
func (c *conn) command(line string) string {
	if i := strings.IndexFunc(line, isControl); i >= 0 {
		return c.reject(mail.Reply{Code: 500, Enhanced: "5.2", Text: "Control character in command"})
	}
	verb, arg := splitVerb(line)
	cmd, known := commandOf(verb)
	if verb != "BDAT" {
		c.inRefusedBDAT = false
	}
	if known {
		c.now.verb, c.now.arg = verb, arg
		c.waitAfter(verb)
	}
	if verb == "MAIL" {
		if helo := c.greetFor(line); helo != "" {
			return helo
		}
	}
	if r := c.checkSequence(verb, cmd, known); r.Code != 0 {
		if verb == "BDAT" {
			return c.rejectChunk(arg, r)
		}
		return c.reject(r)
	}
	if cmd.rule&leadsNowhere != 0 && !c.allowJunk() {
		return ""
	}
	return cmd.run(c, arg)
}

// splitVerb parts a line into its verb, in capitals, and the argument. A tab is
// common between them, and forgiven.
func splitVerb(line string) (verb, arg string) {
	line = strings.TrimRight(line, " \t")
	if i := strings.IndexAny(line, " \t"); i >= 0 {
		line, arg = line[:i], strings.TrimLeft(line[i:], " \t")
	}
	return params.Upper(line), arg
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

var (
	okReply      = mail.Reply{Code: 250, Enhanced: "0.0", Text: "OK"}
	needMail     = mail.Reply{Code: 503, Enhanced: "5.1", Text: "Need MAIL command"}
	needRcpt     = mail.Reply{Code: 503, Enhanced: "5.1", Text: "Need RCPT command"}
	noRecipients = mail.Reply{Code: 554, Enhanced: "5.1", Text: "No valid recipients"}
)

// rejectArgument refuses an argument of a verb that takes none.
func (c *conn) rejectArgument(verb, arg string) bool {
	if arg == "" {
		return false
	}
	c.reject(params.Syntax(verb))
	return true
}

func (c *conn) ehlo(arg string) string { return c.hello(arg, true) }
func (c *conn) helo(arg string) string { return c.hello(arg, false) }

// hello answers EHLO and HELO. The name decides nothing, so no form of it
// costs the caller its mail: the first word is taken, and the address of a
// caller that gives none.
func (c *conn) hello(arg string, extended bool) string {
	name, _, _ := strings.Cut(strings.ReplaceAll(arg, "\t", " "), " ")
	if !c.cfg.Hello.allow(name) {
		return c.reject(params.Syntax("EHLO hostname"))
	}
	if name == "" {
		name = mail.AddressLiteral(c.caller.Remote.Addr())
	}
	name = name[:min(len(name), maxHello)]
	r := c.callSession("hello", func() mail.Reply { return c.sess.Hello(c.ctx, name, extended) })
	if c.closed {
		return ""
	}
	if !r.Positive() {
		return c.respond(r)
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

// allow reports whether a caller may greet by name.
func (h HelloRules) allow(name string) bool {
	if name == "" {
		return !h.Name
	}
	_, err := mail.ParseDomain(name)
	return !h.Valid || err == nil
}

// greetFor greets for a caller that begins with line, a MAIL, where it may: as HELO
// without a name would, with no reply.
func (c *conn) greetFor(line string) (helo string) {
	name := mail.AddressLiteral(c.caller.Remote.Addr())
	if c.greeted || !c.cfg.Hello.Optional || c.cfg.ODMR || !c.callSession("hello", func() mail.Reply { return c.sess.Hello(c.ctx, name, false) }).Positive() {
		return ""
	}
	c.greeted = true
	c.caller.greeted(name)
	c.now = request{nextLine: line}
	return "HELO x\r\n"
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
	if !c.cfg.ODMR {
		list(true, strings.TrimSuffix("SIZE "+strconv.FormatInt(max(c.cfg.MaxSize, 0), 10), " 0"))
		list(v.EightBit, "8BITMIME")
		list(v.EightBit && v.UTF8, "SMTPUTF8")
		list(v.Chunking, "CHUNKING")
		list(v.Chunking && v.EightBit && v.Binary, "BINARYMIME")
		list(v.DSN, "DSN")
		list(v.RequireTLS && c.encrypted, "REQUIRETLS") // RFC 8689 §2
		list(v.Priority, "MT-PRIORITY")
		if hold := c.cfg.MaxHold; hold > 0 {
			list(true, fmt.Sprintf("FUTURERELEASE %d %s", int64(hold.Seconds()), time.Now().Add(hold).UTC().Format(time.RFC3339)))
		}
		list(v.DeliverBy, strings.TrimSuffix("DELIVERBY "+strconv.Itoa(int(c.cfg.MinBy.Seconds())), " 0"))
		list(v.Limits && c.cfg.MaxRcpts > 0, fmt.Sprintf("LIMITS RCPTMAX=%d", c.cfg.MaxRcpts))
		list(v.ETRN, "ETRN")
		list(v.Verify, "VRFY") // as IIS lists it
		list(v.Help, "HELP")
		// RFC 5321 §F.1: TURN is only for those who can prove who they are.
		list(v.TURN && signIn, "TURN")
	}
	list(v.EnhancedCodes, "ENHANCEDSTATUSCODES")
	list(!c.encrypted && c.xclientCheck() != nil, "XCLIENT "+xclientAttributes)
	list(c.offers("ATRN") && (signIn || c.cfg.ODMR), "ATRN") // RFC 2645 §4: must be listed there
	list(v.Recipients && signIn, "XRECIPIENTS")
	list(c.offers("STARTTLS") && !c.encrypted, "STARTTLS")
	if len(mechanisms) > 0 {
		names := strings.Join(mechanisms, " ")
		list(true, "AUTH "+names)
		list(true, "AUTH="+names) // what Outlook Express 4 and Exchange 5.0 look for
	}
	return b.String()
}

func (c *conn) mail(arg string) string {
	v := c.cfg.Verbs
	v.RequireTLS = v.RequireTLS && c.encrypted // RFC 8689 §2
	m, r := params.ParseMail(arg, v, c.cfg.MaxHold, c.cfg.MinBy)
	if r.Code != 0 {
		return c.reject(r)
	}
	c.now.mail, c.now.style = m, batched
	return c.forward("MAIL FROM:<>\r\n")
}

func (c *conn) rcpt(arg string) string {
	if !c.inTransaction {
		return c.reject(needMail)
	}
	r, bad := params.ParseRcpt(arg, c.cfg.Verbs, c.wide)
	if bad.Code != 0 {
		c.rcptCommands++
		return c.reject(bad)
	}
	c.now.rcpt, c.now.style = r, batched
	return c.forward("RCPT TO:<x@x>\r\n")
}

// checkRecipients refuses a body without recipients. The zero Reply lets it
// pass.
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
	if c.rejectArgument("DATA", arg) {
		return ""
	}
	r := c.checkRecipients()
	if c.binary && r.Code == 0 { // RFC 3030 §3
		r = mail.Reply{Code: 503, Enhanced: "5.1", Text: "BODY=BINARYMIME needs BDAT"}
	}
	if r.Code != 0 {
		return c.reject(r)
	}
	return c.forward("DATA\r\n")
}

func (c *conn) rset(arg string) string {
	if c.rejectArgument("RSET", arg) {
		return ""
	}
	c.setReply(okReply, batched)
	return "RSET\r\n"
}

func (c *conn) noop(string) string {
	return c.respond(okReply)
}

// help lists the verbs that are offered on this port.
func (c *conn) help(string) string {
	text := "Commands:"
	for _, verb := range [...]string{"EHLO", "HELO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "ETRN", "TURN", "ATRN", "HELP", "QUIT"} {
		if c.offers(verb) {
			text += " " + verb
		}
	}
	return c.respond(mail.Reply{Code: 214, Enhanced: "0.0", Text: text})
}

func (c *conn) vrfy(arg string) string {
	user, parameter, _ := strings.Cut(arg, " ")
	wide := c.cfg.Verbs.UTF8 && params.Upper(parameter) == "SMTPUTF8" // RFC 6531 §3.7.4.2
	switch {
	case user == "":
		return c.reject(params.Syntax("VRFY user"))
	case !wide && !mail.IsASCII(arg):
		return c.reject(mail.Reply{Code: 553, Enhanced: "6.7", Text: "The user must be ASCII without the parameter SMTPUTF8"})
	case !utf8.ValidString(user):
		return c.reject(mail.Reply{Code: 501, Enhanced: "1.3", Text: "Bad address syntax"})
	}
	return c.respond(mail.Reply{Code: 252, Enhanced: "5.2", Text: "Cannot VRFY user, but will accept message and attempt delivery"})
}

func (c *conn) quit(arg string) string {
	if !c.rejectArgument("QUIT", arg) {
		c.sayGoodbye(mail.Reply{Code: 221, Enhanced: "0.0", Text: c.cfg.Hostname + " closing connection"})
	}
	return ""
}

// startTLS answers STARTTLS. What was read behind it came in clear, perhaps
// from somebody between us and the caller: it is dropped unseen (RFC 3207 §6).
func (c *conn) startTLS(arg string) string {
	if c.rejectArgument("STARTTLS", arg) {
		return ""
	}
	if c.encrypted {
		return c.reject(mail.Reply{Code: 503, Enhanced: "5.1", Text: "TLS already active"})
	}
	c.respond(mail.Reply{Code: 220, Enhanced: "0.0", Text: "Ready to start TLS"})
	c.in.drop()
	if c.closed || !c.handshake() {
		c.closed = true
		return ""
	}
	c.dialogue = dialogue{encrypted: true, restart: true}
	c.protect("reset", c.sess.Reset)
	return ""
}

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
	leadsNowhere          // brings no message nearer
)

// commandOf gives the command of a verb in upper case. A switch is faster
// than a map, and each command line needs it.
func commandOf(verb string) (cmd command, known bool) {
	switch verb {
	case "EHLO":
		return command{beforeEHLO | beforeTLS | onODMR | leadsNowhere, (*conn).ehlo}, true
	case "HELO":
		return command{beforeEHLO | onODMR | leadsNowhere, (*conn).helo}, true
	case "MAIL":
		return command{notInTransaction, (*conn).mail}, true
	case "RCPT":
		return command{0, (*conn).rcpt}, true
	case "DATA":
		return command{0, (*conn).data}, true
	case "BDAT":
		return command{0, (*conn).bdat}, true
	case "RSET":
		return command{beforeEHLO | onODMR | leadsNowhere, (*conn).rset}, true
	case "NOOP":
		return command{beforeEHLO | beforeTLS | onODMR | leadsNowhere, (*conn).noop}, true
	case "QUIT":
		return command{beforeEHLO | beforeTLS | onODMR, (*conn).quit}, true
	case "HELP":
		return command{beforeEHLO | leadsNowhere, (*conn).help}, true
	case "VRFY":
		return command{beforeEHLO | leadsNowhere, (*conn).vrfy}, true
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
	case "XRECIPIENTS":
		return command{onODMR | notInTransaction, (*conn).recipients}, true
	case "XCLIENT":
		return command{beforeEHLO | beforeTLS | notInTransaction, (*conn).xclient}, true
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
	case "VRFY":
		return c.cfg.Verbs.Verify
	case "HELP":
		return c.cfg.Verbs.Help
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
	if verb != "QUIT" {
		if r := c.sess.Permit(c.ctx, verb, !c.encrypted && !has(beforeTLS)); !r.Positive() {
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
