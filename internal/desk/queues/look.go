// SPDX-License-Identifier: Apache-2.0

package queues

import (
	"context"
	"errors"
	"fmt"
	"io"

	"restante/engine/mail"
	"restante/engine/queue"
	"restante/internal/control"
	"restante/internal/desk"
)

func (d drawer) list(ctx context.Context, who control.Caller, r control.QueueRequest) ([]control.Destination, error) {
	qs, err := d.queues(ctx, who, r.Site)
	if err != nil {
		return nil, err
	}
	out := []control.Destination{}
	for _, q := range qs {
		for _, s := range q.Destinations() {
			out = append(out, control.Destination{Site: q.site, DestinationState: s})
		}
	}
	return out, nil
}

func (d drawer) messages(ctx context.Context, who control.Caller, r control.QueueRequest) ([]control.Message, error) {
	qs, err := d.queues(ctx, who, r.Site)
	if err != nil {
		return nil, err
	}
	domain, err := parseDomain(r.Domain)
	if err != nil {
		return nil, err
	}
	out := []control.Message{}
	for _, q := range qs {
		for m, err := range q.Messages(ctx, domain) {
			if err != nil {
				return nil, err
			}
			out = append(out, control.Message{Site: q.site, Message: m})
		}
	}
	if len(out) == 0 {
		return nil, control.Missing(string(domain), "no mail waits for that domain")
	}
	return out, nil
}

func parseDomain(s string) (mail.Domain, error) {
	d, err := mail.ParseDomain(s)
	if err != nil {
		return "", control.Usage(err.Error(), "")
	}
	return d, nil
}

func (d drawer) show(ctx context.Context, who control.Caller, r control.MessageRequest) (control.Shown, error) {
	qs, err := d.queues(ctx, who, 0)
	if err != nil {
		return control.Shown{}, err
	}
	id, err := mail.ParseMessageID(r.ID)
	if err != nil {
		return control.Shown{}, control.Missing("", err.Error())
	}
	for _, q := range qs {
		detail, err := q.Show(id)
		if errors.Is(err, queue.ErrNotFound) {
			continue
		}
		if err != nil {
			return control.Shown{}, err
		}
		out := control.Shown{Site: q.site, Detail: detail}
		if r.Body {
			out.Body, err = body(q, id)
		}
		return out, err
	}
	return control.Shown{}, control.Missing(r.ID, "no such message")
}

func body(q desk.Queue, id mail.MessageID) ([]byte, error) {
	f, err := q.Open(id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// trace finds what is in the queue of a message, or of a sender's or
// recipient's mail.
func (d drawer) trace(ctx context.Context, who control.Caller, r control.TraceRequest) ([]control.Message, error) {
	qs, err := d.queues(ctx, who, 0)
	if err != nil {
		return nil, err
	}
	if id, err := mail.ParseMessageID(r.What); err == nil {
		for _, q := range qs {
			if detail, err := q.Show(id); err == nil {
				out := []control.Message{}
				for _, m := range detail.Entries {
					out = append(out, control.Message{Site: q.site, Message: m})
				}
				return out, nil
			}
		}
		return nil, control.Missing(r.What, "not in the queue, or no longer; the log tells what became of it")
	}
	addr, err := mail.ParseAddress(r.What)
	if err != nil {
		return nil, control.Usage(fmt.Sprintf("%q is neither the id of a message nor an address", r.What), "")
	}
	out := []control.Message{}
	for _, q := range qs {
		for _, dest := range q.Destinations() {
			for m, err := range q.Messages(ctx, dest.Domain) {
				if err != nil {
					return nil, err
				}
				if m.From == addr || isTo(m, addr) {
					out = append(out, control.Message{Site: q.site, Message: m})
				}
			}
		}
	}
	if len(out) == 0 {
		return nil, control.Missing(r.What, "nothing of that address is in the queue; the log tells what became of its mail")
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
