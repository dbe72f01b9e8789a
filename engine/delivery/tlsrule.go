// SPDX-License-Identifier: Apache-2.0

package delivery

import (
	"context"
	"crypto/tls"
	"strings"

	"restante/engine/dane"
	"restante/engine/mail"
)

// A tlsRule is what the owner of a host, or of the domain that it takes mail for, wants
// of a connection to it. The zero one wants nothing.
type tlsRule struct {
	by       string                          // for people: "dane"
	required bool                            // no mail without TLS, and what follows says with whom
	name     string                          // that the host is asked for
	verify   func(tls.ConnectionState) error // nil: anybody's certificate will do
}

func (r tlsRule) words() string {
	if r.by == "" {
		return ""
	}
	return " (" + strings.ToUpper(r.by) + ")"
}

// tlsRule finds that of a target. With an error the target must not be used now.
func (d *Delivery) tlsRule(ctx context.Context, t target, talk ClientSettings) (tlsRule, error) {
	if !talk.DANE || talk.HELO { // after HELO there is no STARTTLS
		return tlsRule{}, nil
	}
	found, err := d.resolver.TLSA(ctx, t.next, t.host, t.addr.Port(), talk.DNS)
	if err != nil {
		return tlsRule{by: "dane"}, mail.Reply{Code: 451, Enhanced: "7.5", Text: "gives no answer about its TLSA records", Cause: err}
	}
	if len(found.Records) == 0 {
		return tlsRule{}, nil
	}
	r := tlsRule{by: "dane", required: true, name: found.Names[0]}
	if usable := dane.Usable(found.Records); len(usable) > 0 {
		r.verify = func(state tls.ConnectionState) error { return dane.Verify(usable, found.Names, state) }
	}
	return r, nil
}
