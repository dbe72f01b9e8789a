// SPDX-License-Identifier: Apache-2.0

package explain

import (
	"context"
	"slices"
	"strings"
	"time"

	"restante/admin/api"
	"restante/engine/mail"
)

// message explains what became of a message, by what queue trace tells of it, to whom that
// does.
func (h handlers) message(ctx context.Context, who api.Caller, q api.ExplainIDRequest) (api.ExplainedMessage, error) {
	id, err := mail.ParseMessageID(q.ID)
	if err != nil {
		return api.ExplainedMessage{}, api.Missing("", err.Error())
	}
	list, _, err := api.QueueTrace.Call(ctx, h.Direct(who), api.TraceRequest{What: string(id)})
	if err != nil {
		return api.ExplainedMessage{}, err
	}
	first := list[0] // an id that is not known is an error
	out := api.ExplainedMessage{
		ID: id, Site: first.Site, State: string(first.State), From: first.From, Size: first.Size, Received: first.Received,
		Queued: []api.ExplainedQueued{}, Outcomes: []api.RecipientEnd{},
	}
	for _, m := range list {
		if m.Domain == "" {
			continue
		}
		one := api.ExplainedQueued{Message: m.Message}
		if !strings.HasPrefix(string(m.Domain), "@") { // no place of the queue's own
			one.WayOut = h.wayOf(ctx, who, api.ExplainRequest{Site: m.Site}, m.Domain)
		}
		out.Queued = append(out.Queued, one)
	}
	for _, e := range first.Events {
		if end, ok := endOf(e); ok {
			end.WayOut = h.wayAt(ctx, who, e.Site, end)
			out.Outcomes = append(out.Outcomes, end)
		}
	}
	return out, nil
}

// ends are the events after which a message waits no more for a recipient.
var ends = []string{"delivered", "failed", "expired", "dropped", "archived", "in badmail"}

// endOf is an outcome that a trace tells.
func endOf(e api.Event) (end api.RecipientEnd, ok bool) {
	if !slices.Contains(ends, e.Event) {
		return end, false
	}
	end = api.RecipientEnd{Event: e.Event, Time: e.Time}
	for _, a := range e.Attrs {
		switch text := a.Value.String(); a.Key {
		case "to":
			end.To = strings.Trim(text, "<>")
		case "host":
			end.Host = text
		case "address":
			end.Address = text
		case "tls":
			end.TLS = text
		case "reply":
			end.Reply = text
		}
	}
	return end, true
}

// wayAt is the way that mail for a recipient went at the time of its outcome; nil where the
// history does not have that.
func (h handlers) wayAt(ctx context.Context, who api.Caller, site int, end api.RecipientEnd) *api.WayOut {
	to, err := mail.ParseMailbox(end.To)
	if err != nil {
		return nil
	}
	q := api.ExplainRequest{Site: site, At: end.Time}
	if !end.Time.Before(h.Tree.Snapshot().Time()) {
		q.Rev, q.At = new(h.Tree.Snapshot().Rev()), time.Time{}
	}
	return h.wayOf(ctx, who, q, to.Domain)
}

// wayOf is the way of mail for a domain, by what the caller may read; nil where that is
// nothing.
func (h handlers) wayOf(ctx context.Context, who api.Caller, q api.ExplainRequest, d mail.Domain) *api.WayOut {
	st, err := h.stateAt(ctx, who, q)
	if err == nil {
		st.site, err = st.load(ctx, q.Site)
	}
	if err != nil {
		return nil
	}
	out := st.wayOut(ctx, d, !st.past)
	return &out
}
