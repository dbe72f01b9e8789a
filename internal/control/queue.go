// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/settings"
	"restante/metabase"
)

// The calls about mail that waits. All of them need the service.
const (
	QueueList     Method[QueueRequest, []Destination] = "queue/list"
	QueueMessages Method[QueueRequest, []Message]     = "queue/messages"
	QueueShow     Method[MessageRequest, Shown]       = "queue/show"
	QueueTrace    Method[TraceRequest, []Message]     = "queue/trace"
	QueueAct      Method[ActRequest, Acted]           = "queue/act"
	QueueRelease  Method[QueueRequest, Released]      = "queue/release"
	QueueExport   Method[CarryRequest, Acted]         = "queue/export"
	QueueImport   Method[CarryRequest, Acted]         = "queue/import"
)

// A QueueRequest asks for a site's queue, 0 for all, and of that for a
// destination.
type QueueRequest struct {
	Site   int    `json:"site,omitempty"`
	Domain string `json:"domain,omitempty"`
}

// A Destination is what waits for a domain.
type Destination struct {
	Site int `json:"site"`
	queue.DestinationState
}

// A Message is a message on its way to one destination.
type Message struct {
	Site int `json:"site"`
	queue.Message
}

// A MessageRequest asks for a message; with Body for its text, too.
type MessageRequest struct {
	ID   string `json:"id"`
	Body bool   `json:"body,omitempty"`
}

// Shown is all there is to know of a message.
type Shown struct {
	Site int `json:"site"`
	queue.Detail
	Body []byte `json:"body,omitempty"`
}

// A TraceRequest names a message or an address.
type TraceRequest struct {
	What string `json:"what"`
}

// An ActRequest picks messages, by all that it says, and an act: retry,
// freeze, thaw, delete or bounce.
type ActRequest struct {
	Act       string   `json:"act"`
	IDs       []string `json:"ids,omitempty"`
	Site      int      `json:"site,omitempty"`
	Domain    string   `json:"domain,omitempty"`
	From      *string  `json:"from,omitempty"`
	OlderThan float64  `json:"older_than,omitempty"` // seconds
	All       bool     `json:"all,omitempty"`
	DryRun    bool     `json:"dry_run,omitempty"`
}

// Acted says what an act came to.
type Acted struct {
	queue.Tally
	DryRun bool `json:"dry_run,omitempty"`
}

// Released says how many messages are tried now, of all sites where Site is 0.
type Released struct {
	Site     int    `json:"site,omitempty"`
	Domain   string `json:"domain"`
	Messages int    `json:"messages"`
}

// A CarryRequest names a folder, absolute.
type CarryRequest struct {
	Dir  string `json:"dir"`
	Site int    `json:"site,omitempty"`
}

func (d *Desk) queueCalls() {
	on(d, QueueList, d.queueList)
	on(d, QueueMessages, d.queueMessages)
	on(d, QueueShow, d.queueShow)
	on(d, QueueTrace, d.queueTrace)
	on(d, QueueAct, d.queueAct)
	on(d, QueueRelease, d.queueRelease)
	on(d, QueueExport, d.queueExport)
	on(d, QueueImport, d.queueImport)
}

// numbered is a site's queue.
type numbered struct {
	site int
	Queue
}

// queues opens the queues that are meant and that the caller may see to; 0 for
// those of all sites. Mail is not everybody's to look at: Write is asked for.
func (d *Desk) queues(ctx context.Context, who Caller, site int) ([]numbered, error) {
	if site != 0 {
		if _, err := d.siteAt(ctx, who, site, metabase.Write); err != nil {
			return nil, err
		}
		if d.engine == nil {
			return nil, ErrNoService
		}
		q, ok := d.engine.Queue(site)
		if !ok {
			return nil, &Error{Kind: KindFailed, Text: fmt.Sprintf("site %d: its queue is not open", site), Hint: fmt.Sprintf("site start %d", site)}
		}
		return []numbered{{site, q}}, nil
	}
	if d.engine == nil {
		return nil, ErrNoService
	}
	snap := d.tree.Snapshot()
	var all []numbered
	var denied error
	for _, n := range settings.Numbers(snap) {
		q, ok := d.engine.Queue(n)
		if !ok {
			continue
		}
		if !snap.Allows(who.Who, sitePath(n), metabase.Write) {
			denied = &metabase.Error{Path: sitePath(n), Kind: metabase.Denied}
			continue
		}
		all = append(all, numbered{n, q})
	}
	if len(all) == 0 && denied != nil {
		return nil, denied
	}
	return all, nil
}

func (d *Desk) queueList(ctx context.Context, who Caller, r QueueRequest) ([]Destination, error) {
	qs, err := d.queues(ctx, who, r.Site)
	if err != nil {
		return nil, err
	}
	out := []Destination{}
	for _, q := range qs {
		for _, s := range q.Destinations() {
			out = append(out, Destination{q.site, s})
		}
	}
	return out, nil
}

func (d *Desk) queueMessages(ctx context.Context, who Caller, r QueueRequest) ([]Message, error) {
	qs, err := d.queues(ctx, who, r.Site)
	if err != nil {
		return nil, err
	}
	domain, err := parseDomain(r.Domain)
	if err != nil {
		return nil, err
	}
	out := []Message{}
	for _, q := range qs {
		for m, err := range q.Messages(ctx, domain) {
			if err != nil {
				return nil, err
			}
			out = append(out, Message{q.site, m})
		}
	}
	if len(out) == 0 {
		return nil, missing(string(domain), "no mail waits for that domain")
	}
	return out, nil
}

func parseDomain(s string) (mail.Domain, error) {
	d, err := mail.ParseDomain(s)
	if err != nil {
		return "", usage(err.Error(), "")
	}
	return d, nil
}

func (d *Desk) queueShow(ctx context.Context, who Caller, r MessageRequest) (Shown, error) {
	qs, err := d.queues(ctx, who, 0)
	if err != nil {
		return Shown{}, err
	}
	id, err := mail.ParseMessageID(r.ID)
	if err != nil {
		return Shown{}, missing("", err.Error())
	}
	for _, q := range qs {
		detail, err := q.Show(id)
		if errors.Is(err, queue.ErrNotFound) {
			continue
		}
		if err != nil {
			return Shown{}, err
		}
		out := Shown{Site: q.site, Detail: detail}
		if r.Body {
			out.Body, err = body(q, id)
		}
		return out, err
	}
	return Shown{}, missing(r.ID, "no such message")
}

func body(q Queue, id mail.MessageID) ([]byte, error) {
	f, err := q.Open(id)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}

// queueTrace finds what is in the queue of a message, or of a sender's or
// recipient's mail.
func (d *Desk) queueTrace(ctx context.Context, who Caller, r TraceRequest) ([]Message, error) {
	qs, err := d.queues(ctx, who, 0)
	if err != nil {
		return nil, err
	}
	if id, err := mail.ParseMessageID(r.What); err == nil {
		for _, q := range qs {
			if detail, err := q.Show(id); err == nil {
				out := []Message{}
				for _, m := range detail.Entries {
					out = append(out, Message{q.site, m})
				}
				return out, nil
			}
		}
		return nil, missing(r.What, "not in the queue, or no longer; the log tells what became of it")
	}
	addr, err := mail.ParseAddress(r.What)
	if err != nil {
		return nil, usage(fmt.Sprintf("%q is neither the id of a message nor an address", r.What), "")
	}
	out := []Message{}
	for _, q := range qs {
		for _, dest := range q.Destinations() {
			for m, err := range q.Messages(ctx, dest.Domain) {
				if err != nil {
					return nil, err
				}
				if m.From == addr || isTo(m, addr) {
					out = append(out, Message{q.site, m})
				}
			}
		}
	}
	if len(out) == 0 {
		return nil, missing(r.What, "nothing of that address is in the queue; the log tells what became of its mail")
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

func (r ActRequest) filter(now time.Time) (queue.Filter, error) {
	f := queue.Filter{All: r.All}
	for _, s := range r.IDs {
		id, err := mail.ParseMessageID(s)
		if err != nil {
			return f, missing("", err.Error())
		}
		f.IDs = append(f.IDs, id)
	}
	if r.Domain != "" {
		domain, err := parseDomain(r.Domain)
		if err != nil {
			return f, err
		}
		f.Domain = domain
	}
	if r.From != nil {
		from, err := mail.ParseAddress(*r.From)
		if err != nil {
			return f, usage(err.Error(), "")
		}
		f.From = &from
	}
	if r.OlderThan > 0 {
		f.Before = now.Add(-time.Duration(r.OlderThan * float64(time.Second)))
	}
	return f, nil
}

func (d *Desk) queueAct(ctx context.Context, who Caller, r ActRequest) (Acted, error) {
	out := Acted{DryRun: r.DryRun}
	qs, err := d.queues(ctx, who, r.Site)
	if err != nil {
		return out, err
	}
	f, err := r.filter(time.Now())
	if err != nil {
		return out, err
	}
	if err := allThere(qs, f.IDs); err != nil {
		return out, err
	}
	for _, q := range qs {
		act, ok := map[string]func(context.Context, queue.Filter, bool) (queue.Tally, error){
			"retry": q.Retry, "freeze": q.Freeze, "thaw": q.Thaw, "delete": q.Delete, "bounce": q.Bounce,
		}[r.Act]
		if !ok {
			return out, usage(fmt.Sprintf("%q is nothing that can be done to messages", r.Act), "")
		}
		mine := f
		if len(f.IDs) > 0 {
			if mine.IDs = present(q, f.IDs); len(mine.IDs) == 0 {
				continue
			}
		}
		sum, err := act(ctx, mine, r.DryRun)
		if err != nil && !errors.Is(err, queue.ErrNotFound) {
			return out, err
		}
		out.Messages += sum.Messages
		out.Bytes += sum.Bytes
		out.Busy += sum.Busy
	}
	return out, nil
}

func present(q Queue, ids []mail.MessageID) (out []mail.MessageID) {
	for _, id := range ids {
		if _, err := q.Show(id); err == nil {
			out = append(out, id)
		}
	}
	return out
}

// allThere names every message that is in no queue: then nothing is done.
func allThere(qs []numbered, ids []mail.MessageID) error {
	var problems []Problem
	for _, id := range ids {
		found := false
		for _, q := range qs {
			found = found || len(present(q, []mail.MessageID{id})) > 0
		}
		if !found {
			problems = append(problems, Problem{Path: string(id), Why: "no such message"})
		}
	}
	if len(problems) > 0 {
		return &Error{Kind: KindNotFound, Problems: problems}
	}
	return nil
}

// queueRelease does what ETRN does, by hand.
func (d *Desk) queueRelease(ctx context.Context, who Caller, r QueueRequest) (Released, error) {
	qs, err := d.queues(ctx, who, r.Site)
	if err != nil {
		return Released{}, err
	}
	domain, err := parseDomain(r.Domain)
	if err != nil {
		return Released{}, err
	}
	out, found := Released{Site: r.Site, Domain: string(domain)}, false
	for _, q := range qs {
		if slices.ContainsFunc(q.Destinations(), func(s queue.DestinationState) bool { return s.Domain == domain }) {
			found = true
			out.Messages += q.Trigger(domain)
		}
	}
	if !found {
		return Released{}, missing(string(domain), "no mail waits for that domain")
	}
	return out, nil
}

func (d *Desk) queueExport(ctx context.Context, who Caller, r CarryRequest) (Acted, error) {
	qs, err := d.queues(ctx, who, r.Site)
	if err != nil {
		return Acted{}, err
	}
	var out Acted
	for _, q := range qs {
		dir := r.Dir
		if len(qs) > 1 {
			dir = filepath.Join(r.Dir, itoa(q.site))
		}
		sum, err := q.Export(ctx, everything(), dir)
		if err != nil {
			return out, err
		}
		out.Messages += sum.Messages
		out.Bytes += sum.Bytes
		out.Busy += sum.Busy
	}
	return out, nil
}

func (d *Desk) queueImport(ctx context.Context, who Caller, r CarryRequest) (Acted, error) {
	if r.Site == 0 {
		r.Site = settings.DefaultSite
	}
	qs, err := d.queues(ctx, who, r.Site)
	if err != nil {
		return Acted{}, err
	}
	sum, err := qs[0].Import(ctx, r.Dir)
	return Acted{Tally: sum}, err
}
