// SPDX-License-Identifier: Apache-2.0

// Package engine keeps the running sites in line with the tree.
//
// The metabase notifies the engine of each commit. The engine loads the
// settings of every site from the newest snapshot and applies them: a site swaps
// its configuration, rebinds, starts or stops. [Engine.Await] returns when a
// revision is in force at every site, or with the sites where it is not.
//
// An error at one site never affects another. It becomes that site's state,
// which is also in the tree, as ServerState and Win32Error.
package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"restante/engine/account"
	"restante/engine/account/ldap"
	"restante/engine/auth"
	"restante/engine/delivery"
	"restante/engine/dnsbl"
	"restante/engine/filter"
	"restante/engine/greylist"
	"restante/engine/journal"
	"restante/engine/mail"
	"restante/engine/mtasts"
	"restante/engine/policy"
	"restante/engine/queue"
	"restante/engine/recipients"
	"restante/engine/recipients/pushed"
	"restante/engine/release/calls"
	"restante/engine/resolver"
	"restante/engine/session"
	"restante/engine/settings"
	"restante/engine/site"
	"restante/engine/site/certs"
	"restante/engine/site/ports"
	"restante/engine/trace"
	"restante/internal/descriptors"
	"restante/internal/kv"
	"restante/metabase"
)

// A Tree is the part of metabase.Store that the engine uses.
type Tree interface {
	Snapshot() metabase.Snapshot
	Watch(p metabase.Path) *metabase.Watch
	SetVolatile(p metabase.Path, props ...metabase.Property) error
	Apply(ctx context.Context, b metabase.Batch) (metabase.Rev, error)
}

// Options is what an Engine works with. DataDir and IndexDB are required.
type Options struct {
	DataDir  string                                              // where relative paths of the tree begin
	IndexDB  kv.DB                                               // of all queues, each under a prefix of its own; its owner closes it after Run
	Log      *slog.Logger                                        // diagnostics; nil: none
	Journal  *slog.Logger                                        // of messages' lives; nil: none
	TraceDir string                                              // where the same are kept to be found; "": nowhere
	Resolver delivery.Resolver                                   // nil: package resolver's
	Names    func(context.Context, netip.Addr) ([]string, error) // of a client's address, by DNS; nil: package resolver's
	Grace    time.Duration                                       // that callers have to finish when a site stops; 0: 20 s
	Again    time.Duration                                       // between attempts at what the system refused; 0: 5 s
	Patience time.Duration                                       // that Await waits for a site; 0: 10 s

	Descriptors *descriptors.Budget // nil: as many as memory has room for
	SignInKey   []byte              // of account.Options
}

// ErrNoSite means that there is no such site, or that it could not be loaded.
var ErrNoSite = errors.New("there is no such site")

// ErrNotRunning means that Run is not, or no longer, running.
var ErrNotRunning = errors.New("the engine does not run")

// An Engine runs sites. Its methods may be called from anywhere.
type Engine struct {
	tree    Tree
	opts    Options
	auth    *account.Authenticator
	rates   session.Rates
	ports   ports.Set
	lists   recipients.Files
	pushed  pushed.Store
	asked   recipients.Directories
	block   dnsbl.Checker
	grey    greylist.List
	milters filter.Health
	dns     *resolver.Resolver
	trace   *trace.Store // nil: none
	grants  grants
	sts     mtasts.Cache

	requests chan *request
	wake     chan struct{} // a site's state changed
	ready    chan struct{}
	ended    chan struct{} // closed when Run stops the sites

	mu      sync.Mutex // guards what follows
	sites   map[int]*managedSite
	leaving []leavingSite // that stop because their keys are gone

	directories map[int]*ldap.Directory // by site
	tokens      map[int]account.Tokens
	shown       map[int]*certs.Reloader
}

// New makes an Engine over the tree. It starts nothing.
func New(tree Tree, opts Options) *Engine {
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}
	byDNS := resolver.New(resolver.Options{})
	if opts.Resolver == nil {
		opts.Resolver = byDNS
	}
	if opts.Names == nil {
		opts.Names = func(ctx context.Context, addr netip.Addr) ([]string, error) {
			return byDNS.Names(ctx, addr, resolver.Query{})
		}
	}
	if opts.Descriptors == nil {
		opts.Descriptors = descriptors.New(0)
	}
	if opts.Grace == 0 {
		opts.Grace = 20 * time.Second
	}
	if opts.Patience == 0 {
		opts.Patience = 10 * time.Second
	}
	e := &Engine{
		tree: tree, opts: opts, auth: account.NewAuthenticator(account.Options{Key: opts.SignInKey}),
		requests: make(chan *request), wake: make(chan struct{}, 1),
		ready: make(chan struct{}), ended: make(chan struct{}),
		sites: map[int]*managedSite{}, directories: map[int]*ldap.Directory{}, tokens: map[int]account.Tokens{}, shown: map[int]*certs.Reloader{},
	}
	e.dns, e.grants.engine = byDNS, e
	e.sts.DB, e.sts.Log = kv.Prefix(opts.IndexDB, "sts/"), opts.Log
	e.pushed.DB = opts.IndexDB
	if opts.TraceDir != "" {
		e.trace = trace.New(opts.TraceDir, traceLimits(tree.Snapshot()), opts.Log)
	}
	e.block.Log = opts.Log
	e.milters.Changed, e.milters.Files = e.notify, opts.Descriptors.Callers
	e.lists = recipients.Files{Dir: opts.DataDir, Log: opts.Log, Changed: e.notify}
	e.asked.Log, e.asked.Changed = opts.Log, e.notify
	return e
}

// Sources are what the policies of the sites find things by.
func (e *Engine) Sources() policy.Sources {
	return policy.Sources{Lists: &e.lists, Pushed: &e.pushed, Asked: e.hasMailbox, Block: &e.block, Grey: &e.grey, Milters: &e.milters, DNS: func(servers []string) auth.DNS {
		return e.dns.Lookup(resolver.Query{Servers: servers})
	}}
}

// HostNames returns the names of a client's address by DNS that lead back to it.
func (e *Engine) HostNames(ctx context.Context, addr netip.Addr) ([]string, error) {
	return e.opts.Names(ctx, addr)
}

// Ready is closed when every site that starts by itself has started, or has
// said why not.
func (e *Engine) Ready() <-chan struct{} { return e.ready }

// Run starts the sites that start by themselves and keeps all of them in line
// with the tree until ctx ends. Then each stops, with its grace time, and Run
// returns when everything that it started has. A site that takes longer than
// that and Options.Patience is left behind, with an error in the log. Run may be
// called once.
func (e *Engine) Run(ctx context.Context) error {
	r := &reconciler{engine: e}
	defer e.publishStates()
	defer e.runTrace(ctx)()
	defer r.wait()
	defer close(e.ended)
	watch := e.tree.Watch(metabase.Root)
	defer watch.Close()
	for ready := e.ready; ; {
		r.reconcile(ctx)
		settled, started := r.settledRequests(), ready != nil && e.settled(r.first)
		e.checkStranded()
		e.publishStates() // before the answers: their callers may read the states
		for _, q := range settled {
			close(q.done)
		}
		if started {
			close(ready)
			ready = nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-watch.C():
		case <-e.wake:
		case q := <-e.requests:
			r.accept(q)
		}
	}
}

// journal is that of site n, which logs from a level on.
func (e *Engine) journal(n int, level slog.Leveler) *journal.Journal {
	var log *slog.Logger
	if e.opts.Journal != nil {
		log = leveled(e.opts.Journal.With("site", n), level)
	}
	j := journal.New(log)
	if t := e.trace; t != nil {
		j.Traced(func(event string, keys []string, attrs []slog.Attr) {
			t.Add(trace.Event{Site: n, Name: event, Attrs: attrs, Keys: keys})
		})
	}
	return j
}

// Trace has the events of messages' lives; nil without Options.TraceDir.
func (e *Engine) Trace() *trace.Store { return e.trace }

// runTrace writes the trace until the function that it returns is called, which waits for
// its disk no longer than Options.Patience. The end of ctx does not end it: what then comes
// of mail is part of it.
func (e *Engine) runTrace(ctx context.Context) (stop func()) {
	if e.trace == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		e.trace.Run(ctx)
	}()
	return func() {
		cancel()
		select {
		case <-done:
		case <-time.After(e.opts.Patience):
			e.opts.Log.Error("the trace does not end: its disk does not answer")
		}
	}
}

// traceLimits are how much a trace keeps by the settings.
func traceLimits(snap metabase.Snapshot) trace.Limits {
	t := settings.TraceLimits(snap)
	if t.TraceBytes == 0 {
		t.TraceBytes = math.MaxInt64
	}
	return trace.Limits{Age: t.TraceDays, Bytes: t.TraceBytes}
}

// notify wakes Run.
func (e *Engine) notify() {
	select {
	case e.wake <- struct{}{}:
	default: // a wake-up is pending already
	}
}

func (e *Engine) site(n int) *site.Site {
	e.mu.Lock()
	defer e.mu.Unlock()
	if m := e.sites[n]; m != nil {
		return m.Site
	}
	return nil
}

// Command has site n start, stop, pause or continue, by the numbers of
// ServerCommand, and returns when that is done, or why it could not be, after
// Options.Grace and Options.Patience at the latest. A site
// that a commit has just made exists already.
func (e *Engine) Command(ctx context.Context, n int, command uint32) error {
	if err := e.request(&request{ctx: ctx}); err != nil {
		return err
	}
	s := e.site(n)
	if s == nil {
		return fmt.Errorf("site %d: %w", n, ErrNoSite)
	}
	bounded, cancel := context.WithTimeoutCause(ctx, e.opts.Grace+e.opts.Patience, errNoAnswer)
	defer cancel()
	if err := s.Do(bounded, site.Command(command)); err != nil {
		return fmt.Errorf("site %d: %w", n, err)
	}
	return nil
}

// Act is Command for the metabase, which calls it for each set of ServerCommand.
func (e *Engine) Act(ctx context.Context, p metabase.Path, v metabase.Value) error {
	n, err := strconv.Atoi(p.Base())
	if err != nil || !p.Equal(settings.SitePath(n)) {
		return fmt.Errorf("%s: ServerCommand is for a site", p)
	}
	return e.Command(ctx, n, v.DWord())
}

// ActEnd is EndSession for the metabase, which calls it for each set of the property.
func (e *Engine) ActEnd(_ context.Context, p metabase.Path, v metabase.Value) error {
	n, err := strconv.Atoi(p.Base())
	if err != nil || !p.Equal(settings.SitePath(n)) {
		return fmt.Errorf("%s: EndSession is for a site", p)
	}
	id := v.Str()
	if strings.EqualFold(id, "all") {
		id = ""
	}
	return e.EndSession(n, id)
}

// Queue is the queue of site n, also while the site is stopped; false where
// there is none, or before its first start.
func (e *Engine) Queue(n int) (*queue.Queue, bool) {
	s := e.site(n)
	if s == nil {
		return nil, false
	}
	q := s.Queue()
	return q, q != nil
}

// Calls is the history of calls for the held mail of site n; false where Queue is.
func (e *Engine) Calls(n int) (*calls.Log, bool) {
	s := e.site(n)
	if s == nil {
		return nil, false
	}
	log := s.Calls()
	return log, log != nil
}

// Sessions lists the connections to site n.
func (e *Engine) Sessions(n int) ([]site.Session, error) {
	s := e.site(n)
	if s == nil {
		return nil, fmt.Errorf("site %d: %w", n, ErrNoSite)
	}
	return s.Sessions(), nil
}

// LockOuts lists the addresses that guessed too many passwords, at any site.
func (e *Engine) LockOuts() []account.LockOut { return e.auth.LockOuts() }

// EndVoidSessions ends the sessions of all sites whose account is gone or has
// another password, and gives their number.
func (e *Engine) EndVoidSessions() (n int) {
	e.mu.Lock()
	var all []*site.Site
	for _, m := range e.sites {
		all = append(all, m.Site)
	}
	e.mu.Unlock()
	for _, s := range all {
		n += s.EndVoidSessions()
	}
	return n
}

// ErrNoSession means that no session has that ID.
var ErrNoSession = errors.New("there is no such session")

// EndSession ends one session; with id "" all of them.
func (e *Engine) EndSession(n int, id string) error {
	s := e.site(n)
	if s == nil {
		return fmt.Errorf("site %d: %w", n, ErrNoSite)
	}
	if id == "" {
		s.EndSessions()
		return nil
	}
	if !s.EndSession(mail.SessionID(id)) {
		return fmt.Errorf("site %d: session %s: %w", n, id, ErrNoSession)
	}
	return nil
}
