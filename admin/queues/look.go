// SPDX-License-Identifier: Apache-2.0

package queues

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"

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
	for _, q := range qs {
		for _, s := range q.Destinations() {
			out = append(out, api.Destination{Site: q.site, DestinationState: s})
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

// trace finds the queue entries of a message, or of the mail from or to an
// address.
func (h handlers) trace(ctx context.Context, who api.Caller, r api.TraceRequest) ([]api.Message, error) {
	qs, err := h.queues(ctx, who, 0)
	if err != nil {
		return nil, err
	}
	if id, err := mail.ParseMessageID(r.What); err == nil {
		for _, q := range qs {
			if detail, err := q.Show(id); err == nil {
				out := []api.Message{}
				for _, m := range detail.Entries {
					out = append(out, api.Message{Site: q.site, Message: m})
				}
				return out, nil
			}
		}
		return nil, api.Missing(r.What, "not in the queue; the log has its outcome")
	}
	bare, err := mail.ParseMailbox(r.What)
	if err != nil {
		return nil, api.Usage(fmt.Sprintf("%q is neither the id of a message nor an address", r.What), "")
	}
	out := []api.Message{}
	for _, q := range qs {
		addr := bare.In(settings.DefaultDomainOf(h.Tree.Snapshot(), q.site))
		for _, dest := range q.Destinations() {
			for m, err := range q.Messages(ctx, dest.Domain) {
				if err != nil {
					return nil, err
				}
				if m.From == addr || isTo(m, addr) {
					out = append(out, api.Message{Site: q.site, Message: m})
				}
			}
		}
	}
	if len(out) == 0 && !strings.Contains(r.What, "@") {
		return nil, api.Usage(fmt.Sprintf("%q is neither the id of a message nor an address", r.What), "")
	}
	if len(out) == 0 {
		return nil, api.Missing(r.What, "no mail of that address is in the queue; the log has the outcome of earlier mail")
	}
	return out, nil
}

func isTo(m queue.Message, addr mail.Address) bool {
	for _, to := range m.To {
		if to.Address == addr {
			return true
		}
	}
	return false
}
