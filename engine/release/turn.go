// SPDX-License-Identifier: Apache-2.0

package release

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"restante/engine/delivery/transfer"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/release/calls"
	"restante/engine/release/link"
	"restante/engine/wire"
)

// Turn answers TURN or, with atrn, ATRN; domains are those that ATRN named, nil
// for all of the account's. A Handover comes with a positive reply only. It
// holds leases and must be called once, even if the reply could not be sent.
func (svc *Service) Turn(ctx context.Context, p Policy, c Caller, atrn bool, domains []mail.Domain) (mail.Reply, wire.Handover) {
	verb := "TURN"
	if atrn {
		verb = "ATRN"
	}
	if reply := p.refusal(verb, c); reply.Code != 0 {
		return reply, nil
	}
	if slices.ContainsFunc(domains, func(d mail.Domain) bool { return !twoLabels(d) }) {
		return badDomain, nil
	}
	s := &handover{service: svc, policy: p, caller: c, verb: verb, begin: svc.opts.Now()}
	asked, err := s.selectDomains(domains)
	if err != nil {
		return deniedReply(atrn, err), nil
	}
	key := verb + " " + strings.ToLower(c.Account)
	if !svc.allowCall(key, p.Interval) {
		return mail.Reply{Code: 450, Enhanced: "3.2", Text: "asked again too soon"}, nil
	}
	if reply := s.leaseAll(ctx, asked); reply.Code != 0 {
		svc.forgetCall(key)
		return reply, nil
	}
	s.noteEmpty(asked)
	if atrn && len(s.leases) == 0 {
		return mail.Reply{Code: 453, Enhanced: "3.0", Text: "you have no mail"}, nil
	}
	return mail.Reply{Code: 250, Enhanced: "0.0", Text: "OK, reversing roles"}, s.handOver
}

func deniedReply(atrn bool, why error) mail.Reply {
	r := mail.Reply{Code: 550, Enhanced: "7.1", Text: "not allowed for this account", Cause: why}
	if atrn { // RFC 2645 §5.2.1 knows no permanent refusal but 502
		r.Code = 450
	}
	return r
}

// selectDomains returns the account's domains that are asked for: all, or the
// named ones. An error says why the account has none, or not one that is named: then it
// gets nothing (RFC 2645 §5.2.1).
func (s *handover) selectDomains(named []mail.Domain) (asked []mail.Domain, err error) {
	own := s.policy.Rules.TurnDomains(s.caller.Account)
	if len(own) == 0 {
		return nil, errNoGrant
	}
	for _, n := range named {
		if err := s.may(&s.policy, n); err != nil {
			return nil, err
		}
	}
	if len(named) > 0 {
		return named, nil
	}
	for _, d := range own {
		if !strings.HasPrefix(string(d), "*.") { // else the rules are asked for each name
			if bad := s.service.narrowed(&s.policy, s.verb, s.caller, d); bad != nil {
				err = errors.Join(err, bad)
				continue
			}
		}
		asked = append(asked, d)
	}
	if len(asked) > 0 && err != nil {
		s.service.opts.Log.Info("domains are left out of a call", "verb", s.verb, "account", s.caller.Account, "client", s.caller.Remote, "why", err)
		err = nil
	}
	return asked, err
}

var errNoGrant = errors.New("AuthTurnList names the account at no domain")

// may says why the account may not have the mail of d; nil: it may.
func (s *handover) may(p *Policy, d mail.Domain) error {
	if !p.Rules.MayCollect(s.caller.Account, d) {
		return fmt.Errorf("%s of %s by %s", s.verb, d, s.caller.Account)
	}
	return s.service.narrowed(p, s.verb, s.caller, d)
}

// A handover is one call and its leases.
type handover struct {
	service *Service
	policy  Policy
	caller  Caller
	verb    string
	leases  []leasedDomain
	begin   time.Time
	busy    map[mail.Domain]bool   // leased by others
	silence time.Duration          // for which the caller may be silent; 0: as the policy says
	meters  map[string]*link.Meter // by whose day they count

	permitted map[mail.Domain]*Policy // that last gave the account the domain
}

type leasedDomain struct {
	Waiting
	lease transfer.Lease
	tally *calls.Tally
	noted bool // what became of it
}

// A countedLease counts what is handed over.
type countedLease struct {
	transfer.Lease
	tally *calls.Tally
}

func (l countedLease) Next() (mail.Item, bool) {
	it, ok := l.Lease.Next()
	if ok {
		l.tally.Handed(it)
	}
	return it, ok
}

func (l countedLease) Settle(ctx context.Context, id mail.MessageID, outcomes []mail.Outcome) error {
	err := l.Lease.Settle(ctx, id, outcomes)
	if err == nil {
		l.tally.Settled(id, outcomes)
	}
	return err
}

// maxEmpty bounds the domains without mail of which one call is noted.
const maxEmpty = 100

// noteEmpty notes the call for those domains of asked that have no mail.
func (s *handover) noteEmpty(asked []mail.Domain) {
	for _, d := range asked[:min(len(asked), maxEmpty)] {
		leased := slices.ContainsFunc(s.leases, func(l leasedDomain) bool { return l.Domain == d })
		if !leased && !s.busy[d] && !strings.HasPrefix(string(d), "*.") {
			s.service.called(s.call(d), nothingWaits)
		}
	}
}

func (s *handover) call(d mail.Domain) calls.Call {
	c := s.service.call(s.caller, s.verb, d)
	c.Begin = s.begin
	return c
}

// note notes what became of the mail of l. The rest that it tells is of messages that
// were not tried, too.
func (s *handover) note(ctx context.Context, l *leasedDomain, broken error) {
	if l.noted {
		return
	}
	l.noted = true
	c := l.tally.Of(s.call(l.Domain), 0, broken)
	c = l.tally.Of(c, max(0, l.Messages-c.Messages-c.Refused), broken)
	s.service.called(c, "")
	s.service.opts.Journal.Released(ctx, s.caller.Session, journal.Release{
		Domain: c.Domain, Verb: c.Verb, Account: c.Account, Caller: c.Address,
		Messages: c.Messages, Bytes: c.Bytes, InDoubt: c.InDoubt, Left: c.Left, Outcome: c.Outcome,
	})
}

// maxTakeover bounds the wait for a message that another host is taking. RFC
// 5321 §4.5.3.2 gives a client five minutes for the reply.
const maxTakeover = 4 * time.Minute

// leaseAll leases every destination of asked that has mail and is not leased.
// If all are leased, or the queue fails, it leases nothing and the reply says
// why.
func (s *handover) leaseAll(ctx context.Context, asked []mail.Domain) (reply mail.Reply) {
	ctx, cancel := context.WithTimeout(ctx, maxTakeover)
	defer cancel()
	busy, spent := false, false
	for _, pattern := range asked {
		waiting, err := s.waiting(pattern)
		if err != nil {
			s.close()
			return mail.Reply{Code: 451, Enhanced: "3.0", Text: "the queue is out of reach now", Cause: err}
		}
		for _, w := range waiting {
			if slices.ContainsFunc(s.leases, func(l leasedDomain) bool { return l.Domain == w.Domain }) {
				continue // leased under an earlier pattern
			}
			m := s.meter(ctx, w.Domain)
			if m.Spent() {
				spent = true
				s.noteKept(w, m.SpentText())
				continue
			}
			l, err := s.service.queue.Lease(ctx, w.Domain, s.verb, s.caller.Account, m)
			switch {
			case err == nil:
				tally := &calls.Tally{Link: m}
				s.leases = append(s.leases, leasedDomain{Waiting: w, lease: countedLease{l, tally}, tally: tally})
			case errors.Is(err, ErrBusy):
				busy = true
				s.noteKept(w, busyNow)
			default:
				s.close()
				return mail.Reply{Code: 451, Enhanced: "3.0", Text: "the queue is out of reach now", Cause: err}
			}
		}
	}
	switch {
	case len(s.leases) > 0:
	case busy:
		return mail.Reply{Code: 450, Enhanced: "3.2", Text: "your mail is being handed over already"}
	case spent:
		return mail.Reply{Code: 450, Enhanced: "3.2", Text: spentText}
	}
	return mail.Reply{}
}

// meter is what measures the mail of d: domains of one link share one.
func (s *handover) meter(ctx context.Context, d mail.Domain) *link.Meter {
	m, p := s.service.meter(ctx, s.policy, s.caller.Account, d)
	s.silence = max(s.silence, p.Silence)
	if m == nil {
		return nil
	}
	if first := s.meters[p.Of]; first != nil {
		return first
	}
	if s.meters == nil {
		s.meters = map[string]*link.Meter{}
	}
	s.meters[p.Of] = m
	return m
}

func (s *handover) timeouts() wire.Timeouts {
	if s.silence == 0 || s.policy.Patient == nil {
		return s.policy.Timeouts
	}
	return s.policy.Patient(s.silence)
}

// waiting returns the destinations with mail that pattern covers. A wildcard
// covers the names below it, not the name itself.
func (s *handover) waiting(pattern mail.Domain) ([]Waiting, error) {
	name, below := strings.CutPrefix(string(pattern), "*.")
	all, err := s.service.queue.Waiting(mail.Domain(name), below)
	return slices.DeleteFunc(all, func(w Waiting) bool {
		return below && string(w.Domain) == name || s.may(&s.policy, w.Domain) != nil
	}), err
}

func (s *handover) close() {
	for _, l := range s.leases {
		l.lease.Close()
	}
	for _, m := range s.meters {
		m.End()
	}
	s.leases = nil
}

// noteKept notes a call for mail that it does not get.
func (s *handover) noteKept(w Waiting, why string) {
	if s.busy == nil {
		s.busy = map[mail.Domain]bool{}
	}
	s.busy[w.Domain] = true
	c := s.call(w.Domain)
	c.Left = w.Messages
	s.service.called(c, why)
}

// without is for one connection what Policy.Without is for each of its domains, and
// what the account's host cannot take.
func (s *handover) without() (names []string) {
	if s.service.getsStuck(s.caller.Account) {
		names = append(names, "PIPELINING")
	}
	for _, l := range s.leases {
		if s.policy.Without != nil {
			names = append(names, s.policy.Without(l.Domain)...)
		}
	}
	return names
}

// handOver sends the leased mail over the caller's own connection. The caller
// greets, this side says EHLO. It asks for neither STARTTLS nor AUTH: the
// caller has proved its identity on this connection, and may pipe it to a
// line-oriented program.
func (s *handover) handOver(ctx context.Context, conn net.Conn) {
	defer s.close()
	ended := errNotReached
	defer func() {
		for i := range s.leases {
			s.note(ctx, &s.leases[i], ended)
		}
	}()
	ctx, done := s.until(ctx)
	defer done()
	log := s.service.opts.Log.With("verb", s.verb, "account", s.caller.Account, "client", s.caller.Remote)
	c, err := wire.NewClient(ctx, conn, wire.ClientOptions{
		Hello: s.policy.Hello, TLSPolicy: wire.TLSNever, Proved: signedIn, Without: s.without(), Timeouts: s.timeouts(), Log: s.service.opts.Lines,
		LineWrites: s.caller.TLS != "", // fetchmail reads one line of each TLS record before it waits for the next
	})
	if err != nil {
		log.WarnContext(ctx, "reversed session: greeting", "err", err)
		ended = fmt.Errorf("greeting: %w", err)
		return
	}
	_, most := c.Limits()
	for i, begun := 0, 0; i < len(s.leases) && (most == 0 || begun < most); i++ {
		l := &s.leases[i]
		b := transfer.NewBatch(l.lease)
		b.SetMasquerade(s.policy.Masquerade)
		b.SetHeld(true)
		b.SetVia(s.via())
		b.SetGuard(func() error { return s.lost(l.Domain) })
		if s.caller.TLS == "" {
			b.SetSkip(func(it mail.Item) bool { return it.Env.RequireTLS }) // it waits for a call over TLS
		}
		b.SetLastBreak(s.service.lastBreak(l.Domain))
		res := b.Send(ctx, c, s.peer(c), max(0, most-begun))
		begun += res.Begun
		s.note(ctx, l, res.Err)
		s.service.recordBreak(l.Domain, b.LastBreak())
		if errors.Is(res.Err, errLost) { // between two messages
			log.InfoContext(ctx, "reversed session: ended", "domain", l.Domain, "taken", res.Taken, "why", res.Err)
			l.lease.Close()
			continue
		}
		if res.Err != nil {
			// What is not settled stays for the next call.
			s.service.recordStuck(s.caller.Account, c.Stuck(), res.Err)
			log.WarnContext(ctx, "reversed session", "domain", l.Domain, "taken", res.Taken, "msg_id", res.Cut, "err", res.Err)
			transfer.End(ctx, c, res)
			return
		}
		l.lease.Close() // later arrivals are for the next call
	}
	_ = c.Quit(ctx) // all is settled: the answer to QUIT changes nothing
}

// until returns a context that ends with ctx, and when the account calls again.
func (s *handover) until(ctx context.Context) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	var undo []func()
	for _, l := range s.leases {
		lease, done := l.lease.Until(ctx)
		stop := context.AfterFunc(lease, func() { end(context.Cause(lease)) })
		undo = append(undo, func() { stop(); done() })
	}
	return ctx, func() {
		for _, f := range undo {
			f()
		}
		end(nil)
	}
}

// errNotReached is why a domain's mail was not tried.
var errNotReached = errors.New("the connection ended before")

// signedIn is the proof of who the peer is: the caller has signed in on this connection.
func signedIn(tls.ConnectionState) error { return nil }

// errLost is found in the error that ends the handover of a domain because the
// caller may not have it any more.
var errLost = errors.New("the right to the mail is gone")

// lost says why the caller may not have the next message of d, or nil.
func (s *handover) lost(d mail.Domain) error {
	if s.caller.Lost != nil {
		if err := s.caller.Lost(); err != nil {
			return fmt.Errorf("%w: %w", errLost, err)
		}
	}
	if s.service.opts.Policy == nil {
		return nil
	}
	now := s.service.opts.Policy()
	if now == s.permitted[d] {
		return nil
	}
	if reply := now.refusal(s.verb, s.caller); reply.Code != 0 {
		return fmt.Errorf("%w: %w", errLost, reply)
	}
	if err := s.may(now, d); err != nil {
		return fmt.Errorf("%w: %w", errLost, err)
	}
	if s.permitted == nil {
		s.permitted = map[mail.Domain]*Policy{}
	}
	s.permitted[d] = now
	return nil
}

// via is the caller's own connection.
func (s *handover) via() mail.Via {
	return mail.Via{Addr: s.caller.Remote, TLS: cmp.Or(s.caller.TLS, "none"), By: strings.TrimSpace(s.verb + " " + s.caller.Account)}
}

// peer is the name of the other end in outcomes.
func (s *handover) peer(c *wire.Client) string {
	if name := c.PeerName(); name != "" {
		return name
	}
	return s.caller.Remote.String()
}

// lastBreak returns the message at which calls for dest broke last.
func (svc *Service) lastBreak(dest mail.Domain) transfer.Break {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	return svc.breaks[dest]
}

func (svc *Service) recordBreak(dest mail.Domain, b transfer.Break) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	if b.Times == 0 {
		delete(svc.breaks, dest)
	} else {
		svc.breaks[dest] = b
	}
}

// getsStuck reports whether the account's host last fell silent within a group of
// commands: it gets them one by one.
func (svc *Service) getsStuck(account string) bool {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	return svc.stuck[strings.ToLower(account)]
}

// recordStuck takes down how a handover broke. Silence without a group shows that it
// was the line, and not the group.
func (svc *Service) recordStuck(account string, stuck bool, why error) {
	if !stuck && !errors.Is(why, os.ErrDeadlineExceeded) {
		return
	}
	svc.mu.Lock()
	defer svc.mu.Unlock()
	if len(svc.stuck) >= maxRemembered {
		clear(svc.stuck)
	}
	svc.stuck[strings.ToLower(account)] = stuck
}

// maxRemembered bounds the calls and accounts that a Service remembers.
const maxRemembered = 10000

// allowCall records a call for key and reports whether the interval since the
// last one has passed.
func (svc *Service) allowCall(key string, interval time.Duration) bool {
	if interval <= 0 {
		return true
	}
	now := svc.opts.Now()
	svc.mu.Lock()
	defer svc.mu.Unlock()
	if at, ok := svc.lastCall[key]; ok && now.Sub(at) < interval {
		return false
	}
	if len(svc.lastCall) >= maxRemembered {
		for k, at := range svc.lastCall {
			if now.Sub(at) >= interval {
				delete(svc.lastCall, k)
			}
		}
	}
	svc.lastCall[key] = now
	return true
}

// forgetCall removes a call that failed through no fault of the caller.
func (svc *Service) forgetCall(key string) {
	svc.mu.Lock()
	defer svc.mu.Unlock()
	delete(svc.lastCall, key)
}
