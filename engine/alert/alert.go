// SPDX-License-Identifier: Apache-2.0

// Package alert tells the owner of a held domain, by digests, and its host, by events,
// that mail waits, and both when the host does not call any more.
//
// What was told of each domain is stored, a digest in one commit with its message, so
// that a restart neither repeats nor forgets anything. An event is stored before it is
// sent, and is tried until its receivers have taken it, or it is over.
//
// The package knows neither how mail waits nor how a message is submitted.
package alert

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"restante/engine/alert/digest"
	"restante/engine/alert/hook"
	"restante/engine/mail"
	"restante/internal/kv"
)

// Sources are what a Watcher asks. All are required but Log.
type Sources struct {
	Site   int
	DB     kv.DB
	Policy func(mail.Domain) Policy // in force for a destination

	// Waiting gives what waits for the domains, or with none for all. Those of the names of
	// a wildcard come under each name.
	Waiting func(of []mail.Domain) map[mail.Domain]Waiting

	// Names lists the names of a wildcard for which mail waits.
	Names func(parent mail.Domain) []mail.Domain

	// Calls gives what is known of the calls for the domains, or with none for all.
	Calls func(ctx context.Context, of []mail.Domain) map[mail.Domain]Calls

	// Submit sends a digest, and applies op in the same durable step.
	Submit func(ctx context.Context, d digest.Digest, op kv.Op) mail.Reply

	Changed func()       // called after the alarms have changed; must not block
	Log     *slog.Logger // nil: none
}

// A Silence is the alarm about a host that does not call any more.
type Silence struct {
	Domain   string    `json:"domain"`
	Since    time.Time `json:"since"`              // the alarm
	LastCall time.Time `json:"last_call,omitzero"` // zero: none is known
}

// A Watcher watches the held domains of one site. Its methods may be called
// concurrently; Run once.
type Watcher struct {
	Sources
	post   func(context.Context, string, hook.Secret, hook.Event) error
	run    func(context.Context, []string, hook.Event) error
	silent atomic.Pointer[[]Silence]
	wake   chan struct{}

	// What follows belongs to the goroutine of Run.
	states  map[string]*state // by Policy.Key
	calls   map[string]Calls  // that were seen last
	started time.Time
	results chan result
	running int // events that are being sent

	mu   sync.Mutex // guards what follows
	came map[mail.Domain]bool
}

// New makes a Watcher. It starts nothing.
func New(from Sources) *Watcher {
	if from.Log == nil {
		from.Log = slog.New(slog.DiscardHandler)
	}
	return &Watcher{
		Sources: from, post: hook.Post, run: hook.Run, wake: make(chan struct{}, 1),
		states: map[string]*state{}, calls: map[string]Calls{}, results: make(chan result, maxRunning), came: map[mail.Domain]bool{},
	}
}

// Came notes that mail came for a held domain. It waits for nothing.
func (w *Watcher) Came(d mail.Domain) {
	w.mu.Lock()
	w.came[d] = true
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

// Silent lists the alarms, sorted by domain.
func (w *Watcher) Silent() []Silence {
	if list := w.silent.Load(); list != nil {
		return *list
	}
	return nil
}

const (
	gather     = time.Second // between the arrival of mail and a look at it
	period     = time.Minute // between two looks at all domains
	maxRunning = 8           // events that are sent at one time
)

const prefix = "w/alert/" // no other key of the DB begins so

// Run watches until ctx ends.
func (w *Watcher) Run(ctx context.Context) {
	if err := w.load(ctx); err != nil {
		w.Log.Error("what was told of held mail cannot be read", "err", err)
	}
	w.started = time.Now()
	all, some := time.NewTimer(0), time.NewTimer(time.Hour)
	defer all.Stop()
	defer some.Stop()
	for arrived := false; ; {
		select {
		case <-ctx.Done():
			w.settleRunning(ctx)
			return
		case <-w.wake:
			if !arrived {
				some.Reset(gather)
			}
			arrived = true
		case <-some.C:
			arrived = false
			w.look(ctx, w.arrivals())
		case <-all.C:
			w.look(ctx, nil)
			all.Reset(period)
		case r := <-w.results:
			w.settle(ctx, r)
			w.send(ctx)
		}
	}
}

func (w *Watcher) load(ctx context.Context) error {
	for p, err := range w.DB.Scan(ctx, []byte(prefix)) {
		if err != nil {
			return err
		}
		s := &state{}
		if json.Unmarshal(p.Value, s) == nil { // a damaged one begins anew
			w.states[strings.TrimPrefix(string(p.Key), prefix)] = s
		}
	}
	return nil
}

// arrivals are the domains that mail came for, and those that share their key.
func (w *Watcher) arrivals() (list []mail.Domain) {
	w.mu.Lock()
	came := w.came
	w.came = map[mail.Domain]bool{}
	w.mu.Unlock()
	for d := range came {
		if parent, ok := strings.CutPrefix(w.Policy(d).Key, "*."); ok {
			list = append(list, w.Names(mail.Domain(parent))...)
		}
		list = append(list, d)
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// look looks at the domains of, or at all.
func (w *Watcher) look(ctx context.Context, of []mail.Domain) {
	seen := w.gather(ctx, of)
	if of == nil {
		w.forget(ctx, seen)
	}
	var ops []kv.Op
	next := map[string]*state{}
	for _, key := range slices.Sorted(maps.Keys(seen)) {
		if op, s := w.decide(ctx, seen[key]); s != nil {
			ops, next[key] = append(ops, op), s
		}
	}
	if w.commit(ctx, ops) {
		maps.Copy(w.states, next)
	}
	w.publish()
	w.send(ctx)
}

// gather observes by key.
func (w *Watcher) gather(ctx context.Context, of []mail.Domain) map[string]observation {
	policies, waits, calls := map[string]Policy{}, map[string]Waiting{}, map[string]Calls{}
	waiting, called := w.Waiting(of), w.Calls(ctx, of)
	keys := map[mail.Domain]string{}
	key := func(d mail.Domain) (string, bool) {
		k, known := keys[d]
		if !known {
			p := w.Policy(d)
			k, policies[p.Key] = p.Key, p
			keys[d] = k
		}
		return k, k != ""
	}
	for d, one := range waiting {
		if k, ok := key(d); ok {
			waits[k] = waits[k].and(one)
		}
	}
	for d, one := range called {
		if k, ok := key(d); ok && one.Last.After(calls[k].Last) {
			calls[k] = one
		}
	}
	if of == nil {
		for k := range w.states {
			_, _ = key(mail.Domain(k))
		}
	}
	delete(policies, "")
	out := map[string]observation{}
	for k, p := range policies {
		if of != nil && w.calls[k].Last.After(calls[k].Last) {
			calls[k] = w.calls[k] // of another name of a wildcard
		}
		w.calls[k] = calls[k]
		out[k] = observe(p, waits[k], calls[k], w.Site, w.started)
	}
	return out
}

// and is what waits for two names.
func (w Waiting) and(o Waiting) Waiting {
	first := func(a, b time.Time) time.Time {
		if a.IsZero() || !b.IsZero() && b.Before(a) {
			return b
		}
		return a
	}
	last := func(a, b time.Time) time.Time {
		if b.After(a) {
			return b
		}
		return a
	}
	return Waiting{
		Messages: w.Messages + o.Messages, Bytes: w.Bytes + o.Bytes, Busy: w.Busy || o.Busy, Oldest: first(w.Oldest, o.Oldest),
		Ends: first(w.Ends, o.Ends), Newest: last(w.Newest, o.Newest), Urgent: last(w.Urgent, o.Urgent),
	}
}

// forget removes what was told of domains that are not held any more.
func (w *Watcher) forget(ctx context.Context, seen map[string]observation) {
	var ops []kv.Op
	var gone []string
	for k := range w.states {
		if _, ok := seen[k]; !ok {
			ops, gone = append(ops, kv.Del([]byte(prefix+k))), append(gone, k)
		}
	}
	if w.commit(ctx, ops) {
		for _, k := range gone {
			delete(w.states, k)
			delete(w.calls, k)
		}
	}
}

// decide gives what is told of a domain from now on, nil where that does not change or is stored
// with a digest.
func (w *Watcher) decide(ctx context.Context, o observation) (kv.Op, *state) {
	was := &state{}
	if s := w.states[o.Key]; s != nil {
		was = s
	}
	next := *was
	next.Events = slices.Clone(was.Events)
	next.hosts(o)
	w.logSilence(was, &next, o)
	told := next.Owner
	if why := next.owners(o); len(why) > 0 {
		switch r := w.Submit(ctx, o.digest(why), w.op(o.Key, &next)); {
		case r.Positive():
			w.states[o.Key] = &next
			return kv.Op{}, nil
		case r.Temporary():
			next.Owner = told // it is told with the next look
			w.Log.Warn("a digest is not sent now", "domain", o.Key, "err", r)
		default:
			w.Log.Warn("a digest cannot be sent: see HoldOwner", "domain", o.Key, "err", r)
		}
	}
	if next.equal(was) {
		return kv.Op{}, nil
	}
	return w.op(o.Key, &next), &next
}

func (w *Watcher) logSilence(was, next *state, o observation) {
	switch {
	case was.Silent.IsZero() && !next.Silent.IsZero():
		w.Log.Warn("the host of a held domain does not call", "domain", o.Key, "last_call", o.Last, "every", o.every(o.Calls), "messages", o.Messages)
	case !was.Silent.IsZero() && next.Silent.IsZero():
		w.Log.Info("the host of a held domain calls again", "domain", o.Key, "last_call", o.Last)
	}
}

func encode(s *state) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic(err) // plain data
	}
	return text
}

// op stores s, or removes it where it says nothing.
func (w *Watcher) op(key string, s *state) kv.Op {
	text := encode(s)
	if string(text) == "{}" {
		return kv.Del([]byte(prefix + key))
	}
	return kv.Put([]byte(prefix+key), text)
}

func (w *Watcher) commit(ctx context.Context, ops []kv.Op) bool {
	if len(ops) == 0 {
		return true
	}
	err := w.DB.Commit(ctx, ops...)
	if err != nil && ctx.Err() == nil {
		w.Log.Warn("what is told of held mail is not stored now", "err", err)
	}
	return err == nil
}

// publish has Silent list the alarms.
func (w *Watcher) publish() {
	list := []Silence{}
	for _, k := range slices.Sorted(maps.Keys(w.states)) {
		if s := w.states[k]; !s.Silent.IsZero() {
			list = append(list, Silence{k, s.Silent, w.calls[k].Last})
		} else if s.equal(&state{}) {
			delete(w.states, k)
		}
	}
	if was := w.silent.Swap(&list); was == nil && len(list) > 0 || was != nil && !slices.Equal(*was, list) {
		w.Changed()
	}
}

// A result is what became of one attempt at an event.
type result struct {
	key     string
	id      string
	command bool
	err     error
}

// send begins the attempts that are due, as far as there is room.
func (w *Watcher) send(ctx context.Context) {
	now := time.Now()
	for _, k := range slices.Sorted(maps.Keys(w.states)) {
		for i := range w.states[k].Events {
			e := &w.states[k].Events[i]
			if w.running >= maxRunning {
				return
			}
			if e.running || now.Before(e.Next) {
				continue
			}
			e.running = true
			w.running++
			go func(e pending, p Policy) {
				r := result{k, e.ID, e.Command, errNone}
				switch {
				case e.Command && len(p.Command) > 0:
					r.err = w.run(ctx, p.Command, e.Event)
				case !e.Command && p.URL != "":
					r.err = w.post(ctx, p.URL, p.Secret, e.Event)
				}
				w.results <- r // there is room for all that run
			}(*e, w.Policy(mail.Domain(k)))
		}
	}
}

var errNone = errors.New("it has no receiver any more")

// settle records a result. One that the end of ctx has cut is none.
func (w *Watcher) settle(ctx context.Context, r result) {
	w.running--
	s := w.states[r.key]
	if s == nil {
		return
	}
	i := slices.IndexFunc(s.Events, func(e pending) bool { return e.ID == r.id && e.Command == r.command })
	if i < 0 {
		return
	}
	next := *s
	next.Events = slices.Clone(s.Events)
	e := &next.Events[i]
	e.running = false
	attrs := []any{"domain", r.key, "event", e.Type, "id", e.ID, "to", map[bool]string{false: "WakeUrl", true: "WakeCommand"}[r.command]}
	switch {
	case r.err == nil:
		w.Log.Info("an event of held mail is told", append(attrs, "reason", e.Data.Reason)...)
		next.Events = slices.Delete(next.Events, i, i+1)
	case ctx.Err() != nil:
	case errors.Is(r.err, hook.ErrGone), errors.Is(r.err, errNone):
		w.Log.Warn("an event of held mail is given up", append(attrs, "err", r.err)...)
		next.Events = slices.Delete(next.Events, i, i+1)
	default:
		wait := min(firstRetry<<min(e.Tries, 10), lastRetry)
		e.Tries++
		e.Next = time.Now().Add(wait)
		w.Log.Warn("an event of held mail is not told yet", append(attrs, "again", e.Next, "err", fmt.Sprint(r.err))...)
	}
	w.states[r.key] = &next
	_ = w.commit(context.WithoutCancel(ctx), []kv.Op{w.op(r.key, &next)}) // else it is sent again after a restart, with the same ID
}

// settleRunning records the results of the attempts that run, which the end of ctx cuts.
func (w *Watcher) settleRunning(ctx context.Context) {
	for w.running > 0 {
		w.settle(ctx, <-w.results)
	}
}
