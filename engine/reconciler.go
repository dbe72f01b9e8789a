// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"restante/engine/settings"
	"restante/engine/site"
	"restante/engine/site/ports"
	"restante/metabase"
)

// A managedSite is a site that the tree has, or had until a moment ago.
type managedSite struct {
	*site.Site // nil where its settings never loaded
	loadErr    error
	rev        metabase.Rev
	disabled   bool   // by SmtpServiceVersion: that it does not run is as configured
	overdue    bool   // Await has waited for it in vain, and does not wait again until it settles
	folder     string // of its queue, as in the tree
	stranded   stranded
	published  publishedState
	level      *slog.LevelVar // of what it logs
	cancel     context.CancelFunc
	ended      <-chan struct{}
}

// settled reports whether the site needs no more time for revision rev.
func (m *managedSite) settled(rev metabase.Rev) bool {
	return m.overdue || m.Site == nil || m.Settled(uint64(rev))
}

// A reconciler brings the sites in line with the tree. Only the goroutine of
// Run touches it, but for what Engine.mu guards.
type reconciler struct {
	engine  *Engine
	running sync.WaitGroup
	first   metabase.Rev // that was reconciled
	last    metabase.Rev // that was reconciled, once begun is set
	begun   bool
	pending []*request // that wait for a revision to be in force
}

// A leavingSite stops because its key is gone.
type leavingSite struct {
	number int
	*managedSite
}

// A loadedSite is a site of one snapshot.
type loadedSite struct {
	number int
	set    *settings.Site
	cfg    *site.Config // nil: the settings do not load, because of err
	err    error
}

// reconcile brings the sites in line with the newest snapshot. All of them are
// told of their addresses before the first one changes: an address may go from
// one to another.
func (r *reconciler) reconcile(ctx context.Context) {
	e, snap := r.engine, r.engine.tree.Snapshot()
	if r.begun && snap.Rev() == r.last {
		return // only volatile properties changed
	}
	if e.trace != nil {
		e.trace.SetLimits(traceLimits(snap))
	}
	shared := e.layout().Shared(snap)
	var all []loadedSite
	want := map[int][]ports.Binding{}
	users := map[string][]int{} // sites by folder
	for _, n := range e.numbers() {
		want[n] = nil // unless it is still there
	}
	for _, n := range settings.Numbers(snap) {
		set, err := settings.Load(snap, n)
		one := loadedSite{number: n, set: set, err: err}
		if delete(want, n); err == nil {
			if one.cfg = e.config(set, shared[n]); one.cfg.Blocked == nil {
				want[n] = one.cfg.Bindings
			} else {
				want[n] = nil
			}
			for _, f := range one.cfg.Folders {
				users[f.Path] = append(users[f.Path], n)
			}
			one.cfg.IsOthers = func(path string) bool {
				return slices.ContainsFunc(users[path], func(user int) bool { return user != n })
			}
		}
		all = append(all, one)
	}
	e.ports.Declare(want)
	r.dismiss(snap)
	for _, one := range all {
		r.reconcileSite(ctx, snap, one)
	}
	if !r.begun {
		r.first = snap.Rev()
	}
	r.last, r.begun = snap.Rev(), true
}

func (e *Engine) numbers() []int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.sites))
}

// dismiss stops the sites that the tree no longer has.
func (r *reconciler) dismiss(snap metabase.Snapshot) {
	e, there := r.engine, settings.Numbers(snap)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leaving = slices.DeleteFunc(e.leaving, func(m leavingSite) bool { return isClosed(m.ended) })
	for n, m := range e.sites {
		if slices.Contains(there, n) {
			continue
		}
		if m.cancel != nil {
			m.cancel() // its folder and its mail stay where they are
			e.leaving = append(e.leaving, leavingSite{n, m})
		}
		delete(e.sites, n)
	}
}

// reconcileSite brings one site in line.
func (r *reconciler) reconcileSite(ctx context.Context, snap metabase.Snapshot, one loadedSite) {
	e, n := r.engine, one.number
	e.mu.Lock()
	m := e.sites[n]
	if m == nil {
		m = &managedSite{level: new(slog.LevelVar)}
		e.sites[n] = m
	}
	m.rev, m.loadErr = snap.Rev(), one.err
	m.folder = settings.QueueFolder(snap, n)
	if one.err == nil {
		m.disabled = !one.set.Enabled
		m.level.Set(leastLevel(one.set.SmtpEventlogLevel))
	}
	s := m.Site
	e.mu.Unlock()
	switch {
	case one.err != nil && s != nil:
		s.SetError(uint64(snap.Rev()), one.err)
	case one.err != nil:
		e.opts.Log.Error("site cannot be loaded", "site", n, "err", one.err)
	case s != nil:
		s.Apply(one.cfg)
	default:
		// A new site starts by itself once it has an address of its own.
		r.startSite(ctx, m, one.cfg, n, one.set.ServerAutoStart && (!r.begun || settings.HasAddress(snap, n)))
	}
}

// startSite makes a site and runs it.
func (r *reconciler) startSite(ctx context.Context, m *managedSite, cfg *site.Config, n int, autoStart bool) {
	e := r.engine
	computer, _ := os.Hostname() // a log file without it has a dash
	s := site.New(n, cfg, site.Deps{
		Resolver: e.opts.Resolver, STS: policies{e}, Names: e.HostNames, Auth: e.auth, Rates: &e.rates, Ports: &e.ports,
		Journal: e.journal(n, m.level), Log: leveled(e.opts.Log, m.level), AutoStart: autoStart, Computer: computer,
		Callers: e.opts.Descriptors.Callers, Changed: e.notify, Grace: e.opts.Grace, Again: e.opts.Again,
	})
	mine, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	e.mu.Lock()
	m.Site, m.cancel, m.ended = s, cancel, ended
	var before []<-chan struct{}
	for _, old := range e.leaving {
		if old.number == n || indexName(e.opts.DataDir, old.folder) == indexName(e.opts.DataDir, m.folder) {
			before = append(before, old.ended) // it has the queue's folder until then
		}
	}
	e.mu.Unlock()
	r.running.Go(func() {
		defer close(ended)
		defer cancel()
		for _, ended := range before {
			<-ended
		}
		if err := s.Run(mine); mine.Err() == nil {
			e.opts.Log.Error("site ended", "site", n, "err", err)
		}
	})
}

// wait returns when the sites have ended, or should have.
func (r *reconciler) wait() {
	e, done := r.engine, make(chan struct{})
	go func() {
		r.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(e.opts.Grace + e.opts.Patience):
		e.mu.Lock()
		defer e.mu.Unlock()
		for n, m := range e.sites {
			if m.ended != nil && !isClosed(m.ended) {
				e.opts.Log.Error("site does not end", "site", n)
			}
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

var errOldVersion = fmt.Errorf("SmtpServiceVersion is less than 2: only site %d starts", settings.DefaultSite)

func (e *Engine) layout() settings.Layout { return settings.Layout{Data: e.opts.DataDir} }
