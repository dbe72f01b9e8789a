// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"restante/engine/mail"
	"restante/engine/settings"
	"restante/metabase"
)

// Explain tells what would become of a message.
const Explain Method[ExplainRequest, Explained] = "explain"

// An ExplainRequest describes a message. Without a client the caller is one
// who has no rights by its address.
type ExplainRequest struct {
	Site      int    `json:"site"`
	Recipient string `json:"recipient"`
	From      string `json:"from,omitempty"`
	Client    string `json:"client,omitempty"`
	Account   string `json:"account,omitempty"`
}

// Explained is what would happen now, and why.
type Explained struct {
	Site      int          `json:"site"`
	Rev       metabase.Rev `json:"rev"`
	Recipient string       `json:"recipient"`
	Domain    string       `json:"domain"`
	Key       string       `json:"key,omitempty"` // of the domain, "" where none applies
	Standing  string       `json:"standing"`
	Accepted  bool         `json:"accepted"`
	Refusal   string       `json:"refusal,omitempty"` // why not
	Route     string       `json:"route,omitempty"`
	Held      bool         `json:"held"`
	Waiting   int          `json:"waiting"` // messages for that domain
	NextTry   time.Time    `json:"next_try,omitzero"`
	Turn      []string     `json:"turn,omitempty"` // accounts that may take it
	Why       []Reason     `json:"why"`
}

// A Reason is a property that decided.
type Reason struct {
	Step     string        `json:"step"` // accept or route
	Property string        `json:"property"`
	Value    string        `json:"value"`
	From     metabase.Path `json:"from,omitempty"` // "": the schema's default
}

func (q ExplainRequest) parse() (to mail.Address, client netip.Addr, err error) {
	if to, err = mail.ParseAddress(q.Recipient); err == nil && to.IsNull() {
		err = errors.New("the recipient is empty")
	}
	if err != nil {
		return to, client, usage(err.Error(), "")
	}
	if q.From != "" && q.From != "<>" {
		if _, err := mail.ParseAddress(q.From); err != nil {
			return to, client, usage(err.Error(), "")
		}
	}
	client = netip.AddrFrom4([4]byte{192, 0, 2, 255}) // RFC 5737: nobody has it
	if q.Client != "" {
		if client, err = netip.ParseAddr(q.Client); err != nil {
			return to, client, usage(fmt.Sprintf("%q is no IP address", q.Client), "")
		}
	}
	return to, client.Unmap(), nil
}

func (d *Desk) explain(ctx context.Context, who Caller, q ExplainRequest) (Explained, error) {
	if _, err := d.siteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return Explained{}, err
	}
	to, client, err := q.parse()
	if err != nil {
		return Explained{}, err
	}
	snap := d.tree.Snapshot()
	if q.Account != "" && !hasAccount(snap, q.Site, q.Account) {
		return Explained{}, missing("account "+q.Account, "there is no such account")
	}
	s, err := settings.Load(snap, q.Site)
	if err != nil {
		return Explained{}, problemsOf(err)
	}
	out := Explained{
		Site: q.Site, Rev: snap.Rev(), Recipient: to.String(), Domain: string(to.Domain),
		Standing: s.Standing(to.Domain).String(), Why: []Reason{},
	}
	if domain, ok := s.DomainFor(to.Domain); ok {
		out.Key, out.Turn = domain.Name, domain.Accounts
	}
	accepted, why := s.Accepts(to.Domain, client, q.Account)
	out.reasons("accept", why)
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
	out.reasons("route", r.Why)
	d.nowWaiting(&out, to.Domain)
	return out, nil
}

func callerText(q ExplainRequest) string {
	switch {
	case q.Account != "":
		return "account " + q.Account
	case q.Client != "":
		return q.Client
	}
	return "an unknown caller"
}

func (e *Explained) reasons(step string, why []settings.Reason) {
	for _, r := range why {
		e.Why = append(e.Why, Reason{step, r.Property, r.Text, r.Path})
	}
}

// nowWaiting fills in what the queue knows of the destination.
func (d *Desk) nowWaiting(e *Explained, domain mail.Domain) {
	if d.engine == nil {
		return
	}
	q, ok := d.engine.Queue(e.Site)
	if !ok {
		return
	}
	for _, dest := range q.Destinations() {
		if dest.Domain == domain {
			e.Waiting, e.NextTry = dest.Messages, dest.NextTry
		}
	}
}
