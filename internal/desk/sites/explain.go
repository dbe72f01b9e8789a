// SPDX-License-Identifier: Apache-2.0

package sites

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"restante/engine/mail"
	"restante/engine/settings"
	"restante/internal/control"
	"restante/metabase"
)

// parse reads what an ExplainRequest describes.
func parse(q control.ExplainRequest) (to mail.Address, client netip.Addr, err error) {
	if to, err = mail.ParseAddress(q.Recipient); err == nil && to.IsNull() {
		err = errors.New("the recipient is empty")
	}
	if err != nil {
		return to, client, control.Usage(err.Error(), "")
	}
	if q.From != "" && q.From != "<>" {
		if _, err := mail.ParseAddress(q.From); err != nil {
			return to, client, control.Usage(err.Error(), "")
		}
	}
	client = netip.AddrFrom4([4]byte{192, 0, 2, 255}) // RFC 5737: nobody has it
	if q.Client != "" {
		if client, err = netip.ParseAddr(q.Client); err != nil {
			return to, client, control.Usage(fmt.Sprintf("%q is no IP address", q.Client), "")
		}
	}
	return to, client.Unmap(), nil
}

func (d drawer) explain(ctx context.Context, who control.Caller, q control.ExplainRequest) (control.Explained, error) {
	if _, err := d.SiteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return control.Explained{}, err
	}
	to, client, err := parse(q)
	if err != nil {
		return control.Explained{}, err
	}
	snap := d.Tree.Snapshot()
	if q.Account != "" && !settings.HasAccount(snap, q.Site, q.Account) {
		return control.Explained{}, control.Missing("account "+q.Account, "there is no such account")
	}
	s, err := settings.Load(snap, q.Site)
	if err != nil {
		return control.Explained{}, control.RefusedAll(err)
	}
	out := control.Explained{
		Site: q.Site, Rev: snap.Rev(), Recipient: to.String(), Domain: string(to.Domain),
		Standing: s.Standing(to.Domain).String(), Why: []control.Reason{},
	}
	if domain, ok := s.DomainFor(to.Domain); ok {
		out.Key, out.Turn = domain.Name, domain.Accounts
	}
	accepted, why := s.Accepts(to.Domain, client, q.Account)
	out.Why = append(out.Why, reasons("accept", why)...)
	out.Accepted = accepted
	switch {
	case !s.MayConnect(client):
		out.Accepted, out.Refusal = false, fmt.Sprintf("%s may not connect", client)
	case s.SignIn.Required && q.Account == "":
		out.Accepted, out.Refusal = false, "callers must sign in first"
	case !accepted:
		out.Refusal = fmt.Sprintf("the domain is not ours, and %s may not relay", callerText(q))
	}
	r := s.Route(to.Domain)
	out.Route, out.Held = routeText(s, to.Domain), r.Held
	out.Why = append(out.Why, reasons("route", r.Why)...)
	d.nowWaiting(&out, to.Domain)
	return out, nil
}

func callerText(q control.ExplainRequest) string {
	switch {
	case q.Account != "":
		return "account " + q.Account
	case q.Client != "":
		return q.Client
	}
	return "an unknown caller"
}

func reasons(step string, why []settings.Reason) (out []control.Reason) {
	for _, r := range why {
		out = append(out, control.Reason{Step: step, Property: r.Property, Value: r.Text, From: r.Path})
	}
	return out
}

// nowWaiting fills in what the queue knows of the destination.
func (d drawer) nowWaiting(e *control.Explained, domain mail.Domain) {
	if d.Engine == nil {
		return
	}
	q, ok := d.Engine.Queue(e.Site)
	if !ok {
		return
	}
	for _, dest := range q.Destinations() {
		if dest.Domain == domain {
			e.Waiting, e.NextTry = dest.Messages, dest.NextTry
		}
	}
}

// routeText says for people where a domain's mail goes.
func routeText(s *settings.Site, name mail.Domain) string {
	r := s.Route(name)
	var b strings.Builder
	switch r.Way {
	case settings.ToFolder:
		b.WriteString("into the folder " + r.Folder)
	case settings.BySmartHost:
		hosts := make([]string, len(r.Hosts))
		for i, h := range r.Hosts {
			hosts[i] = h.Name
			if h.Port != 0 {
				hosts[i] += ":" + strconv.Itoa(int(h.Port))
			}
		}
		b.WriteString("by the smart host " + strings.Join(hosts, ", "))
		if r.DirectFirst {
			b.WriteString(", after its own hosts")
		}
	default:
		b.WriteString("by DNS")
	}
	if r.Held {
		b.WriteString(", when its host calls")
	}
	return b.String()
}
