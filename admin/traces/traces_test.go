// SPDX-License-Identifier: Apache-2.0

package traces

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"restante/admin"
	"restante/admin/admintest"
	"restante/admin/api"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/trace"
	"restante/internal/deptest"
	"restante/metabase"
)

func TestLayers(t *testing.T) {
	deptest.Forbid(t, map[string]string{
		"/admin/queues":   "handlers of different subjects are independent",
		"/admin/sites":    "handlers of different subjects are independent",
		"/engine/session": "the API asks queues and the trace",
		"/cmd":            "imports go down only",
	})
}

// A fakeEngine has a trace, and one queue for all sites.
type fakeEngine struct {
	admin.Engine
	life  *trace.Store
	queue admin.Queue
}

func (e *fakeEngine) Trace() *trace.Store             { return e.life }
func (e *fakeEngine) Queue(n int) (admin.Queue, bool) { return e.queue, n == 1 }
func (e *fakeEngine) journal(site int) *journal.Journal {
	return journal.New(nil).Traced(func(event string, keys []string, attrs []slog.Attr) {
		e.life.Add(trace.Event{Site: site, Name: event, Keys: keys, Attrs: attrs})
	})
}

// A fakeQueue holds messages, and counts those that it had to read.
type fakeQueue struct {
	admin.Queue
	held []queue.Message
	read int
}

func (q *fakeQueue) Find(_ context.Context, addr mail.Address, came func(time.Time) bool) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		for _, m := range q.held {
			if came(m.ID.Time()) {
				q.read++
				if m.From == addr && !yield(m, nil) {
					return
				}
			}
		}
	}
}

func (q *fakeQueue) Waiting(id mail.MessageID, _ []mail.Domain) (out []queue.Message) {
	return slices.DeleteFunc(slices.Clone(q.held), func(m queue.Message) bool { return m.ID != id })
}

func (q *fakeQueue) Show(id mail.MessageID) (queue.Detail, error) {
	return queue.Detail{Entries: q.Waiting(id, nil)}, nil
}

var (
	joe    = mail.Address{Local: "joe", Domain: "out.example"}
	ann    = mail.Address{Local: "ann", Domain: "held.example"}
	client = netip.MustParseAddr("192.0.2.1")
)

func envelope(from mail.Address, at time.Time, to ...mail.Address) mail.Envelope {
	env := mail.Envelope{ID: mail.NewMessageID(at), From: from, Received: at, Size: 7, Client: client, Helo: "pc\x1b[31m", HeaderID: "Abc@pc.example"}
	for _, a := range to {
		env.To = append(env.To, mail.Recipient{Address: a})
	}
	return env
}

// fixture has the sites 1 and 2; user:olga sees to the mail of site 1 alone.
func fixture(t *testing.T) (*fakeEngine, *fakeQueue, *admin.API) {
	t.Helper()
	q := &fakeQueue{}
	e := &fakeEngine{queue: q}
	d, store := admintest.New(t, e)
	Register(d)
	e.life = trace.New(filepath.Join(d.Env.Data, api.TraceFolder), trace.Limits{Age: time.Hour, Bytes: 1 << 20}, slog.New(slog.DiscardHandler))
	list := func(p metabase.Path, text string) metabase.Op {
		return metabase.Set{Path: p, Property: metabase.Property{ID: metabase.AccessList, UserType: metabase.UTServer, Attr: metabase.Inherit, Value: metabase.MultiSZ(text)}}
	}
	_, err := store.Apply(t.Context(), metabase.Batch{Origin: metabase.FromSystem, Ops: []metabase.Op{
		metabase.AddKey{Path: "/LM/SMTPSVC/2", Class: "IIsSmtpServer"}, list("/LM/SMTPSVC/1", "user:olga read,write"), list("/LM/SMTPSVC/2", "user:boss all"),
	}})
	if err != nil {
		t.Fatal(err)
	}
	return e, q, d
}

func as(name string) api.Caller {
	return api.Caller{Who: []metabase.Principal{metabase.Principal("user:" + name)}, Origin: metabase.FromCLI}
}

// lines are what an answer says, message by message.
func lines(all []api.Traced) (out []string) {
	for _, m := range all {
		line := fmt.Sprintf("%d %s %s:", m.Site, m.State, m.From)
		for _, e := range m.Events {
			line += " " + e.Event
		}
		out = append(out, line)
	}
	return out
}

// A caller sees the events of the sites whose mail is his to see, and of those alone.
func TestRights(t *testing.T) {
	e, _, d := fixture(t)
	one, two, gone := envelope(joe, time.Now(), ann), envelope(joe, time.Now(), ann), envelope(joe, time.Now(), ann)
	for n, env := range map[int]mail.Envelope{1: one, 2: two, 7: gone} {
		j := e.journal(n)
		j.Accepted(t.Context(), env)
		j.Delivered(t.Context(), env, mail.Outcome{To: ann, Host: "mx"})
		j.Refused(t.Context(), client, mail.Envelope{From: joe}, "RCPT", ann.String(), mail.Reply{Code: 550})
	}
	ask := func(who api.Caller, r api.TraceRequest) ([]string, api.Kind) {
		all, _, err := api.QueueTrace.Call(t.Context(), d.Direct(who), r)
		if err != nil {
			return nil, api.AsError(err).Kind
		}
		out := lines(all)
		slices.Sort(out)
		return out, ""
	}
	site := func(n int) []string {
		return []string{fmt.Sprintf("%d delivered joe@out.example: accepted delivered", n), fmt.Sprintf("%d refused joe@out.example: refused", n)}
	}
	for _, what := range []string{"joe@out.example", "Ann@Held.Example"} {
		if got, kind := ask(as("boss"), api.TraceRequest{What: what}); !slices.Equal(got, slices.Concat(site(1), site(2), site(7))) {
			t.Errorf("%s: boss sees %q, %s", what, got, kind)
		}
		if got, kind := ask(as("olga"), api.TraceRequest{What: what}); !slices.Equal(got, site(1)) {
			t.Errorf("%s: olga sees %q, %s", what, got, kind)
		}
		if got, kind := ask(as("olga"), api.TraceRequest{What: what, Site: 2}); kind == "" {
			t.Errorf("%s: olga sees %q of site 2", what, got)
		}
		if got, kind := ask(as("nobody"), api.TraceRequest{What: what}); kind != api.KindRefused {
			t.Errorf("%s: nobody sees %q, %s", what, got, kind)
		}
	}
	for _, env := range []mail.Envelope{two, gone} {
		if got, kind := ask(as("olga"), api.TraceRequest{What: string(env.ID)}); kind != api.KindNotFound {
			t.Errorf("olga sees %q, %s", got, kind)
		}
	}
}

// The life of a message has what happened to all mail for its domain while it was there,
// and the report about it.
func TestLife(t *testing.T) { synctest.Test(t, testLife) }

func testLife(t *testing.T) {
	e, q, d := fixture(t)
	j, other := e.journal(1), mail.Address{Local: "bob", Domain: "far.example"}
	before := envelope(joe, time.Now().Add(-time.Minute), ann)
	j.Unreachable(t.Context(), "far.example", mail.Reply{Code: 451}, "mx", 1, time.Time{})
	time.Sleep(time.Second)
	env := envelope(joe, time.Now(), ann, other)
	via := mail.Via{Addr: client, TLS: "TLS 1.3", By: "TURN anna"}
	j.Accepted(t.Context(), env)
	j.Held(t.Context(), env, "held.example")
	time.Sleep(time.Second)
	j.Unreachable(t.Context(), "far.example", mail.Reply{Code: 451, Text: "no"}, "mx", 1, time.Time{})
	time.Sleep(time.Second)
	j.Deferred(t.Context(), env, mail.Outcome{To: ann, Host: "mx", Via: via, Reply: mail.Reply{Code: 451, Phase: mail.AfterDot}}, time.Now())
	j.Acted(t.Context(), "freeze", "user:boss", env.ID, "held.example")
	j.Delivered(t.Context(), env, mail.Outcome{To: ann, Host: "mx", Via: via})
	j.Failed(t.Context(), env, mail.Outcome{To: other, Reply: mail.Reply{Code: 550}})
	j.Report(t.Context(), envelope(mail.Address{}, time.Now(), joe), env.ID, joe, 1)
	time.Sleep(time.Second)
	j.Released(t.Context(), "", journal.Release{Domain: "held.example", Verb: "TURN", Account: "anna", Caller: client, Messages: 1})
	j.Released(t.Context(), "", journal.Release{Domain: "other.example", Verb: "TURN", Account: "anna", Caller: client, Messages: 1})
	e.journal(2).Unreachable(t.Context(), "far.example", mail.Reply{Code: 451}, "mx", 1, time.Time{})
	want := "1 failed joe@out.example: accepted held unreachable deferred acted delivered failed dsn"
	for _, what := range []string{string(env.ID), "joe@out.example", "bob@far.example", "<abc@PC.example>"} {
		all, _, err := api.QueueTrace.Call(t.Context(), d.Direct(as("olga")), api.TraceRequest{What: what})
		if got := lines(all); err != nil || len(got) != 1 || got[0] != want {
			t.Fatalf("%s: %q, %v", what, got, err)
		}
		raw, err := json.Marshal(all[0].Events)
		for _, has := range []string{`"in_doubt":true`, `"address":"192.0.2.1","tls":"TLS 1.3","by":"TURN anna"`, `"phase":"after the dot"`, `"by":"user:boss"`, `"size":7`, `"helo":"pc [31m"`} {
			if err != nil || !strings.Contains(string(raw), has) {
				t.Errorf("%s: no %s in %s, %v", what, has, raw, err)
			}
		}
	}
	q.held = []queue.Message{{ID: env.ID, Domain: "held.example", State: queue.Held, From: joe, Received: env.Received}, {ID: env.ID, Domain: "far.example", State: queue.Retry, From: joe, Received: env.Received}, {ID: before.ID, State: queue.Held, From: joe, Received: before.Received}}
	all, _, err := api.QueueTrace.Call(t.Context(), d.Direct(as("olga")), api.TraceRequest{What: "joe@out.example"})
	got := lines(all)
	if err != nil || len(got) != 3 || got[0] != "1 held joe@out.example:" || !strings.HasPrefix(got[1], "1 held joe@out.example: accepted ") || got[2] != "1 retry joe@out.example:" {
		t.Errorf("queued: %q, %v", got, err)
	}
	if q.read != 1 {
		t.Errorf("%d messages were read in the queue; one came before the trace", q.read)
	}
	if all, _, err := api.QueueTrace.Call(t.Context(), d.Direct(as("olga")), api.TraceRequest{What: "joe@out.example", Limit: 1}); err != nil || len(all) != 1 {
		t.Errorf("the newest: %q, %v", lines(all), err)
	}
}

// Following gives what there is, and each event that comes, once.
func TestFollow(t *testing.T) {
	e, _, d := fixture(t)
	j := e.journal(1)
	first, next, strange := envelope(joe, time.Now(), ann), envelope(joe, time.Now(), ann), envelope(ann, time.Now(), joe)
	strange.To[0].Address, strange.From = mail.Address{Local: "x", Domain: "y.example"}, mail.Address{Local: "z", Domain: "y.example"}
	j.Accepted(t.Context(), first)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var got []string
	for one, err := range api.QueueFollow.Open(ctx, d.Direct(as("olga")), api.TraceRequest{What: "joe@out.example"}) {
		if err != nil {
			t.Fatal(err)
		}
		raw, _ := json.Marshal(one)
		var again api.Event
		if err := json.Unmarshal(raw, &again); err != nil || again.Event != one.Event || len(again.Attrs) != len(one.Attrs) || !again.Time.Equal(one.Time) {
			t.Errorf("%s reads as %+v, %v", raw, again, err)
		}
		switch got = append(got, one.Event); len(got) {
		case 1:
			j.Accepted(t.Context(), strange)
			j.Delivered(t.Context(), strange, mail.Outcome{To: joe})
			e.journal(2).Accepted(t.Context(), envelope(joe, time.Now(), ann))
			j.Accepted(t.Context(), next)
			e.life.Flush()
		case 2:
			j.Delivered(t.Context(), next, mail.Outcome{To: ann})
			j.Delivered(t.Context(), first, mail.Outcome{To: ann})
			go e.life.Flush()
		}
		if len(got) == 4 {
			break
		}
	}
	if want := []string{"accepted", "accepted", "delivered", "delivered"}; !slices.Equal(got, want) {
		t.Errorf("followed %q, want %q", got, want)
	}
}
