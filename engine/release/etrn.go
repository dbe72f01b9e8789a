// SPDX-License-Identifier: Apache-2.0

package release

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"restante/engine/journal"
	"restante/engine/mail"
)

// spentText is for a caller whose link has used up the budget of its day.
const spentText = "the budget of today is used up"

// The replies of more than one verb.
var (
	disabled  = mail.Reply{Code: 502, Enhanced: "5.1", Text: "not available here"}
	needTLS   = mail.Reply{Code: 530, Enhanced: "7.0", Text: "must issue STARTTLS first"}
	needAuth  = mail.Reply{Code: 530, Enhanced: "7.0", Text: "authentication required"}
	badDomain = mail.Reply{Code: 501, Enhanced: "5.4", Text: "not the name of a mail domain"}
)

// notAllowed is the same on the wire for an unknown domain and for another
// caller's, so that it reveals nothing (RFC 1985 §5.3). The log has the cause.
func notAllowed(cause error) mail.Reply {
	return mail.Reply{Code: 459, Enhanced: "7.1", Text: "not allowed for this name", Cause: cause}
}

var errForm = errors.New("this form of a name is not taken here")

// Etrn answers ETRN node at once. The delivery that it starts goes to the hosts
// that DNS names: where mail goes does not depend on the caller.
func (svc *Service) Etrn(ctx context.Context, p Policy, c Caller, node string) mail.Reply {
	if reply := p.refusal("ETRN", c); reply.Code != 0 {
		return reply
	}
	name, form, reply := parseNode(node)
	if reply.Code != 0 {
		return reply
	}
	if form == '#' || form == '@' && !p.Subdomains {
		return notAllowed(errForm)
	}
	err := mayEtrn(p, c, name, form == '@')
	if err == nil && form == 0 {
		err = svc.narrowed(&p, "ETRN", c, name)
	}
	if err != nil {
		return notAllowed(err)
	}
	key := "ETRN " + string(name)
	if form == '@' {
		key = "ETRN @" + string(name)
	}
	if !svc.allowCall(key, p.Interval) {
		return mail.Reply{Code: 458, Enhanced: "3.2", Text: "asked again too soon"}
	}
	waiting, err := svc.queue.Waiting(name, form == '@')
	if err != nil {
		svc.forgetCall(key)
		return mail.Reply{Code: 458, Enhanced: "3.0", Text: "the queue is out of reach now", Cause: err}
	}
	if len(waiting) == 0 && form == 0 {
		svc.called(svc.call(c, "ETRN", name), nothingWaits)
	}
	started, messages, reply := svc.trigger(ctx, p, c, waiting)
	if reply.Code != 0 {
		return reply
	}
	return etrnReply(p, c, started, messages)
}

// trigger starts each destination that the caller may start. If it starts none,
// the reply says why.
func (svc *Service) trigger(ctx context.Context, p Policy, c Caller, waiting []Waiting) (started, messages int, reply mail.Reply) {
	for _, w := range waiting {
		owner, err := p.Rules.MayEtrn(w.Domain, c.Account, c.Remote)
		if err != nil || svc.narrowed(&p, "ETRN", c, w.Domain) != nil {
			continue
		}
		if m, _ := svc.meter(ctx, p, c.Account, w.Domain); m.Spent() {
			call := svc.call(c, "ETRN", w.Domain)
			call.Left = w.Messages
			svc.called(call, m.SpentText())
			reply = mail.Reply{Code: 458, Enhanced: "3.2", Text: spentText}
			continue
		}
		err = svc.queue.Trigger(w.Domain, owner, svc.call(c, "ETRN", w.Domain))
		switch {
		case err == nil:
			started++
			messages += w.Messages
			svc.opts.Journal.Released(ctx, c.Session, journal.Release{Domain: w.Domain, Verb: "ETRN", Account: c.Account, Caller: c.Remote, Left: w.Messages})
		case errors.Is(err, ErrBusy):
			reply = mail.Reply{Code: 458, Enhanced: "3.2", Text: "already running"}
		default:
			reply = mail.Reply{Code: 458, Enhanced: "3.0", Text: "the queue cannot be started now", Cause: err}
		}
	}
	if started > 0 {
		return started, messages, mail.Reply{}
	}
	return 0, 0, reply
}

// etrnReply answers a successful ETRN with 250, unless the site wants signed-in
// callers to know more (RFC 1985 §5.2).
func etrnReply(p Policy, c Caller, started, messages int) mail.Reply {
	switch {
	case !p.Counts || c.Account == "":
		return mail.Reply{Code: 250, Enhanced: "0.0", Text: "queuing started"}
	case started == 0:
		return mail.Reply{Code: 251, Enhanced: "0.0", Text: "no messages waiting"}
	}
	return mail.Reply{Code: 253, Enhanced: "0.0", Text: fmt.Sprintf("%d pending messages, queuing started", messages)}
}

// parseNode parses the argument of ETRN: a domain, @domain for it and all names
// below it, or #name for a named queue. The reply is set if it is wrong.
func parseNode(node string) (name mail.Domain, form byte, reply mail.Reply) {
	if node == "" {
		return "", 0, mail.Reply{Code: 500, Enhanced: "5.4", Text: "ETRN needs the name of a domain"}
	}
	if node[0] == '@' || node[0] == '#' {
		form, node = node[0], node[1:]
	}
	if form == '#' && node != "" {
		return "", form, mail.Reply{} // any name: there are no named queues
	}
	name, err := mail.ParseDomain(node)
	if err != nil || !twoLabels(name) {
		return "", 0, badDomain
	}
	return name, form, mail.Reply{}
}

// twoLabels reports whether d is a domain as RFC 1985 §5 and RFC 2645 §5.2.1
// ask for.
func twoLabels(d mail.Domain) bool {
	_, literal := d.Literal()
	return literal || strings.Contains(string(d), ".")
}

// mayEtrn returns nil if the caller may start name. For the @ form, below, a
// wildcard over the names below it is enough.
func mayEtrn(p Policy, c Caller, name mail.Domain, below bool) error {
	_, err := p.Rules.MayEtrn(name, c.Account, c.Remote)
	if err != nil && below {
		if _, wild := p.Rules.MayEtrn("*."+name, c.Account, c.Remote); wild == nil {
			return nil
		}
	}
	return err
}
