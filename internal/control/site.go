// SPDX-License-Identifier: Apache-2.0

package control

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"restante/engine/mail"
	"restante/engine/queue"
	"restante/engine/settings"
	"restante/metabase"
	"restante/metabase/schema"
)

// The calls about sites.
const (
	SiteList    Method[struct{}, []Site]           = "site/list"
	SiteShow    Method[SiteRequest, Site]          = "site/show"
	SiteCreate  Method[SiteCreateRequest, Site]    = "site/create"
	SiteSet     Method[SiteSetRequest, Site]       = "site/set"
	SiteCommand Method[SiteCommandRequest, Site]   = "site/command"
	SiteDelete  Method[SiteDeleteRequest, Deleted] = "site/delete"
	Sessions    Method[SiteRequest, []Session]     = "site/sessions"
	EndSession  Method[EndRequest, Ended]          = "site/end-session"
)

// A Site is a virtual server as it is shown.
type Site struct {
	Number      int          `json:"number"`
	Name        string       `json:"name"`
	Bindings    []string     `json:"bindings"` // as configured, ADDR:PORT
	Domain      string       `json:"domain,omitempty"`
	FQDN        string       `json:"fqdn,omitempty"`
	AutoStart   bool         `json:"auto_start"`
	State       string       `json:"state"`
	Listening   []string     `json:"listening"`
	Configured  metabase.Rev `json:"configured"`
	Running     metabase.Rev `json:"running,omitempty"`
	Why         string       `json:"why,omitempty"`
	Connections int          `json:"connections"`
	Messages    int          `json:"messages"`
	Bytes       int64        `json:"bytes"`
	Held        int          `json:"held"`
	HeldBytes   int64        `json:"held_bytes"`
	Domains     int          `json:"domains"`
	Queue       string       `json:"queue_directory,omitempty"`
}

// A SiteRequest names a site.
type SiteRequest struct {
	Site int `json:"site"`
}

// A SiteCreateRequest is the wizard's four answers.
type SiteCreateRequest struct {
	Name   string   `json:"name"`
	Bind   []string `json:"bind"`
	Domain string   `json:"domain"`
	Dir    string   `json:"dir,omitempty"` // "": Mailroot-N
}

// A SiteSetRequest renames a site or gives it other addresses; what is empty
// stays.
type SiteSetRequest struct {
	Site int      `json:"site"`
	Name string   `json:"name,omitempty"`
	Bind []string `json:"bind,omitempty"`
}

// A SiteCommandRequest is start, stop, pause or continue.
type SiteCommandRequest struct {
	Site    int    `json:"site"`
	Command string `json:"command"`
}

// A SiteDeleteRequest says what becomes of the mail that is still there:
// exactly one of the four.
type SiteDeleteRequest struct {
	Site    int    `json:"site"`
	Drain   bool   `json:"drain,omitempty"`
	MoveTo  int    `json:"move_to,omitempty"`
	Export  string `json:"export,omitempty"` // a folder, absolute
	Discard bool   `json:"discard,omitempty"`
}

// Deleted says what is gone, and what became of the mail.
type Deleted struct {
	Rev      metabase.Rev `json:"rev"`
	Site     int          `json:"site,omitempty"`
	Name     string       `json:"name,omitempty"`
	Messages int          `json:"messages"`
	Bytes    int64        `json:"bytes"`
	Folders  []string     `json:"folders,omitempty"`  // that stay on the disk
	NamedBy  []string     `json:"named_by,omitempty"` // domains whose AuthTurnList still names the account
}

// An EndRequest ends a session, with All every one of the site.
type EndRequest struct {
	Site int    `json:"site"`
	ID   string `json:"id,omitempty"`
	All  bool   `json:"all,omitempty"`
}

// Ended says how many sessions were ended.
type Ended struct {
	Sessions int `json:"sessions"`
}

func (d *Desk) houseCalls() {
	on(d, SiteList, d.sites)
	on(d, SiteShow, d.siteShow)
	on(d, SiteCreate, d.siteCreate)
	on(d, SiteSet, d.siteSet)
	on(d, SiteCommand, d.siteCommand)
	on(d, SiteDelete, d.siteDelete)
	on(d, Sessions, d.sessions)
	on(d, EndSession, d.endSession)
	on(d, DomainList, d.domains)
	on(d, DomainShow, d.domainShow)
	on(d, DomainCreate, d.domainCreate)
	on(d, DomainDelete, d.domainDelete)
	on(d, AccountList, d.accounts)
	on(d, AccountPut, d.accountPut)
	on(d, AccountDelete, d.accountDelete)
	on(d, TurnList, d.turnList)
	on(d, TurnSet, d.turnSet)
	on(d, Status, d.status)
	on(d, Explain, d.explain)
	onFlow(d, Run, d.run)
	on(d, Complete, d.complete)
}

// siteAt checks that there is such a site and that the caller has the right.
func (d *Desk) siteAt(ctx context.Context, who Caller, n int, r metabase.Right) (metabase.Path, error) {
	p := sitePath(n)
	if !isClass(d.tree.Snapshot(), p, schema.Server) {
		return "", missing(fmt.Sprintf("site %d", n), "there is no such site")
	}
	return p, d.allow(ctx, who, p, r)
}

// text reads an effective value as one string.
func (d *Desk) text(snap metabase.Snapshot, p metabase.Path, name string) string {
	return strings.Join(d.texts(snap, p, name), " ")
}

func (d *Desk) texts(snap metabase.Snapshot, p metabase.Path, name string) []string {
	prop, ok := d.schema.Property(name)
	if !ok {
		return []string{}
	}
	v, _, ok := d.schema.Effective(snap, p, prop.ID)
	if !ok || prop.Attr&metabase.Secure != 0 {
		return []string{}
	}
	if s := v.Strings(); s != nil {
		return s
	}
	return prop.Plain(v)
}

func (d *Desk) number(snap metabase.Snapshot, p metabase.Path, name string) uint32 {
	prop, _ := d.schema.Property(name)
	v, _, _ := d.schema.Effective(snap, p, prop.ID)
	return v.DWord()
}

func (d *Desk) site(snap metabase.Snapshot, n int) Site {
	p := sitePath(n)
	s := Site{
		Number: n, Name: d.text(snap, p, "ServerComment"), Bindings: addresses(d.texts(snap, p, "ServerBindings")),
		Domain: d.text(snap, p, "DefaultDomain"), FQDN: d.text(snap, p, "FullyQualifiedDomainName"),
		AutoStart: d.number(snap, p, "ServerAutoStart") != 0, State: "stopped", Listening: []string{},
		Configured: snap.Rev(), Queue: d.text(snap, p, "QueueDirectory"),
	}
	if k, ok := snap.Key(p.Join("Domain")); ok {
		s.Domains = k.Children
	}
	if d.engine == nil {
		s.Why = "the service does not run"
		return s
	}
	for _, run := range d.engine.Sites() {
		if run.Number == n {
			s.State, s.Running, s.Why, s.Connections = run.State, run.Running, run.Why, run.Connections
			s.Listening = append(s.Listening, run.Addrs...)
		}
	}
	if q, ok := d.engine.Queue(n); ok {
		c := q.Counts()
		s.Messages, s.Bytes, s.Held, s.HeldBytes = c.Messages, c.Bytes, c.Held, c.HeldBytes
	}
	return s
}

// addresses gives bindings of IIS's form ip:port:host as ADDR:PORT.
func addresses(bindings []string) []string {
	out := make([]string, len(bindings))
	for i, b := range bindings {
		out[i] = b
		if b, err := schemaBinding(b); err == nil {
			out[i] = b
		}
	}
	return out
}

func (d *Desk) sites(ctx context.Context, who Caller, _ struct{}) ([]Site, error) {
	snap := d.tree.Snapshot()
	out := []Site{}
	for _, n := range settings.Numbers(snap) {
		if snap.Allows(who.Who, sitePath(n), metabase.Read) {
			out = append(out, d.site(snap, n))
		}
	}
	return out, nil
}

func (d *Desk) siteShow(ctx context.Context, who Caller, q SiteRequest) (Site, error) {
	if _, err := d.siteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return Site{}, err
	}
	return d.site(d.tree.Snapshot(), q.Site), nil
}

func (d *Desk) siteCreate(ctx context.Context, who Caller, q SiteCreateRequest) (Site, error) {
	var n int
	// Two wizards at once must not get the same number.
	rev, err := d.atOnce(ctx, who, func(snap metabase.Snapshot) (ops []metabase.Op, err error) {
		n, ops, err = settings.CreateSite(snap, settings.NewSite{
			Name: q.Name, Bindings: q.Bind, Domain: q.Domain, Dir: strings.TrimRight(q.Dir, `/\`),
		})
		if err != nil {
			return nil, refused("", err.Error())
		}
		return ops, nil
	})
	if err != nil {
		return Site{}, err
	}
	return d.settled(ctx, n, rev)
}

// settleTime is how long a call waits for a site to do what it was told.
const settleTime = 3 * time.Second

// settled gives the site once it runs at rev, says why not, or is stopped on
// purpose; and after a while in any case.
func (d *Desk) settled(ctx context.Context, n int, rev metabase.Rev) (Site, error) {
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for {
		s := d.site(d.tree.Snapshot(), n)
		idle := s.State == "stopped" && !s.AutoStart
		if d.engine == nil || s.Running >= rev || s.Why != "" || idle {
			return s, nil
		}
		select {
		case <-ctx.Done():
			return s, nil
		case <-look.C:
		}
	}
}

func (d *Desk) siteSet(ctx context.Context, who Caller, q SiteSetRequest) (Site, error) {
	p, err := d.siteAt(ctx, who, q.Site, metabase.Read)
	if err != nil {
		return Site{}, err
	}
	w := writer{schema: d.schema}
	if q.Name != "" {
		w.set(p, "ServerComment", q.Name)
	}
	if len(q.Bind) > 0 {
		w.set(p, "ServerBindings", q.Bind...)
	}
	if w.err != nil {
		return Site{}, w.err
	}
	running := d.site(d.tree.Snapshot(), q.Site).Running != 0
	rev, err := d.tree.Apply(ctx, who.batch(w.ops...))
	if err != nil || !running {
		return d.site(d.tree.Snapshot(), q.Site), err
	}
	return d.settled(ctx, q.Site, rev)
}

func (d *Desk) siteCommand(ctx context.Context, who Caller, q SiteCommandRequest) (Site, error) {
	p, err := d.siteAt(ctx, who, q.Site, metabase.Read)
	if err != nil {
		return Site{}, err
	}
	if d.engine == nil {
		return Site{}, ErrNoService
	}
	w := writer{schema: d.schema}
	w.set(p, "ServerCommand", q.Command)
	if w.err != nil {
		return Site{}, w.err
	}
	if _, err := d.tree.Apply(ctx, who.batch(w.ops...)); err != nil {
		return Site{}, err
	}
	return d.site(d.tree.Snapshot(), q.Site), nil
}

func (d *Desk) sessions(ctx context.Context, who Caller, q SiteRequest) ([]Session, error) {
	if _, err := d.siteAt(ctx, who, q.Site, metabase.Read); err != nil {
		return nil, err
	}
	if d.engine == nil {
		return nil, ErrNoService
	}
	all, err := d.engine.Sessions(q.Site)
	return append([]Session{}, all...), err
}

func (d *Desk) endSession(ctx context.Context, who Caller, q EndRequest) (Ended, error) {
	if _, err := d.siteAt(ctx, who, q.Site, metabase.Write); err != nil {
		return Ended{}, err
	}
	if d.engine == nil {
		return Ended{}, ErrNoService
	}
	all, err := d.engine.Sessions(q.Site)
	if err != nil {
		return Ended{}, err
	}
	if !q.All {
		if !slices.ContainsFunc(all, func(s Session) bool { return s.ID == q.ID }) {
			return Ended{}, missing(fmt.Sprintf("site %d: session %s", q.Site, q.ID), "there is no such session")
		}
		return Ended{1}, d.engine.EndSession(q.Site, q.ID)
	}
	for _, s := range all {
		if err := d.engine.EndSession(q.Site, s.ID); err != nil {
			return Ended{}, err
		}
	}
	return Ended{len(all)}, nil
}

// canonicalDomain is s as a key's name; what is no domain is left for the
// schema to refuse.
func canonicalDomain(s string) string {
	rest, wild := strings.CutPrefix(s, "*.")
	d, err := mail.ParseDomain(rest)
	switch {
	case err != nil:
		return s
	case wild:
		return "*." + string(d)
	}
	return string(d)
}

// everything picks all that is in a queue.
func everything() queue.Filter { return queue.Filter{All: true} }
