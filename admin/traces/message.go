// SPDX-License-Identifier: Apache-2.0

package traces

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"restante/admin"
	"restante/admin/api"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/trace/search"
)

// keep has those events alone be the message's.
func (m *message) keep(events []*search.Event) {
	m.events = nil
	for _, e := range events {
		m.add(e)
	}
}

// add adds an event of a message, or of a report about it.
func (m *message) add(e *search.Event) {
	m.events = append(m.events, e)
	if e.Attr("msg_id") != string(m.id) {
		return
	}
	if m.site == 0 {
		m.site = e.Site
	}
	if e.Name == "accepted" {
		m.arrival, m.site = e, e.Site
		for _, to := range recipients(e) {
			m.addDomain(to.Address.Domain)
		}
	}
}

func (m *message) addDomain(d mail.Domain) {
	if !slices.Contains(m.domains, d) {
		m.domains = append(m.domains, d)
	}
}

// recipients are those that an arrival lists.
func recipients(e *search.Event) (out []mail.Recipient) {
	for _, a := range e.Attrs {
		if a.Key != "to" {
			continue
		}
		for one := range strings.SplitSeq(strings.Trim(a.Value.String(), "<>"), "> <") {
			if to, err := mail.ParseMailbox(one); err == nil {
				out = append(out, mail.Recipient{Address: to})
			}
		}
	}
	return out
}

// lookUp finds out what the queues have of a message.
func (m *message) lookUp(queues map[int]admin.Queue) {
	for n, q := range queues {
		var found []api.Message
		if m.arrival == nil || m.arrival.Attr("recipients") != strconv.Itoa(len(recipients(m.arrival))) { // not all are known
			detail, _ := q.Show(m.id) // an error: it is not there
			for _, one := range detail.Entries {
				found = append(found, api.Message{Site: n, Message: one})
			}
		} else {
			for _, one := range q.Waiting(m.id, m.domains) {
				found = append(found, api.Message{Site: n, Message: one})
			}
		}
		m.queued = append(m.queued, found...)
	}
	for _, one := range m.queued {
		m.site = one.Site
		m.addDomain(one.Domain)
	}
}

// begun is when the message came.
func (m *message) begun() time.Time {
	if m.arrival != nil {
		return m.arrival.At
	}
	return m.id.Time()
}

// end finds out when a message that is not queued ended.
func (m *message) end(known bool) {
	if n := len(m.events); n > 0 && len(m.queued) == 0 && m.state(known) != unknown {
		m.ended = m.events[n-1].At
	}
}

// unknown is the state of a message that is not known to have ended.
const unknown queue.State = "unknown"

// state is what became of a message that is not queued, by its last outcome. What is not
// known to be queued, because no service runs, has ended only if each recipient has.
func (m *message) state(known bool) queue.State {
	last, ended := unknown, map[string]bool{}
	for _, e := range m.events {
		switch e.Name {
		case "delivered", "failed", "expired", "dropped", "in badmail", "archived":
			ended[e.Attr("to")], last = true, queue.State(strings.TrimPrefix(e.Name, "in "))
		case "acted":
			switch e.Attr("action") {
			case "delete":
				last, known = "deleted", true
			case "bounce":
				last, known = "bounced", true
			}
		}
	}
	if !known && m.arrival != nil && strconv.Itoa(len(ended)) != m.arrival.Attr("recipients") {
		return unknown
	}
	return last
}

// keys are those of the events that are about the message.
func (m *message) keys() []string {
	out := []string{journal.IDKey(m.id)}
	for _, d := range m.domains {
		out = append(out, journal.DomainKey(d))
	}
	return out
}

// traced is the message as an answer has it.
func (m *message) traced(known bool) (out []api.Traced) {
	events := make([]api.Event, len(m.events))
	for i, e := range m.events {
		events[i] = eventOf(e)
	}
	for _, one := range m.queued {
		out = append(out, api.Traced{Message: one, Events: events})
		events = nil
	}
	if len(out) > 0 {
		return out
	}
	var t api.Traced
	t.Site, t.ID, t.State, t.Events, t.Received, t.To = m.site, m.id, m.state(known), events, m.id.Time().UTC(), []mail.Recipient{}
	if e := m.arrival; e != nil {
		t.Site, t.Received, t.From, t.To = e.Site, e.At, sender(e), recipients(e)
		t.Size, _ = strconv.ParseInt(e.Attr("size"), 10, 64) // a report has none
	}
	return []api.Traced{t}
}

// sender is that of an arrival or a refusal.
func sender(e *search.Event) mail.Address {
	from, _ := mail.ParseMailbox(strings.Trim(e.Attr("from"), "<>")) // or the null address
	return from
}

// refused is mail that never came in.
func refused(e *search.Event) api.Traced {
	t := api.Traced{Events: []api.Event{eventOf(e)}}
	t.Site, t.State, t.Received, t.From, t.LastError = e.Site, "refused", e.At, sender(e), e.Attr("reply")
	t.To = recipients(e)
	if to, err := mail.ParseMailbox(e.Attr("what")); err == nil && e.Attr("verb") == "RCPT" {
		t.To = []mail.Recipient{{Address: to}}
	}
	if t.To == nil {
		t.To = []mail.Recipient{}
	}
	return t
}

func eventOf(e *search.Event) api.Event {
	return api.Event{Time: e.At, Site: e.Site, Event: e.Name, Attrs: e.Attrs}
}
