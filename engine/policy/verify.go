// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"context"
	"errors"
	"io"

	"restante/engine/auth"
	"restante/engine/mail"
	"restante/engine/session"
	"restante/engine/settings"
)

// verification inspects messages for where they come from.
func verification(s *settings.Site, dns auth.DNS) func(context.Context, session.Arrival) session.Opinion {
	host := s.FullyQualifiedDomainName
	return func(ctx context.Context, m session.Arrival) session.Opinion {
		v := auth.Verify(ctx, host, dns, auth.Message{Client: m.Envelope.Client, Helo: m.Envelope.Helo, From: m.Envelope.From, Open: m.Open})
		refusal := ""
		switch {
		case v.Reject != "":
			refusal = "Rejected by the DMARC policy of " + string(v.Reject)
		case v.Nobody:
			refusal = "Rejected for DMARC: the From field names no domain that can be read"
		}
		if refusal != "" && s.Verify.DmarcReject {
			return session.Opinion{Refuse: mail.Reply{Code: 550, Enhanced: "7.1", Text: refusal, Cause: errors.New("DmarcReject")}}
		}
		return session.Opinion{Fields: v.Field, Open: func() io.Reader { return auth.Strip(m.Open(), host) }}
	}
}
