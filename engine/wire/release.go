// SPDX-License-Identifier: Apache-2.0

package wire

import (
	"context"
	"errors"
	"strings"

	"restante/engine/mail"
	"restante/engine/wire/params"
)

// etrn answers ETRN. RFC 1985.
func (c *conn) etrn(node string) string {
	if node == "" {
		return c.reject(mail.Reply{Code: 500, Enhanced: "5.4", Text: "Syntax: ETRN domain"})
	}
	if !isNode(node) {
		return c.reject(params.Syntax("ETRN domain"))
	}
	return c.respond(c.callSession("etrn", func() mail.Reply { return c.sess.Etrn(c.ctx, node) }))
}

// recipients answers XRECIPIENTS, by which a host pushes the list of its recipients.
func (c *conn) recipients(arg string) string {
	return c.respond(c.callSession("recipients", func() mail.Reply { return c.sess.Recipients(c.ctx, arg) }))
}

// isNode checks the form [@|#]node of RFC 1985 §5. Behind # stands a name that
// only its server understands.
func isNode(s string) bool {
	if queue, ok := strings.CutPrefix(s, "#"); ok {
		return queue != "" && !strings.ContainsFunc(queue, func(r rune) bool { return r <= ' ' || r > '~' })
	}
	_, ok := fullDomain(strings.TrimPrefix(s, "@"))
	return ok
}

// fullDomain reads a name of at least two labels, or an address literal.
func fullDomain(s string) (mail.Domain, bool) {
	d, err := mail.ParseDomain(s)
	if err != nil {
		return "", false
	}
	_, literal := d.Literal()
	return d, literal || strings.Contains(string(d), ".")
}

func (c *conn) turn(arg string) string {
	if c.rejectArgument("TURN", arg) {
		return ""
	}
	return c.release(false, nil)
}

func (c *conn) atrn(arg string) string {
	domains, ok := parseDomains(arg)
	if !ok {
		return c.reject(params.Syntax("ATRN [domain[,domain]...]"))
	}
	return c.release(true, domains)
}

// release answers TURN and ATRN, and runs the reversed session.
func (c *conn) release(atrn bool, domains []mail.Domain) string {
	if c.caller.Account() == "" {
		return c.reject(mail.Reply{Code: 530, Enhanced: "7.0", Text: "Authentication required"})
	}
	if len(c.in.bytes()) > 0 {
		// RFC 2920 §3.1: TURN comes last in a group. What stands behind it is no
		// reply to our EHLO, but the next command.
		return c.reject(mail.Reply{Code: 503, Enhanced: "5.0", Text: "Must be the last command in a group"})
	}
	var h Handover
	r := c.callSession("turn", func() (r mail.Reply) {
		r, h = c.sess.Turn(c.ctx, atrn, domains)
		return r
	})
	if h == nil {
		if !c.closed {
			c.respond(r)
		}
		return ""
	}
	c.respond(r)
	c.closed = true
	c.enter(reversed)
	c.in.release()
	ctx, end := context.WithCancelCause(c.ctx)
	defer end(nil)
	defer context.AfterFunc(c.stops, func() {
		if stop := (*mail.Stopping)(nil); errors.As(context.Cause(c.stops), &stop) {
			end(stop)
		}
	})()
	c.protect("handover", func() { h(ctx, c.sock) })
	return ""
}

// parseDomains reads ATRN's list; nil for none. RFC 2645 §5.
func parseDomains(arg string) (list []mail.Domain, ok bool) {
	if arg == "" {
		return nil, true
	}
	for name := range strings.SplitSeq(arg, ",") {
		d, ok := fullDomain(strings.Trim(name, " \t"))
		if !ok {
			return nil, false
		}
		list = append(list, d)
	}
	return list, true
}
