// SPDX-License-Identifier: Apache-2.0

package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"restante/engine/alert"
	"restante/engine/delivery"
	"restante/engine/delivery/transfer"
	"restante/engine/dsn"
	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/recipients/pushed"
	"restante/engine/release"
	"restante/engine/release/calls"
	"restante/engine/release/link"
	"restante/engine/session"
	"restante/engine/site/bandwidth"
	"restante/engine/wire"
	"restante/internal/disk"
	"restante/internal/kv"
)

// A mailQueue is a site's queue with its storage and its release service. It is
// open from the first start to the end of Run, also while the site is stopped,
// so that an administrator sees the mail.
type mailQueue struct {
	Storage
	folder   string
	queue    *queue.Queue
	releases *release.Service
	calls    *calls.Log
	alerts   *alert.Watcher
}

// openMailQueue opens the storage and the queue. That may take a while for a
// large queue.
func (s *Site) openMailQueue(ctx context.Context, cfg *Config) (*mailQueue, error) {
	storage, err := cfg.Mail.Open(ctx, func() StorageLimits { return s.config().Mail.Limits })
	if err != nil {
		return nil, fmt.Errorf("queue folder %s: %w", cfg.Mail.Folder, err)
	}
	out := delivery.New(routes{s}, s.deps.Resolver, delivery.Options{Log: s.log, Lines: s.logLine, STS: s.deps.STS, Dialer: &bandwidth.Dialer{Limit: &s.bandwidth}})
	q, err := queue.New(ctx, storage.Messages, storage.DB, queue.Deps{
		Router:  queue.RouterFunc(func(d mail.Domain) queue.RouteState { return s.config().Mail.Holds.Route(d) }),
		Attempt: func(ctx context.Context, l *queue.Lease) { s.attempt(ctx, out, l) },
		Report:  s.report,
		Policy:  func() queue.Policy { return s.config().Mail.Policy },
		Archive: s.archive,
		Quota:   s.quota, Free: storage.Free,
		Journal: s.deps.Journal, Unsettled: s.unsettled, Stored: s.noteStorage,
		Held: func(d mail.Domain) { s.mailCame(d) },
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("queue in %s: %w", cfg.Mail.Folder, err), storage.Close())
	}
	log := calls.New(storage.DB, func() time.Duration { return s.config().CallHistory }, s.log)
	service := release.New(waiting{q, s}, release.Options{
		Called: log.Add, Links: log,
		Log: s.log, Lines: s.logLine, Journal: s.deps.Journal, Policy: func() *release.Policy { return &s.config().Release },
	})
	p := &mailQueue{storage, cfg.Mail.Folder, q, service, log, nil}
	p.alerts = s.newAlerts(p)
	if err := p.rerouteIfChanged(ctx, cfg.Rev); err != nil {
		return nil, errors.Join(fmt.Errorf("queue in %s: %w", cfg.Mail.Folder, err), storage.Close())
	}
	return p, nil
}

// archive writes a message whose hold is over into the site's archive.
func (s *Site) archive(_ context.Context, env mail.Envelope, text io.Reader) error {
	to, err := disk.MakeFolder(nil, s.config().Mail.Archive, 0o700)
	if err != nil {
		return err
	}
	defer to.Close()
	if err := queue.WriteExport(to, env, text); err != nil {
		return err
	}
	s.counters.archived.Add(1)
	return nil
}

// quota is that of the configuration in force.
func (s *Site) quota(d mail.Domain) queue.Quota {
	cfg := s.config()
	if cfg.Mail.Quota == nil {
		return queue.Quota{}
	}
	u := cfg.Mail.Quota(d)
	u.Under = cfg
	return u
}

// revKey holds the revision that the queue last used. No key of the store or
// the queue begins with it.
const revKey = "w/rev"

// rerouteIfChanged makes postponed messages due if the settings have changed
// since the queue was closed.
func (p *mailQueue) rerouteIfChanged(ctx context.Context, rev uint64) error {
	was, ok, err := p.DB.Get([]byte(revKey))
	if err != nil {
		return err
	}
	if ok && string(was) != strconv.FormatUint(rev, 10) {
		p.queue.Reroute(func(mail.Domain) bool { return true })
	}
	return p.recordRev(ctx, rev)
}

func (p *mailQueue) recordRev(ctx context.Context, rev uint64) error {
	return p.DB.Commit(ctx, kv.Put([]byte(revKey), []byte(strconv.FormatUint(rev, 10))))
}

// attempt makes one attempt. If the route changes meanwhile, its failure says
// nothing about the new route.
func (s *Site) attempt(ctx context.Context, out *delivery.Delivery, l *queue.Lease) {
	was := s.config()
	begun := s.releasing.begin(l.Domain(), was.Mail.Holds.Route(l.Domain()).Held, s.meter)
	if begun != nil {
		l.Select(selection(begun.tally.Link))
	}
	out.Attempt(ctx, l.Domain(), lease{l, s, begun.counts()})
	s.endRelease(begun)
	now, q := s.config(), s.Queue()
	if q != nil && rerouted(was, now, l.Domain()) {
		q.Reroute(func(d mail.Domain) bool { return d == l.Domain() })
	}
}

func (s *Site) report(_ context.Context, r dsn.Report) ([]byte, error) {
	cfg := s.config()
	r.MTA, r.From = cfg.Wire.Hostname, cfg.Mail.From
	return cfg.signed(dsn.Build(r)), nil
}

// signed is a message of the site's postmaster with its signature, if it gets one.
func (c *Config) signed(text []byte) []byte {
	if c.Session.Sign == nil {
		return text
	}
	from := c.Mail.From.Address
	if from.IsNull() { // it is postmaster at the host then
		from.Domain, _ = mail.ParseDomain(c.Wire.Hostname)
	}
	if sign := c.Session.Sign(mail.Envelope{From: from}); sign != nil {
		_, _ = sign.Write(text) // it never fails
		text = append([]byte(sign.Fields()), text...)
	}
	return text
}

// routes answers from the settings in force at each attempt.
type routes struct{ site *Site }

func (r routes) Route(d mail.Domain) delivery.Route { return r.site.config().Mail.Routes.Route(d) }

// An intake is the queue as a session uses it.
type intake struct {
	queue *queue.Queue
	site  *Site
	extra []kv.Op // of the commit of each message
}

func (in intake) Create(ctx context.Context) (session.Body, error) {
	d, err := in.queue.Create(ctx)
	if err != nil {
		in.site.noteStorage(err)
		return nil, fullReply(err)
	}
	return body{d, in}, nil
}

// A body is a draft of the queue that a session fills.
type body struct {
	queue.Draft
	intake intake
}

func (b body) Write(p []byte) (int, error) {
	n, err := b.Draft.Write(p)
	if err != nil {
		b.intake.site.noteStorage(err)
	}
	return n, fullReply(err)
}

func (b body) Accept(ctx context.Context, env mail.Envelope) error {
	// A message that has arrived whole is kept even if the service stops now.
	err := b.intake.queue.Accept(context.WithoutCancel(ctx), b.Draft, env, b.intake.extra...)
	if err == nil {
		b.intake.site.counters.accepted.Add(1)
	}
	b.intake.site.noteStorage(err)
	return fullReply(err)
}

// fullReply makes a full disk the reply of RFC 5321 §4.2.3.
func fullReply(err error) error {
	if errors.Is(err, kv.ErrFull) {
		return mail.Reply{Code: 452, Enhanced: "3.1", Text: "Insufficient system storage", Cause: err}
	}
	return err
}

// A lease is a lease of the queue that counts deliveries.
type lease struct {
	*queue.Lease
	site  *Site
	tally *calls.Tally // of a release; nil: it is none, or counted elsewhere
}

func (l lease) Next() (mail.Item, bool) {
	it, ok := l.Lease.Next()
	if ok && l.tally != nil {
		l.tally.Handed(it)
	}
	return it, ok
}

func (l lease) Defer(ctx context.Context, r mail.Reply, host string) error {
	if l.tally != nil {
		l.tally.Deferred(r)
	}
	return l.Lease.Defer(ctx, r, host)
}

func (l lease) Settle(ctx context.Context, id mail.MessageID, outcomes []mail.Outcome) error {
	err := l.Lease.Settle(ctx, id, outcomes)
	if err == nil && l.tally != nil {
		l.tally.Settled(id, outcomes)
	}
	if err == nil && l.Domain() != queue.Badmail {
		for _, o := range outcomes {
			if o.Status == mail.Delivered {
				l.site.counters.delivered.Add(1)
			}
		}
	}
	l.site.noteStorage(err)
	return err
}

// noteStorage has Status show why the last message or outcome was not stored,
// until one is again. Run sees to a storage that is broken.
func (s *Site) noteStorage(err error) {
	if errors.Is(err, queue.ErrQuota) {
		return // the storage has no part in it
	}
	s.mu.Lock()
	changed := (err == nil) != (s.unstored == nil)
	s.unstored = err
	s.mu.Unlock()
	if changed {
		s.deps.Changed()
	}
	if err != nil {
		s.notify()
	}
}

// reopenIfBroken stops a site whose storage is broken and starts it anew: that
// opens the storage again, which repairs it.
func (s *Site) reopenIfBroken(ctx context.Context) {
	s.mu.Lock()
	r, state := s.run, s.state
	s.mu.Unlock()
	if r == nil || r.mail.Broken() == nil {
		return
	}
	s.stop(refused(QueueFolder, fmt.Errorf("queue folder %s: %w", r.mail.folder, r.mail.Broken())))
	if err := s.start(ctx); err == nil && state == Paused {
		_, cause := s.stateAndCause()
		s.setState(Paused, cause)
	}
}

// waiting is the queue as release uses it.
type waiting struct {
	queue *queue.Queue
	site  *Site
}

func (w waiting) Waiting(d mail.Domain, below bool) ([]release.Waiting, error) {
	names := []mail.Domain{d}
	if below {
		names = w.queue.Below(d)
	}
	var out []release.Waiting
	for _, name := range names {
		if n := w.queue.Count(name); n > 0 {
			out = append(out, release.Waiting{Domain: name, Messages: n})
		}
	}
	return out, nil
}

func (w waiting) Lease(ctx context.Context, d mail.Domain, verb, account string, limits *link.Meter) (transfer.Lease, error) {
	l, err := w.queue.TakeOver(ctx, d, verb, account)
	if busy := (queue.ErrBusy{}); errors.As(err, &busy) {
		return nil, fmt.Errorf("%w: %w", release.ErrBusy, err)
	}
	if err != nil {
		return nil, err
	}
	l.Select(selection(limits))
	return lease{l, w.site, nil}, nil
}

// selection has a lease hand out what the limits of a link take.
func selection(limits *link.Meter) queue.Selection {
	if limits == nil {
		return queue.Selection{}
	}
	return queue.Selection{Smallest: limits.Smallest(), Take: limits.Take}
}

// Trigger starts an attempt. A holder of the lease gets all mail as it is.
func (w waiting) Trigger(d mail.Domain, owner bool, by calls.Call) error {
	if who := w.queue.Holder(d); who != "" {
		return fmt.Errorf("%w: by %s", release.ErrBusy, who)
	}
	w.site.releasing.ask(by)
	if owner {
		w.queue.TriggerByOwner(d)
	} else {
		w.queue.Trigger(d)
	}
	return nil
}

// releases is the release service as a session uses it, under the policy in
// force at each call.
type releases struct {
	releases *release.Service
	site     *Site
	upload   *pushed.Upload // of one session
}

func (r releases) Recipients(ctx context.Context, who session.Who, arg string) mail.Reply {
	return r.upload.Say(ctx, r.site.config().Pushed, who.Account, arg)
}

func (r releases) Etrn(ctx context.Context, who session.Who, node string) mail.Reply {
	return r.releases.Etrn(ctx, r.site.config().Release, release.Caller(who), node)
}

func (r releases) Turn(ctx context.Context, who session.Who, atrn bool, domains []mail.Domain) (mail.Reply, wire.Handover) {
	return r.releases.Turn(ctx, r.site.config().Release, release.Caller(who), atrn, domains)
}
