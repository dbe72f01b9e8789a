// SPDX-License-Identifier: Apache-2.0

package queues

import (
	"context"
	"errors"
	"io"
	"iter"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/settings"
)

func (h handlers) list(ctx context.Context, who api.Caller, r api.QueueRequest) ([]api.Destination, error) {
	qs, err := h.queues(ctx, who, r.Site)
	if err != nil {
		return nil, err
	}
	out := []api.Destination{}
	snap := h.Tree.Snapshot()
	for _, q := range qs {
		set := settings.Unchecked(snap, q.site)
		for _, s := range q.Destinations() {
			one := api.Destination{Site: q.site, DestinationState: s}
			if ceiling, _ := set.CeilingOf(s.Domain); ceiling > 0 && set.Standing(s.Domain) == mail.Held {
				one.SizeCeiling = ceiling
				one.TooLarge, one.TooLargeBytes = q.Above(s.Domain, ceiling)
			}
			out = append(out, one)
		}
	}
	return out, nil
}

func (h handlers) messages(ctx context.Context, who api.Caller, r api.QueueRequest) ([]api.Message, error) {
	qs, err := h.queues(ctx, who, r.Site)
	if err != nil {
		return nil, err
	}
	domain, err := parseDomain(r.Domain)
	if err != nil {
		return nil, err
	}
	out := []api.Message{}
	for _, q := range qs {
		for m, err := range q.Messages(ctx, domain) {
			if err != nil {
				return nil, err
			}
			out = append(out, api.Message{Site: q.site, Message: m})
		}
	}
	if len(out) == 0 {
		return nil, api.Missing(string(domain), "no mail waits for that domain")
	}
	return out, nil
}

// catalogue yields a line for each message, as it reads them.
func (h handlers) catalogue(ctx context.Context, who api.Caller, r api.QueueRequest) iter.Seq2[api.CatalogueLine, error] {
	return func(yield func(api.CatalogueLine, error) bool) {
		qs, err := h.queues(ctx, who, r.Site)
		var domain mail.Domain
		if err == nil {
			domain, err = parseDomain(r.Domain)
		}
		if err != nil {
			yield(api.CatalogueLine{}, err)
			return
		}
		found := false
		for _, q := range qs {
			for line, err := range q.Catalogue(ctx, domain) {
				found = true
				if !yield(api.CatalogueLine{Site: q.site, CatalogueLine: line}, err) || err != nil {
					return
				}
			}
		}
		if !found {
			yield(api.CatalogueLine{}, api.Missing(string(domain), "no mail waits for that domain"))
		}
	}
}

// parseDomain parses the name of a destination.
func parseDomain(s string) (mail.Domain, error) {
	if d := mail.Domain(s); d == queue.Badmail || d == queue.Reports {
		return d, nil
	}
	d, err := mail.ParseDomain(s)
	if err != nil {
		return "", api.Usage(err.Error(), "")
	}
	return d, nil
}

func (h handlers) show(ctx context.Context, who api.Caller, r api.MessageRequest) (api.MessageDetail, error) {
	qs, err := h.queues(ctx, who, 0)
	if err != nil {
		return api.MessageDetail{}, err
	}
	id, err := mail.ParseMessageID(r.ID)
	if err != nil {
		return api.MessageDetail{}, api.Missing("", err.Error())
	}
	for _, q := range qs {
		detail, err := q.Show(id)
		if errors.Is(err, queue.ErrNotFound) {
			continue
		}
		if err != nil {
			return api.MessageDetail{}, err
		}
		out := api.MessageDetail{Site: q.site, Detail: detail}
		if r.Body {
			out.Body, err = body(q, id)
		}
		return out, err
	}
	return api.MessageDetail{}, api.Missing(r.ID, "no such message")
}

func body(q admin.Queue, id mail.MessageID) ([]byte, error) {
	f, err := q.Open(id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
