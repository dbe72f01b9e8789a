// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"restante/engine/journal"
	"restante/engine/settings"
	"restante/engine/site"
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

// reconcile brings the sites in line with the newest snapshot.
func (r *reconciler) reconcile(ctx context.Context) {
	e, snap := r.engine, r.engine.tree.Snapshot()
	if r.begun && snap.Rev() == r.last {
		return // only volatile properties changed
	}
	there := map[int]bool{}
	shared := e.layout().Shared(snap)
	for _, n := range settings.Numbers(snap) {
		there[n] = true
		r.reconcileSite(ctx, snap, n, shared[n])
	}
	e.mu.Lock()
	e.leaving = slices.DeleteFunc(e.leaving, func(m leavingSite) bool { return isClosed(m.ended) })
	for n, m := range e.sites {
		if there[n] {
			continue
		}
		if m.cancel != nil {
			m.cancel() // its folder and its mail stay where they are
			e.leaving = append(e.leaving, leavingSite{n, m})
		}
		delete(e.sites, n)
	}
	e.mu.Unlock()
	if !r.begun {
		r.first = snap.Rev()
	}
	r.last, r.begun = snap.Rev(), true
}

// reconcileSite brings site n in line. Shared says whose queue folder it would
// work in, if it is not its own.
func (r *reconciler) reconcileSite(ctx context.Context, snap metabase.Snapshot, n int, shared error) {
	e := r.engine
	set, err := settings.Load(snap, n)
	e.mu.Lock()
	m := e.sites[n]
	if m == nil {
		m = &managedSite{}
		e.sites[n] = m
	}
	m.rev, m.loadErr = snap.Rev(), err
	m.folder = settings.QueueFolder(snap, n)
	if err == nil {
		m.disabled = !set.Enabled
	}
	s := m.Site
	e.mu.Unlock()
	switch {
	case err != nil && s != nil:
		s.SetError(uint64(snap.Rev()), err)
	case err != nil:
		e.opts.Log.Error("site cannot be loaded", "site", n, "err", err)
	case s != nil:
		s.Apply(e.config(set, shared))
	default:
		// A new site starts by itself once it has an address of its own.
		r.startSite(ctx, m, e.config(set, shared), n, set.ServerAutoStart && (!r.begun || settings.HasAddress(snap, n)))
	}
}

// startSite makes a site and runs it.
func (r *reconciler) startSite(ctx context.Context, m *managedSite, cfg *site.Config, n int, autoStart bool) {
	e := r.engine
	s := site.New(n, cfg, site.Deps{
		Resolver: e.opts.Resolver, Auth: e.auth, Ports: &e.ports,
		Journal: journal.New(e.journal(n)), Log: e.opts.Log, AutoStart: autoStart,
		Changed: e.notify, Grace: e.opts.Grace, Again: e.opts.Again,
	})
	mine, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	e.mu.Lock()
	m.Site, m.cancel, m.ended = s, cancel, ended
	var before <-chan struct{}
	for _, old := range e.leaving {
		if old.number == n {
			before = old.ended // it has the queue's folder until then
		}
	}
	e.mu.Unlock()
	r.running.Go(func() {
		defer close(ended)
		defer cancel()
		if before != nil {
			<-before
		}
		if err := s.Run(mine); mine.Err() == nil {
			e.opts.Log.Error("site ended", "site", n, "err", err)
		}
	})
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
