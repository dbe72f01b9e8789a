// SPDX-License-Identifier: Apache-2.0

// Package traces answers where mail is: what happened to messages, whether they are still
// queued or were delivered weeks ago.
package traces

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/settings"
	"restante/engine/trace/search"
	"restante/metabase"
)

type handlers struct{ *admin.API }

// Register puts the handlers on an API.
func Register(on *admin.API) {
	on.AddPart(Register)
	h := handlers{on}
	admin.Handle(on, api.QueueTrace, h.trace)
	admin.HandleStream(on, api.QueueFollow, h.follow)
}

// maxTraced is how many messages an answer has, if the caller does not say.
const maxTraced = 1000

// A tracer answers one question.
type tracer struct {
	*admin.API
	api.TraceRequest
	dir    string
	sites  []int // whose events the caller may see
	all    bool  // and those of sites that are gone
	queues map[int]admin.Queue
	id     mail.MessageID  // that is asked for; "": an address or a Message-ID
	addr   map[int]address // by site
	keys   []string
	gaps   []search.Gap     // in what was searched for arrivals
	before *search.Position // what was written later is left out; nil: nothing is
}

type address = mail.Address

// tracer checks a request and the rights of its caller.
func (h handlers) tracer(ctx context.Context, who api.Caller, r api.TraceRequest) (*tracer, error) {
	t := &tracer{API: h.API, TraceRequest: r, dir: filepath.Join(h.Env.Data, api.TraceFolder), queues: map[int]admin.Queue{}, addr: map[int]address{}}
	t.Limit = cmp.Or(max(r.Limit, 0), maxTraced)
	var err error
	if r.Site != 0 {
		_, err = h.SiteAt(ctx, who, r.Site, metabase.Write)
		t.sites = []int{r.Site}
	} else {
		t.sites, err = h.MailSites(ctx, who)
		t.all = h.Tree.Snapshot().Allows(who.Who, settings.Service, metabase.Write)
	}
	if err != nil {
		return nil, err
	}
	if h.Engine == nil {
		return t, t.parse()
	}
	if s := h.Engine.Trace(); s != nil {
		s.Flush()
	}
	for _, n := range t.sites {
		if q, ok := h.Engine.Queue(n); ok {
			t.queues[n] = q
		}
	}
	return t, t.parse()
}

// parse finds out what is asked for. An address without a domain is in the default domain
// of each site.
func (t *tracer) parse() error {
	if id, err := mail.ParseMessageID(t.What); err == nil {
		t.id, t.keys = id, []string{journal.IDKey(id)}
		return nil
	}
	inner := strings.TrimSuffix(strings.TrimPrefix(t.What, "<"), ">")
	if t.What == "" || inner == "" {
		return t.nothing()
	}
	t.keys = []string{journal.MessageIDKey(inner)}
	bare, err := mail.ParseMailbox(inner)
	if err != nil {
		if inner == t.What {
			return t.nothing()
		}
		return nil // a Message-ID need not have the form of an address
	}
	for _, n := range t.sites {
		t.addr[n] = bare.In(settings.DefaultDomainOf(t.Tree.Snapshot(), n))
		t.keys = append(t.keys, journal.AddressKey(t.addr[n]))
	}
	t.keys = append(t.keys, journal.AddressKey(bare))
	return nil
}

// nothing is the error for what cannot be looked for.
func (t *tracer) nothing() error {
	return api.Usage(fmt.Sprintf("%q is neither the id of a message nor an address, nor the Message-ID of one", t.What), "")
}

// sees reports whether the caller may see the events of a site.
func (t *tracer) sees(e *search.Event) bool {
	return slices.Contains(t.sites, e.Site) || t.all && !slices.Contains(settings.Numbers(t.Tree.Snapshot()), e.Site)
}

// search is search.Search, for what the caller may see. It keeps the gaps, and notes what is
// damaged.
func (t *tracer) search(ctx context.Context, q search.Query) ([]*search.Event, bool, error) {
	q.Keys = append(slices.Clip(q.Keys), search.LostKey)
	q.Keep = func(e *search.Event) bool {
		if g, ok := search.GapOf(e); ok {
			if !slices.Contains(t.gaps, g) {
				t.gaps = append(t.gaps, g)
			}
			return false
		}
		return t.sees(e)
	}
	q.Before = t.before
	found, err := search.Search(ctx, t.dir, q)
	for _, text := range found.Damage {
		api.Note(ctx, t.dir, text)
	}
	return found.Events, found.More, err
}

// A message is what was found of one.
type message struct {
	id      mail.MessageID
	site    int
	queued  []api.Message
	arrival *search.Event // nil: it is not in the trace
	events  []*search.Event
	domains []mail.Domain // of its recipients
	ended   time.Time     // by its last event; zero: it is queued, or may be
}

func (h handlers) trace(ctx context.Context, who api.Caller, r api.TraceRequest) ([]api.Traced, error) {
	t, err := h.tracer(ctx, who, r)
	if err != nil {
		return nil, err
	}
	if h.Engine == nil {
		api.Note(ctx, t.What, "no service runs: what is queued now is not known")
	}
	messages, refusals, err := t.find(ctx)
	if err != nil {
		return nil, err
	}
	out := []api.Traced{}
	for _, m := range messages {
		out = append(out, m.traced(h.Engine != nil)...)
	}
	for _, e := range refusals {
		out = append(out, refused(e))
	}
	slices.SortStableFunc(out, func(a, b api.Traced) int { return a.Received.Compare(b.Received) })
	out = out[max(0, len(out)-t.Limit):]
	switch {
	case len(out) > 0:
		t.noteGaps(ctx, out[0].Received)
		return out, nil
	case t.id != "":
		return nil, api.Missing(t.What, "no message with that id is in the queue or in the trace")
	case !strings.Contains(t.What, "@") && !strings.HasPrefix(t.What, "<"):
		return nil, t.nothing()
	}
	return nil, api.Missing(t.What, "no mail of that address or Message-ID is in the queue or in the trace")
}

// find finds the messages that are asked for, with their events, and refused mail.
func (t *tracer) find(ctx context.Context) (out []*message, refusals []*search.Event, err error) {
	byID := map[mail.MessageID]*message{}
	add := func(id mail.MessageID, site int) *message {
		if byID[id] == nil {
			byID[id] = &message{id: id, site: site}
			out = append(out, byID[id])
		}
		return byID[id]
	}
	if t.id != "" {
		if !t.id.Time().Before(t.Since) {
			add(t.id, 0)
		}
	} else {
		if refusals, err = t.arrivals(ctx, add); err != nil {
			return nil, nil, err
		}
		if err := t.untraced(ctx, add); err != nil {
			return nil, nil, err
		}
	}
	if err := t.events(ctx, byID); err != nil {
		return nil, nil, err
	}
	return slices.DeleteFunc(out, func(m *message) bool { return len(m.events) == 0 && len(m.queued) == 0 }), refusals, nil
}

// arrivals finds the messages of an address or Message-ID in the trace.
func (t *tracer) arrivals(ctx context.Context, add func(mail.MessageID, int) *message) (refusals []*search.Event, err error) {
	found, more, err := t.search(ctx, search.Query{Keys: t.keys, Since: t.Since, Limit: t.Limit})
	for _, e := range found {
		if id := e.Attr("msg_id"); id != "" {
			add(mail.MessageID(id), e.Site).add(e)
		} else {
			refusals = append(refusals, e)
		}
	}
	if more {
		api.Note(ctx, t.What, fmt.Sprintf("only the newest %d are shown: --limit shows more, --since fewer", t.Limit))
	}
	return refusals, err
}

// untraced finds queued messages that came when the trace was not written.
func (t *tracer) untraced(ctx context.Context, add func(mail.MessageID, int) *message) error {
	since, err := search.Begin(t.dir)
	if err != nil {
		return err
	}
	came := func(at time.Time) bool {
		at = at.UTC()
		return !at.Before(t.Since) && (since.IsZero() || at.Before(since) || slices.ContainsFunc(t.gaps, func(g search.Gap) bool { return g.Has(at) }))
	}
	for _, n := range t.sites {
		q, ok := t.queues[n]
		if addr := t.addr[n]; ok && !addr.NoDomain() {
			for m, err := range q.Find(ctx, addr, came) {
				if err != nil {
					return err
				}
				add(m.ID, n).addDomain(m.Domain)
			}
		}
	}
	return nil
}

// events adds what happened to messages, and what the queues have of them.
func (t *tracer) events(ctx context.Context, byID map[mail.MessageID]*message) error {
	if len(byID) == 0 {
		return nil
	}
	found, err := t.eventsOf(ctx, byID)
	if err == nil && t.id != "" { // its domains are known only now
		byID[t.id].keep(byMessage(found)[string(t.id)])
		found, err = t.eventsOf(ctx, byID)
	}
	if err != nil {
		return err
	}
	mine, byDomain := byMessage(found), map[mail.Domain][]*message{}
	for _, m := range byID {
		m.keep(mine[string(m.id)])
		m.lookUp(t.queues)
		m.end(t.Engine != nil)
		for _, d := range m.domains {
			byDomain[d] = append(byDomain[d], m)
		}
	}
	for _, e := range found {
		if e.Attr("msg_id") != "" || e.Attr("about") != "" {
			continue
		}
		for _, m := range byDomain[mail.Domain(e.Attr("domain"))] {
			if m.site == e.Site && !e.At.Before(m.begun()) && (m.ended.IsZero() || !e.At.After(m.ended)) {
				m.events = append(m.events, e)
			}
		}
	}
	for _, m := range byID {
		slices.SortStableFunc(m.events, func(a, b *search.Event) int { return a.At.Compare(b.At) })
	}
	return nil
}

// byMessage sorts events by the messages that they are about.
func byMessage(found []*search.Event) map[string][]*search.Event {
	out := map[string][]*search.Event{}
	for _, e := range found {
		for _, name := range []string{"msg_id", "about"} {
			if id := e.Attr(name); id != "" {
				out[id] = append(out[id], e)
			}
		}
	}
	return out
}

// eventsOf searches what happened to messages and to all mail for their domains.
func (t *tracer) eventsOf(ctx context.Context, byID map[mail.MessageID]*message) ([]*search.Event, error) {
	var keys []string
	for _, m := range byID {
		keys = append(keys, m.keys()...)
	}
	slices.Sort(keys)
	found, more, err := t.search(ctx, search.Query{Keys: slices.Compact(keys), Since: oldest(byID), Limit: maxEvents})
	if more {
		api.Note(ctx, t.What, fmt.Sprintf("only the newest %d events are shown: --limit and --since ask for fewer messages", maxEvents))
	}
	return found, err
}

// maxEvents bounds the events of an answer.
const maxEvents = 100_000

func oldest(byID map[mail.MessageID]*message) (at time.Time) {
	for id := range byID {
		if came := id.Time(); at.IsZero() || came.Before(at) {
			at = came
		}
	}
	return at
}

// noteGaps tells when events are missing since a time.
func (t *tracer) noteGaps(ctx context.Context, since time.Time) {
	for _, g := range t.gaps {
		if g.Until.Before(since) {
			continue
		}
		text := "some events may be missing"
		if g.Count > 0 {
			text = fmt.Sprintf("%d events are missing", g.Count)
		}
		api.Note(ctx, "the trace", fmt.Sprintf("%s between %s and %s", text, g.Since.Format(time.RFC3339), g.Until.Format(time.RFC3339)))
	}
}

func (h handlers) follow(ctx context.Context, who api.Caller, r api.TraceRequest) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		if err := h.followTo(ctx, who, r, func(e *search.Event) bool { return yield(eventOf(e), nil) }); err != nil {
			yield(api.Event{}, err)
		}
	}
}

// followTo gives the events that a search finds, and then those that come.
func (h handlers) followTo(ctx context.Context, who api.Caller, r api.TraceRequest, yield func(*search.Event) bool) error {
	t, err := h.tracer(ctx, who, r)
	if err != nil {
		return err
	}
	if h.Engine == nil || h.Engine.Trace() == nil {
		return api.ErrNoService
	}
	s := h.Engine.Trace()
	end := s.End()
	t.before = &end
	messages, past, err := t.find(ctx)
	if err != nil {
		return err
	}
	keys := t.keys
	for _, m := range messages {
		past, keys = append(past, m.events...), append(keys, m.keys()...)
	}
	slices.SortStableFunc(past, func(a, b *search.Event) int { return a.At.Compare(b.At) })
	for _, e := range slices.Compact(past) {
		if !yield(e) {
			return nil
		}
	}
	return search.Follow(ctx, t.dir, end, keys, s.Written, func(e *search.Event) (more []string, ok bool) {
		if !t.sees(e) {
			return nil, true
		}
		if id := mail.MessageID(e.Attr("msg_id")); id != "" {
			m := message{id: id}
			m.add(e)
			more = m.keys()
		}
		return more, yield(e)
	})
}
