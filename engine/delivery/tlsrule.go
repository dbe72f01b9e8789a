// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"crypto/tls"
	"sync"

	"restante/engine/dane"
	"restante/engine/mail"
)

// A tlsRule is what the owner of a host, or of the domain that it takes mail for, wants
// of a connection to it. The zero one wants nothing.
type tlsRule struct {
	by       string                          // for people: "dane" or "sts"
	required bool                            // no mail without TLS, and what follows says with whom
	name     string                          // that the host is asked for
	verify   func(tls.ConnectionState) error // nil: anybody's certificate will do
}

func (r tlsRule) words() string {
	return map[string]string{"dane": " (DANE)", "sts": " (MTA-STS)"}[r.by]
}

// tlsRules finds those of the targets of one attempt.
type tlsRules struct {
	*Delivery
	talk   ClientSettings
	policy func() func(host string) bool // asked where there is no use of TLSA records alone
}

// rules are those of targets that were found together.
func (d *Delivery) rules(ctx context.Context, targets []target, talk ClientSettings) tlsRules {
	return tlsRules{d, talk, sync.OnceValue(func() func(string) bool { return d.policy(ctx, targets[0].next, talk) })}
}

// of finds the rule of a target. With an error the target must not be used now.
func (r tlsRules) of(ctx context.Context, t target) (tlsRule, error) {
	if r.talk.HELO { // there is no STARTTLS
		return tlsRule{}, nil
	}
	rule, err := r.dane(ctx, t)
	if err != nil || rule.verify != nil {
		return rule, err
	}
	switch allows := r.policy(); {
	case allows == nil:
		return rule, nil
	case !allows(t.host):
		return tlsRule{by: "sts"}, mail.Reply{Code: 451, Enhanced: "7.5", Text: "is none of the hosts in the MTA-STS policy of " + string(t.next)}
	}
	return tlsRule{by: "sts", required: true, name: t.host, verify: proof(r.talk.TLS, t.host)}, nil
}

func (r tlsRules) dane(ctx context.Context, t target) (tlsRule, error) {
	if !r.talk.DANE {
		return tlsRule{}, nil
	}
	found, err := r.resolver.TLSA(ctx, t.next, t.host, t.addr.Port(), r.talk.DNS)
	if err != nil {
		return tlsRule{by: "dane"}, mail.Reply{Code: 451, Enhanced: "7.5", Text: "gives no answer about its TLSA records", Cause: err}
	}
	if len(found.Records) == 0 {
		return tlsRule{}, nil
	}
	rule := tlsRule{by: "dane", required: true, name: found.Names[0]}
	if usable := dane.Usable(found.Records); len(usable) > 0 {
		rule.verify = func(state tls.ConnectionState) error { return dane.Verify(usable, found.Names, state) }
	}
	return rule, nil
}

// policy gives the MTA-STS policy that is in force for the hosts of a domain; nil: none.
func (d *Delivery) policy(ctx context.Context, next mail.Domain, talk ClientSettings) func(host string) bool {
	if _, literal := next.Literal(); !talk.STS || d.opts.STS == nil || literal {
		return nil
	}
	return d.opts.STS.Policy(ctx, next, talk.DNS)
}
